//! What `GET /api/v1/stream` sends: one event `snapshot`, then one event `changes` a second.

use crate::wire;

wire! {
    /// The whole picture, sent first and after the client was too slow to follow.
    pub struct Snapshot {
        /// The graph over the stream's window.
        pub graph: crate::Graph,
        /// Unresolved incidents, and those resolved within the last hour; newest first.
        pub incidents: Vec<crate::Incident>,
        /// The latest breaker transitions, newest first.
        pub transitions: Vec<crate::Transition>,
    }

    /// What is different from the last event. Whatever is not named has not changed.
    pub struct Changes {
        /// End of the window now.
        pub at: String,
        /// As in [`crate::Graph::generation`].
        pub generation: u64,
        /// New or changed nodes, whole.
        pub nodes: Vec<crate::Node>,
        /// Ids of nodes that went.
        pub removed_nodes: Vec<String>,
        /// New or changed edges, whole.
        pub edges: Vec<crate::Edge>,
        /// Ids of edges that went.
        pub removed_edges: Vec<String>,
        /// New or changed incidents, whole.
        pub incidents: Vec<crate::Incident>,
        /// New transitions, newest first.
        pub transitions: Vec<crate::Transition>,
    }
}

impl Changes {
    /// Brings `snapshot` up to date; nodes and edges stay ordered by id, incidents and transitions newest first.
    pub fn apply_to(self, snapshot: &mut Snapshot) {
        let graph = &mut snapshot.graph;
        graph.at = self.at;
        graph.generation = self.generation;
        graph.nodes.retain(|n| !self.removed_nodes.contains(&n.id));
        graph.edges.retain(|e| !self.removed_edges.contains(&e.id));
        for node in self.nodes {
            upsert(&mut graph.nodes, node, |n| &n.id);
        }
        for edge in self.edges {
            upsert(&mut graph.edges, edge, |e| &e.id);
        }
        for incident in self.incidents {
            match snapshot.incidents.iter_mut().find(|i| i.id == incident.id) {
                Some(known) => *known = incident,
                None => snapshot.incidents.insert(0, incident),
            }
        }
        snapshot.transitions.splice(0..0, self.transitions);
        snapshot.transitions.truncate(MAX_TRANSITIONS);
    }
}

/// Transitions that a snapshot holds at most.
pub const MAX_TRANSITIONS: usize = 200;

fn upsert<T>(sorted: &mut Vec<T>, item: T, id: impl Fn(&T) -> &String) {
    match sorted.binary_search_by(|known| id(known).cmp(id(&item))) {
        Ok(at) => sorted[at] = item,
        Err(at) => sorted.insert(at, item),
    }
}
