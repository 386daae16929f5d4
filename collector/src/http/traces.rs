//! Traces and logs, from history.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use tripline_api as api;

use super::App;
use super::answer::{Answer, Params, Refusal};
use super::params::{LogParams, TraceParams, page, range, trace_id};
use crate::history::{LogQuery, TraceQuery};

/// Summaries of traces, newest first.
#[utoipa::path(get, path = "/api/v1/traces", params(TraceParams), responses(
    (status = 200, body = api::TraceList), (status = 400, body = api::ApiError), (status = 504, body = api::ApiError)))]
pub(super) async fn traces(State(app): State<App>, Params(params): Params<TraceParams>) -> Answer<api::TraceList> {
    let range = range(params.from.as_deref(), params.to.as_deref())?;
    let least = params.min_ms.unwrap_or(0.0) / 1e3;
    let at_least = Duration::try_from_secs_f64(least)
        .map_err(|_| Refusal::bad_request("min_ms: expected a number of milliseconds, 0 or more"))?;
    let page = page(range, params.limit, params.cursor)?;
    let query = TraceQuery { service: params.service, at_least, error: params.error, page };
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
