//! Ranks: back edges turned around, longest paths, stand-ins for edges that cross ranks.

use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, Edge, NodeIndex};
use petgraph::visit::{DfsEvent, depth_first_search};

use super::{Layered, MAX_ORDERED};

/// Ranks `count` nodes joined by `pairs`, which hold no loops and no repeats.
pub(super) fn layer(count: usize, pairs: &[(usize, usize)]) -> Layered {
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(count, pairs.len());
    for _ in 0..count {
        graph.add_node(());
    }
    for (client, server) in pairs {
        graph.add_edge(NodeIndex::new(*client), NodeIndex::new(*server), ());
    }
    turn_back_edges(&mut graph);
    let mut rank = ranks(&graph);
    let mut edges = Vec::with_capacity(graph.edge_count());
    let length = |edge: &Edge<()>| rank[edge.target().index()].saturating_sub(rank[edge.source().index()]);
    let stand_ins: usize = graph.raw_edges().iter().map(|edge| length(edge).saturating_sub(1)).sum();
    // A ring of thousands has edges across thousands of ranks: gigabytes of stand-ins, for an order that is left out.
    let has_stand_ins = count.saturating_add(stand_ins) <= MAX_ORDERED;
    for edge in graph.raw_edges() {
        let (mut left, right) = (edge.source().index(), edge.target().index());
        if !has_stand_ins && rank[right].saturating_sub(rank[left]) != 1 {
            continue;
        }
        for between in rank[left] + 1..rank[right] {
            rank.push(between);
            let stand_in = rank.len() - 1;
            edges.push((left, stand_in));
            left = stand_in;
        }
        edges.push((left, right));
    }
    edges.sort_unstable();
    edges.dedup();
    Layered { rank, edges, real: count }
}

/// Turns around every edge that closes a cycle in a depth-first walk from the sources.
fn turn_back_edges(graph: &mut DiGraph<(), ()>) {
    let mut starts: Vec<NodeIndex> = graph.externals(petgraph::Direction::Incoming).collect();
    starts.extend(graph.node_indices());
    let mut back = Vec::new();
    depth_first_search(&*graph, starts, |event| {
        if let DfsEvent::BackEdge(from, to) = event {
            back.push((from, to));
        }
    });
    for (from, to) in back {
        if let Some(edge) = graph.find_edge(from, to) {
            graph.remove_edge(edge);
            if graph.find_edge(to, from).is_none() {
                graph.add_edge(to, from, ());
            }
        }
    }
}

/// The longest path from a source to each node, then sources pulled right, next to the first they call.
fn ranks(graph: &DiGraph<(), ()>) -> Vec<usize> {
    // Without back edges there is no cycle; should there be one all the same, one column is better than none.
    let sorted = toposort(graph, None).unwrap_or_default();
    let mut rank: Vec<usize> = vec![0; graph.node_count()];
    for node in &sorted {
        for next in graph.neighbors(*node) {
            rank[next.index()] = rank[next.index()].max(rank[node.index()] + 1);
        }
    }
    for node in &sorted {
        let is_source = graph.neighbors_directed(*node, petgraph::Direction::Incoming).next().is_none();
        let nearest = graph.neighbors(*node).map(|next| rank[next.index()]).min();
        if let (true, Some(nearest)) = (is_source, nearest) {
            rank[node.index()] = nearest.saturating_sub(1);
        }
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of them calls the ten that follow it, the last ones the first again: a sender that wants to harm can draw such a graph.
    #[test]
    fn a_ring_of_thousands_takes_no_more_room_than_its_nodes() {
        let count = 5_000;
        let pairs: Vec<_> =
            (0..count).flat_map(|from| (1..=10).map(move |step| (from, (from + step) % count))).collect();
        let layered = layer(count, &pairs);
        assert_eq!(layered.rank.len(), count);
        assert!(layered.edges.len() <= pairs.len());
        let small = layer(3, &[(0, 1), (1, 2), (0, 2)]);
        assert_eq!(small.rank.len(), 4, "one stand-in, where there is room for them");
    }
}
