//! The ways of edges between boxes.
//!
//! An edge leaves its client on the right and reaches its server on the left; several on one side get ports of their
//! own, in the order of their other ends, so that they do not cross at the card. An edge that passes columns in
//! between takes a lane there: the free height nearest to the straight line, clear of cards and of lanes already
//! taken. Short edges choose first. An edge that points backwards (a cycle) goes around below, one to itself over the
//! top, one within a column swings out to the right.

use std::collections::BTreeMap;

use super::super::shape::{Curve, Point, Rect};
use super::{SAME_COLUMN, SketchEdge};

/// Distance of neighbouring ports on a card.
const PORT: f64 = 13.0;
/// How much of a card's height ports may use.
const PORTS_SHARE: f64 = 0.62;
/// Room that a lane keeps to a card.
const CLEAR: f64 = 18.0;
/// Room that lanes keep to each other.
const LANE: f64 = 14.0;
/// Ends reach this far into their cards, which lie above them, so that no gap shows at a round side.
const INSET: f64 = 4.0;

/// A curve for each edge, in no order of importance.
pub(super) fn route(nodes: &BTreeMap<String, Rect>, edges: &[&SketchEdge]) -> Vec<(String, Curve)> {
    let mut columns = Columns::of(nodes);
    let ports = Ports::of(nodes, edges);
    let mut by_span: Vec<(&SketchEdge, Ends)> =
        edges.iter().filter_map(|edge| Some((*edge, Ends::of(nodes, &ports, edge)?))).collect();
    by_span.sort_by(|a, b| a.1.span().total_cmp(&b.1.span()).then_with(|| a.0.id.cmp(&b.0.id)));
    by_span.into_iter().map(|(edge, ends)| (edge.id.clone(), ends.curve(&mut columns))).collect()
}

/// Both boxes of an edge and its ports on them.
struct Ends {
    client: Rect,
    server: Rect,
    from: Point,
    to: Point,
    to_itself: bool,
}

impl Ends {
    fn of(nodes: &BTreeMap<String, Rect>, ports: &Ports, edge: &SketchEdge) -> Option<Self> {
        let (client, server) = (*nodes.get(&edge.client)?, *nodes.get(&edge.server)?);
        let from = Point::new(client.right() - INSET, client.center.y + ports.offset(&ports.out, edge, &edge.client));
        let to = Point::new(server.left(), server.center.y + ports.offset(&ports.into, edge, &edge.server));
        Some(Self { client, server, from, to, to_itself: edge.client == edge.server })
    }

    fn span(&self) -> f64 {
        (self.server.center.x - self.client.center.x).abs()
    }

    fn curve(&self, columns: &mut Columns) -> Curve {
        if self.to_itself {
            return self.over_the_top();
        }
        if self.span() <= SAME_COLUMN {
            return self.aside();
        }
        if self.server.center.x < self.client.center.x {
            return self.around_below(columns);
        }
        let mut points = vec![self.from];
        let steps = self.server.center.x - self.client.center.x;
        for column in columns.between(self.client.center.x, self.server.center.x) {
            let share = (column.x - self.client.center.x) / steps;
            let y = column.lane(self.from.y + (self.to.y - self.from.y) * share);
            points.extend([Point::new(column.left - CLEAR, y), Point::new(column.right + CLEAR, y)]);
        }
        points.push(self.to);
        Curve::through(&points)
    }

    fn over_the_top(&self) -> Curve {
        let Rect { center, height, .. } = self.client;
        let top = center.y - height / 2.0;
        Curve::cubic([
            Point::new(center.x + 34.0, top + INSET),
            Point::new(center.x + 60.0, top - 54.0),
            Point::new(center.x - 60.0, top - 54.0),
            Point::new(center.x - 34.0, top),
        ])
    }

