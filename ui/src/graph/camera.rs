//! Where one looks at the drawing from: pure arithmetic of pan, zoom and fit.
//!
//! A point of the drawing is on the screen at `(point - origin) * zoom`. Until somebody pans or zooms, the camera follows the
//! drawing, the size of the window and what is selected or lit ([`Camera::frame`]): all of the drawing while its cards
//! can be read, else what matters, at a size that can be read. `f` shows all of it whatever its size.

use super::shape::{Point, Rect};

/// Smallest and largest zoom by hand.
const ZOOM_MIN: f64 = 0.12;
const ZOOM_MAX: f64 = 2.5;
/// A small graph is not blown up beyond this.
const FIT_MAX: f64 = 1.15;
/// Below this zoom cards cannot be read well.
const READABLE: f64 = 0.58;
/// Free space around a fitted drawing, in pixels: left and right, top, bottom (where the tools are).
const MARGIN_X: f64 = 36.0;
const MARGIN_TOP: f64 = 44.0;
const MARGIN_BOTTOM: f64 = 64.0;

/// Whether the camera follows the drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Shows all of it, or what matters when all of it is too much.
    Framed,
    /// Shows all of it, always.
    Whole,
    /// Stays where somebody put it.
    Free,
}

/// The camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Camera {
    /// What is at the top left of the screen.
    pub(crate) origin: Point,
    /// Pixels per unit.
    pub(crate) zoom: f64,
    /// Whether it follows.
    pub(crate) mode: Mode,
}

impl Default for Camera {
    fn default() -> Self {
        Self { origin: Point::default(), zoom: 1.0, mode: Mode::Framed }
    }
}

impl Camera {
    /// Shows all of `bounds`, in the middle of a screen of this size.
    pub(crate) fn fit(bounds: Rect, width: f64, height: f64) -> Self {
        let (room_x, room_y) = ((width - 2.0 * MARGIN_X).max(50.0), (height - MARGIN_TOP - MARGIN_BOTTOM).max(50.0));
        let zoom = (room_x / bounds.width.max(1.0)).min(room_y / bounds.height.max(1.0)).clamp(ZOOM_MIN, FIT_MAX);
        let origin =
            Point::new(bounds.center.x - width / 2.0 / zoom, bounds.center.y - (MARGIN_TOP + room_y / 2.0) / zoom);
        Self { origin, zoom, mode: Mode::Whole }
    }

    /// Shows all of `bounds` while that can be read; else `focus`, and as much around it as can be read.
    pub(crate) fn frame(bounds: Rect, focus: Option<Rect>, (width, height): (f64, f64)) -> Self {
        let whole = Self::fit(bounds, width, height);
        let Some(focus) = focus.filter(|_| whole.zoom < READABLE) else { return Self { mode: Mode::Framed, ..whole } };
        let close = Self::fit(focus, width, height);
        let zoom = close.zoom.min(READABLE).max(whole.zoom);
        let (half_x, half_y) = (width / 2.0 / zoom, height / 2.0 / zoom);
        // Not further than the drawing's own edge, so that no half of the screen is empty.
        let hold = |center: f64, low: f64, high: f64, half: f64, middle: f64| {
            let (low, high) = (low + half - MARGIN_X / zoom, high - half + MARGIN_X / zoom);
            if low > high { middle } else { center.clamp(low, high) }
        };
        let x = hold(focus.center.x, bounds.left(), bounds.right(), half_x, bounds.center.x);
        let y = hold(focus.center.y, bounds.top(), bounds.bottom(), half_y, bounds.center.y);
        Self { origin: Point::new(x - half_x, y - half_y), zoom, mode: Mode::Framed }
    }

    /// Moves the drawing with the pointer by so many pixels.
    pub(crate) fn pan(self, dx: f64, dy: f64) -> Self {
        let origin = Point::new(self.origin.x - dx / self.zoom, self.origin.y - dy / self.zoom);
        Self { origin, mode: Mode::Free, ..self }
    }

    /// Zooms by `factor`; what is under the given pixel stays there.
    pub(crate) fn zoom_at(self, pixel: Point, factor: f64) -> Self {
        let zoom = (self.zoom * factor).clamp(ZOOM_MIN, ZOOM_MAX);
        let held = Point::new(self.origin.x + pixel.x / self.zoom, self.origin.y + pixel.y / self.zoom);
        let origin = Point::new(held.x - pixel.x / zoom, held.y - pixel.y / zoom);
        Self { origin, zoom, mode: Mode::Free }
    }

