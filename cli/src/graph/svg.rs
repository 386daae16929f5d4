//! The graph as a picture of its own: the collector's layout, cards and curves, readable in light and dark.
//!
//! Colours are CSS variables with a `prefers-color-scheme` rule inside the picture, so that one file does for a page of
//! either kind. Edges leave a card at its right side and arrive at the left one of the next; an edge that goes back,
//! to a card further left, bends around below. Edges whose ends are not in the graph are left out.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use tripline_api::{BreakerState, Edge, Graph, Health, Node, Position};

/// Size of a card, in the units of the layout (ranks are 260 apart, nodes of a rank 110).
const CARD: (f64, f64) = (168.0, 58.0);
const MARGIN: f64 = 40.0;
/// Characters of a name that fit on a card.
const NAME_CHARS: usize = 20;

const STYLE: &str = "\
<style>
svg { --paper: #ffffff; --card: #f6f8fa; --ink: #1f2328; --faint: #656d76; --good: #1a7f37; --warn: #9a6700; --bad: #cf222e; --idle: #afb8c1; }
@media (prefers-color-scheme: dark) { svg { --paper: #0d1117; --card: #161b22; --ink: #e6edf3; --faint: #8b949e; --good: #3fb950; --warn: #d29922; --bad: #f85149; --idle: #484f58; } }
text { font-family: ui-sans-serif, system-ui, sans-serif; font-size: 12px; fill: var(--faint); }
.name { font-size: 14px; font-weight: 600; fill: var(--ink); }
.card { fill: var(--card); stroke-width: 2; }
.edge { fill: none; }
.healthy { stroke: var(--good); } .degraded { stroke: var(--warn); } .failing { stroke: var(--bad); } .idle { stroke: var(--idle); }
.open { stroke: var(--bad); stroke-dasharray: 6 5; } .half_open { stroke: var(--warn); stroke-dasharray: 6 5; }
.mark { fill: var(--paper); stroke-width: 2; stroke-dasharray: none; }
</style>
";

/// The whole picture.
pub(super) fn draw(graph: &Graph) -> String {
    let mut text = String::new();
    let written = write_picture(&mut text, graph);
    debug_assert!(written.is_ok(), "a String takes everything");
    text
}

fn write_picture(text: &mut String, graph: &Graph) -> fmt::Result {
    let bounds = |pick: fn(&Node) -> f64| {
        let values = || graph.nodes.iter().map(pick).filter(|value| value.is_finite());
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    let ((left, right), (top, bottom)) = (bounds(|n| n.position.x), bounds(|n| n.position.y));
    let (left, top) = (left.min(right) - CARD.0 / 2.0 - MARGIN, top.min(bottom) - CARD.1 / 2.0 - MARGIN);
    let (width, height) = (right - left + CARD.0 / 2.0 + MARGIN, bottom - top + CARD.1 / 2.0 + MARGIN);
    let (left, top, width, height) =
        if graph.nodes.is_empty() { (0.0, 0.0, 320.0, 80.0) } else { (left, top, width, height) };
    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{left:.0} {top:.0} {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"service graph at {}\">",
        escaped(&graph.at)
    )?;
    text.push_str(STYLE);
    writeln!(
        text,
        "<rect x=\"{left:.0}\" y=\"{top:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" style=\"fill: var(--paper)\"/>"
    )?;
    let positions: BTreeMap<&str, Position> = graph.nodes.iter().map(|n| (n.id.as_str(), n.position)).collect();
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (positions.get(edge.client.as_str()), positions.get(edge.server.as_str())) {
            write_edge(text, edge, *from, *to)?;
        }
    }
    graph.nodes.iter().try_for_each(|node| write_node(text, node))?;
    if graph.nodes.is_empty() {
        text.push_str("<text x=\"20\" y=\"44\">nothing has reported in this window</text>\n");
    }
    text.push_str("</svg>\n");
    Ok(())
}

fn write_edge(text: &mut String, edge: &Edge, from: Position, to: Position) -> fmt::Result {
    let (x1, y1, x2, y2) = (from.x + CARD.0 / 2.0, from.y, to.x - CARD.0 / 2.0, to.y);
    // The handles of the curve: level with the cards, and below both when the edge goes back.
    let reach = ((x2 - x1) / 2.0).abs().max(40.0);
    let drop = if x2 < x1 { CARD.1 * 1.6 } else { 0.0 };
    let class = match edge.breaker {
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half_open",
        BreakerState::Closed | BreakerState::None => edge.health.as_str(),
    };
    // One request a second is a thin line, a thousand a thick one.
    let thick = 1.5 + edge.requests_per_second.max(0.0).ln_1p() * 0.5;
    writeln!(
        text,
        "<path class=\"edge {class}\" stroke-width=\"{thick:.1}\" d=\"M{x1:.1} {y1:.1} C{:.1} {:.1} {:.1} {:.1} {x2:.1} {y2:.1}\">\
         <title>{}: {:.1}/s, {:.1} % errors, p99 {:.1} ms, breaker {}</title></path>",
        x1 + reach,
        y1 + drop,
        x2 - reach,
        y2 + drop,
        escaped(&edge.id),
        edge.requests_per_second,
        edge.error_ratio * 100.0,
        edge.latency_ms.p99,
        edge.breaker.as_str(),
    )?;
    if matches!(edge.breaker, BreakerState::Open | BreakerState::HalfOpen) {
        // The middle of the curve, where a switch in a circuit diagram would stand.
        let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0 + drop * 0.75);
        writeln!(text, "<circle class=\"mark {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\"/>")?;
    }
    Ok(())
}

fn write_node(text: &mut String, node: &Node) -> fmt::Result {
    let (x, y) = (node.position.x - CARD.0 / 2.0, node.position.y - CARD.1 / 2.0);
    let (width, height) = CARD;
    let shown: String = match node.name.chars().count() {
        0..=NAME_CHARS => node.name.clone(),
        _ => node.name.chars().take(NAME_CHARS - 1).chain(['…']).collect(),
    };
    let figures = match node.health {
        Health::Idle => "idle".to_owned(),
        _ => {
            let (rate, errors, p99) = (node.requests_per_second, node.error_ratio * 100.0, node.latency_ms.p99);
            format!("{rate:.1}/s  {errors:.1} %  {p99:.0} ms")
        }
    };
    writeln!(
        text,
        "<g><title>{}</title><rect class=\"card {}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>\
         <text class=\"name\" x=\"{tx:.1}\" y=\"{ny:.1}\">{}</text><text x=\"{tx:.1}\" y=\"{fy:.1}\">{figures}</text></g>",
        escaped(&node.id),
        node.health.as_str(),
        escaped(&shown),
        tx = x + 12.0,
        ny = y + 24.0,
        fy = y + 44.0,
    )
}

/// Text for XML; control characters have no place in it at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sample;

    #[test]
    fn cards_curves_and_breakers_are_drawn_and_names_cannot_break_out() {
        let picture = draw(&sample::graph());
        assert!(picture.starts_with("<svg xmlns=") && picture.ends_with("</svg>\n"));
        assert_eq!(picture.matches("class=\"card ").count(), 3);
        assert_eq!(picture.matches("<path").count(), 2, "the edge to a node that is gone is left out");
        assert_eq!(picture.matches("class=\"mark open\"").count(), 1);
        assert!(!picture.contains("<script>") && picture.contains("a&quot;]&lt;script&gt;&amp;"));
    }

    #[test]
    fn an_empty_graph_says_so() {
        let empty = Graph { nodes: Vec::new(), edges: Vec::new(), ..sample::graph() };
        let picture = draw(&empty);
        assert!(picture.contains("viewBox=\"0 0 320 80\"") && picture.contains("nothing has reported"), "{picture}");
    }
}
