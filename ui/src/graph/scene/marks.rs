//! Where an edge wears its breaker: as near to the middle of its first stretch as cards and other marks allow.
//!
//! The breaker is the client's, so on a long edge it stands in the gap next to the client. Marks are placed one after
//! the other, shortest edge first because it has the least choice; each takes the candidate that covers least of what is there,
//! the earlier candidate on a tie.

use std::collections::BTreeMap;

use super::super::shape::{Curve, Rect};
use super::Line;

/// Room of a mark with its text.
const WIDTH: f64 = 62.0;
const HEIGHT: f64 = 44.0;
/// Candidates, as shares of the first stretch: the gap next to the client.
const FIRST: [f64; 5] = [0.5, 0.62, 0.38, 0.72, 0.3];
/// Candidates further on, as shares of the whole edge.
const FURTHER: [f64; 5] = [0.5, 0.6, 0.7, 0.8, 0.88];

/// Gives each curve the place of its mark.
pub(super) fn place(nodes: &BTreeMap<String, Rect>, mut curves: Vec<(String, Curve)>) -> BTreeMap<String, Line> {
    curves.sort_by(|a, b| a.1.length().total_cmp(&b.1.length()).then_with(|| a.0.cmp(&b.0)));
    let mut marks: Vec<Rect> = Vec::new();
    let mut lines = BTreeMap::new();
    for (id, curve) in curves {
        let length = curve.length();
        let first = curve.first_stretch();
        let candidates = FIRST.iter().map(|share| share * first).chain(FURTHER.iter().map(|share| share * length));
        let scored = candidates.map(|distance| {
            let mark = Rect::around(curve.at(distance).0, WIDTH, HEIGHT);
            let covered: f64 = nodes.values().chain(&marks).map(|rect| rect.overlap(&mark)).sum();
            (covered, distance, mark)
        });
        if let Some((_, distance, mark)) = scored.min_by(|a, b| a.0.total_cmp(&b.0)) {
            marks.push(mark);
            lines.insert(id, Line { curve, mark: distance });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::tests::{edge, node};
    use super::super::{Scene, Sketch};
    use super::*;

    #[test]
    fn marks_stand_apart_and_clear_of_cards() {
        let nodes = vec![
            node("a", 0.0, 120.0),
            node("b", 272.0, 0.0),
            node("c", 272.0, 120.0),
            node("d", 272.0, 240.0),
            node("e", 544.0, 60.0),
        ];
        let edges =
            vec![edge("a", "b"), edge("a", "c"), edge("a", "d"), edge("b", "e"), edge("c", "e"), edge("a", "e")];
        let scene = Scene::build(&Sketch { nodes, edges });
        let marks: Vec<Rect> =
            scene.lines.values().map(|line| Rect::around(line.curve.at(line.mark).0, 30.0, 24.0)).collect();
        for (i, mark) in marks.iter().enumerate() {
            assert!(scene.nodes.values().all(|card| card.overlap(mark) == 0.0), "mark {i} lies on a card");
            assert!(marks.iter().skip(i + 1).all(|other| other.overlap(mark) == 0.0), "mark {i} lies on another");
        }
    }
}
