//! Faults in the demo shop; these routes exist only while the demo runs.

use std::fmt::Debug;

use axum::Json;
use axum::extract::State;
use tripline_api as api;

use super::App;
use super::answer::{Answer, Body, Refusal};

/// Whoever runs the demo; implemented by the command line.
pub trait DemoControl: Debug + Send + Sync {
    /// Starts a fault.
    ///
    /// # Errors
    /// An error with code `bad_request`, `not_found` or `unavailable`, which the caller is answered.
    fn start(&self, request: api::DemoFaultRequest) -> Result<api::DemoFault, api::ApiError>;

    /// Faults that are active or over, and where one can be started.
    fn list(&self) -> api::DemoFaultList;
}

/// Starts a fault in the demo shop.
#[utoipa::path(post, path = "/api/v1/demo/faults", request_body = api::DemoFaultRequest, responses(
    (status = 200, body = api::DemoFault), (status = 400, body = api::ApiError), (status = 404, body = api::ApiError)))]
pub(super) async fn start(
    State(app): State<App>,
    Body(request): Body<api::DemoFaultRequest>,
) -> Answer<api::DemoFault> {
    let demo = app.parts.demo.as_ref().ok_or_else(no_demo)?;
    demo.start(request).map(Json).map_err(Refusal::of)
}

/// Faults that are active or over, and where one can be started.
#[utoipa::path(get, path = "/api/v1/demo/faults", responses(
    (status = 200, body = api::DemoFaultList), (status = 404, body = api::ApiError)))]
pub(super) async fn list(State(app): State<App>) -> Answer<api::DemoFaultList> {
    let demo = app.parts.demo.as_ref().ok_or_else(no_demo)?;
    Ok(Json(demo.list()))
}

fn no_demo() -> Refusal {
    Refusal::not_found("the demo does not run here; start it with: tripline demo")
}
