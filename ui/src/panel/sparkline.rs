//! A small line of the last minutes, drawn by hand: 40 lines of SVG instead of a charting library.

use leptos::prelude::*;

const WIDTH: f32 = 300.0;
const HEIGHT: f32 = 40.0;
/// Room above the highest point, so that the stroke is not cut.
const HEAD: f32 = 3.0;

/// The line and the area below it, as values of SVG's `d`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Shape {
    line: String,
    area: String,
}

/// Draws a series from 0 to `top` or its own maximum, whichever is more; the newest value stands at the right.
///
/// Until there are `slots` values the line grows from the right, so that a second is always equally wide.
pub(crate) fn shape(series: &[f32], slots: usize, top: f32) -> Shape {
    let max = series.iter().copied().filter(|v| v.is_finite()).fold(top, f32::max);
    if series.len() < 2 || max <= 0.0 {
        return Shape::default();
    }
    let step = WIDTH / (slots.max(series.len()) - 1) as f32;
    let start = WIDTH - step * (series.len() - 1) as f32;
    let points = series.iter().enumerate().map(|(i, value)| {
        let value = if value.is_finite() { *value } else { 0.0 };
        format!("{:.1} {:.1}", start + i as f32 * step, HEIGHT - value / max * (HEIGHT - HEAD))
    });
    let line = format!("M{}", points.collect::<Vec<_>>().join("L"));
    let area = format!("{line}L{WIDTH} {HEIGHT}L{start:.1} {HEIGHT}Z");
    Shape { line, area }
}

/// A figure with its line.
#[component]
pub(crate) fn Sparkline(
    /// What it is.
    label: &'static str,
    /// The newest value as text.
    value: Signal<String>,
    /// The line.
    shape: Signal<Shape>,
    /// Gives it its colour.
    class: &'static str,
) -> impl IntoView {
    view! {
        <div class=format!("spark {class}")>
            <span class="spark-label">{label}</span>
            <span class="spark-value">{value}</span>
            <svg viewBox=format!("0 0 {WIDTH} {HEIGHT}") preserveAspectRatio="none" aria-hidden="true">
                <path class="spark-area" d=move || shape.with(|shape| shape.area.clone()) />
                <path class="spark-line" d=move || shape.with(|shape| shape.line.clone()) />
            </svg>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_stands_at_the_right_and_the_highest_at_the_top() {
        let line = shape(&[0.0, 2.0, 4.0], 5, 0.0).line;
        assert_eq!(line, "M150.0 40.0L225.0 21.5L300.0 3.0");
    }

    #[test]
    fn a_ratio_is_drawn_against_its_scale_and_nothing_is_drawn_of_nothing() {
        assert_eq!(shape(&[0.1, 0.1], 2, 1.0).line, "M0.0 36.3L300.0 36.3");
        assert_eq!(shape(&[1.0], 5, 0.0), Shape::default());
        assert_eq!(shape(&[0.0, 0.0], 5, 0.0), Shape::default());
        assert_eq!(shape(&[f32::NAN, 1.0], 2, 0.0).line, "M0.0 40.0L300.0 3.0");
    }
}
