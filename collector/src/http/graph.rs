//! The graph: now from the live task, at an earlier time from history.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use tripline_api as api;

use super::answer::{Answer, Params, Refusal};
use super::params::{DifferenceParams, GraphParams, VIEW_WINDOW, past_window, time, window};
use super::{App, difference, past};
use crate::clock;

/// The graph over a window of time.
#[utoipa::path(get, path = "/api/v1/graph", params(GraphParams), responses(
    (status = 200, body = api::Graph), (status = 400, body = api::ApiError), (status = 504, body = api::ApiError)))]
pub(super) async fn graph(State(app): State<App>, Params(params): Params<GraphParams>) -> Answer<api::Graph> {
    let mut graph = shown(&app, params.at.as_deref(), params.window.as_deref()).await?;
    if let Some(namespace) = &params.namespace {
        keep_namespace(&mut graph, namespace);
    }
    Ok(Json(graph))
}

/// What differs between the graphs of two times.
#[utoipa::path(get, path = "/api/v1/graph/difference", params(DifferenceParams), responses(
    (status = 200, body = api::GraphDifference), (status = 400, body = api::ApiError), (status = 504, body = api::ApiError)))]
pub(super) async fn differ(
    State(app): State<App>,
    Params(params): Params<DifferenceParams>,
) -> Answer<api::GraphDifference> {
    let window = params.window.as_deref();
    let mut before = shown(&app, Some(&params.compare), window).await?;
    let mut after = shown(&app, params.at.as_deref(), window).await?;
    if let Some(namespace) = &params.namespace {
        keep_namespace(&mut before, namespace);
        keep_namespace(&mut after, namespace);
    }
    Ok(Json(difference::between(before, after)))
}

/// The graph at a time in the past, or now when there is none.
pub(super) async fn shown(app: &App, at: Option<&str>, length: Option<&str>) -> Result<api::Graph, Refusal> {
    let Some(text) = at else { return current(app, window(length)?).await };
    let at = time("at", text)?;
    if at > clock::now() {
        return Err(Refusal::bad_request("at: expected a time in the past"));
    }
    past::graph(app, at, past_window(length)?).await
}

/// The live graph; the published one when the window is its own.
async fn current(app: &App, window: Duration) -> Result<api::Graph, Refusal> {
    if window == VIEW_WINDOW {
        return Ok(app.view().graph.clone());
    }
    let ended = || Refusal::unavailable("the live graph has ended; the collector is shutting down");
    app.parts.live.graph(window).await.ok_or_else(ended)
}

/// Keeps the nodes of a namespace, the edges from and to them, and the nodes at their other ends.
fn keep_namespace(graph: &mut api::Graph, namespace: &str) {
    let inside: BTreeSet<String> =
        graph.nodes.iter().filter(|node| node.namespace == namespace).map(|node| node.id.clone()).collect();
    graph.edges.retain(|edge| inside.contains(&edge.client) || inside.contains(&edge.server));
    let ends: BTreeSet<&str> =
        graph.edges.iter().flat_map(|edge| [edge.client.as_str(), edge.server.as_str()]).collect();
    graph.nodes.retain(|node| inside.contains(&node.id) || ends.contains(node.id.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;

    #[test]
    fn a_namespace_keeps_its_neighbours() {
        let mut graph = sample::view().graph;
        graph.nodes.extend([sample::node("bank/ledger"), sample::node("bank/vault"), sample::node("user")]);
        graph.edges.extend([sample::edge("shop/cart", "bank/ledger"), sample::edge("bank/ledger", "bank/vault")]);
        keep_namespace(&mut graph, "shop");
        assert_eq!(
            graph.nodes.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(),
            ["shop/cart", "shop/web", "bank/ledger"]
        );
        assert_eq!(graph.edges.len(), 2);
    }
}
