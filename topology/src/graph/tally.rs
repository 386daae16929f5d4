//! What one reporter counted on one edge, as panes of one second, thinned to ten seconds after 75 s.

use std::collections::VecDeque;
use std::time::Duration;

use tripline_model::{EdgeCounts, EdgeWindow, Histogram, Timestamp};

/// Panes of one second are kept for this long; a graph over a minute is exact to the second.
const FINE_SECS: u64 = 75;
/// Length of a pane after that.
const COARSE_SECS: u64 = 10;
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

/// One pane: `[start, start + length)` in whole seconds.
#[derive(Debug, Clone)]
struct Pane {
    start: u64,
    sum: Sum,
}

/// The panes of one reporter, ascending and without gaps filled in.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    panes: VecDeque<Pane>,
}

impl Tally {
    /// Adds a window to the pane of the second it starts in.
    pub(super) fn count(&mut self, window: &EdgeWindow) {
        let start = window.start.as_secs();
        let at = self.panes.partition_point(|pane| pane.start < start);
        if self.panes.get(at).is_none_or(|pane| pane.start != start) {
            self.panes.insert(at, Pane { start, sum: Sum::default() });
        }
        if let Some(pane) = self.panes.get_mut(at) {
            pane.sum.counts.merge(&window.counts);
            pane.sum.latency.merge(&window.latency);
            pane.sum.self_time.merge(&window.self_time);
        }
    }

    /// Whether nothing of the last ten minutes is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }

    /// Everything from panes that start in `[from, to)`.
    pub(super) fn sum(&self, from: Timestamp, to: Timestamp) -> Sum {
        let (from, to) = (from.as_secs(), to.as_secs());
        let first = self.panes.partition_point(|pane| pane.start < from);
        let mut sum = Sum::default();
        for pane in self.panes.range(first..).take_while(|pane| pane.start < to) {
            sum.merge(&pane.sum);
        }
        sum
    }

    /// Like [`Self::sum`], counts only: the detector asks often.
    pub(super) fn counts(&self, from: Timestamp, to: Timestamp) -> EdgeCounts {
        let (from, to) = (from.as_secs(), to.as_secs());
        let first = self.panes.partition_point(|pane| pane.start < from);
        let mut counts = EdgeCounts::default();
        for pane in self.panes.range(first..).take_while(|pane| pane.start < to) {
            counts.merge(&pane.sum.counts);
        }
        counts
    }

    /// Merges old panes and drops what is older than ten minutes.
    pub(super) fn thin_out(&mut self, now: Timestamp) {
        let oldest = (now - KEPT).as_secs();
        while self.panes.front().is_some_and(|pane| pane.start < oldest) {
            self.panes.pop_front();
        }
        let fine_from = now.as_secs().saturating_sub(FINE_SECS);
        let mut at = 1;
        while self.panes.get(at).is_some_and(|pane| pane.start < fine_from) {
            let coarse = |pane: &Pane| pane.start / COARSE_SECS;
            if self.panes.get(at).map(coarse) == self.panes.get(at - 1).map(coarse) {
                if let Some(next) = self.panes.remove(at)
                    && let Some(pane) = self.panes.get_mut(at - 1)
                {
                    pane.sum.merge(&next.sum);
                }
            } else {
                at += 1;
            }
        }
    }
}
