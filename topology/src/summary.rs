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

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use rayon::prelude::*;
use tripline_model::{BreakerState, EdgeCounts, EdgeKey, Histogram, NodeKind, Ratio, Reporter, ServiceName, Timestamp};

use crate::ServiceGraph;
use crate::graph::{EDGES_A_CORE, EdgeState, NodeState};

/// Failures below this number never make anything degraded.
pub const MIN_FAILURES: u64 = 3;
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
pub struct NodeSummary {
    /// Its name.
    pub name: ServiceName,
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
pub struct EdgeSummary {
    /// Which.
    pub key: EdgeKey,
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

impl EdgeSummary {
    /// What the best reporter counted in `[from, to)`.
    fn of(key: &EdgeKey, state: &EdgeState, (from, to): (Timestamp, Timestamp)) -> Self {
        let (reporter, counts, latency) = state.best(from, to);
        let (key, breaker) = (key.clone(), state.worst_breaker());
        let health = health(counts.requests, counts.failed, breaker);
        Self { key, reporter, health, counts, latency, breaker, secured: state.secured }
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
pub struct GraphSummary {
    /// End of the window.
    pub at: Timestamp,
    /// Its length.
    pub window: Duration,
    /// How much of it the graph has been there for: what rates are taken over.
    pub covered: Duration,
    /// As [`ServiceGraph::generation`].
    pub generation: u64,
    /// By name.
    pub nodes: Vec<NodeSummary>,
    /// By key.
    pub edges: Vec<EdgeSummary>,
}

impl GraphSummary {
    /// Reads `[at - window, at]`, the second of `at` included.
    #[must_use]
    pub fn of(graph: &ServiceGraph, window: Duration, at: Timestamp) -> Self {
        let (from, to) = (at - window, at + Duration::from_secs(1));
        let states: Vec<(&EdgeKey, &EdgeState)> = graph.edges().collect();
        // Where each edge of the graph stands in the list.
        let mut listed = vec![None; graph.places()];
        for (at, (_, state)) in states.iter().enumerate() {
            listed[state.place as usize] = Some(at);
        }
        // What an edge carried in a minute is read from several places of the memory: a large mesh is worth all cores.
        let edges =
            states.par_iter().with_min_len(EDGES_A_CORE).map(|(key, state)| EdgeSummary::of(key, state, (from, to)));
        let edges: Vec<EdgeSummary> = edges.collect();
        let nodes = nodes_of(graph, &edges, &listed);
        Self { at, window, covered: graph.covered(window, at), generation: graph.generation(), nodes, edges }
    }
}

/// What a node's edges tell about it: those into it, or where nobody calls it those from it.
#[derive(Default)]
struct Gathered {
    requests: u64,
    failed: u64,
    latency: Histogram,
    breaker: Option<BreakerState>,
}

impl Gathered {
    fn of(into: &[&EdgeSummary], from: &[EdgeSummary]) -> Self {
        let mut gathered = Self::default();
        for edge in into {
            gathered.requests += edge.counts.requests - edge.counts.shed;
            gathered.failed += edge.counts.failed - edge.counts.shed;
            gathered.latency.merge(&edge.latency);
            gathered.breaker = gathered.breaker.max(edge.breaker);
        }
        for edge in from.iter().filter(|_| into.is_empty()) {
            gathered.requests += edge.counts.requests;
            gathered.failed += edge.counts.failed;
            gathered.latency.merge(&edge.latency);
        }
        gathered
    }
}

fn nodes_of(graph: &ServiceGraph, edges: &[EdgeSummary], listed: &[Option<usize>]) -> Vec<NodeSummary> {
    let nodes: Vec<(&ServiceName, &NodeState)> = graph.nodes().collect();
    let called = graph.called().filter_map(|(server, place)| Some((server, edges.get(listed[place]?)?)));
    let (servers, called): (Vec<&ServiceName>, Vec<&EdgeSummary>) = called.unzip();
    let into = runs(&nodes, servers.into_iter());
    let from = runs(&nodes, edges.iter().map(|edge| &edge.key.client));
    let entry_points: BTreeSet<ServiceName> = graph.entry_points();
    let places = nodes.par_iter().with_min_len(EDGES_A_CORE).zip(into).zip(from);
    let summed = places.map(|((node, into), from)| (node, Gathered::of(&called[into], &edges[from])));
    let summary = |((name, state), gathered): (&(&ServiceName, &NodeState), Gathered)| {
        let Gathered { requests, failed, latency, breaker } = gathered;
        NodeSummary {
            name: (*name).clone(),
            kind: state.kind,
            health: health(requests, failed, breaker),
            requests,
            failed,
            latency,
            entry_point: entry_points.contains(*name),
        }
    };
    summed.map(summary).collect()
}

/// Where each node's own lie in a list that is in the order of the nodes' names, as they are. Going through both side by side is quicker than looking
/// each name up.
fn runs<'a>(nodes: &[(&ServiceName, &NodeState)], listed: impl Iterator<Item = &'a ServiceName>) -> Vec<Range<usize>> {
    let (mut listed, mut at) = (listed.peekable(), 0);
    let run = |(name, _): &(&ServiceName, &NodeState)| {
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
