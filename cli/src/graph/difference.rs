//! `tripline graph --compare`: what differs between the graphs of two times, as a table or as the API's own JSON.

use tripline_api::{BreakerState, ChangeKind, Edge, GraphDifference, Node};

use crate::args::GraphOutput;
use crate::client::Client;
use crate::exit::Outcome;
use crate::style::{self, Tone};
use crate::table::Column::Left;
use crate::table::{Cell, Table};

/// Asks and writes.
pub(super) async fn run(client: &Client, query: &[(&str, &str)], output: Option<GraphOutput>) -> Outcome {
    let text = match output.unwrap_or(GraphOutput::Table) {
        GraphOutput::Json => format!("{:#}\n", client.get_json("graph/difference", query).await?),
        GraphOutput::Table => written(&client.get("graph/difference", query).await?, style::colours_on_stdout()),
        GraphOutput::Dot | GraphOutput::Svg => {
            return Err(anyhow::anyhow!("--compare writes -o table or -o json; it draws nothing").into());
        }
    };
    Ok(style::answer(&text)?)
}

fn written(difference: &GraphDifference, coloured: bool) -> String {
    let (before, after) = (&difference.before, &difference.after);
    let head = format!(
        "{} ({} s) compared with {} ({} s): {} nodes and {} edges do as they did\n",
        after.at, after.window_seconds, before.at, before.window_seconds, difference.same_nodes, difference.same_edges
    );
    let columns = [Left("CHANGE"), Left("WHAT"), Left("ID"), Left("BEFORE"), Left("AFTER")];
    let mut table = Table::new(columns, "nothing else differs");
    for node in &difference.nodes {
        table.row([
            change(node.change),
            Cell::from(if node.what.is_empty() { "node".to_owned() } else { node.what.join(" ") }),
            Cell::from(&node.id),
            Cell::from(node.before.as_ref().map_or_else(|| "-".to_owned(), told_node)),
            Cell::from(node.after.as_ref().map_or_else(|| "-".to_owned(), told_node)),
        ]);
    }
    for edge in &difference.edges {
        table.row([
            change(edge.change),
            Cell::from(if edge.what.is_empty() { "edge".to_owned() } else { edge.what.join(" ") }),
            Cell::from(&edge.id),
            Cell::from(edge.before.as_ref().map_or_else(|| "-".to_owned(), told_edge)),
            Cell::from(edge.after.as_ref().map_or_else(|| "-".to_owned(), told_edge)),
        ]);
    }
    head + &table.render(coloured)
}

fn change(change: ChangeKind) -> Cell {
    let tone = match change {
        ChangeKind::Added => Tone::Good,
        ChangeKind::Removed => Tone::Bad,
        ChangeKind::Changed => Tone::Warn,
    };
    Cell::toned(change.as_str(), tone)
}

fn told_node(node: &Node) -> String {
    figures(node.health.as_str(), node.requests_per_second, (node.error_ratio, node.latency_ms.p99))
}

fn told_edge(edge: &Edge) -> String {
    let figures = figures(edge.health.as_str(), edge.requests_per_second, (edge.error_ratio, edge.latency_ms.p99));
    match edge.breaker {
        BreakerState::Open | BreakerState::HalfOpen => format!("{figures}, breaker {}", edge.breaker),
        BreakerState::None | BreakerState::Closed => figures,
    }
}

fn figures(health: &str, rate: f64, (error_ratio, p99): (f64, f64)) -> String {
    format!("{health}, {rate:.1}/s, {:.1} % errors, p99 {p99:.1} ms", error_ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_difference() {
        let graph = super::super::sample::graph();
        let (before, mut after) = (graph.edges[1].clone(), graph.edges[1].clone());
        after.error_ratio = 0.5;
        let moment = serde_json::json!({"at": "2026-11-21T09:00:00Z", "window_seconds": 60.0});
        let difference: GraphDifference = serde_json::from_value(serde_json::json!({
            "before": moment, "after": moment, "same_nodes": 2, "same_edges": 1,
            "nodes": [{"id": "shop/db", "change": "added", "what": [], "before": null, "after": graph.nodes[1]}],
            "edges": [{"id": before.id, "change": "changed", "what": ["error_ratio"], "before": before, "after": after}],
        }))
        .expect("a difference");
        let text = written(&difference, false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("2 nodes and 1 edges do as they did"), "{text}");
        assert!(lines[2].starts_with("added") && lines[2].contains("shop/db"), "{text}");
        assert!(lines[3].contains("50.0 % errors") && lines[3].contains("breaker open"), "{text}");
    }
}
