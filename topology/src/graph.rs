//! The live service graph: who calls whom, counted second by second for the last ten minutes.
//!
//! Edges come from [`EdgeWindow`]s. Each reporter of an edge (client's sidecar, server's sidecar, spans) is tallied on its own,
//! because they describe the same traffic; a question is answered by the best one that counted anything in the asked
//! window. A window is refused, by reason, when its numbers cannot be true together or its time lies outside what is
//! kept; it is folded into `__overflow__` when the graph is full, so that strangers inventing names never push
//! a known service out. Services and edges that were silent for [`Limits::forget_after`] go.

mod edge;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tripline_model::{EdgeKey, EdgeWindow, NodeKind, Reporter, ServiceName, Timestamp};

pub use edge::{BreakerInfo, EdgeState};
pub use tally::Sum;

/// What the graph may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Distinct services and peers; more fold into `__overflow__`.
    pub nodes: usize,
    /// Distinct edges; more fold into one edge between overflow nodes.
    pub edges: usize,
    /// Breakers of one edge; more are ignored and counted.
    pub breakers_per_edge: usize,
    /// How old a window may be when it arrives.
    pub late: Duration,
    /// How far in the future a window may end: clocks differ a little.
    pub early: Duration,
    /// Silence after which a node or an edge goes.
    pub forget_after: Duration,
}

impl Default for Limits {
    /// 10,000 services and 100,000 edges, the size the project promises; two minutes late, ten seconds early.
    fn default() -> Self {
        Self {
            nodes: 10_000,
            edges: 100_000,
            breakers_per_edge: 1_000,
            late: Duration::from_secs(120),
            early: Duration::from_secs(10),
            forget_after: Duration::from_secs(15 * 60),
        }
    }
}

/// What became of an observed window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Counted.
    Counted,
    /// Counted, but under `__overflow__`.
    Folded,
    /// Refused: its numbers cannot be true together.
    Implausible,
    /// Refused: older than the graph reaches back, or from the future.
    OutOfTime,
}

/// What is known of a node beside its edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// What it stands for.
    pub kind: NodeKind,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// Whether a sidecar of it has reported.
    pub has_sidecar: bool,
}

/// The live graph. One task owns it; everything that needs the time is given it.
#[derive(Debug, Clone)]
pub struct ServiceGraph {
    limits: Limits,
    nodes: BTreeMap<ServiceName, NodeState>,
    edges: BTreeMap<EdgeKey, EdgeState>,
    generation: u64,
    began: Option<Timestamp>,
    drained_to: Option<Timestamp>,
}

