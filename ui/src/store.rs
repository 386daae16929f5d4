//! The picture, one signal for each node and each edge, so that a second's metrics touch only what they change.
//!
//! The collector sends one snapshot and then changes. `shape` changes when a node or an edge comes or goes or moves: only then
//! are lists and curves made again. A metric only sets the signal of its own cell, and nothing else is looked at. A short
//! history is kept beside (not reactive: who shows it reads it at each `tick`). When the collector is gone, all of it stays as it
//! was; [`Store::link`] says so.

mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leptos::prelude::*;
use tripline_api::stream::MAX_TRANSITIONS;
use tripline_api::{Changes, Edge, Graph, Incident, Node, Snapshot, Transition};

pub(crate) use history::{History, Sample};

use crate::time;
use crate::watch::Link;

/// A node and its signal.
#[derive(Debug, Clone)]
pub(crate) struct NodeCell {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// As last reported.
    pub(crate) now: ArcRwSignal<Node>,
}

/// An edge and its signal.
#[derive(Debug, Clone)]
pub(crate) struct EdgeCell {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// Node id.
    pub(crate) client: Arc<str>,
    /// Node id.
    pub(crate) server: Arc<str>,
    /// As last reported.
    pub(crate) now: ArcRwSignal<Edge>,
}

/// The picture. A handle: copies are the same picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Store {
    /// How the stream does.
    pub(crate) link: RwSignal<Link>,
    /// Counts what came in; for what must be drawn anew with every event.
    pub(crate) tick: RwSignal<u64>,
    /// End of the window, in milliseconds since 1970 by the collector's clock.
    pub(crate) at: RwSignal<f64>,
    /// Length of the window in seconds.
    pub(crate) window: RwSignal<f64>,
    /// Counts changes of the topology and of positions.
    pub(crate) shape: RwSignal<u64>,
    /// Ordered by id; notifies only when one comes or goes.
    pub(crate) nodes: RwSignal<Vec<NodeCell>>,
    /// Ordered by id; notifies only when one comes or goes.
    pub(crate) edges: RwSignal<Vec<EdgeCell>>,
    /// Newest first.
    pub(crate) incidents: RwSignal<Vec<Incident>>,
    /// Newest first.
    pub(crate) transitions: RwSignal<Vec<Transition>>,
    generation: StoredValue<u64>,
    history: StoredValue<BTreeMap<Arc<str>, History>>,
}

impl Store {
    /// An empty picture; its signals live as long as the current owner.
    pub(crate) fn new() -> Self {
        Self {
            link: RwSignal::new(Link::Connecting),
            tick: RwSignal::new(0),
            at: RwSignal::new(0.0),
            window: RwSignal::new(60.0),
            shape: RwSignal::new(0),
            nodes: RwSignal::new(Vec::new()),
            edges: RwSignal::new(Vec::new()),
            incidents: RwSignal::new(Vec::new()),
            transitions: RwSignal::new(Vec::new()),
            generation: StoredValue::new(0),
            history: StoredValue::new(BTreeMap::new()),
        }
    }

    /// Takes a whole picture; what it does not name is gone.
    pub(crate) fn reset(self, snapshot: Snapshot) {
        let Snapshot { graph, incidents, transitions } = snapshot;
        let Graph { at, window_seconds, generation, nodes, edges } = graph;
        let gone = self.missing(&nodes, &edges);
        self.window.set(window_seconds);
        self.incidents.set(incidents);
        self.transitions.set(transitions);
        self.apply_graph(&at, generation, Difference { nodes, edges, removed_nodes: gone.0, removed_edges: gone.1 });
    }

    /// Takes what is different, as [`Changes::apply_to`] would.
    pub(crate) fn apply(self, changes: Changes) {
        let Changes { at, generation, nodes, removed_nodes, edges, removed_edges, incidents, transitions } = changes;
        if !incidents.is_empty() {
            self.incidents.update(|known| incidents.into_iter().for_each(|incident| upsert_incident(known, incident)));
        }
        if !transitions.is_empty() {
            self.transitions.update(|known| {
                known.splice(0..0, transitions);
                known.truncate(MAX_TRANSITIONS);
            });
        }
        self.apply_graph(&at, generation, Difference { nodes, edges, removed_nodes, removed_edges });
    }

    /// The node's cell, if there is such a node.
    pub(crate) fn node(self, id: &str) -> Option<NodeCell> {
        self.nodes.with(|cells| find(cells, id, |cell| &cell.id).cloned())
    }

    /// The edge's cell, if there is such an edge.
    pub(crate) fn edge(self, id: &str) -> Option<EdgeCell> {
        self.edges.with(|cells| find(cells, id, |cell| &cell.id).cloned())
    }

    /// What was seen of a node or an edge since the page was opened.
    pub(crate) fn history(self, id: &str) -> History {
        self.history.with_value(|all| all.get(id).cloned().unwrap_or_default())
    }

