//! Points, boxes and smooth curves with a measured length: what the scene is made of. Pure, units of the drawing.
//!
//! An edge is a chain of cubic Béziers whose ends are horizontal, because the graph flows from left to right. Parts of
//! it (up to an open breaker, the share that failed) are cut at a distance along it, so lengths are measured once, by
//! chords over [`CHORDS`] steps a piece: off by less than half a unit on curves of the size of a screen.

use std::fmt::Write as _;

/// Chords that measure one piece.
const CHORDS: usize = 24;

/// A place in the drawing; y grows downwards.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Point {
    /// Left to right.
    pub(crate) x: f64,
    /// Top to bottom.
    pub(crate) y: f64,
}

impl Point {
    /// The point at these coordinates.
    pub(crate) const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    fn towards(self, other: Self, share: f64) -> Self {
        Self::new(self.x + (other.x - self.x) * share, self.y + (other.y - self.y) * share)
    }

    fn distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// A box with sides along the axes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Rect {
    /// Its middle.
    pub(crate) center: Point,
    /// From left to right.
    pub(crate) width: f64,
    /// From top to bottom.
    pub(crate) height: f64,
}

impl Rect {
    /// The box of this size around `center`.
    pub(crate) const fn around(center: Point, width: f64, height: f64) -> Self {
        Self { center, width, height }
    }

    pub(crate) fn left(&self) -> f64 {
        self.center.x - self.width / 2.0
    }

    pub(crate) fn right(&self) -> f64 {
        self.center.x + self.width / 2.0
    }

    pub(crate) fn top(&self) -> f64 {
        self.center.y - self.height / 2.0
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.center.y + self.height / 2.0
    }

    /// The area that both cover.
    pub(crate) fn overlap(&self, other: &Self) -> f64 {
        let width = self.right().min(other.right()) - self.left().max(other.left());
        let height = self.bottom().min(other.bottom()) - self.top().max(other.top());
        width.max(0.0) * height.max(0.0)
    }

    /// The smallest box around all; nothing around nothing.
    pub(crate) fn union<'a>(boxes: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let sides = boxes.into_iter().fold(None, |sides: Option<[f64; 4]>, b| {
            let [left, top, right, bottom] = sides.unwrap_or([b.left(), b.top(), b.right(), b.bottom()]);
            Some([left.min(b.left()), top.min(b.top()), right.max(b.right()), bottom.max(b.bottom())])
        });
        sides.map(|[left, top, right, bottom]| {
            Self::around(Point::new((left + right) / 2.0, (top + bottom) / 2.0), right - left, bottom - top)
        })
    }
}

/// A chain of cubic Béziers, in the order of the traffic.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Curve {
    pieces: Vec<Cubic>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Cubic {
    points: [Point; 4],
    length: f64,
}

impl Curve {
    /// Leaves each point and reaches the next horizontally, to the right where there is a choice.
    pub(crate) fn through(points: &[Point]) -> Self {
        let pieces = points.windows(2).filter_map(|pair| match *pair {
            [from, to] => Some(Cubic::flowing(from, to)),
            _ => None,
        });
        Self { pieces: pieces.collect() }
    }

    /// One cubic with the given control points.
    pub(crate) fn cubic(points: [Point; 4]) -> Self {
        Self { pieces: vec![Cubic::new(points)] }
    }

    /// Goes on with `other`, which begins where this one ends.
    pub(crate) fn append(&mut self, other: Self) {
        self.pieces.extend(other.pieces);
    }

    /// From end to end.
    pub(crate) fn length(&self) -> f64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }

    /// Length up to the first point that it was led through.
    pub(crate) fn first_stretch(&self) -> f64 {
        self.pieces.first().map_or(0.0, |piece| piece.length)
    }

    /// The point `distance` along it, and the direction there in degrees, 0 to the right, clockwise.
    pub(crate) fn at(&self, distance: f64) -> (Point, f64) {
        let Some((piece, rest)) = self.locate(distance) else { return (Point::default(), 0.0) };
        let t = piece.parameter(rest);
        (piece.point(t), piece.direction(t))
    }

    /// What lies between two distances along it.
    pub(crate) fn part(&self, from: f64, to: f64) -> Self {
        let mut start = 0.0;
        let mut pieces = Vec::new();
        for piece in &self.pieces {
            let (a, b) = ((from - start).max(0.0), (to - start).min(piece.length));
            if b - a > 1e-6 {
                pieces.push(piece.part(piece.parameter(a), piece.parameter(b)));
            }
            start += piece.length;
        }
        Self { pieces }
    }

    /// As the value of SVG's `d`.
    pub(crate) fn path(&self) -> String {
        let mut d = String::new();
        for (i, Cubic { points: [a, b, c, e], .. }) in self.pieces.iter().enumerate() {
            if i == 0 {
                let _ = write!(d, "M{:.1} {:.1}", a.x, a.y);
            }
            let _ = write!(d, "C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}", b.x, b.y, c.x, c.y, e.x, e.y);
        }
        d
    }

    fn locate(&self, distance: f64) -> Option<(&Cubic, f64)> {
        let mut rest = distance.max(0.0);
        for piece in &self.pieces {
            if rest <= piece.length {
                return Some((piece, rest));
            }
            rest -= piece.length;
        }
        self.pieces.last().map(|last| (last, last.length))
    }
}

