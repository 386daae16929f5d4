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

/// What was counted on one edge.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// By the client's sidecar.
    client: Brief,
    /// By the server's.
    served: Brief,
    /// By spans, while neither sidecar has counted anything.
    spans: Option<Box<Brief>>,
}

impl Counts {
    /// Of the best reporter that counted a request.
    pub(super) fn best(&self) -> Brief {
        let briefs = [Some(&self.client), Some(&self.served), self.spans.as_deref()];
        briefs.into_iter().flatten().find(|brief| brief.requests > 0).copied().unwrap_or_default()
    }

    /// Of the server's sidecar.
    pub(super) const fn served(&self) -> &Brief {
        &self.served
    }

    /// Adds what `read` says that each reporter counted.
    fn add(&mut self, read: impl Fn(Reporter) -> Brief) {
        self.client.add(&read(Reporter::Client));
        self.served.add(&read(Reporter::Server));
        if self.client.requests == 0 && self.served.requests == 0 {
            let spans = read(Reporter::Spans);
            if spans.requests > 0 {
                self.spans.get_or_insert_default().add(&spans);
            }
        }
    }

    /// In `[from, to)` of an edge, from its tallies.
    fn tallied(graph: &ServiceGraph, place: usize, (from, to): (Timestamp, Timestamp)) -> Self {
        let mut counts = Self::default();
        if let Some((_, state)) = graph.at(place).filter(|_| from < to) {
            counts.add(|reporter| state.brief_by(reporter, from, to));
        }
        counts
    }

    /// Adds the windows of an edge that start in `[from, to)`.
    fn add_windows(&mut self, graph: &ServiceGraph, place: usize, (from, to): (Timestamp, Timestamp)) {
        let length = Duration::from_secs(graph.window_secs().into());
        let mut start = from;
        while start < to {
            self.add(|reporter| graph.window(place, reporter, start));
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

#[derive(Debug, Clone)]
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
        near.edges.iter().zip(&self.past).map(|(edge, past)| with_latest(edge.place, past.counts.clone())).collect()
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
                    let mut counts = before.counts.clone();
                    counts.add_windows(graph, edge.place, (self.span.1, until));
                    Past { old, counts }
                }
                None => Past { old, counts: Counts::tallied(graph, edge.place, (since, until)) },
            }
        };
        near.edges.iter().map(past).collect()
    }
}
