//! `tripline graph`: the service graph for Graphviz, as a picture, or as the API's own JSON; or what differs between two times.

mod difference;
mod dot;
mod svg;

use tripline_api::Graph;

use crate::args::{ApiArguments, GraphArguments, GraphOutput};
use crate::client::Client;
use crate::exit::Outcome;
use crate::style;

/// Runs `tripline graph`.
pub(crate) async fn run(arguments: GraphArguments, api: &ApiArguments) -> Outcome {
    let client = Client::new(api)?;
    let mut query = vec![("window", arguments.window.as_str())];
    query.extend(arguments.at.as_deref().map(|at| ("at", at)));
    query.extend(arguments.namespace.as_deref().map(|namespace| ("namespace", namespace)));
    if let Some(compare) = arguments.compare.as_deref() {
        query.push(("compare", compare));
        return difference::run(&client, &query, arguments.output).await;
    }
    let value = client.get_json("graph", &query).await?;
    let text = match arguments.output.unwrap_or(GraphOutput::Dot) {
        // The grammar asks for --compare with a table.
        GraphOutput::Json | GraphOutput::Table => format!("{value:#}\n"),
        GraphOutput::Dot => dot::draw(&client.read::<Graph>("graph", value)?),
        GraphOutput::Svg => svg::draw(&client.read::<Graph>("graph", value)?),
    };
    Ok(style::answer(&text)?)
}

#[cfg(test)]
pub(crate) mod sample {
    //! A small graph with a hostile name in it.

    use tripline_api::Graph;

    /// Three nodes and two edges, one of them cut off by a breaker.
    pub(crate) fn graph() -> Graph {
        let node = |id: &str, health: &str, x: f64| {
            serde_json::json!({"id": id, "namespace": "", "name": id, "kind": "service", "health": health, "requests": 60,
                "requests_per_second": 1.0, "error_ratio": 0.5, "latency_ms": {"p50": 4.1, "p90": 9.8, "p99": 41.0},
                "position": {"x": x, "y": 0.0}})
        };
        let edge = |client: &str, server: &str, breaker: &str| {
            serde_json::json!({"id": format!("{client}>{server}:http"), "client": client, "server": server, "protocol": "http",
                "health": "healthy", "requests": 60, "requests_per_second": 1.0, "failed": 0, "shed": 0, "error_ratio": 0.0,
                "latency_ms": {"p50": 4.1, "p90": 9.8, "p99": 41.0}, "attempts_per_request": 1.0, "breaker": breaker,
                "secured": false})
        };
        serde_json::from_value(serde_json::json!({
            "at": "2026-11-21T09:00:00Z", "window_seconds": 60.0, "generation": 1,
            "nodes": [node("a\"]<script>&", "healthy", 0.0), node("shop/db", "failing", 520.0), node("shop/web", "degraded", 260.0)],
            "edges": [edge("a\"]<script>&", "shop/web", "none"), edge("shop/web", "shop/db", "open"), edge("shop/web", "gone", "none")],
        }))
        .expect("a graph")
    }
}