impl ServiceGraph {
    /// An empty graph.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, nodes: BTreeMap::new(), edges: BTreeMap::new(), generation: 0, began: None, drained_to: None }
    }

    /// Grows by one whenever a node or an edge comes or goes.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How much of a window of time that ends at `at` has passed since the first counted request: all of it, but for a graph that is
    /// younger. At least a second.
    #[must_use]
    pub fn covered(&self, window: Duration, at: Timestamp) -> Duration {
        let age = self.began.map_or(window, |began| at.since(began));
        age.min(window).max(Duration::from_secs(1))
    }

    /// Every node, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&ServiceName, &NodeState)> {
        self.nodes.iter()
    }

    /// Every edge, by key.
    pub fn edges(&self) -> impl Iterator<Item = (&EdgeKey, &EdgeState)> {
        self.edges.iter()
    }

    /// One edge.
    #[must_use]
    pub fn edge(&self, key: &EdgeKey) -> Option<&EdgeState> {
        self.edges.get(key)
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &ServiceName) -> Option<&NodeState> {
        self.nodes.get(name)
    }

    /// The services that something outside the mesh, or a gateway, calls.
    #[must_use]
    pub fn entry_points(&self) -> BTreeSet<ServiceName> {
        let outside = |name| matches!(self.kind(name), NodeKind::User | NodeKind::Gateway | NodeKind::External);
        self.edges.keys().filter(|key| outside(&key.client)).map(|key| key.server.clone()).collect()
    }

    /// Counts one window.
    pub fn observe(&mut self, window: &EdgeWindow, now: Timestamp) -> Observed {
        if !window.counts.is_plausible() {
            return Observed::Implausible;
        }
        let end = window.start + window.length;
        if now.since(window.start) > self.limits.late || end.since(now) > self.limits.early {
            return Observed::OutOfTime;
        }
        self.began = Some(self.began.map_or(window.start, |began| began.min(window.start)));
        let client = self.admit(&window.key.client, window.client_kind, now);
        let server = self.admit(&window.key.server, window.server_kind, now);
        let key = self.admit_edge(EdgeKey { client, server, protocol: window.key.protocol }, now);
        let folded = key != window.key;
        if let Some(edge) = self.edges.get_mut(&key) {
            edge.count(window, now);
        }
        if window.reporter == Reporter::Server
            && let Some(node) = self.nodes.get_mut(&key.server)
        {
            node.has_sidecar = true;
        }
        if folded { Observed::Folded } else { Observed::Counted }
    }

    /// Notes that a sidecar of `service` is alive, also when nothing flows.
    pub fn observe_sidecar(&mut self, service: &ServiceName, now: Timestamp) {
        let name = self.admit(service, NodeKind::Service, now);
        if let Some(node) = self.nodes.get_mut(&name) {
            node.has_sidecar = true;
            node.last_seen = now;
        }
    }

    /// Notes a breaker's state. Answers whether there was room for it.
    pub fn observe_breaker(&mut self, key: &EdgeKey, breaker: BreakerInfo, now: Timestamp) -> bool {
        let client = self.admit(&key.client, NodeKind::Service, now);
        let server = self.admit(&key.server, NodeKind::Service, now);
        let key = self.admit_edge(EdgeKey { client, server, protocol: key.protocol }, now);
        let room = self.limits.breakers_per_edge;
        self.edges.get_mut(&key).is_some_and(|edge| edge.note_breaker(breaker, room, now))
    }

    /// Takes back an edge that only spans told of and that turned out to lead elsewhere; with it the node at its end, when nothing
    /// else leads there. Answers whether there was one.
    pub fn forget_guess(&mut self, key: &EdgeKey) -> bool {
        if !self.edges.get(key).is_some_and(EdgeState::is_only_from_spans) {
            return false;
        }
        self.edges.remove(key);
        let is_guess = self.nodes.get(&key.server).is_some_and(|node| !node.has_sidecar);
        if is_guess && !self.edges.keys().any(|other| other.client == key.server || other.server == key.server) {
            self.nodes.remove(&key.server);
        }
        self.generation += 1;
        true
    }

    /// Forgets what was silent for long and thins out what is old. Call about once a second.
    pub fn tidy(&mut self, now: Timestamp) {
        let silent = self.limits.forget_after;
        let before = (self.nodes.len(), self.edges.len());
        self.edges.retain(|_, edge| now.since(edge.last_seen) <= silent);
        let edges = &self.edges;
        self.nodes.retain(|name, node| {
            now.since(node.last_seen) <= silent || edges.keys().any(|key| key.client == *name || key.server == *name)
        });
        if before != (self.nodes.len(), self.edges.len()) {
            self.generation += 1;
        }
        for edge in self.edges.values_mut() {
            edge.thin_out(now);
        }
    }

    /// The finished ten-second windows of all edges and reporters that were not drained before, oldest first.
    ///
    /// A window is finished 15 s after its end; what arrives later is in the live graph but not in these.
    pub fn drain_windows(&mut self, now: Timestamp) -> Vec<EdgeWindow> {
        const LENGTH: Duration = Duration::from_secs(10);
        const SLACK: Duration = Duration::from_secs(15);
        let until = (now - SLACK).window_start(LENGTH);
        let mut from = self.drained_to.unwrap_or(until - LENGTH).max(until - Duration::from_secs(600));
        let mut windows = Vec::new();
        while from < until {
            for (key, edge) in &self.edges {
                let kinds = (self.kind(&key.client), self.kind(&key.server));
                windows.extend(edge.windows(key, kinds, from, LENGTH));
            }
            from = from + LENGTH;
        }
        self.drained_to = Some(until.max(self.drained_to.unwrap_or_default()));
        windows
    }

    /// What a node stands for.
    #[must_use]
    pub fn kind(&self, name: &ServiceName) -> NodeKind {
        self.nodes.get(name).map_or(NodeKind::Service, |node| node.kind)
    }

    /// The name under which a service is kept: its own, or the overflow's when the graph is full.
    fn admit(&mut self, name: &ServiceName, kind: NodeKind, now: Timestamp) -> ServiceName {
        if let Some(node) = self.nodes.get_mut(name) {
            node.last_seen = node.last_seen.max(now);
            // A peer that was only guessed from spans turns out to be a service once it reports itself.
            // Only a gateway itself knows that it is one.
            if kind == NodeKind::Gateway || (kind == NodeKind::Service && node.kind != NodeKind::Gateway) {
                node.kind = kind;
            }
            return name.clone();
        }
        let (name, kind) = if self.nodes.len() < self.limits.nodes {
            (name.clone(), kind)
        } else {
            (ServiceName::overflow(), NodeKind::External)
        };
        if let std::collections::btree_map::Entry::Vacant(entry) = self.nodes.entry(name.clone()) {
            entry.insert(NodeState { kind, last_seen: now, has_sidecar: false });
            self.generation += 1;
        }
        name
    }

    fn admit_edge(&mut self, key: EdgeKey, now: Timestamp) -> EdgeKey {
        if self.edges.contains_key(&key) {
            return key;
        }
        let key = if self.edges.len() < self.limits.edges {
            key
        } else {
            let overflow = self.admit(&ServiceName::overflow(), NodeKind::External, now);
            EdgeKey { client: overflow.clone(), server: overflow, protocol: key.protocol }
        };
        self.edges.entry(key.clone()).or_insert_with(|| EdgeState::new(now));
        self.generation += 1;
        key
    }
}

#[cfg(test)]
mod tests;
