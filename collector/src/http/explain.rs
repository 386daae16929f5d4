//! Why there is an edge between two services, or none.

use axum::Json;
use axum::extract::State;
use tripline_api as api;
use tripline_model::ServiceName;

use super::App;
use super::answer::{Answer, Params, Refusal};
use super::params::ExplainParams;

/// Why there is an edge between two services, or none.
#[utoipa::path(get, path = "/api/v1/explain", params(ExplainParams), responses(
    (status = 200, body = api::Explanation), (status = 400, body = api::ApiError), (status = 503, body = api::ApiError)))]
pub(super) async fn explain(State(app): State<App>, Params(params): Params<ExplainParams>) -> Answer<api::Explanation> {
    let named = |name: &str, id: &str| match id {
        "" => Err(Refusal::bad_request(format!("{name}: expected a node id such as shop/web"))),
        id => Ok(ServiceName::from(id)),
    };
    let (client, server) = (named("client", &params.client)?, named("server", &params.server)?);
    let ended = || Refusal::unavailable("the live graph has ended; the collector is shutting down");
    app.parts.live.explain(client, server).await.map(Json).ok_or_else(ended)
}
