//! Traces, operations and logs, from history.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use tripline_api as api;

use super::App;
use super::answer::{Answer, Params, Refusal};
use super::params::{LogParams, OperationParams, TraceParams, attribute, page, range, trace_id};
use crate::history::{LogQuery, OperationQuery, TraceQuery};

/// Summaries of traces, newest first.
#[utoipa::path(get, path = "/api/v1/traces", params(TraceParams), responses(
    (status = 200, body = api::TraceList), (status = 400, body = api::ApiError), (status = 504, body = api::ApiError)))]
pub(super) async fn traces(State(app): State<App>, Params(params): Params<TraceParams>) -> Answer<api::TraceList> {
    let range = range(params.from.as_deref(), params.to.as_deref())?;
    let least = params.min_ms.unwrap_or(0.0) / 1e3;
    let at_least = Duration::try_from_secs_f64(least)
        .map_err(|_| Refusal::bad_request("min_ms: expected a number of milliseconds, 0 or more"))?;
    let page = page(range, params.limit, params.cursor)?;
    let attribute = attribute(params.attribute.as_deref())?;
    let (service, operation, error) = (params.service, params.operation, params.error);
    let query = TraceQuery { service, operation, attribute, at_least, error, page };
    Ok(Json(app.parts.history.traces(query).await?))
}

/// Every span of one trace. The id is W3C's 32 hexadecimal digits or X-Ray's `1-8-24` form.
#[utoipa::path(get, path = "/api/v1/traces/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = api::Trace), (status = 400, body = api::ApiError), (status = 404, body = api::ApiError)))]
pub(super) async fn trace(State(app): State<App>, Path(id): Path<String>) -> Answer<api::Trace> {
    let id = trace_id(&id)?;
    let unknown = || Refusal::not_found(format!("no span of trace {id} is stored; it may not have been sampled"));
    app.parts.history.trace(id).await?.map(Json).ok_or_else(unknown)
}

/// The operations of a service over a range of time, counted from its spans, the slowest by p99 first.
#[utoipa::path(get, path = "/api/v1/operations", params(OperationParams), responses(
    (status = 200, body = api::OperationList), (status = 400, body = api::ApiError), (status = 504, body = api::ApiError)))]
pub(super) async fn operations(
    State(app): State<App>,
    Params(params): Params<OperationParams>,
) -> Answer<api::OperationList> {
    let range = range(params.from.as_deref(), params.to.as_deref())?;
    let page = page(range, params.limit, None)?;
    let query = OperationQuery { service: params.service, from: page.from, to: page.to, limit: page.limit };
    Ok(Json(api::OperationList { operations: app.parts.history.operations(query).await?, next: None }))
}

/// Log records, newest first.
#[utoipa::path(get, path = "/api/v1/logs", params(LogParams), responses(
    (status = 200, body = api::LogList), (status = 400, body = api::ApiError), (status = 504, body = api::ApiError)))]
pub(super) async fn logs(State(app): State<App>, Params(params): Params<LogParams>) -> Answer<api::LogList> {
    let range = range(params.from.as_deref(), params.to.as_deref())?;
    let trace = params.trace.as_deref().map(trace_id).transpose()?;
    let page = page(range, params.limit, params.cursor)?;
    let query = LogQuery { service: params.service, trace, text: params.q, page };
    Ok(Json(app.parts.history.logs(query).await?))
}
