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
use std::time::Duration;

use tripline_model::{BreakerState, EdgeCounts, EdgeKey, Histogram, NodeKind, Ratio, Reporter, ServiceName, Timestamp};

use crate::ServiceGraph;

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
        // Where each edge of the graph stands in the list.
        let mut listed = vec![None; graph.places()];
        let mut edges = Vec::with_capacity(listed.len());
        for (key, state) in graph.edges() {
            listed[state.place as usize] = Some(edges.len());
            let (reporter, counts, latency) = state.best(from, to);
            let breaker = state.worst_breaker();
            edges.push(EdgeSummary {
                key: key.clone(),
                reporter,
                health: health(counts.requests, counts.failed, breaker),
                counts,
                latency,
                breaker,
                secured: state.secured,
            });
        }
        let nodes = nodes_of(graph, &edges, &listed);
        Self { at, window, covered: graph.covered(window, at), generation: graph.generation(), nodes, edges }
    }
}

/// What a node's edges tell about it: those into it, or where nobody calls it those from it.
#[derive(Clone, Default)]
struct Gathered {
    called: bool,
    requests: u64,
    failed: u64,
    latency: Histogram,
    breaker: Option<BreakerState>,
}

/// Nodes and edges are gone through side by side, in the order of their names: looking a name up for each end of each edge took longer than
/// reading what the edges carried.
fn nodes_of(graph: &ServiceGraph, edges: &[EdgeSummary], listed: &[Option<usize>]) -> Vec<NodeSummary> {
    let names: Vec<&ServiceName> = graph.nodes().map(|(name, _)| name).collect();
    let mut gathered = vec![Gathered::default(); names.len()];
    let mut at = 0;
    for (name, place) in graph.called() {
        let Some(edge) = listed[place].and_then(|listed| edges.get(listed)) else { continue };
        let Some(server) = found(&names, &mut at, name).map(|at| &mut gathered[at]) else { continue };
        server.called = true;
        server.requests += edge.counts.requests - edge.counts.shed;
        server.failed += edge.counts.failed - edge.counts.shed;
        server.latency.merge(&edge.latency);
        server.breaker = server.breaker.max(edge.breaker);
    }
    at = 0;
    for edge in edges {
        let client = found(&names, &mut at, &edge.key.client).map(|at| &mut gathered[at]);
        let Some(client) = client.filter(|client| !client.called) else { continue };
        client.requests += edge.counts.requests;
        client.failed += edge.counts.failed;
        client.latency.merge(&edge.latency);
    }
    let entry_points: BTreeSet<ServiceName> = graph.entry_points();
    graph
        .nodes()
        .zip(gathered)
        .map(|((name, state), Gathered { requests, failed, latency, breaker, .. })| NodeSummary {
            name: name.clone(),
            kind: state.kind,
            health: health(requests, failed, breaker),
            requests,
            failed,
            latency,
            entry_point: entry_points.contains(name),
        })
        .collect()
}

/// The place of a name among some in their order; `at` is where the one before was, which is not behind it.
fn found(names: &[&ServiceName], at: &mut usize, name: &ServiceName) -> Option<usize> {
    while names.get(*at).is_some_and(|known| *known < name) {
        *at += 1;
    }
    names.get(*at).is_some_and(|known| *known == name).then_some(*at)
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
