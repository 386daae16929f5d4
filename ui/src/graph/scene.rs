//! The drawing of one topology: boxes of nodes, curves of edges, and where each edge wears its breaker. Pure.
//!
//! The collector places the nodes; here they get their size, and the edges their way. Built again only when a node or
//! an edge comes or goes, never for a metric. Positions are stretched where they are closer than cards need, never
//! squeezed. The ways of edges and the places of their marks: [`lanes`], [`marks`].

mod lanes;
mod marks;

use std::collections::BTreeMap;

use tripline_api::NodeKind;

use super::shape::{Curve, Point, Rect};

/// Least distance between the middles of neighbouring columns: a card and room for a breaker.
const COLUMN: f64 = 272.0;
/// Least distance between the middles of nodes in one column.
const ROW: f64 = 126.0;
/// The same where height is scarcer than width.
const ROW_TIGHT: f64 = 96.0;
/// Height over width above which it is; the width that is free then goes to the edges between columns,
const FLAT: f64 = 0.62;
/// at most so many times what a column needs.
const AIRY: f64 = 2.4;
/// Nodes whose middles are at most this far apart from left to right stand in one column.
const SAME_COLUMN: f64 = 40.0;

/// What is to be drawn, without any metric.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sketch {
    /// The nodes.
    pub(crate) nodes: Vec<SketchNode>,
    /// The edges; those with an unknown end are left out.
    pub(crate) edges: Vec<SketchEdge>,
}

/// A node to draw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SketchNode {
    /// Its id.
    pub(crate) id: String,
    /// Gives it its size and shape.
    pub(crate) kind: NodeKind,
    /// Where the collector placed it.
    pub(crate) position: Point,
}

/// An edge to draw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SketchEdge {
    /// Its id.
    pub(crate) id: String,
    /// Node id.
    pub(crate) client: String,
    /// Node id.
    pub(crate) server: String,
}

/// The drawing.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Scene {
    /// Around everything; nothing when there is nothing.
    pub(crate) bounds: Option<Rect>,
    /// Boxes by node id.
    pub(crate) nodes: BTreeMap<String, Rect>,
    /// Ways by edge id.
    pub(crate) lines: BTreeMap<String, Line>,
}

/// The way of an edge.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// From the client's side to the server's.
    pub(crate) curve: Curve,
    /// How far along it its breaker is drawn.
    pub(crate) mark: f64,
}

impl Scene {
    /// Draws a sketch.
    pub(crate) fn build(sketch: &Sketch) -> Self {
        let nodes = place(&sketch.nodes);
        let known = |edge: &&SketchEdge| nodes.contains_key(&edge.client) && nodes.contains_key(&edge.server);
        let edges: Vec<&SketchEdge> = sketch.edges.iter().filter(known).collect();
        let curves = lanes::route(&nodes, &edges);
        let lines: BTreeMap<String, Line> = marks::place(&nodes, curves);
        let bounds = Rect::union(nodes.values());
        Self { bounds, nodes, lines }
    }

    /// The node next to `from` in a direction of the arrow keys, if there is one.
    pub(crate) fn neighbour(&self, from: &str, direction: Direction) -> Option<&str> {
        let start = self.nodes.get(from)?.center;
        let reachable = self.nodes.iter().filter(|(id, _)| *id != from).filter_map(|(id, rect)| {
            let (dx, dy) = (rect.center.x - start.x, rect.center.y - start.y);
            let (ahead, aside) = match direction {
                Direction::Left => (-dx, dy.abs()),
                Direction::Right => (dx, dy.abs()),
                Direction::Up => (-dy, dx.abs()),
                Direction::Down => (dy, dx.abs()),
            };
            // What lies more to the side than ahead is another direction's business, unless nothing else is there.
            (ahead > 1.0).then_some((ahead + 2.0 * aside, id))
        });
        reachable.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, id)| id.as_str())
    }
}

/// Of an arrow key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Towards the callers.
    Left,
    /// Towards the called.
    Right,
    /// To the node above.
    Up,
    /// To the node below.
    Down,
}

