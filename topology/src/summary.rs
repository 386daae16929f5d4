//! One window of the graph as people read it: rates, error ratios, latencies and health.
//!
//! Health, for a node over the requests it answered and for an edge over the requests made on it:
//!
//! | health | condition | source of the threshold |
//! |---|---|---|
//! | failing | at least 10 % failed and at least [`MIN_FAILURES`], or a breaker in front is open | Kiali's default for HTTP 5xx |
//! | degraded | at least 1 % failed and at least [`MIN_FAILURES`], or a breaker is half open | our choice: two nines |
//! | idle | no request | |
//! | healthy | everything else | |
//!
//! The least number of failures keeps a ratio over a handful of requests from flapping. Requests shed on an edge count as
//! failed for the edge's client, never for the server behind it: a server that nobody may call is dark, not guilty.

use std::ops::Range;
use std::time::Duration;

use rayon::prelude::*;
use tripline_model::{BreakerState, EdgeCounts, EdgeKey, Histogram, NodeKind, Ratio, Reporter, ServiceName, Timestamp};

use crate::ServiceGraph;
use crate::graph::{Dense, EDGES_A_CORE, EdgeState, NodeState};

/// Failures below this number never make anything degraded.
pub const MIN_FAILURES: u64 = 3;
/// Nodes that are worth a core of their own: each reads what all its callers saw.
const NODES_A_CORE: usize = 512;
const FAILING: f64 = 0.10;
const DEGRADED: f64 = 0.01;

/// How well a node or an edge does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// No traffic in the window.
    Idle,
    /// Traffic, and nothing wrong with it.
    Healthy,
    /// Some requests fail.
    Degraded,
    /// Many requests fail, or a breaker in front is open.
    Failing,
}

/// A node over one window.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSummary<'a> {
    /// Its name.
    pub name: &'a ServiceName,
    /// What it stands for.
    pub kind: NodeKind,
    /// How well it does.
    pub health: Health,
    /// Requests it received, shed ones not included; for a node that nobody calls: requests it sent.
    pub requests: u64,
    /// Failed ones among them.
    pub failed: u64,
    /// As its clients saw it.
    pub latency: Histogram,
    /// Whether something outside the mesh calls it.
    pub entry_point: bool,
}

/// An edge over one window.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeSummary<'a> {
    /// Which.
    pub key: &'a EdgeKey,
    /// Who counted.
    pub reporter: Reporter,
    /// How well it does.
    pub health: Health,
    /// The counts.
    pub counts: EdgeCounts,
    /// As the reporter saw it.
    pub latency: Histogram,
    /// Worst state of its breakers; none when it has none.
    pub breaker: Option<BreakerState>,
    /// Whether every connection was mutually authenticated.
    pub secured: bool,
}

impl<'a> EdgeSummary<'a> {
    /// What the best reporter counted in `[from, to)`.
    fn of(key: &'a EdgeKey, state: Option<&EdgeState>, (from, to): (Timestamp, Timestamp)) -> Self {
        let nothing = || (Reporter::Client, EdgeCounts::default(), Histogram::default());
        let (reporter, counts, latency) = state.map_or_else(nothing, |state| state.best(from, to));
        let breaker = state.and_then(EdgeState::worst_breaker);
        let health = health(counts.requests, counts.failed, breaker);
        Self { key, reporter, health, counts, latency, breaker, secured: state.is_some_and(|state| state.secured) }
    }

    /// Attempts over requests that were attempted at all; 1 without retries and without traffic.
    #[must_use]
    pub fn attempts_per_request(&self) -> f64 {
        let first = self.counts.attempts.saturating_sub(self.counts.retries);
        if first == 0 { 1.0 } else { self.counts.attempts as f64 / first as f64 }
    }
}

/// The graph over `[at - window, at)`.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphSummary<'a> {
    /// End of the window.
    pub at: Timestamp,
    /// Its length.
    pub window: Duration,
    /// How much of it the graph has been there for: what rates are taken over.
    pub covered: Duration,
    /// As [`ServiceGraph::generation`].
    pub generation: u64,
    /// By name.
    pub nodes: Vec<NodeSummary<'a>>,
    /// By key.
    pub edges: Vec<EdgeSummary<'a>>,
}

impl<'a> GraphSummary<'a> {
    /// Reads `[at - window, at]`, the second of `at` included. `outline` is that of the same graph, and made anew when nodes or edges have come or gone.
    #[must_use]
    pub fn of(graph: &'a ServiceGraph, outline: &'a mut Outline, window: Duration, at: Timestamp) -> Self {
        outline.follow(graph);
        let span = (at - window, at + Duration::from_secs(1));
        // What an edge carried in a minute is read from several places of the memory: a large mesh is worth all cores.
        let all = outline.edges.par_iter().with_min_len(EDGES_A_CORE);
        let state = |place: u32| graph.at(place as usize).map(|(_, state)| state);
        let edges: Vec<EdgeSummary<'_>> = all.map(|(key, place)| EdgeSummary::of(key, state(*place), span)).collect();
        let nodes = outline.nodes(graph, &edges);
        Self { at, window, covered: graph.covered(window, at), generation: graph.generation(), nodes, edges }
    }
}

/// Where the edges of each node are: the same for as long as none comes or goes, and in a large graph slow to find.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    generation: Option<u64>,
    /// Edges with their places, by key.
    edges: Vec<(EdgeKey, u32)>,
    /// Where edges stand among those, by server and client.
    called: Vec<u32>,
    nodes: Vec<Ends>,
}