    /// Moves as little as needed to show `target` on a screen of this size; stays when it is seen already.
    pub(crate) fn reveal(self, target: Rect, width: f64, height: f64) -> Self {
        let edge = 24.0;
        let shift = |low: f64, high: f64, size: f64| {
            if low < edge {
                edge - low
            } else if high > size - edge {
                size - edge - high
            } else {
                0.0
            }
        };
        let screen = |v: f64, origin: f64| (v - origin) * self.zoom;
        let dx = shift(screen(target.left(), self.origin.x), screen(target.right(), self.origin.x), width);
        let dy = shift(screen(target.top(), self.origin.y), screen(target.bottom(), self.origin.y), height);
        if dx == 0.0 && dy == 0.0 { self } else { self.pan(dx, dy) }
    }

    /// As the value of CSS's `transform`.
    pub(crate) fn transform(&self) -> String {
        let Self { origin, zoom, .. } = self;
        format!("translate({:.2}px,{:.2}px) scale({zoom:.4})", -origin.x * zoom, -origin.y * zoom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_screen(camera: Camera, p: Point) -> (f64, f64) {
        ((p.x - camera.origin.x) * camera.zoom, (p.y - camera.origin.y) * camera.zoom)
    }

    #[test]
    fn fitting_shows_every_corner() {
        for (w, h) in [(1400.0, 800.0), (700.0, 640.0), (200.0, 120.0)] {
            let bounds = Rect::around(Point::new(700.0, 250.0), 1600.0, 500.0);
            let camera = Camera::fit(bounds, w, h);
            let (left, top) = on_screen(camera, Point::new(bounds.left(), bounds.top()));
            let (right, bottom) = on_screen(camera, Point::new(bounds.right(), bounds.bottom()));
            assert!(camera.zoom == ZOOM_MIN || (left >= 0.0 && top >= 0.0 && right <= w && bottom <= h), "{w}x{h}");
        }
        let tiny = Rect::around(Point::default(), 10.0, 10.0);
        assert_eq!(Camera::fit(tiny, 1000.0, 800.0).zoom, FIT_MAX);
    }

    #[test]
    fn what_matters_is_framed_when_all_of_it_is_too_small() {
        let size = (1000.0, 700.0);
        let small = Rect::around(Point::new(400.0, 200.0), 800.0, 400.0);
        let node = Rect::around(Point::new(700.0, 300.0), 168.0, 76.0);
        assert_eq!(Camera::frame(small, Some(node), size).origin, Camera::fit(small, 1000.0, 700.0).origin);
        let large = Rect::around(Point::new(2_500.0, 3_000.0), 5_000.0, 6_000.0);
        let framed = Camera::frame(large, Some(node), size);
        let (x, y) = on_screen(framed, node.center);
        assert!(framed.zoom == READABLE && (0.0..1000.0).contains(&x) && (0.0..700.0).contains(&y), "{x} {y}");
        assert_eq!(Camera::frame(large, None, size).zoom, Camera::fit(large, 1000.0, 700.0).zoom);
    }

    #[test]
    fn zooming_holds_what_is_under_the_pointer() {
        let pixel = Point::new(300.0, 200.0);
        let before = Camera { origin: Point::new(40.0, -20.0), zoom: 0.8, mode: Mode::Framed };
        let held = Point::new(40.0 + 300.0 / 0.8, -20.0 + 200.0 / 0.8);
        let after = before.zoom_at(pixel, 1.7);
        let (x, y) = on_screen(after, held);
        assert!((x - pixel.x).abs() < 1e-9 && (y - pixel.y).abs() < 1e-9);
        assert_eq!((after.mode, before.zoom_at(pixel, 1e9).zoom), (Mode::Free, ZOOM_MAX));
    }

    #[test]
    fn revealing_moves_only_what_it_must() {
        let camera = Camera::default();
        let seen = Rect::around(Point::new(400.0, 300.0), 100.0, 60.0);
        assert_eq!(camera.reveal(seen, 800.0, 600.0), camera);
        let hidden = Rect::around(Point::new(900.0, 300.0), 100.0, 60.0);
        let moved = camera.reveal(hidden, 800.0, 600.0);
        assert_eq!(moved.origin, Point::new(174.0, 0.0));
    }
}
