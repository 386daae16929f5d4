//! The owner task: takes rows, answers what history consists of, and has one job on files at a time done elsewhere.
//!
//! Rows move from `rows` (waiting) to `writing` (a flush has them) to the manifest. The step from `writing` to the manifest is one
//! assignment in this task, so that a query sees each row exactly once. A failed flush is tried again with the same rows; when
//! `rows` is full meanwhile, nothing more is taken: the channel fills and the receivers refuse, which senders repeat.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tripline_otlp::Spans;

use super::file::WriteError;
use super::job::{self, Done, Ground};
use super::manifest::Manifest;
use super::mirror::Mirror;
use super::parquet::Workshop;
use super::rollup;
use super::rows::Rows;
use super::scan::{Contents, Reader};
use super::tally::Tally;
use super::upkeep::merge_due;
use super::{Input, Settings};
use crate::batch::Batch;

/// A query may read a file for this long after the manifest has dropped it.
const GRACE: Duration = Duration::from_secs(30);
/// Batches in memory at most, whatever is in them.
const MAX_BATCHES: usize = 100_000;

/// The owner task; [`Owner::run`] is it.
#[derive(Debug)]
pub struct Owner {
    pub(super) settings: Settings,
    pub(super) batches: mpsc::Receiver<Arc<Batch>>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) questions: mpsc::Receiver<oneshot::Sender<Contents>>,
    pub(super) durable: watch::Sender<u64>,
    pub(super) reader: Arc<Reader>,
    pub(super) tally: Arc<Tally>,
    pub(super) manifest: Arc<Manifest>,
    pub(super) workshop: Arc<Mutex<Workshop>>,
    /// Tells the mirror of each manifest.
    pub(super) manifests: Option<watch::Sender<Arc<Manifest>>>,
    pub(super) rows: Rows,
    pub(super) writing: Option<Arc<Rows>>,
    pub(super) retired: VecDeque<(Instant, BTreeSet<String>)>,
    /// Set by a flush that ended well, cleared by any failure, so that a full disk is not hammered with merges.
    pub(super) may_merge: bool,
}

/// A job that another thread does.
type Job = JoinHandle<Result<Done, WriteError>>;