    fn aside(&self) -> Curve {
        let to = Point::new(self.server.right(), self.to.y);
        let out = self.from.x.max(to.x) + 70.0;
        Curve::cubic([self.from, Point::new(out, self.from.y), Point::new(out, to.y), to])
    }

    fn around_below(&self, columns: &Columns) -> Curve {
        let lowest = columns.lowest(self.server.center.x, self.client.center.x) + 44.0;
        let (right, left) = (Point::new(self.client.right(), lowest), Point::new(self.server.left(), lowest));
        let mut curve = Curve::cubic([
            self.from,
            Point::new(right.x + 80.0, self.from.y),
            Point::new(right.x + 80.0, lowest),
            right,
        ]);
        curve.append(Curve::cubic([right, right, left, left]));
        curve.append(Curve::cubic([
            left,
            Point::new(left.x - 80.0, lowest),
            Point::new(left.x - 80.0, self.to.y),
            self.to,
        ]));
        curve
    }
}

/// Offsets of ports from the middle of a side, by (edge, node).
struct Ports {
    out: BTreeMap<(String, String), f64>,
    into: BTreeMap<(String, String), f64>,
}

impl Ports {
    fn of(nodes: &BTreeMap<String, Rect>, edges: &[&SketchEdge]) -> Self {
        let mut leaving: BTreeMap<&str, Vec<(f64, &str)>> = BTreeMap::new();
        let mut arriving = leaving.clone();
        for edge in edges {
            let (Some(client), Some(server)) = (nodes.get(&edge.client), nodes.get(&edge.server)) else { continue };
            leaving.entry(&edge.client).or_default().push((server.center.y, &edge.id));
            arriving.entry(&edge.server).or_default().push((client.center.y, &edge.id));
        }
        Self { out: spread(nodes, leaving), into: spread(nodes, arriving) }
    }

    fn offset(&self, side: &BTreeMap<(String, String), f64>, edge: &SketchEdge, node: &str) -> f64 {
        side.get(&(edge.id.clone(), node.to_owned())).copied().unwrap_or(0.0)
    }
}

fn spread(nodes: &BTreeMap<String, Rect>, sides: BTreeMap<&str, Vec<(f64, &str)>>) -> BTreeMap<(String, String), f64> {
    let mut offsets = BTreeMap::new();
    for (node, mut edges) in sides {
        edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
        let gaps = edges.len().saturating_sub(1) as f64;
        let usable = nodes.get(node).map_or(0.0, |rect| rect.height * PORTS_SHARE);
        let step = if gaps > 0.0 { PORT.min(usable / gaps) } else { 0.0 };
        for (i, (_, edge)) in edges.into_iter().enumerate() {
            offsets.insert((edge.to_owned(), node.to_owned()), (i as f64 - gaps / 2.0) * step);
        }
    }
    offsets
}

/// The columns of the drawing, from left to right.
struct Columns(Vec<Column>);

struct Column {
    x: f64,
    left: f64,
    right: f64,
    /// Heights that are taken: top and bottom.
    taken: Vec<(f64, f64)>,
    bottom: f64,
}

impl Columns {
    fn of(nodes: &BTreeMap<String, Rect>) -> Self {
        let mut rects: Vec<&Rect> = nodes.values().collect();
        rects.sort_by(|a, b| a.center.x.total_cmp(&b.center.x));
        let mut columns: Vec<Column> = Vec::new();
        for rect in rects {
            let block = (rect.top() - CLEAR, rect.bottom() + CLEAR);
            match columns.last_mut().filter(|column| rect.center.x - column.x <= SAME_COLUMN) {
                Some(column) => {
                    column.left = column.left.min(rect.left());
                    column.right = column.right.max(rect.right());
                    column.bottom = column.bottom.max(rect.bottom());
                    column.taken.push(block);
                }
                None => columns.push(Column {
                    x: rect.center.x,
                    left: rect.left(),
                    right: rect.right(),
                    taken: vec![block],
                    bottom: rect.bottom(),
                }),
            }
        }
        Self(columns)
    }