/// Width and height of a node.
pub(crate) const fn size(kind: NodeKind) -> (f64, f64) {
    match kind {
        NodeKind::User => (112.0, 56.0),
        NodeKind::Service | NodeKind::Gateway | NodeKind::External | NodeKind::Database | NodeKind::Queue => {
            (168.0, 76.0)
        }
    }
}

fn place(nodes: &[SketchNode]) -> BTreeMap<String, Rect> {
    let mut columns: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for node in nodes {
        columns.entry((node.position.x / SAME_COLUMN).round() as i64).or_default().push(node.position.y);
    }
    let tallest = columns.values().map(Vec::len).max().unwrap_or(0) as f64 * ROW;
    let steepness = tallest / (columns.len() as f64 * COLUMN * FLAT);
    let row = if steepness > 1.0 { ROW_TIGHT } else { ROW };
    let column = COLUMN * steepness.clamp(1.0, AIRY);
    let stretch_x = stretch(nodes.iter().map(|n| n.position.x).collect(), SAME_COLUMN, column);
    let stretch_y = columns.into_values().map(|ys| stretch(ys, 1.0, row)).fold(1.0, f64::max);
    nodes
        .iter()
        .map(|node| {
            let (width, height) = size(node.kind);
            let center = Point::new(node.position.x * stretch_x, node.position.y * stretch_y);
            (node.id.clone(), Rect::around(center, width, height))
        })
        .collect()
}

/// By how much to stretch an axis so that values more than `same` apart are at least `least` apart; at most fourfold,
/// so that two nodes at nearly one place cannot blow the drawing up.
fn stretch(mut values: Vec<f64>, same: f64, least: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let gaps = values.windows(2).filter_map(|pair| match pair {
        [a, b] if b - a > same => Some(b - a),
        _ => None,
    });
    let narrowest = gaps.fold(f64::INFINITY, f64::min);
    (least / narrowest).clamp(1.0, 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn node(id: &str, x: f64, y: f64) -> SketchNode {
        SketchNode { id: id.into(), kind: NodeKind::Service, position: Point::new(x, y) }
    }

    pub(super) fn edge(client: &str, server: &str) -> SketchEdge {
        SketchEdge { id: format!("{client}>{server}:http"), client: client.into(), server: server.into() }
    }

    #[test]
    fn narrow_layouts_are_stretched_and_wide_ones_are_not() {
        let narrow = Sketch { nodes: vec![node("a", 0.0, 0.0), node("b", 136.0, 0.0)], edges: vec![] };
        let scene = Scene::build(&narrow);
        assert_eq!(scene.nodes["b"].center.x, COLUMN);
        let wide = Sketch { nodes: vec![node("a", 0.0, 0.0), node("b", 500.0, 0.0)], edges: vec![] };
        assert_eq!(Scene::build(&wide).nodes["b"].center.x, 500.0);
    }

    #[test]
    fn an_edge_to_nowhere_is_left_out_and_nothing_has_no_bounds() {
        let sketch = Sketch { nodes: vec![node("a", 0.0, 0.0)], edges: vec![edge("a", "gone")] };
        assert!(Scene::build(&sketch).lines.is_empty());
        assert_eq!(Scene::build(&Sketch::default()).bounds, None);
    }

    #[test]
    fn arrow_keys_walk_to_what_one_sees_there() {
        let nodes = vec![node("web", 0.0, 100.0), node("cart", 300.0, 0.0), node("checkout", 300.0, 140.0)];
        let scene = Scene::build(&Sketch { nodes, edges: vec![] });
        for (from, direction, to) in [
            ("web", Direction::Right, Some("checkout")),
            ("checkout", Direction::Up, Some("cart")),
            ("cart", Direction::Left, Some("web")),
            ("web", Direction::Left, None),
            ("gone", Direction::Left, None),
        ] {
            assert_eq!(scene.neighbour(from, direction), to, "{from} {direction:?}");
        }
    }
}
