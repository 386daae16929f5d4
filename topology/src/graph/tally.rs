//! What one reporter counted on one edge, as panes of one second, thinned to ten seconds after 75 s.
//!
//! The numbers that the detector asks for every second lie side by side ([`Brief`]), apart from what only people and history ask for, and
//! as running sums: what was counted between two moments is the difference of two of them, however many panes lie between. They wrap; differences below
//! four billion are right all the same.

use std::collections::VecDeque;
use std::time::Duration;

use tripline_model::{EdgeCounts, EdgeWindow, Histogram, Timestamp};

use super::brief::{Brief, narrow};

/// Panes of one second are kept for this long; a graph over a minute is exact to the second.
const FINE_SECS: u32 = 75;
/// Length of a pane after that.
const COARSE_SECS: u32 = 10;
/// How far back anything is kept.
pub(super) const KEPT: Duration = Duration::from_secs(600);

/// Counts and latencies over some span of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sum {
    /// The counts.
    pub counts: EdgeCounts,
    /// As the reporter saw it.
    pub latency: Histogram,
    /// Time outside the server's own calls.
    pub self_time: Histogram,
}

impl Sum {
    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.latency.merge(&other.latency);
        self.self_time.merge(&other.self_time);
    }
}

/// What a pane holds beside its brief.
#[derive(Debug, Clone, Default)]
struct Rest {
    answered_failures: u32,
    induced: u32,
    request_bytes: u64,
    response_bytes: u64,
    latency: Histogram,
    self_time: Histogram,
}

/// The panes of one reporter, ascending and without gaps filled in.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Sum of all panes up to this one.
    briefs: VecDeque<Brief>,
    /// Sum of the panes that have gone.
    base: Brief,
    /// In the same places as the briefs.
    rests: VecDeque<Rest>,
}

impl Tally {
    /// Adds a window to the pane of the second it starts in.
    pub(super) fn count(&mut self, window: &EdgeWindow) {
        let brief = Brief::of(window);
        let newest = self.briefs.back().map_or(0, |pane| pane.start);
        let at = if newest < brief.start {
            self.briefs.len()
        } else {
            self.briefs.partition_point(|pane| pane.start < brief.start)
        };
        if self.briefs.get(at).is_none_or(|pane| pane.start != brief.start) {
            self.briefs.insert(at, Brief { start: brief.start, ..self.until(at) });
            self.rests.insert(at, Rest::default());
        }
        self.briefs.range_mut(at..).for_each(|pane| pane.wrapping_add(&brief));
        if let Some(rest) = self.rests.get_mut(at) {
            rest.add(&Rest {
                answered_failures: narrow(window.counts.answered_failures),
                induced: narrow(window.counts.induced),
                request_bytes: window.counts.request_bytes,
                response_bytes: window.counts.response_bytes,
                ..Rest::default()
            });
            rest.latency.merge(&window.latency);
            rest.self_time.merge(&window.self_time);
        }
    }