    fn between(&mut self, left: f64, right: f64) -> impl Iterator<Item = &mut Column> {
        self.0.iter_mut().filter(move |column| column.x > left + SAME_COLUMN && column.x < right - SAME_COLUMN)
    }

    fn lowest(&self, left: f64, right: f64) -> f64 {
        let within = self.0.iter().filter(|column| column.x >= left - SAME_COLUMN && column.x <= right + SAME_COLUMN);
        within.map(|column| column.bottom).fold(f64::NEG_INFINITY, f64::max)
    }
}

impl Column {
    /// Takes the free height nearest to `wish`.
    fn lane(&mut self, wish: f64) -> f64 {
        let free = |y: f64| self.taken.iter().all(|(top, bottom)| y <= *top || y >= *bottom);
        let sides = self.taken.iter().flat_map(|(top, bottom)| [*top, *bottom]);
        let nearest =
            sides.chain([wish]).filter(|y| free(*y)).min_by(|a, b| (a - wish).abs().total_cmp(&(b - wish).abs()));
        let lane = nearest.unwrap_or(wish);
        self.taken.push((lane - LANE, lane + LANE));
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{edge, node};
    use super::super::{Scene, Sketch};
    use super::*;

    fn hits(curve: &Curve, rect: &Rect) -> bool {
        (0..=200).any(|i| {
            let (at, _) = curve.at(curve.length() * f64::from(i) / 200.0);
            Rect::around(at, 2.0, 2.0).overlap(rect) > 0.0
        })
    }

    #[test]
    fn a_long_edge_goes_around_the_cards_between() {
        let nodes = vec![node("a", 0.0, 0.0), node("b", 280.0, 0.0), node("c", 560.0, 0.0)];
        let scene = Scene::build(&Sketch { nodes, edges: vec![edge("a", "c"), edge("a", "b")] });
        assert!(!hits(&scene.lines["a>c:http"].curve, &scene.nodes["b"]));
    }

    #[test]
    fn two_long_edges_take_two_lanes() {
        let nodes = vec![node("a", 0.0, 0.0), node("b", 280.0, 0.0), node("c", 560.0, 0.0), node("d", 560.0, 120.0)];
        let scene = Scene::build(&Sketch { nodes, edges: vec![edge("a", "c"), edge("a", "d")] });
        let middle = |id: &str| {
            let curve = &scene.lines[id].curve;
            curve.at(curve.length() / 2.0).0.y
        };
        assert!((middle("a>c:http") - middle("a>d:http")).abs() >= LANE - 1.0);
    }

    #[test]
    fn edges_leave_a_card_in_the_order_of_their_servers() {
        let nodes =
            vec![node("a", 0.0, 100.0), node("top", 280.0, 0.0), node("mid", 280.0, 120.0), node("low", 280.0, 240.0)];
        let edges = vec![edge("a", "low"), edge("a", "top"), edge("a", "mid")];
        let scene = Scene::build(&Sketch { nodes, edges });
        let start = |id: &str| scene.lines[id].curve.at(0.0).0.y;
        assert!(start("a>top:http") < start("a>mid:http") && start("a>mid:http") < start("a>low:http"));
    }

    #[test]
    fn cycles_loops_and_neighbours_in_a_column_get_a_way_of_finite_length() {
        let nodes = vec![node("a", 0.0, 0.0), node("b", 280.0, 0.0), node("c", 280.0, 120.0)];
        let edges = vec![edge("a", "b"), edge("b", "a"), edge("a", "a"), edge("b", "c")];
        let scene = Scene::build(&Sketch { nodes, edges });
        assert_eq!(scene.lines.len(), 4);
        assert!(scene.lines.values().all(|line| line.curve.length().is_finite() && line.curve.length() > 40.0));
        assert!(!hits(&scene.lines["b>a:http"].curve.part(60.0, 400.0), &scene.nodes["c"]));
    }
}
