//! Reads what the edges of a node carried in a window, each once for itself and for the node.

use std::time::Duration;

use tripline_model::Timestamp;

use super::outline::Outline;
use super::{EdgeFigures, EdgeSummary, Health, Latency, NodeFigures};
use crate::ServiceGraph;
use crate::graph::Dense;

/// Reads the window `[from, to)` of a graph.
pub(super) struct Reader<'a> {
    graph: &'a ServiceGraph,
    from: Timestamp,
    to: Timestamp,
    /// How much of the window the graph has been there for: what rates are taken over.
    seconds: f64,
}

/// Where latencies are added up: those of an edge, and those of all into its node.
pub(super) struct Room {
    edge: Dense,
    node: Dense,
}

impl Default for Room {
    fn default() -> Self {
        Self { edge: Dense::new(), node: Dense::new() }
    }
}

/// A node, and where the edges into it are with what went over them.
pub(super) struct ReadNode {
    pub(super) figures: NodeFigures,
    pub(super) edges: Vec<(usize, EdgeFigures)>,
}

impl<'a> Reader<'a> {
    /// One of the `window` before `at`, the second of `at` included.
    pub(super) fn new(graph: &'a ServiceGraph, window: Duration, at: Timestamp) -> Self {
        let seconds = graph.covered(window, at).as_secs_f64();
        Self { graph, from: at - window, to: at + Duration::from_secs(1), seconds }
    }

    pub(super) fn node(&self, (all, outline): (&[EdgeSummary], &Outline), node: usize, room: &mut Room) -> ReadNode {
        room.node.clear();
        let mut figures = NodeFigures::default();
        let (mut edges, mut breaker) = (Vec::new(), None);
        for at in outline.edges_into(node).iter().map(|at| *at as usize) {
            let edge = self.edge(&all[at], room);
            figures.requests += edge.requests - edge.shed;
            figures.failed += edge.failed - edge.shed;
            breaker = breaker.max(edge.breaker);
            edges.push((at, edge));
        }
        if edges.is_empty() {
            for edge in &all[outline.edges_from(node)] {
                let edge = self.edge(edge, room);
                figures.requests += edge.requests;
                figures.failed += edge.failed;
            }
        }
        figures.requests_per_second = figures.requests as f64 / self.seconds;
        figures.health = Health::of(figures.requests, figures.failed, breaker);
        figures.latency = Latency::of(&room.node);
        ReadNode { figures, edges }
    }

    /// What the best reporter counted. Latencies are added to those of the node.
    fn edge(&self, edge: &EdgeSummary, room: &mut Room) -> EdgeFigures {
        let Some((_, state)) = self.graph.at(edge.place as usize) else { return EdgeFigures::default() };
        let (reporter, counts) = state.best(self.from, self.to, &mut room.edge);
        room.node.merge(&room.edge);
        let breaker = state.worst_breaker();
        let first = counts.attempts.saturating_sub(counts.retries);
        EdgeFigures {
            reporter,
            health: Health::of(counts.requests, counts.failed, breaker),
            requests: counts.requests,
            requests_per_second: counts.requests as f64 / self.seconds,
            failed: counts.failed,
            shed: counts.shed,
            attempts_per_request: if first == 0 { 1.0 } else { counts.attempts as f64 / first as f64 },
            latency: Latency::of(&room.edge),
            breaker,
            secured: state.secured,
        }
    }
}

impl Latency {
    fn of(latencies: &Dense) -> Self {
        let [p50, p90, p99] = latencies.quantiles([0.5, 0.9, 0.99]).unwrap_or_default();
        Self { p50, p90, p99 }
    }
}
