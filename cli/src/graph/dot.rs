//! The graph in Graphviz' language: `tripline graph -o dot | dot -Tpng > graph.png`.

use std::fmt::{self, Write};

use tripline_api::{BreakerState, Edge, Graph, Health, Node, NodeKind};

/// The whole drawing.
pub(super) fn draw(graph: &Graph) -> String {
    let mut text =
        "digraph tripline {\n  rankdir=LR;\n  node [style=\"rounded,filled\", shape=box, fontname=\"Helvetica\"];\n  \
                    edge [fontname=\"Helvetica\", fontsize=10];\n"
            .to_owned();
    let written = graph
        .nodes
        .iter()
        .try_for_each(|node| write_node(&mut text, node))
        .and_then(|()| graph.edges.iter().try_for_each(|edge| write_edge(&mut text, edge)));
    debug_assert!(written.is_ok(), "a String takes everything");
    text.push_str("}\n");
    text
}

fn write_node(text: &mut String, node: &Node) -> fmt::Result {
    let fill = match node.health {
        Health::Healthy => "#d7f0dd",
        Health::Degraded => "#fbe6b5",
        Health::Failing => "#f7c6c1",
        Health::Idle => "#e6e8eb",
    };
    let shape = match node.kind {
        NodeKind::Database => ", shape=cylinder, style=filled",
        NodeKind::Queue => ", shape=cds, style=filled",
        NodeKind::User | NodeKind::External => ", shape=ellipse, style=filled",
        NodeKind::Service | NodeKind::Gateway => "",
    };
    let figures = format!("{:.1}/s, {:.1} % errors", node.requests_per_second, node.error_ratio * 100.0);
    writeln!(
        text,
        "  {} [label={}, fillcolor=\"{fill}\"{shape}];",
        quoted(&node.id),
        quoted(&format!("{}\n{figures}", node.id))
    )
}

fn write_edge(text: &mut String, edge: &Edge) -> fmt::Result {
    let (colour, style) = match (edge.breaker, edge.health) {
        (BreakerState::Open, _) => ("#b3261e", ", style=dashed, label=\"breaker open\""),
        (BreakerState::HalfOpen, _) => ("#9a6700", ", style=dashed, label=\"breaker half open\""),
        (_, Health::Failing) => ("#b3261e", ""),
        (_, Health::Degraded) => ("#9a6700", ""),
        (_, Health::Healthy) => ("#2f6f44", ""),
        (_, Health::Idle) => ("#9aa0a6", ""),
    };
    let tooltip = quoted(&format!("{:.1}/s, p99 {:.1} ms", edge.requests_per_second, edge.latency_ms.p99));
    writeln!(
        text,
        "  {} -> {} [color=\"{colour}\", tooltip={tooltip}{style}];",
        quoted(&edge.client),
        quoted(&edge.server)
    )
}

/// A quoted identifier: quotes and backslashes escaped, line ends as Graphviz writes them, other control characters out.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push('?'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sample;

    #[test]
    fn names_are_quoted_and_breakers_drawn() {
        let text = draw(&sample::graph());
        assert!(text.contains(r#""a\"]<script>&" -> "shop/web""#), "{text}");
        assert!(text.contains(r##""shop/web" -> "shop/db" [color="#b3261e""##), "{text}");
        assert!(text.contains("breaker open"));
        assert_eq!(quoted("a\\\n\x1b"), r#""a\\\n?""#);
    }
}
