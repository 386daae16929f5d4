//! Services, edges, breakers, sidecars: from the published view, services and edges also as they were over a range of the past.

use axum::Json;
use axum::extract::{Path, State};
use tripline_api as api;

use super::answer::{Answer, Params, Refusal};
use super::graph::shown;
use super::params::{RangeParams, WindowParams, range};
use super::{App, Shared};
use crate::live::View;

/// Transitions answered for a range of the past.
const MAX_TRANSITIONS: usize = 1_000;

impl Shared {
    /// What the live task shows now.
    pub(super) fn view(&self) -> std::sync::Arc<View> {
        self.parts.live.views.borrow().clone()
    }
}

/// Every service and peer, as drawn in the graph; with `at`, over any window of the past.
#[utoipa::path(get, path = "/api/v1/services", params(WindowParams), responses(
    (status = 200, body = api::ServiceList), (status = 400, body = api::ApiError), (status = 504, body = api::ApiError)))]
pub(super) async fn services(State(app): State<App>, Params(params): Params<WindowParams>) -> Answer<api::ServiceList> {
    let graph = shown(&app, params.at.as_deref(), params.window.as_deref()).await?;
    Ok(Json(api::ServiceList { services: graph.nodes, next: None }))
}

/// One service with who calls it, whom it calls and its sidecars. The id may hold a slash.
#[utoipa::path(get, path = "/api/v1/services/{id}", params(("id" = String, Path), WindowParams), responses(
    (status = 200, body = api::Service), (status = 404, body = api::ApiError)))]
pub(super) async fn service(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(params): Params<WindowParams>,
) -> Answer<api::Service> {
    let graph = shown(&app, params.at.as_deref(), params.window.as_deref()).await?;
    let unknown = || Refusal::not_found(format!("no service {id:?} is known; /api/v1/services lists those that are"));
    let node = graph.nodes.into_iter().find(|node| node.id == id).ok_or_else(unknown)?;
    let (mut dependents, mut dependencies) = (Vec::new(), Vec::new());
    for edge in graph.edges {
        match (edge.server == id, edge.client == id) {
            (true, _) => dependents.push(edge),
            (false, true) => dependencies.push(edge),
            (false, false) => {}
        }
    }
    let proxies = app.view().proxies.iter().filter(|proxy| proxy.service == id).cloned().collect();
    Ok(Json(api::Service { node, dependents, dependencies, proxies }))
}

/// Every edge; with `at`, over any window of the past.
#[utoipa::path(get, path = "/api/v1/edges", params(WindowParams), responses(
    (status = 200, body = api::EdgeList), (status = 400, body = api::ApiError), (status = 504, body = api::ApiError)))]
pub(super) async fn edges(State(app): State<App>, Params(params): Params<WindowParams>) -> Answer<api::EdgeList> {
    let graph = shown(&app, params.at.as_deref(), params.window.as_deref()).await?;
    Ok(Json(api::EdgeList { edges: graph.edges, next: None }))
}

/// Every breaker now, and the latest transitions or those of a range of time.
#[utoipa::path(get, path = "/api/v1/breakers", params(RangeParams), responses(
    (status = 200, body = api::BreakerList), (status = 400, body = api::ApiError)))]
pub(super) async fn breakers(State(app): State<App>, Params(params): Params<RangeParams>) -> Answer<api::BreakerList> {
    let view = app.view();
    let transitions = if params.from.is_none() && params.to.is_none() {
        view.transitions.clone()
    } else {
        let range = range(params.from.as_deref(), params.to.as_deref())?;
        app.parts.history.transitions(range, MAX_TRANSITIONS).await?
    };
    Ok(Json(api::BreakerList { breakers: view.breakers.to_vec(), transitions, next: None }))
}

/// Every sidecar that reported within the last ten minutes.
#[utoipa::path(get, path = "/api/v1/proxies", responses((status = 200, body = api::ProxyList)))]
pub(super) async fn proxies(State(app): State<App>) -> Answer<api::ProxyList> {
    Ok(Json(api::ProxyList { proxies: app.view().proxies.clone(), next: None }))
}
