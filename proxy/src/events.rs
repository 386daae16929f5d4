//! Breaker transitions on their way out, and the count of what telemetry had to be dropped.
//!
//! A transition is never sampled and leaves at once: whoever causes it puts it into a bounded queue and goes on; the
//! exporter waits at the other end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tripline_breaker::Change;
use tripline_model::{BreakerTransition, ServiceName, Sidecar};

/// Transitions waiting for the exporter.
pub(crate) const MAX_TRANSITIONS: usize = 1024;

/// Telemetry that was dropped, by kind.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    /// Reports that got no acknowledgement before newer ones pushed them out.
    pub(crate) reports: AtomicU64,
    /// Transitions that found the queue full.
    pub(crate) transitions: AtomicU64,
    /// Spans that found the queue full.
    pub(crate) spans_queue: AtomicU64,
    /// Spans that the collector did not take.
    pub(crate) spans_unsent: AtomicU64,
}

impl Dropped {
    /// All counts with the kind and the reason they are shown under.
    pub(crate) fn counts(&self) -> [(&'static str, &'static str, u64); 4] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("report", "queue_full", read(&self.reports)),
            ("transition", "queue_full", read(&self.transitions)),
            ("span", "queue_full", read(&self.spans_queue)),
            ("span", "not_accepted", read(&self.spans_unsent)),
        ]
    }

    /// Everything that was dropped.
    pub(crate) fn total(&self) -> u64 {
        self.counts().iter().map(|(_, _, count)| count).sum()
    }
}

/// What a breaker guards, and its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guarded<'a> {
    /// The breaker's id.
    pub(crate) breaker: &'a str,
    /// Who is called.
    pub(crate) server: &'a ServiceName,
    /// The route; empty when it guards all.
    pub(crate) route: &'a str,
    /// The endpoint; empty when it guards more than one.
    pub(crate) endpoint: &'a str,
}

/// Where transitions go.
#[derive(Debug)]
pub(crate) struct Events {
    sidecar: Sidecar,
    queue: mpsc::Sender<BreakerTransition>,
    sequence: AtomicU64,
    suppressed: AtomicU64,
    denied_retries: AtomicU64,
    dropped: Arc<Dropped>,
}

impl Events {
    /// Events of one sidecar and the end from which they are sent.
    pub(crate) fn new(sidecar: Sidecar, dropped: Arc<Dropped>) -> (Arc<Self>, mpsc::Receiver<BreakerTransition>) {
        let (queue, waiting) = mpsc::channel(MAX_TRANSITIONS);
        let (sequence, suppressed, denied_retries) = Default::default();
        let events = Self { sidecar, queue, sequence, suppressed, denied_retries, dropped };
        (Arc::new(events), waiting)
    }

    /// The service whose calls the breakers guard.
    pub(crate) const fn client(&self) -> &ServiceName {
        &self.sidecar.service
    }

    /// Sends a transition on its way.
    pub(crate) fn transition(&self, what: Guarded<'_>, change: Change) {
        tracing::warn!(
            breaker = what.breaker,
            from = change.from.as_str(),
            to = change.to.as_str(),
            reason = change.reason.as_str(),
            last_error = %change.last_error,
            failed = change.window_failed,
            total = change.window_total,
            "breaker changed"
        );
        self.send(what, change);
    }

    fn send(&self, what: Guarded<'_>, change: Change) {
        let event = BreakerTransition {
            breaker: what.breaker.to_owned(),
            client: self.sidecar.service.clone(),
            client_instance: self.sidecar.instance.clone(),
            server: what.server.clone(),
            route: what.route.to_owned(),
            endpoint: what.endpoint.to_owned(),
            at: change.at,
            from: change.from,
            to: change.to,
            reason: change.reason,
            window_total: change.window_total,
            window_failed: change.window_failed,
            window_slow: change.window_slow,
            threshold: change.threshold,
            last_error: change.last_error.to_string(),
            origin: change.origin,
            time_in_from: change.time_in_from,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            traces: change.traces,
        };
        if self.queue.try_send(event).is_err() {
            self.dropped.transitions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a trip that was denied because too many endpoints are ejected already, and tells it when there is something to
    /// tell: an event from closed to closed, with the reason of the trip.
    pub(crate) fn suppressed(&self, what: Guarded<'_>, change: Option<Change>) {
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        if let Some(change) = change {
            let (breaker, reason) = (what.breaker, change.reason.as_str());
            tracing::warn!(breaker, reason, "trip suppressed: too many endpoints are ejected");
            self.send(what, change);
        }
    }

    /// Counts a retry that the budget did not allow.
    pub(crate) fn retry_denied(&self) {
        self.denied_retries.fetch_add(1, Ordering::Relaxed);
    }

    /// How many retries the budget did not allow.
    pub(crate) fn denied_retries(&self) -> u64 {
        self.denied_retries.load(Ordering::Relaxed)
    }

    /// How many trips were denied.
    pub(crate) fn suppressed_trips(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Arc<Self> {
        Self::with_queue_for_test().0
    }

    #[cfg(test)]
    pub(crate) fn with_queue_for_test() -> (Arc<Self>, mpsc::Receiver<BreakerTransition>) {
        let sidecar = Sidecar { service: ServiceName::new("shop", "test"), instance: "i".into(), version: "0".into() };
        Self::new(sidecar, Arc::default())
    }
}
