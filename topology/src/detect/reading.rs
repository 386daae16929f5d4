//! What edges carried: in the last windows, and since an incident began.
//!
//! The latter is added up as the incident goes on. What is older than the last windows changes only when something comes late, and the graph says
//! on which edge it did: there, and where an edge is new, all is read again from its tallies.

use std::sync::Arc;
use std::time::Duration;

use tripline_model::{Reporter, Timestamp};

use super::near::{Near, NearEdge};
use crate::ServiceGraph;
use crate::graph::{Brief, KEPT};

/// What was counted on one edge by the client's sidecar, the server's, and spans.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts([Brief; 3]);

const REPORTERS: [Reporter; 3] = [Reporter::Client, Reporter::Server, Reporter::Spans];

impl Counts {
    /// Of the best reporter that counted a request.
    pub(super) fn best(&self) -> Brief {
        self.0.iter().find(|brief| brief.requests > 0).copied().unwrap_or_default()
    }

    /// Of the server's sidecar.
    pub(super) const fn served(&self) -> &Brief {
        let [_, served, _] = &self.0;
        served
    }

    /// In `[from, to)` of an edge, from its tallies.
    fn tallied(graph: &ServiceGraph, place: usize, (from, to): (Timestamp, Timestamp)) -> Self {
        let Some((_, state)) = graph.at(place).filter(|_| from < to) else { return Self::default() };
        Self(REPORTERS.map(|reporter| state.brief_by(reporter, from, to)))
    }

    /// Adds the windows of an edge that start in `[from, to)`.
    fn add_windows(&mut self, graph: &ServiceGraph, place: usize, (from, to): (Timestamp, Timestamp)) {
        let length = Duration::from_secs(graph.window_secs().into());
        let mut start = from;
        while start < to {
            for (sum, reporter) in self.0.iter_mut().zip(REPORTERS) {
                sum.add(&graph.window(place, reporter, start));
            }
            start = start + length;
        }
    }
}

/// What each edge carried in the windows from `from` on, the one that goes on included.
pub(super) fn latest(graph: &ServiceGraph, near: &Near, (from, now): (Timestamp, Timestamp)) -> Vec<Counts> {
    let of = |place| {
        let mut counts = Counts::default();
        counts.add_windows(graph, place, (from, now + SECOND));
        counts
    };
    near.edges.iter().map(|edge| of(edge.place)).collect()
}

const SECOND: Duration = Duration::from_secs(1);

/// The sums of one incident.
#[derive(Debug, Default)]
pub(super) struct Readings {
    near: Arc<Near>,
    /// What was added up: from here to there.
    span: (Timestamp, Timestamp),
    /// In the order of the edges of `near`.
    past: Vec<Past>,
}

#[derive(Debug, Clone, Copy)]
struct Past {
    /// [`ServiceGraph::old_at`] when it was read.
    old: u32,
    counts: Counts,
}

impl Readings {
    /// What each edge of `near` carried from `since` to now.
    pub(super) fn read(
        &mut self,
        graph: &ServiceGraph,
        near: &Arc<Near>,
        (since, now): (Timestamp, Timestamp),
    ) -> Vec<Counts> {
        let length = Duration::from_secs(graph.window_secs().into());
        let first = (since + length - SECOND).window_start(length);
        let until = graph.settled_at(now).max(first);
        self.past = self.settled(graph, near, (since, until), now);
        (self.near, self.span) = (Arc::clone(near), (since, until));
        let with_latest = |place, mut counts: Counts| {
            counts.add_windows(graph, place, (until, now + SECOND));
            counts
        };
        near.edges.iter().zip(&self.past).map(|(edge, past)| with_latest(edge.place, past.counts)).collect()
    }

    /// What each edge carried from the one time to the other, by what is known already.
    fn settled(
        &self,
        graph: &ServiceGraph,
        near: &Near,
        (since, until): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Vec<Past> {
        let goes_on = self.span.0 == since && self.span.1 <= until;
        // What the tallies do not reach any more is kept as it was read.
        let is_out_of_reach = now.since(since) > KEPT;
        let mut known = self.near.edges.iter().zip(&self.past).filter(|_| goes_on).peekable();
        let past = |edge: &NearEdge| {
            while known.next_if(|(before, _)| before.key < edge.key).is_some() {}
            let old = graph.old_at(edge.place);
            let is_same = |before: &(&NearEdge, &Past)| {
                before.0.key == edge.key && before.0.place == edge.place && (before.1.old == old || is_out_of_reach)
            };
            match known.next_if(is_same) {
                Some((_, before)) => {
                    let mut counts = before.counts;
                    counts.add_windows(graph, edge.place, (self.span.1, until));
                    Past { old, counts }
                }
                None => Past { old, counts: Counts::tallied(graph, edge.place, (since, until)) },
            }
        };
        near.edges.iter().map(past).collect()
    }
}
