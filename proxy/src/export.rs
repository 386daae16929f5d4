//! Telemetry on its way to the collector, on a thread that carries no traffic.
//!
//! Reports wait in a backlog until they are acknowledged: the collector knows a repeat by its sequence number, so sending
//! again is safe, and after two minutes without a collector the oldest is dropped and counted. Transitions are sent at
//! once and kept while they fail. Spans are examples: a batch that is not accepted is dropped and counted.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tripline_model::{BreakerTransition, SidecarReport};
use tripline_otlp::{sidecar, transition};

use crate::collector_link::{CollectorLink, Refused};
use crate::events::MAX_TRANSITIONS;
use crate::report::Counting;
use crate::worker::Shared;

/// Reports that wait for an acknowledgement: two minutes of them.
const MAX_REPORTS: usize = 120;
/// Time between two reports.
const PERIOD: Duration = Duration::from_secs(1);
/// How long spans are gathered that are no batch.
const GATHER: Duration = Duration::from_millis(500);
/// Pause after a failure, doubling from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Reports that the collector has not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Shared by the task that counts and the one that sends; locked to add or take one report.
    reports: Mutex<VecDeque<SidecarReport>>,
    changed: Notify,
}

impl Backlog {
    fn push(&self, report: SidecarReport, shared: &Shared) {
        let mut reports = self.lock();
        if reports.len() >= MAX_REPORTS {
            reports.pop_front();
            shared.dropped.reports.fetch_add(1, Ordering::Relaxed);
        }
        reports.push_back(report);
        drop(reports);
        self.changed.notify_one();
    }

    /// The oldest report.
    async fn first(&self) -> SidecarReport {
        loop {
            if let Some(report) = self.lock().front().cloned() {
                return report;
            }
            self.changed.notified().await;
        }
    }

    /// Removes an acknowledged report; it may have been pushed out meanwhile.
    fn done(&self, sequence: u64) {
        self.lock().retain(|report| report.sequence != sequence);
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SidecarReport>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a report at once and then every second.
pub(crate) async fn count(counting: Arc<tokio::sync::Mutex<Counting>>, backlog: Arc<Backlog>, shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let report = counting.lock().await.report();
        backlog.push(report, &shared);
    }
}

/// Makes the last report and waits until everything is sent or the time is over.
pub(crate) async fn flush(
    counting: &tokio::sync::Mutex<Counting>,
    backlog: &Backlog,
    (link, shared): (&CollectorLink, &Shared),
    longest: Duration,
) {
    backlog.push(counting.lock().await.report(), shared);
    let sent = async {
        send_waiting_spans(link, shared).await;
        while !backlog.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(longest, sent).await.is_err() {
        tracing::warn!("the collector did not take the last report");
    }
}

/// Sends reports, oldest first, each until it is acknowledged or refused for good.
pub(crate) async fn send_reports(link: CollectorLink, backlog: Arc<Backlog>, shared: Arc<Shared>) {
    let mut pause = Pause::new();
    loop {
        let report = backlog.first().await;
        match link.metrics(sidecar::encode_report(&report)).await {
            Ok(()) => {
                pause.over(|| tracing::info!("the collector takes reports"));
                backlog.done(report.sequence);
            }
            Err(Refused::ForGood(error)) => {
                tracing::error!(%error, "the collector refused a report");
                shared.dropped.reports.fetch_add(1, Ordering::Relaxed);
                backlog.done(report.sequence);
            }
            Err(Refused::ForNow(error)) => pause.wait(&error).await,
        }
    }
}

/// Sends transitions as soon as they happen.
pub(crate) async fn send_transitions(
    link: CollectorLink,
    mut queue: mpsc::Receiver<BreakerTransition>,
    shared: Arc<Shared>,
) {
    let mut pause = Pause::new();
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, MAX_TRANSITIONS).await > 0 {
        while !waiting.is_empty() {
            match link.logs(transition::encode(&waiting, &shared.sidecar)).await {
                Ok(()) => waiting.clear(),
                Err(Refused::ForGood(error)) => {
                    tracing::error!(%error, "the collector refused breaker transitions");
                    shared.dropped.transitions.fetch_add(waiting.len() as u64, Ordering::Relaxed);
                    waiting.clear();
                }
                Err(Refused::ForNow(error)) => pause.wait(&error).await,
            }
        }
        pause.over(|| ());
    }
}

/// Sends spans in batches.
pub(crate) async fn send_spans(link: CollectorLink, shared: Arc<Shared>) {
    loop {
        shared.spans.gathered(GATHER).await;
        send_waiting_spans(&link, &shared).await;
    }
}

async fn send_waiting_spans(link: &CollectorLink, shared: &Shared) {
    loop {
        let batch = shared.spans.take();
        if batch.is_empty() {
            return;
        }
        if link.traces(sidecar::encode_spans(&batch, &shared.sidecar)).await.is_err() {
            shared.dropped.spans_unsent.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
    }
}

/// Waits longer after each failure and says only once that there is one.
struct Pause {
    next: Duration,
    failing: bool,
}

impl Pause {
    const fn new() -> Self {
        Self { next: PAUSE.0, failing: false }
    }

    async fn wait(&mut self, error: &str) {
        if !self.failing {
            tracing::warn!(error, "the collector cannot be reached; traffic goes on, telemetry waits");
        }
        self.failing = true;
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(PAUSE.1);
    }

    fn over(&mut self, say: impl FnOnce()) {
        if self.failing {
            say();
        }
        *self = Self::new();
    }
}