    /// Incidents that are not over, newest first.
    pub(crate) fn open_incidents(self) -> Vec<Incident> {
        self.incidents.with(|all| all.iter().filter(|incident| !incident.is_resolved()).cloned().collect())
    }

    fn apply_graph(self, at: &str, generation: u64, difference: Difference) {
        let mut reshaped = self.generation.get_value() != generation;
        reshaped |= self.take_nodes(difference.nodes, &difference.removed_nodes);
        reshaped |= self.take_edges(difference.edges, &difference.removed_edges);
        self.generation.set_value(generation);
        if reshaped {
            self.shape.update(|count| *count += 1);
        }
        if let Some(at) = time::parse(at) {
            self.at.set(at);
        }
        self.remember();
        self.tick.update(|count| *count += 1);
    }

    /// Returns whether a node came, went or moved.
    fn take_nodes(self, nodes: Vec<Node>, removed: &[String]) -> bool {
        let mut new = Vec::new();
        let mut moved = false;
        for node in nodes {
            match self.nodes.with_untracked(|cells| find(cells, &node.id, |cell| &cell.id).cloned()) {
                Some(cell) => {
                    moved |= cell.now.with_untracked(|old| old.position != node.position || old.kind != node.kind);
                    set_if_new(&cell.now, node);
                }
                None => new.push(NodeCell { id: node.id.as_str().into(), now: ArcRwSignal::new(node) }),
            }
        }
        let came_or_went = !new.is_empty() || !removed.is_empty();
        if came_or_went {
            self.nodes.update(|cells| {
                cells.retain(|cell| !removed.iter().any(|id| **id == *cell.id));
                cells.extend(new);
                cells.sort_by(|a, b| a.id.cmp(&b.id));
            });
        }
        came_or_went || moved
    }

    /// Returns whether an edge came or went.
    fn take_edges(self, edges: Vec<Edge>, removed: &[String]) -> bool {
        let mut new = Vec::new();
        for edge in edges {
            match self.edges.with_untracked(|cells| find(cells, &edge.id, |cell| &cell.id).cloned()) {
                Some(cell) => set_if_new(&cell.now, edge),
                None => new.push(EdgeCell {
                    id: edge.id.as_str().into(),
                    client: edge.client.as_str().into(),
                    server: edge.server.as_str().into(),
                    now: ArcRwSignal::new(edge),
                }),
            }
        }
        let came_or_went = !new.is_empty() || !removed.is_empty();
        if came_or_went {
            self.edges.update(|cells| {
                cells.retain(|cell| !removed.iter().any(|id| **id == *cell.id));
                cells.extend(new);
                cells.sort_by(|a, b| a.id.cmp(&b.id));
            });
        }
        came_or_went
    }

    /// Ids that a whole picture no longer names.
    fn missing(self, nodes: &[Node], edges: &[Edge]) -> (Vec<String>, Vec<String>) {
        let node_ids: BTreeSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        let edge_ids: BTreeSet<&str> = edges.iter().map(|edge| edge.id.as_str()).collect();
        let gone = |id: &Arc<str>, named: &BTreeSet<&str>| (!named.contains(&**id)).then(|| id.to_string());
        (
            self.nodes.with_untracked(|cells| cells.iter().filter_map(|cell| gone(&cell.id, &node_ids)).collect()),
            self.edges.with_untracked(|cells| cells.iter().filter_map(|cell| gone(&cell.id, &edge_ids)).collect()),
        )
    }

    /// Adds one sample to every history; what is gone is forgotten.
    fn remember(self) {
        let mut old = self.history.try_update_value(std::mem::take).unwrap_or_default();
        let mut new = BTreeMap::new();
        let mut keep = |id: &Arc<str>, sample: Sample| {
            let mut history = old.remove(id).unwrap_or_default();
            history.push(sample);
            new.insert(id.clone(), history);
        };
        self.nodes.with_untracked(|cells| {
            cells.iter().for_each(|cell| keep(&cell.id, cell.now.with_untracked(Sample::of_node)));
        });
        self.edges.with_untracked(|cells| {
            cells.iter().for_each(|cell| keep(&cell.id, cell.now.with_untracked(Sample::of_edge)));
        });
        self.history.set_value(new);
    }
}

struct Difference {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    removed_nodes: Vec<String>,
    removed_edges: Vec<String>,
}

fn find<'a, T>(sorted: &'a [T], id: &str, id_of: impl Fn(&T) -> &Arc<str>) -> Option<&'a T> {
    sorted.binary_search_by(|cell| (**id_of(cell)).cmp(id)).ok().and_then(|at| sorted.get(at))
}

fn set_if_new<T: PartialEq + Send + Sync + 'static>(signal: &ArcRwSignal<T>, value: T) {
    if signal.with_untracked(|old| *old != value) {
        signal.set(value);
    }
}

fn upsert_incident(known: &mut Vec<Incident>, incident: Incident) {
    match known.iter_mut().find(|other| other.id == incident.id) {
        Some(other) => *other = incident,
        None => known.insert(0, incident),
    }
}

#[cfg(test)]
mod tests;
