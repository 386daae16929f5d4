//! Where the edges of each node are: the same for as long as none comes or goes, and in a large graph slow to find.

use std::ops::Range;

use tripline_model::ServiceName;

use super::{EdgeSummary, NodeSummary};
use crate::ServiceGraph;

/// For each node, what begins and ends at it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outline {
    /// Where edges stand among all, by server and client.
    called: Vec<u32>,
    ends: Vec<Ends>,
}

#[derive(Debug, Clone, PartialEq)]
struct Ends {
    /// Those into a node among [`Outline::called`].
    into: Range<usize>,
    /// Those from it among all edges.
    from: Range<usize>,
}

impl Outline {
    /// The nodes and edges of a graph, of which nothing is read yet, and how they hang together.
    pub(super) fn of(graph: &ServiceGraph) -> (Vec<NodeSummary>, Vec<EdgeSummary>, Self) {
        let edges: Vec<EdgeSummary> = graph.edges().map(|(key, state)| EdgeSummary::new(key, state.place)).collect();
        let mut listed = vec![0; graph.places()];
        for (at, edge) in (0..).zip(&edges) {
            listed[edge.place as usize] = at;
        }
        let entry_points = graph.entry_points();
        let nodes = graph.nodes().map(|(name, state)| NodeSummary::new(name, state.kind, entry_points.contains(name)));
        let nodes: Vec<NodeSummary> = nodes.collect();
        let (servers, called): (Vec<&ServiceName>, Vec<u32>) =
            graph.called().map(|(server, place)| (server, listed[place])).unzip();
        let into = runs(&nodes, servers.into_iter());
        let from = runs(&nodes, edges.iter().map(|edge| &edge.key.client));
        let ends = into.into_iter().zip(from).map(|(into, from)| Ends { into, from }).collect();
        (nodes, edges, Self { called, ends })
    }

    /// Where the edges into a node are among all.
    pub(super) fn edges_into(&self, node: usize) -> &[u32] {
        self.ends.get(node).and_then(|ends| self.called.get(ends.into.clone())).unwrap_or_default()
    }

    /// Where those from it are.
    pub(super) fn edges_from(&self, node: usize) -> Range<usize> {
        self.ends.get(node).map_or(0..0, |ends| ends.from.clone())
    }
}

/// Where each node's own lie in a list that is in the order of the nodes' names, as they are. Going through both side by side is quicker than looking
/// each name up.
fn runs<'a>(nodes: &[NodeSummary], listed: impl Iterator<Item = &'a ServiceName>) -> Vec<Range<usize>> {
    let (mut listed, mut at) = (listed.peekable(), 0);
    let run = |node: &NodeSummary| {
        while listed.next_if(|known| **known < node.name).is_some() {
            at += 1;
        }
        let start = at;
        while listed.next_if(|known| **known == node.name).is_some() {
            at += 1;
        }
        start..at
    };
    nodes.iter().map(run).collect()
}
