//! Incidents: the open and recent ones from the view, older ones from history.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use tripline_api as api;

use super::App;
use super::answer::{Answer, Params, Refusal};
use super::params::{RangeParams, range};
use crate::clock::parse_rfc3339;

/// Unresolved incidents and those of the last hour; with `from` or `to`, all that were open at some time in that range.
#[utoipa::path(get, path = "/api/v1/incidents", params(RangeParams), responses(
    (status = 200, body = api::IncidentList), (status = 400, body = api::ApiError)))]
pub(super) async fn incidents(
    State(app): State<App>,
    Params(params): Params<RangeParams>,
) -> Answer<api::IncidentList> {
    let view = app.view();
    if params.from.is_none() && params.to.is_none() {
        return Ok(Json(api::IncidentList { incidents: view.incidents.clone(), next: None }));
    }
    let (from, to) = range(params.from.as_deref(), params.to.as_deref())?;
    let is_within = |incident: &&api::Incident| {
        let resolved = incident.resolved_at.as_deref().and_then(parse_rfc3339);
        parse_rfc3339(&incident.started_at).is_some_and(|started| started <= to) && resolved.is_none_or(|at| at >= from)
    };
    let stored = app.parts.history.incidents(from, to).await?;
    // What the live task says is newer than what was stored.
    let mut by_id: BTreeMap<String, api::Incident> = stored.into_iter().map(|i| (i.id.clone(), i)).collect();
    by_id.extend(view.incidents.iter().filter(is_within).map(|i| (i.id.clone(), i.clone())));
    let mut incidents: Vec<api::Incident> = by_id.into_values().collect();
    incidents.sort_by(|a, b| (&b.started_at, &b.id).cmp(&(&a.started_at, &a.id)));
    Ok(Json(api::IncidentList { incidents, next: None }))
}

/// One incident, also when it was resolved long ago.
#[utoipa::path(get, path = "/api/v1/incidents/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = api::Incident), (status = 404, body = api::ApiError)))]
pub(super) async fn incident(State(app): State<App>, Path(id): Path<String>) -> Answer<api::Incident> {
    if let Some(incident) = app.view().incidents.iter().find(|incident| incident.id == id) {
        return Ok(Json(incident.clone()));
    }
    let unknown = || Refusal::not_found(format!("no incident {id:?} is known; /api/v1/incidents lists those that are"));
    app.parts.history.incident(&id).await?.map(Json).ok_or_else(unknown)
}
