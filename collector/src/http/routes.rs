//! Every route, once: the router is made of this table, and a test holds it against the OpenAPI document.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use utoipa::OpenApi;

use super::answer::Refusal;
use super::{App, assets, explain, faults, graph, health, incidents, live, mesh, recording, stream, traces};

/// A path as axum writes it, its method, its handler.
type Route = (&'static str, &'static str, MethodRouter<App>);

fn api() -> Vec<Route> {
    vec![
        ("/api/v1/graph", "get", get(graph::graph)),
        ("/api/v1/graph/difference", "get", get(graph::differ)),
        ("/api/v1/services", "get", get(live::services)),
        ("/api/v1/services/{*id}", "get", get(live::service)),
        ("/api/v1/edges", "get", get(live::edges)),
        ("/api/v1/explain", "get", get(explain::explain)),
        ("/api/v1/breakers", "get", get(live::breakers)),
        ("/api/v1/proxies", "get", get(live::proxies)),
        ("/api/v1/incidents", "get", get(incidents::incidents)),
        ("/api/v1/incidents/{id}", "get", get(incidents::incident)),
        ("/api/v1/recording", "get", get(recording::recording)),
        ("/api/v1/traces", "get", get(traces::traces)),
        ("/api/v1/traces/{id}", "get", get(traces::trace)),
        ("/api/v1/operations", "get", get(traces::operations)),
        ("/api/v1/logs", "get", get(traces::logs)),
        ("/api/v1/stream", "get", get(stream::stream)),
        ("/api/v1/mesh", "get", get(mesh::get)),
        ("/api/v1/mesh", "post", post(mesh::post)),
    ]
}

/// Routes that exist only while the demo runs.
fn demo() -> Vec<Route> {
    vec![("/api/v1/demo/faults", "get", get(faults::list)), ("/api/v1/demo/faults", "post", post(faults::start))]
}

/// Routes outside the API.
fn plain() -> Vec<Route> {
    vec![
        ("/api/v1/openapi.json", "get", get(document)),
        ("/metrics", "get", get(health::metrics)),
        ("/healthz", "get", get(health::healthz)),
        ("/readyz", "get", get(health::readyz)),
    ]
}

/// All routes that apply.
pub(super) fn router(app: &App) -> Router<App> {
    let demo = app.parts.demo.as_ref().map(|_| demo()).unwrap_or_default();
    let routes = api().into_iter().chain(plain()).chain(demo);
    let router = routes.fold(Router::new(), |router, (path, _, handler)| router.route(path, handler));
    router.method_not_allowed_fallback(async || Refusal::method_not_allowed()).fallback(assets::fallback)
}

/// The OpenAPI document, as JSON.
#[must_use]
pub fn openapi() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| Document::openapi().to_pretty_json().unwrap_or_default());
    &TEXT
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi()).into_response()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tripline collector",
        version = "1",
        description = "JSON in snake_case, RFC 3339 times in UTC, ratios in 0..=1, latencies in milliseconds. Every refusal is an ApiError."
    ),
    paths(
        graph::graph,
        graph::differ,
        live::services,
        live::service,
        live::edges,
        explain::explain,
        live::breakers,
        live::proxies,
        incidents::incidents,
        incidents::incident,
        recording::recording,
        traces::traces,
        traces::trace,
        traces::operations,
        traces::logs,
        stream::stream,
        mesh::get,
        mesh::post,
        faults::list,
        faults::start,
    ),
    components(schemas(tripline_api::Changes))
)]
struct Document;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(openapi()).unwrap();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|m| (path.clone(), m.clone())))
            .collect();
        let routed: BTreeSet<(String, String)> = api()
            .into_iter()
            .chain(demo())
            .map(|(path, method, _)| (path.replace("{*", "{"), method.to_owned()))
            .collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn the_document_is_the_contract() {
        insta::assert_snapshot!("openapi", openapi());
    }
}