impl Cubic {
    fn new(points: [Point; 4]) -> Self {
        let mut cubic = Self { points, length: 0.0 };
        let steps = (0..CHORDS)
            .map(|i| cubic.point(i as f64 / CHORDS as f64).distance(cubic.point((i + 1) as f64 / CHORDS as f64)));
        cubic.length = steps.sum();
        cubic
    }

    /// An S whose ends are horizontal; a loop where the target lies to the left.
    fn flowing(from: Point, to: Point) -> Self {
        let reach = if to.x >= from.x { (to.x - from.x) * 0.5 } else { 90.0 + (from.x - to.x) * 0.25 };
        Self::new([from, Point::new(from.x + reach, from.y), Point::new(to.x - reach, to.y), to])
    }

    fn point(&self, t: f64) -> Point {
        let [a, b, c, d] = self.points;
        let (ab, bc, cd) = (a.towards(b, t), b.towards(c, t), c.towards(d, t));
        ab.towards(bc, t).towards(bc.towards(cd, t), t)
    }

    fn direction(&self, t: f64) -> f64 {
        let (before, after) = (self.point((t - 0.02).max(0.0)), self.point((t + 0.02).min(1.0)));
        (after.y - before.y).atan2(after.x - before.x).to_degrees()
    }

    /// The parameter at a distance along it.
    fn parameter(&self, distance: f64) -> f64 {
        let mut walked = 0.0;
        for i in 0..CHORDS {
            let (t, next) = (i as f64 / CHORDS as f64, (i + 1) as f64 / CHORDS as f64);
            let chord = self.point(t).distance(self.point(next));
            if walked + chord >= distance && chord > 0.0 {
                return t + (next - t) * ((distance - walked) / chord).clamp(0.0, 1.0);
            }
            walked += chord;
        }
        1.0
    }

    /// De Casteljau's cut at both ends.
    fn part(&self, from: f64, to: f64) -> Self {
        let (_, rest) = self.split(from);
        let share = if from < 1.0 { (to - from) / (1.0 - from) } else { 0.0 };
        rest.split(share).0
    }

    fn split(&self, t: f64) -> (Self, Self) {
        let [a, b, c, d] = self.points;
        let (ab, bc, cd) = (a.towards(b, t), b.towards(c, t), c.towards(d, t));
        let (abc, bcd) = (ab.towards(bc, t), bc.towards(cd, t));
        let middle = abc.towards(bcd, t);
        (Self::new([a, ab, abc, middle]), Self::new([middle, bcd, cd, d]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Point, b: Point) -> bool {
        a.distance(b) < 0.6
    }

    #[test]
    fn a_straight_line_is_as_long_as_it_looks() {
        let line = Curve::through(&[Point::new(0.0, 0.0), Point::new(100.0, 0.0)]);
        assert!((line.length() - 100.0).abs() < 1e-9);
        assert!(close(line.at(25.0).0, Point::new(25.0, 0.0)));
        assert_eq!(line.at(25.0).1, 0.0);
        assert_eq!(line.path(), "M0.0 0.0C50.0 0.0 50.0 0.0 100.0 0.0");
    }

    #[test]
    fn parts_join_where_they_were_cut() {
        let curve = Curve::through(&[
            Point::new(0.0, 0.0),
            Point::new(90.0, 60.0),
            Point::new(260.0, 60.0),
            Point::new(350.0, -20.0),
        ]);
        let (length, cut) = (curve.length(), curve.length() * 0.4);
        let (head, tail) = (curve.part(0.0, cut), curve.part(cut, length));
        assert!((head.length() + tail.length() - length).abs() < 1.0);
        assert!(close(head.at(head.length()).0, tail.at(0.0).0));
        assert!(close(tail.at(tail.length()).0, Point::new(350.0, -20.0)));
    }

    #[test]
    fn distances_outside_end_at_the_ends() {
        let curve = Curve::through(&[Point::new(0.0, 0.0), Point::new(100.0, 50.0)]);
        assert!(close(curve.at(-10.0).0, Point::new(0.0, 0.0)));
        assert!(close(curve.at(1e6).0, Point::new(100.0, 50.0)));
        assert_eq!(Curve::default().at(5.0), (Point::default(), 0.0));
        assert_eq!(curve.part(80.0, 20.0), Curve::default());
    }

    #[test]
    fn boxes_know_what_they_share() {
        let a = Rect::around(Point::new(0.0, 0.0), 10.0, 10.0);
        let b = Rect::around(Point::new(8.0, 0.0), 10.0, 4.0);
        assert_eq!(a.overlap(&b), 8.0);
        assert_eq!(Rect::union([&a, &b]), Some(Rect::around(Point::new(4.0, 0.0), 18.0, 10.0)));
        assert_eq!(Rect::union([]), None);
    }
}
