//! The few numbers of a span of time that the detector asks for, in one cache line: no histograms, no bytes.

use tripline_model::{EdgeWindow, Reporter};

/// What one reporter counted on one edge over some span of time. Counts stop at four billion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Brief {
    /// Seconds since the epoch at which it starts.
    pub(crate) start: u32,
    /// As in [`tripline_model::EdgeCounts`].
    pub(crate) requests: u32,
    pub(crate) failed: u32,
    pub(crate) cancelled: u32,
    pub(crate) shed: u32,
    pub(crate) attempts: u32,
    pub(crate) retries: u32,
    pub(crate) transport_failures: u32,
    pub(crate) origin_failures: u32,
    pub(crate) propagated_failures: u32,
    /// Requests with a latency.
    pub(crate) timed: u32,
    /// Requests with a self time.
    pub(crate) self_timed: u32,
    /// Their latencies together.
    pub(crate) micros: u64,
    /// Their self times together.
    pub(crate) self_micros: u64,
}

impl Brief {
    pub(super) fn of(window: &EdgeWindow) -> Self {
        let (counts, latency, self_time) = (&window.counts, &window.latency, &window.self_time);
        let micros = |sum: std::time::Duration| u64::try_from(sum.as_micros()).unwrap_or(u64::MAX);
        Self {
            start: narrow(window.start.as_secs()),
            requests: narrow(counts.requests),
            failed: narrow(counts.failed),
            cancelled: narrow(counts.cancelled),
            shed: narrow(counts.shed),
            attempts: narrow(counts.attempts),
            retries: narrow(counts.retries),
            transport_failures: narrow(counts.transport_failures),
            origin_failures: narrow(counts.origin_failures),
            propagated_failures: narrow(counts.propagated_failures),
            timed: narrow(latency.count()),
            self_timed: narrow(self_time.count()),
            micros: micros(latency.sum()),
            self_micros: micros(self_time.sum()),
        }
    }

    /// Adds what another counted; its start does not matter.
    pub(crate) const fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failed = self.failed.saturating_add(other.failed);
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
        self.shed = self.shed.saturating_add(other.shed);
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.retries = self.retries.saturating_add(other.retries);
        self.transport_failures = self.transport_failures.saturating_add(other.transport_failures);
        self.origin_failures = self.origin_failures.saturating_add(other.origin_failures);
        self.propagated_failures = self.propagated_failures.saturating_add(other.propagated_failures);
        self.timed = self.timed.saturating_add(other.timed);
        self.self_timed = self.self_timed.saturating_add(other.self_timed);
        self.micros = self.micros.saturating_add(other.micros);
        self.self_micros = self.self_micros.saturating_add(other.self_micros);
    }

    /// Requests that were not given up by their caller.
    pub(crate) const fn asked(&self) -> u32 {
        self.requests.saturating_sub(self.cancelled)
    }

    /// How many requests each stands for that `reporter` saw: more than one where spans are sampled, of each of which the latency was taken once.
    pub(crate) fn weight(&self, reporter: Reporter) -> f64 {
        if reporter != Reporter::Spans || self.timed == 0 {
            return 1.0;
        }
        (f64::from(self.requests) / f64::from(self.timed)).max(1.0)
    }

    /// Mean latency in seconds; none without one.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.micros as f64 / f64::from(self.timed) * 1e-6)
    }
}

/// As much of a count as fits.
pub(super) fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
