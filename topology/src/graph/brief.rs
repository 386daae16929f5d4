//! The few numbers of a span of time that the detector asks for, in one cache line: no histograms, no bytes.

use tripline_model::EdgeWindow;

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

/// How counts, and how times are added or subtracted.
type Sums = (fn(u32, u32) -> u32, fn(u64, u64) -> u64);

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
    pub(super) fn add(&mut self, other: &Self) {
        *self = self.each(other, (u32::saturating_add, u64::saturating_add));
    }

    /// Adds to a running sum, which wraps.
    pub(super) fn wrapping_add(&mut self, other: &Self) {
        *self = self.each(other, (u32::wrapping_add, u64::wrapping_add));
    }

    /// What was counted between an earlier running sum and this one.
    pub(super) fn minus(&self, earlier: &Self) -> Self {
        self.each(earlier, (u32::wrapping_sub, u64::wrapping_sub))
    }

    fn each(&self, other: &Self, (of, of_time): Sums) -> Self {
        Self {
            start: self.start,
            requests: of(self.requests, other.requests),
            failed: of(self.failed, other.failed),
            cancelled: of(self.cancelled, other.cancelled),
            shed: of(self.shed, other.shed),
            attempts: of(self.attempts, other.attempts),
            retries: of(self.retries, other.retries),
            transport_failures: of(self.transport_failures, other.transport_failures),
            origin_failures: of(self.origin_failures, other.origin_failures),
            propagated_failures: of(self.propagated_failures, other.propagated_failures),
            timed: of(self.timed, other.timed),
            self_timed: of(self.self_timed, other.self_timed),
            micros: of_time(self.micros, other.micros),
            self_micros: of_time(self.self_micros, other.self_micros),
        }
    }

    /// Requests that were not given up by their caller.
    pub(crate) const fn asked(&self) -> u32 {
        self.requests.saturating_sub(self.cancelled)
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