impl Owner {
    /// Runs until `shutdown`, then writes what was taken and ends.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (manifests, told) = watch::channel(Arc::clone(&self.manifest));
        self.manifests = Some(manifests);
        let (stop_mirror, mirror) = (CancellationToken::new(), self.mirror());
        let mirror = mirror.map(|mirror| tokio::spawn(mirror.run(told, stop_mirror.clone())));
        self.work(shutdown).await;
        stop_mirror.cancel();
        if let Some(mirror) = mirror {
            // It says itself what it could not put.
            let _ended = mirror.await;
        }
    }

    /// What keeps the object store equal, where there is one.
    fn mirror(&self) -> Option<Mirror> {
        let remote = self.settings.remote.clone()?;
        Some(Mirror { remote, dir: self.settings.dir.clone() })
    }

    async fn work(mut self, shutdown: CancellationToken) {
        let mut tick = interval(self.settings.flush_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        let mut job: Option<Job> = None;
        let mut is_due = false;
        loop {
            if job.is_none() {
                job = self.next_job(is_due);
                is_due = false;
            }
            let is_full = self.holds(self.settings.buffer_rows, self.settings.buffer_bytes);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                result = ended(&mut job) => self.take_over(result),
                Some(question) = self.questions.recv() => {
                    // Whoever asked may have given up meanwhile.
                    let _answered = question.send(self.contents());
                }
                _ = tick.tick() => is_due = true,
                Some(input) = self.inputs.recv(), if !is_full => self.take(input),
                Some(batch) = self.batches.recv(), if !is_full => self.take_batch(batch),
            }
        }
        self.finish(job).await;
    }

    fn take_batch(&mut self, batch: Arc<Batch>) {
        if self.manifest.positions.holds(batch.position) {
            self.tally.batches_repeated.fetch_add(1, Relaxed);
        } else {
            let keeps_spans = !self.settings.retention.spans.is_zero();
            self.rows.add_batch(if keeps_spans { batch } else { without_spans(batch) });
            self.tally.rows_waiting.store(self.rows.len() as u64, Relaxed);
        }
    }

    /// Whether as many rows, or as many bytes, wait in memory.
    fn holds(&self, rows: usize, bytes: usize) -> bool {
        self.rows.len() >= rows || self.rows.bytes() >= bytes || self.rows.batches() >= MAX_BATCHES
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Windows(windows) => self.rows.add_windows(windows),
            Input::Incident(incident) => self.rows.add_incident(incident),
        }
        self.tally.rows_waiting.store(self.rows.len() as u64, Relaxed);
    }

    fn contents(&self) -> Contents {
        let waiting = self.writing.iter().cloned().chain([Arc::new(self.rows.clone())]).collect();
        Contents { manifest: Arc::clone(&self.manifest), waiting }
    }

    /// Starts what is to be done next: a flush that failed before, a flush that is due, windows to add up, or a merge.
    fn next_job(&mut self, is_due: bool) -> Option<Job> {
        let now = (self.settings.now)();
        if is_due {
            self.delete_retired();
        }
        let is_full = self.holds(self.settings.flush_rows, self.settings.flush_bytes);
        if is_due || (is_full && self.writing.is_none()) {
            let rows = self.writing.get_or_insert_with(|| Arc::new(std::mem::take(&mut self.rows)));
            let (rows, ground) = (Arc::clone(rows), self.ground());
            let retention = self.settings.retention;
            return Some(tokio::task::spawn_blocking(move || {
                let mut workshop = ground.workshop.lock().unwrap_or_else(PoisonError::into_inner);
                job::flush(&ground.dir, &ground.manifest, &rows, (&retention, now), &mut workshop)
            }));
        }
        if self.writing.is_some() || !self.may_merge {
            return None;
        }
        if let Some(due) = rollup::due(&self.manifest, now) {
            let (ground, reader) = (self.ground(), Arc::clone(&self.reader));
            return Some(tokio::task::spawn_blocking(move || {
                let sources = rollup::sources(&ground.manifest, due.of, (due.from, due.to));
                reader.fetch(sources.map(|entry| entry.path.as_str()))?;
                let done = job::roll_up(&ground.dir, &ground.manifest, &due, &reader.bad());
                if done.is_err() {
                    let sources = rollup::sources(&ground.manifest, due.of, (due.from, due.to));
                    reader.probe(sources.map(|entry| entry.path.as_str()));
                }
                done
            }));
        }
        let (merge, ground) = (merge_due(&self.manifest.files, &self.reader.bad(), now)?, self.ground());
        let reader = Arc::clone(&self.reader);
        Some(tokio::task::spawn_blocking(move || {
            reader.fetch(merge.paths.iter().map(String::as_str))?;
            let done = job::merge(&ground.dir, &ground.manifest, &merge);
            if done.is_err() {
                reader.probe(merge.paths.iter().map(String::as_str));
            }
            done
        }))
    }

    /// Takes over what a job has done.
    fn take_over(&mut self, result: Result<Done, WriteError>) {
        let done = match result {
            Ok(done) => done,
            Err(error) => {
                self.tally.write_failures.fetch_add(1, Relaxed);
                self.may_merge = false;
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, dir = %self.settings.dir.display(), "history was not written; trying again");
                return;
            }
        };
        match self.writing.take() {
            Some(_) => {
                self.may_merge = true;
                self.tally.flushes.fetch_add(1, Relaxed)
            }
            None => self.tally.merges.fetch_add(u64::from(done.has_merged), Relaxed),
        };
        if done.skipped > 0 {
            tracing::warn!(
                positions = done.skipped,
                "the journal positions before these never came to history; giving them up"
            );
        }
        self.tally.rows_written.fetch_add(done.rows, Relaxed);
        self.tally.files_expired.fetch_add(done.expired, Relaxed);
        self.tally.positions_skipped.fetch_add(done.skipped, Relaxed);
        self.manifest = Arc::new(done.manifest);
        if let Some(manifests) = &self.manifests {
            manifests.send_replace(Arc::clone(&self.manifest));
        }
        self.tally.files.store(self.manifest.files.len() as u64, Relaxed);
        self.tally.bytes.store(self.manifest.files.iter().map(|e| e.bytes).sum(), Relaxed);
        self.tally.rows_waiting.store(self.rows.len() as u64, Relaxed);
        if !done.retired.is_empty() {
            self.retired.push_back((Instant::now(), done.retired));
        }
        let position = self.manifest.positions.done();
        self.durable.send_if_modified(|durable| std::mem::replace(durable, position) != position);
    }

    fn delete_retired(&mut self) {
        while let Some((_, paths)) = self.retired.pop_front_if(|(since, _)| since.elapsed() >= GRACE) {
            let dir = self.settings.dir.clone();
            // Not awaited: nothing depends on it, and what it leaves is deleted at the next start.
            drop(tokio::task::spawn_blocking(move || job::delete(&dir, &paths)));
        }
    }

    /// Ends the job at hand, then writes everything that was sent before the end.
    async fn finish(mut self, mut job: Option<Job>) {
        if job.is_some() {
            let result = ended(&mut job).await;
            self.take_over(result);
        }
        self.batches.close();
        while let Some(batch) = self.batches.recv().await {
            self.take_batch(batch);
        }
        self.inputs.close();
        while let Some(input) = self.inputs.recv().await {
            self.take(input);
        }
        for _attempt in 0..2 {
            if self.writing.is_none() && self.rows.is_empty() {
                break;
            }
            job = self.next_job(true);
            let result = ended(&mut job).await;
            self.take_over(result);
        }
        // Nobody asks any more, and whoever reads the folder now should find each row once.
        let (dir, retired) = (self.settings.dir, self.retired);
        let deletion =
            tokio::task::spawn_blocking(move || retired.iter().for_each(|(_, paths)| job::delete(&dir, paths)));
        // What could not be deleted is deleted at the next start.
        let _ended = deletion.await;
    }

    fn ground(&self) -> Ground {
        let workshop = Arc::clone(&self.workshop);
        Ground { dir: self.settings.dir.clone(), manifest: Arc::clone(&self.manifest), workshop }
    }
}

/// Its position is still to be noted, or the journal would keep it.
fn without_spans(batch: Arc<Batch>) -> Arc<Batch> {
    Arc::new(Batch { spans: Spans::default(), ..Arc::unwrap_or_clone(batch) })
}

/// Waits for the job, for ever when there is none; a job that panicked has failed.
async fn ended(job: &mut Option<Job>) -> Result<Done, WriteError> {
    let Some(running) = job else { return std::future::pending().await };
    let result = running.await;
    *job = None;
    result.unwrap_or_else(|error| Err(WriteError::Io(std::io::Error::other(error))))
}
