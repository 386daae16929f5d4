//! Places the graph on a plane: callers left, called right, few crossings; once a topology, not once a frame.
//!
//! The method is Sugiyama's in its usual four steps: turn back edges around (depth first), give each node the rank of its longest path from
//! a source, order each rank by the medians of its neighbours, sweeping to and fro, and spread the ranks so that
//! nodes sit level with what they talk to. Long edges get a stand-in node in every rank they cross, so that they do
//! not run through cards. Order starts from the previous positions where there are any, so a new node moves its
//! neighbours and no one else. Above [`MAX_ORDERED`] nodes, stand-ins included, ordering is left out: the picture is of use
//! only filtered then, and the time stays linear.

mod order;
mod place;
mod rank;

use std::collections::BTreeMap;

use tripline_model::ServiceName;

/// Distance between ranks, in the units of a 1:1 drawing.
pub const RANK_DISTANCE: f64 = 260.0;
/// Least distance between nodes of one rank.
pub const NODE_DISTANCE: f64 = 110.0;
/// Above this many nodes, ranks are not ordered.
pub const MAX_ORDERED: usize = 4_000;

/// Where the centre of a node goes; y grows downwards.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// Left to right.
    pub x: f64,
    /// Top to bottom.
    pub y: f64,
}

/// Nodes of a layout: the graph's own first, then the stand-ins of long edges.
pub(crate) struct Layered {
    /// Rank of each node.
    pub(crate) rank: Vec<usize>,
    /// Edges between neighbouring ranks, left to right.
    pub(crate) edges: Vec<(usize, usize)>,
    /// How many nodes are the graph's own.
    pub(crate) real: usize,
}

/// Positions for `nodes` joined by `edges` (client, server); edges with an end that is not in `nodes`, loops and
/// repeats are left out. The top left node's centre is at (0, 0) or right and below of it.
#[must_use]
pub fn layout(
    nodes: &[ServiceName],
    edges: &[(ServiceName, ServiceName)],
    previous: &BTreeMap<ServiceName, Point>,
) -> BTreeMap<ServiceName, Point> {
    let index: BTreeMap<&ServiceName, usize> = nodes.iter().enumerate().map(|(i, name)| (name, i)).collect();
    let mut pairs: Vec<(usize, usize)> = edges
        .iter()
        .filter_map(|(client, server)| Some((*index.get(client)?, *index.get(server)?)))
        .filter(|(client, server)| client != server)
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let layered = rank::layer(nodes.len(), &pairs);
    let start: Vec<f64> =
        nodes.iter().enumerate().map(|(i, name)| previous.get(name).map_or(i as f64 * 1e-3, |p| p.y)).collect();
    let ranks = order::order(&layered, &start);
    let ys = place::place(&layered, &ranks);
    let top = ys.iter().take(nodes.len()).copied().fold(f64::INFINITY, f64::min);
    let point = |i: usize| Point { x: layered.rank[i] as f64 * RANK_DISTANCE, y: ys[i] - top };
    nodes.iter().enumerate().map(|(i, name)| (name.clone(), point(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(i: usize) -> ServiceName {
        ServiceName::new("n", &format!("{i:03}"))
    }

    fn place(count: usize, edges: &[(usize, usize)]) -> Vec<Point> {
        let nodes: Vec<_> = (0..count).map(name).collect();
        let edges: Vec<_> = edges.iter().map(|(a, b)| (name(*a), name(*b))).collect();
        layout(&nodes, &edges, &BTreeMap::new()).into_values().collect()
    }

    #[test]
    fn callers_are_left_of_the_called() {
        let at = place(4, &[(0, 1), (1, 2), (0, 2), (2, 3)]);
        assert!(at.windows(2).all(|pair| pair[0].x < pair[1].x), "{at:?}");
    }

    #[test]
    fn a_chain_is_straight() {
        let at = place(5, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
        assert!(at.iter().all(|p| p.y.abs() < 1e-6), "{at:?}");
    }

    #[test]
    fn a_chain_into_a_lopsided_fan_is_straight() {
        let at = place(9, &[(0, 1), (1, 2), (2, 3), (2, 4), (2, 5), (3, 6), (5, 6), (5, 7), (5, 8)]);
        assert!((at[0].y - at[2].y).abs() < 1e-6 && (at[1].y - at[2].y).abs() < 1e-6, "{at:?}");
    }

    #[test]
    fn two_lanes_do_not_cross() {
        // 0 calls 1 and 2; 1 calls 4, 2 calls 3: with the names in order the lanes would cross.
        let at = place(5, &[(0, 1), (0, 2), (1, 4), (2, 3)]);
        assert_eq!(at[1].y < at[2].y, at[4].y < at[3].y, "{at:?}");
    }

    proptest! {
        #[test]
        fn any_graph_ends_and_no_two_nodes_meet(count in 1usize..40, edges in prop::collection::vec((0usize..40, 0usize..40), 0..120)) {
            let at = place(count, &edges);
            prop_assert_eq!(at.len(), count);
            for (i, a) in at.iter().enumerate() {
                prop_assert!(a.x >= 0.0 && a.y >= -1e-6 && a.y.is_finite());
                for b in &at[i + 1..] {
                    prop_assert!(a.x != b.x || (a.y - b.y).abs() >= NODE_DISTANCE - 1e-6, "{:?} {:?}", a, b);
                }
            }
        }
    }
}