/// What begins and ends at a node.
#[derive(Debug, Clone)]
struct Ends {
    /// Its own among those that are called.
    into: Range<usize>,
    /// Its own among the edges.
    from: Range<usize>,
    entry_point: bool,
}

impl Outline {
    fn follow(&mut self, graph: &ServiceGraph) {
        if self.generation == Some(graph.generation()) {
            return;
        }
        let edges: Vec<(&EdgeKey, &EdgeState)> = graph.edges().collect();
        let mut listed = vec![0; graph.places()];
        for (at, (_, state)) in (0..).zip(&edges) {
            listed[state.place as usize] = at;
        }
        let nodes: Vec<&ServiceName> = graph.nodes().map(|(name, _)| name).collect();
        let (servers, called): (Vec<&ServiceName>, Vec<u32>) =
            graph.called().map(|(server, place)| (server, listed[place])).unzip();
        let into = runs(&nodes, servers.into_iter());
        let from = runs(&nodes, edges.iter().map(|(key, _)| &key.client));
        let entry_points = graph.entry_points();
        let ends = nodes.iter().zip(into).zip(from).map(|((name, into), from)| Ends {
            into,
            from,
            entry_point: entry_points.contains(*name),
        });
        *self = Self {
            generation: Some(graph.generation()),
            nodes: ends.collect(),
            edges: edges.into_iter().map(|(key, state)| (key.clone(), state.place)).collect(),
            called,
        };
    }

    fn nodes<'a>(&self, graph: &'a ServiceGraph, edges: &[EdgeSummary<'_>]) -> Vec<NodeSummary<'a>> {
        let named: Vec<(&ServiceName, &NodeState)> = graph.nodes().collect();
        let with_ends = named.par_iter().with_min_len(NODES_A_CORE).zip(&self.nodes);
        let summary = |((name, state), ends): (&(&'a ServiceName, &NodeState), &Ends)| {
            let into = self.called[ends.into.clone()].iter().map(|at| &edges[*at as usize]);
            let from = &edges[ends.from.clone()];
            let Gathered { requests, failed, latency, breaker } = Gathered::of(into, from);
            NodeSummary {
                name,
                kind: state.kind,
                health: health(requests, failed, breaker),
                requests,
                failed,
                latency: latency.histogram(),
                entry_point: ends.entry_point,
            }
        };
        with_ends.map(summary).collect()
    }
}

/// What a node's edges tell about it: those into it, or where nobody calls it those from it.
#[derive(Default)]
struct Gathered {
    requests: u64,
    failed: u64,
    latency: Dense,
    breaker: Option<BreakerState>,
}

impl Gathered {
    fn of<'a>(into: impl ExactSizeIterator<Item = &'a EdgeSummary<'a>>, from: &[EdgeSummary<'_>]) -> Self {
        let mut gathered = Self::default();
        let is_called = into.len() > 0;
        for edge in into {
            gathered.requests += edge.counts.requests - edge.counts.shed;
            gathered.failed += edge.counts.failed - edge.counts.shed;
            gathered.latency.merge(&edge.latency);
            gathered.breaker = gathered.breaker.max(edge.breaker);
        }
        for edge in from.iter().filter(|_| !is_called) {
            gathered.requests += edge.counts.requests;
            gathered.failed += edge.counts.failed;
            gathered.latency.merge(&edge.latency);
        }
        gathered
    }
}

/// Where each node's own lie in a list that is in the order of the nodes' names, as they are. Going through both side by side is quicker than looking
/// each name up.
fn runs<'a>(nodes: &[&ServiceName], listed: impl Iterator<Item = &'a ServiceName>) -> Vec<Range<usize>> {
    let (mut listed, mut at) = (listed.peekable(), 0);
    let run = |name: &&ServiceName| {
        while listed.next_if(|known| known < name).is_some() {
            at += 1;
        }
        let start = at;
        while listed.next_if(|known| known == name).is_some() {
            at += 1;
        }
        start..at
    };
    nodes.iter().map(run).collect()
}

fn health(requests: u64, failed: u64, breaker: Option<BreakerState>) -> Health {
    let ratio = Ratio::of(failed, requests).get();
    let enough = failed >= MIN_FAILURES;
    match breaker {
        Some(BreakerState::Open) => Health::Failing,
        _ if enough && ratio >= FAILING => Health::Failing,
        Some(BreakerState::HalfOpen) => Health::Degraded,
        _ if enough && ratio >= DEGRADED => Health::Degraded,
        _ if requests == 0 => Health::Idle,
        _ => Health::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_by_numbers() {
        let cases = [
            (0, 0, None, Health::Idle),
            (100, 0, None, Health::Healthy),
            (4, 2, None, Health::Healthy),
            (100, 3, None, Health::Degraded),
            (100, 10, None, Health::Failing),
            (1000, 9, None, Health::Healthy),
            (100, 0, Some(BreakerState::HalfOpen), Health::Degraded),
            (0, 0, Some(BreakerState::Open), Health::Failing),
            (0, 0, Some(BreakerState::Closed), Health::Idle),
        ];
        for (requests, failed, breaker, expected) in cases {
            assert_eq!(health(requests, failed, breaker), expected, "{requests} {failed} {breaker:?}");
        }
    }
}
