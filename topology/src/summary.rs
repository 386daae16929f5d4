//! One window of the graph as people read it: rates, error ratios, latencies and health.
//!
//! A large graph is not read anew each second: a hundred thousand edges over a minute are some hundred megabytes in as many places. Where there
//! are more than [`EDGES_A_TURN`] edges, nodes take turns with the edges into them, so that each is at most [`MAX_TURNS`] seconds old. What a breaker that is
//! not closed guards does not wait for its turn.

mod health;
mod outline;
mod read;

use std::collections::BTreeSet;
use std::time::Duration;

use rayon::prelude::*;
use tripline_model::{BreakerState, EdgeKey, NodeKind, Reporter, ServiceName, Timestamp};

use crate::ServiceGraph;
pub use health::{Health, MIN_FAILURES};
use outline::Outline;
use read::{ReadNode, Reader, Room};

/// Edges that are read within a turn: a graph that has no more is read whole each time.
const EDGES_A_TURN: usize = 20_000;
/// Turns until all of a graph is read.
const MAX_TURNS: usize = 5;
/// Nodes that are worth a core of their own: each reads what all its callers saw.
const NODES_A_CORE: usize = 128;

/// Latencies of requests; zero without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// Half of the requests took no longer.
    pub p50: Duration,
    /// Nine tenths of them did not.
    pub p90: Duration,
    /// 99 of a hundred did not.
    pub p99: Duration,
}

/// A node over one window.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSummary {
    /// Its name.
    pub name: ServiceName,
    /// What it stands for.
    pub kind: NodeKind,
    /// Whether something outside the mesh calls it.
    pub entry_point: bool,
    /// What it answered.
    pub figures: NodeFigures,
}

/// What a node answered in a window, as its clients saw it; for a node that nobody calls: what it asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeFigures {
    /// How well it does.
    pub health: Health,
    /// Requests, shed ones not included.
    pub requests: u64,
    /// The same a second, over as much of the window as the graph has been there for.
    pub requests_per_second: f64,
    /// Failed ones among them.
    pub failed: u64,
    /// How long they took.
    pub latency: Latency,
}

/// An edge over one window.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeSummary {
    /// Which.
    pub key: EdgeKey,
    /// What went over it.
    pub figures: EdgeFigures,
    /// In which reading of the graph, as [`GraphSummary::readings`].
    pub read: u64,
    /// Its place in the graph.
    place: u32,
}

/// What went over an edge in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeFigures {
    /// Who counted.
    pub reporter: Reporter,
    /// How well it does.
    pub health: Health,
    /// Requests of the client.
    pub requests: u64,
    /// The same a second, over as much of the window as the graph has been there for.
    pub requests_per_second: f64,
    /// Failed ones among them, for whatever reason.
    pub failed: u64,
    /// Those among these that a breaker refused.
    pub shed: u64,
    /// Attempts over requests that were attempted at all; 1 without retries and without traffic.
    pub attempts_per_request: f64,
    /// As the reporter saw it.
    pub latency: Latency,
    /// Worst state of its breakers; none when it has none.
    pub breaker: Option<BreakerState>,
    /// Whether every connection was mutually authenticated.
    pub secured: bool,
}

/// The graph over `[at - window, at)`.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphSummary {
    /// End of the window.
    pub at: Timestamp,
    /// Its length.
    pub window: Duration,
    /// As [`ServiceGraph::generation`].
    pub generation: u64,
    /// By name.
    pub nodes: Vec<NodeSummary>,
    /// By key.
    pub edges: Vec<EdgeSummary>,
    /// How often the graph was read.
    pub readings: u64,
    outline: Outline,
    /// Nodes that did not wait for theirs.
    urgent: BTreeSet<usize>,
}

impl GraphSummary {
    /// Reads `[at - window, at]`, the second of `at` included.
    #[must_use]
    pub fn of(graph: &ServiceGraph, window: Duration, at: Timestamp) -> Self {
        Self::whole(graph, (window, at), 0)
    }

    fn whole(graph: &ServiceGraph, (window, at): (Duration, Timestamp), readings: u64) -> Self {
        let (nodes, edges, outline) = Outline::of(graph);
        let (generation, urgent) = (graph.generation(), BTreeSet::new());
        let mut summary = Self { at, window, generation, nodes, edges, readings, outline, urgent };
        summary.read(graph, (0..summary.nodes.len()).collect());
        summary
    }

    /// Reads the same window of the same graph as of `at`: all of it, or of a large one those whose turn has come since, one turn a second.
    pub fn follow(&mut self, graph: &ServiceGraph, at: Timestamp) {
        if self.generation != graph.generation() {
            *self = Self::whole(graph, (self.window, at), self.readings);
            return;
        }
        let turns = self.edges.len().div_ceil(EDGES_A_TURN).clamp(1, MAX_TURNS);
        let came = if at < self.at || turns == 1 { turns as u64 } else { at.as_secs() - self.at.as_secs() };
        self.at = at;
        let node_of = |name: &ServiceName| self.nodes.binary_search_by(|node| node.name.cmp(name)).ok();
        let urgent: BTreeSet<usize> = graph.alarmed().filter_map(|key| node_of(&key.server)).collect();
        let calmed = std::mem::replace(&mut self.urgent, urgent);
        // A node's turn is in the seconds that leave the same rest as its number.
        let since_turn = |node: usize| (at.as_secs() + (turns - node % turns) as u64) % turns as u64;
        let is_due = |node: &usize| since_turn(*node) < came || self.urgent.contains(node) || calmed.contains(node);
        let due = (0..self.nodes.len()).filter(is_due).collect();
        self.read(graph, due);
    }

    fn read(&mut self, graph: &ServiceGraph, nodes: Vec<usize>) {
        self.readings += 1;
        let reader = Reader::new(graph, self.window, self.at);
        // What an edge carried in a minute is read from several places of the memory: a large mesh is worth all cores.
        let nodes = nodes.into_par_iter().with_min_len(NODES_A_CORE);
        let of = |room: &mut Room, node: usize| (node, reader.node((&self.edges, &self.outline), node, room));
        let read: Vec<(usize, ReadNode)> = nodes.map_init(Room::default, of).collect();
        for (node, ReadNode { figures, edges }) in read {
            self.nodes[node].figures = figures;
            for (at, figures) in edges {
                (self.edges[at].figures, self.edges[at].read) = (figures, self.readings);
            }
        }
    }
}

impl NodeSummary {
    fn new(name: &ServiceName, kind: NodeKind, entry_point: bool) -> Self {
        Self { name: name.clone(), kind, entry_point, figures: NodeFigures::default() }
    }
}

impl EdgeSummary {
    fn new(key: &EdgeKey, place: u32) -> Self {
        Self { key: key.clone(), figures: EdgeFigures::default(), read: 0, place }
    }
}

impl Default for EdgeFigures {
    fn default() -> Self {
        Self {
            reporter: Reporter::Client,
            health: Health::Idle,
            requests: 0,
            requests_per_second: 0.0,
            failed: 0,
            shed: 0,
            attempts_per_request: 1.0,
            latency: Latency::default(),
            breaker: None,
            secured: false,
        }
    }
}

#[cfg(test)]
mod tests;
