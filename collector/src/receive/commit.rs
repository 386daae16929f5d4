//! The one thread that owns the journal: writes, syncs, and only then passes on and acknowledges.
//!
//! Requests are gathered for one sync until 20 ms (by default) have passed since the last one, or a mebibyte has come
//! together, whichever is first; a request that comes after a pause does not wait at all. Everything behind
//! the sync happens in the order of positions, so history can tell the journal by one number how far it has come.
//!
//! Repeats are taken out here and not earlier: a report counts as seen only once it is safe, or the repeat of one
//! that was refused would be lost.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::budget::Share;
use super::counters::Counters;
use super::decode::Decoded;
use super::intake::Outlets;
use super::pool::Pool;
use super::repeats::Repeats;
use super::replay::{self, ReplayError};
use super::{Reason, Refusal};
use crate::batch::Batch;
use crate::export::Exporters;
use crate::journal::{AppendError, Journal, Record};

/// A group that has this many bytes is synced at once.
const GROUP_BYTES: usize = 1 << 20;
/// How often segments are deleted while nothing comes in.
const IDLE: Duration = Duration::from_secs(1);
/// Pause between two complaints about the disk; the counters tell the rest.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// A request on its way to the journal.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) record: Record,
    pub(super) decoded: Decoded,
    pub(super) room: Room,
    /// Held until the request is answered.
    pub(super) share: Share,
    pub(super) told: oneshot::Sender<Result<(), Refusal>>,
}

/// Room for one batch in both queues.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) live: mpsc::OwnedPermit<Arc<Batch>>,
    pub(super) history: mpsc::OwnedPermit<Arc<Batch>>,
}

/// A journal and how it is used.
#[derive(Debug)]
pub struct Store {
    /// The journal.
    pub journal: Journal,
    /// Longest time that requests are gathered for one sync.
    pub interval: Duration,
    /// The position up to which history needs nothing any more.
    pub durable: watch::Receiver<u64>,
}

/// The thread's state.
#[derive(Debug)]
pub struct Committer {
    queue: Receiver<Pending>,
    /// None when requests are acknowledged from memory.
    store: Option<Store>,
    known: Known,
    exporters: Exporters,
    counters: Arc<Counters>,
    pool: Pool,
    complained_at: Option<Instant>,
}

/// Reports and transitions already taken in.
#[derive(Debug, Default)]
pub(super) struct Known {
    reports: Repeats,
    transitions: Repeats,
}

impl Committer {
    pub(super) fn new(
        queue: Receiver<Pending>,
        store: Option<Store>,
        exporters: Exporters,
        (counters, pool): (Arc<Counters>, Pool),
    ) -> Self {
        Self { queue, store, known: Known::default(), exporters, counters, pool, complained_at: None }
    }

    /// Passes on what the journal still holds and history has not written yet. To be called once, before the first request.
    /// Blocks while the queues are full.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn replay(&mut self, outlets: &Outlets) -> Result<(), ReplayError> {
        if let Some(store) = &self.store {
            let durable = *store.durable.borrow();
            self.known = replay::run(&store.journal, durable, outlets, &self.counters)?;
        }
        Ok(())
    }

    /// Runs until every [`Intake`](super::Intake) is gone. Blocks.
    pub fn run(mut self) {
        let mut synced_at = Instant::now();
        loop {
            match self.queue.recv_timeout(IDLE) {
                Ok(first) => {
                    let due = synced_at + self.store.as_ref().map_or(Duration::ZERO, |store| store.interval);
                    let (group, ended) = gather(first, &self.queue, due);
                    self.commit(group);
                    synced_at = Instant::now();
                    if ended.is_break() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.pool.shrink(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.release();
        }
    }

    fn commit(&mut self, group: Vec<Pending>) {
        let mut written = Vec::with_capacity(group.len());
        for pending in group {
            match self.append(&pending.record) {
                Ok(position) => written.push((position, pending)),
                Err(error) => self.refuse(pending, &error),
            }
        }
        if let Err(error) = self.store.as_mut().map_or(Ok(()), |store| store.journal.commit()) {
            written.into_iter().for_each(|(_, pending)| self.refuse(pending, &error));
            return;
        }
        self.counters.journal_commits.fetch_add(1, Relaxed);
        for (position, pending) in written {
            let Pending { record, decoded, room, share, told } = pending;
            let (live, kept) = self.known.take_out(position, &record, decoded, &self.counters).split();
            room.live.send(Arc::new(live));
            room.history.send(Arc::new(kept));
            self.exporters.offer(&record);
            drop(share);
            // The sender may have gone; its request is safe all the same.
            let _ = told.send(Ok(()));
        }
    }

    fn append(&mut self, record: &Record) -> Result<u64, AppendError> {
        self.store.as_mut().map_or(Ok(0), |store| store.journal.append(record))
    }

    fn refuse(&mut self, pending: Pending, error: &AppendError) {
        let reason = match error {
            AppendError::TooLong(_) => Reason::TooLarge,
            AppendError::DiskFull(_) | AppendError::Full(_) | AppendError::Write { .. } => Reason::Storage,
        };
        if self.complained_at.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
            self.complained_at = Some(Instant::now());
            tracing::error!(error = error as &dyn std::error::Error, "requests are refused");
        }
        let _ = pending.told.send(Err(Refusal::new(reason, error.to_string())));
    }

    fn release(&mut self) {
        let Some(store) = &mut self.store else { return };
        let durable = *store.durable.borrow();
        store.journal.release(durable);
        self.counters.journal_bytes.store(store.journal.bytes(), Relaxed);
    }
}

/// `first` and what else comes until `due`, or until there is enough; breaks when no more will come.
fn gather(first: Pending, queue: &Receiver<Pending>, due: Instant) -> (Vec<Pending>, ControlFlow<()>) {
    let mut bytes = first.record.body.len();
    let mut group = vec![first];
    while bytes < GROUP_BYTES {
        match queue.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(next) => {
                bytes += next.record.body.len();
                group.push(next);
            }
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return (group, ControlFlow::Break(())),
        }
    }
    (group, ControlFlow::Continue(()))
}

impl Known {
    /// The batch of a request, without what was taken in before.
    pub(super) fn take_out(
        &mut self,
        position: u64,
        record: &Record,
        mut decoded: Decoded,
        counters: &Counters,
    ) -> Batch {
        let (reports, transitions) = (decoded.reports.len(), decoded.transitions.len());
        decoded.reports.retain(|report| self.reports.is_new(&report.sidecar.instance, report.sequence));
        decoded.transitions.retain(|one| self.transitions.is_new(&one.client_instance, one.sequence));
        let (new_reports, new_transitions) = (decoded.reports.len(), decoded.transitions.len());
        counters.repeated_reports.fetch_add((reports - new_reports) as u64, Relaxed);
        counters.repeated_transitions.fetch_add((transitions - new_transitions) as u64, Relaxed);
        counters.reports.fetch_add(new_reports as u64, Relaxed);
        counters.transitions.fetch_add(new_transitions as u64, Relaxed);
        counters.spans.fetch_add(decoded.spans.len() as u64, Relaxed);
        counters.logs.fetch_add(decoded.logs.len() as u64, Relaxed);
        Batch {
            position,
            received_at: record.received_at,
            reports: decoded.reports,
            transitions: decoded.transitions,
            spans: decoded.spans,
            logs: decoded.logs,
        }
    }
}