    /// Whether nothing of the last ten minutes is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.briefs.is_empty()
    }

    /// The panes that start in `[from, to)`, in whole seconds.
    pub(super) fn seconds(&self, from: u32, to: u32) -> impl Iterator<Item = Brief> {
        let first = self.first(from);
        let before = std::iter::once(self.until(first)).chain(self.briefs.range(first..).copied());
        let panes = self.briefs.range(first..).take_while(move |pane| pane.start < to);
        panes.zip(before).map(|(pane, before)| pane.minus(&before))
    }

    /// Their sum.
    pub(super) fn brief(&self, from: u32, to: u32) -> Brief {
        let (first, last) = (self.first(from), self.first(to));
        if first >= last {
            return Brief { start: from, ..Brief::default() };
        }
        Brief { start: from, ..self.until(last).minus(&self.until(first)) }
    }

    /// Whether a request was counted in `[from, to)`.
    pub(super) fn counted(&self, from: u32, to: u32) -> bool {
        self.brief(from, to).requests > 0
    }

    /// Everything from panes that start in `[from, to)`.
    pub(super) fn sum(&self, from: Timestamp, to: Timestamp) -> Sum {
        let (from, to) = (narrow(from.as_secs()), narrow(to.as_secs()));
        let mut sum = Sum::default();
        for (brief, rest) in self.seconds(from, to).zip(self.rests.range(self.first(from)..)) {
            sum.counts.merge(&counts(&brief, rest));
            sum.latency.merge(&rest.latency);
            sum.self_time.merge(&rest.self_time);
        }
        sum
    }

    /// Like [`Self::sum`], counts only.
    pub(super) fn counts(&self, from: Timestamp, to: Timestamp) -> EdgeCounts {
        let (from, to) = (narrow(from.as_secs()), narrow(to.as_secs()));
        let mut sum = EdgeCounts::default();
        for (brief, rest) in self.seconds(from, to).zip(self.rests.range(self.first(from)..)) {
            sum.merge(&counts(&brief, rest));
        }
        sum
    }

    /// Merges old panes and drops what is older than ten minutes.
    pub(super) fn thin_out(&mut self, now: Timestamp) {
        let oldest = narrow((now - KEPT).as_secs());
        while self.briefs.front().is_some_and(|pane| pane.start < oldest) {
            self.base = self.briefs.pop_front().unwrap_or(self.base);
            self.rests.pop_front();
        }
        let fine_from = narrow(now.as_secs()).saturating_sub(FINE_SECS);
        let mut at = self.briefs.partition_point(|pane| pane.start < fine_from);
        let coarse = |pane: &Brief| pane.start / COARSE_SECS;
        while at > 1 {
            at -= 1;
            if self.briefs.get(at).map(coarse) != self.briefs.get(at - 1).map(coarse) {
                continue;
            }
            if let (Some(next), Some(rest)) = (self.briefs.remove(at), self.rests.remove(at))
                && let (Some(pane), Some(known)) = (self.briefs.get_mut(at - 1), self.rests.get_mut(at - 1))
            {
                *pane = Brief { start: pane.start, ..next };
                known.add(&rest);
            }
        }
    }

    /// The sum of the panes before a place.
    fn until(&self, at: usize) -> Brief {
        at.checked_sub(1).and_then(|before| self.briefs.get(before)).copied().unwrap_or(self.base)
    }

    /// The place of the first pane that does not start before `from`.
    fn first(&self, from: u32) -> usize {
        let Some(newest) = self.briefs.back() else { return 0 };
        if newest.start < from {
            return self.briefs.len();
        }
        // Where traffic flows every second has its pane, and the place can be told from the newest.
        let guess = (self.briefs.len() - 1).saturating_sub((newest.start - from) as usize);
        let before = |at: usize| self.briefs.get(at).is_some_and(|pane| pane.start < from);
        if !before(guess) && (guess == 0 || before(guess - 1)) {
            return guess;
        }
        self.briefs.partition_point(|pane| pane.start < from)
    }
}

impl Rest {
    fn add(&mut self, other: &Self) {
        self.answered_failures = self.answered_failures.saturating_add(other.answered_failures);
        self.induced = self.induced.saturating_add(other.induced);
        self.request_bytes = self.request_bytes.saturating_add(other.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
        self.latency.merge(&other.latency);
        self.self_time.merge(&other.self_time);
    }
}

fn counts(brief: &Brief, rest: &Rest) -> EdgeCounts {
    EdgeCounts {
        requests: brief.requests.into(),
        failed: brief.failed.into(),
        cancelled: brief.cancelled.into(),
        shed: brief.shed.into(),
        attempts: brief.attempts.into(),
        retries: brief.retries.into(),
        answered_failures: rest.answered_failures.into(),
        transport_failures: brief.transport_failures.into(),
        induced: rest.induced.into(),
        origin_failures: brief.origin_failures.into(),
        propagated_failures: brief.propagated_failures.into(),
        request_bytes: rest.request_bytes,
        response_bytes: rest.response_bytes,
    }
}
