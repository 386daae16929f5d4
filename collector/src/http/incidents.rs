//! Incidents: the open and recent ones from the view, older ones from history; one of them with examples to look at.
//!
//! A list answers what stands in the view and, for a range of time, in history, newest first. One incident answers besides what is stored of
//! its candidates in its time: traces in which they failed or were slow, and log lines of severity WARN and above. These are looked
//! up when asked, so that they are there for as long as their spans and logs are, and cost nothing while nobody asks.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use tripline_api as api;
use tripline_model::Timestamp;

use super::answer::{Answer, Params, Refusal};
use super::params::{IncidentParams, range, words};
use super::{App, examples};
use crate::clock::parse_rfc3339;

/// Incidents of one page.
const DEFAULT_LIMIT: usize = 200;
const MAX_LIMIT: usize = 1_000;

/// Unresolved incidents and those of the last hour; with `from` or `to`, all that were open at some time in that range. Newest first.
#[utoipa::path(get, path = "/api/v1/incidents", params(IncidentParams), responses(
    (status = 200, body = api::IncidentList), (status = 400, body = api::ApiError)))]
pub(super) async fn incidents(
    State(app): State<App>,
    Params(params): Params<IncidentParams>,
) -> Answer<api::IncidentList> {
    let filter = Filter::of(&params)?;
    let view = app.view();
    let mut incidents = if params.from.is_none() && params.to.is_none() {
        view.incidents.clone()
    } else {
        let (from, to) = range(params.from.as_deref(), params.to.as_deref())?;
        let stored = app.parts.history.incidents(from, to).await?;
        // What the live task says is newer than what was stored.
        let mut by_id: BTreeMap<String, api::Incident> = stored.into_iter().map(|i| (i.id.clone(), i)).collect();
        let live = view.incidents.iter().filter(|incident| was_open(incident, (from, to)));
        by_id.extend(live.map(|incident| (incident.id.clone(), incident.clone())));
        by_id.into_values().collect()
    };
    incidents.retain(|incident| filter.keeps(incident));
    Ok(Json(page(incidents, params.limit, params.cursor.as_deref())?))
}

/// One incident, also when it was resolved long ago, with traces and log lines of its candidates.
#[utoipa::path(get, path = "/api/v1/incidents/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = api::Incident), (status = 404, body = api::ApiError)))]
pub(super) async fn incident(State(app): State<App>, Path(id): Path<String>) -> Answer<api::Incident> {
    let live = app.view().incidents.iter().find(|incident| incident.id == id).cloned();
    let found = match live {
        Some(incident) => Some(incident),
        None => app.parts.history.incident(&id).await?,
    };
    let unknown = || Refusal::not_found(format!("no incident {id:?} is known; /api/v1/incidents lists those that are"));
    let mut incident = found.ok_or_else(unknown)?;
    examples::add(&app.parts.history, &mut incident).await;
    Ok(Json(incident))
}

/// Which incidents are wanted.
#[derive(Debug, Default)]
struct Filter {
    levels: Vec<api::Level>,
    phases: Vec<api::Phase>,
    service: Option<String>,
}

impl Filter {
    fn of(params: &IncidentParams) -> Result<Self, Refusal> {
        Ok(Self {
            levels: words("level", params.level.as_deref(), api::Level::ALL)?,
            phases: words("phase", params.phase.as_deref(), api::Phase::ALL)?,
            service: params.service.clone(),
        })
    }

    fn keeps(&self, incident: &api::Incident) -> bool {
        let names = |service: &String| {
            incident.suspected_origins.iter().any(|candidate| candidate.service == *service)
                || incident.blast_radius.services.contains(service)
        };
        (self.levels.is_empty() || self.levels.contains(&incident.level))
            && (self.phases.is_empty() || self.phases.contains(&incident.phase))
            && self.service.as_ref().is_none_or(names)
    }
}

fn was_open(incident: &api::Incident, (from, to): (Timestamp, Timestamp)) -> bool {
    let resolved = incident.resolved_at.as_deref().and_then(parse_rfc3339);
    parse_rfc3339(&incident.started_at).is_some_and(|started| started <= to) && resolved.is_none_or(|at| at >= from)
}

/// The incidents after `cursor`, newest first. A cursor is start and id of the last one of the page before, so that incidents that are
/// opened meanwhile shift nothing.
fn page(
    mut incidents: Vec<api::Incident>,
    limit: Option<usize>,
    cursor: Option<&str>,
) -> Result<api::IncidentList, Refusal> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Refusal::bad_request(format!("limit: expected 1 to {MAX_LIMIT}, got {limit}")));
    }
    let place = |incident: &api::Incident| {
        (parse_rfc3339(&incident.started_at).unwrap_or_default().as_nanos(), incident.id.clone())
    };
    incidents.sort_by_key(|incident| std::cmp::Reverse(place(incident)));
    if let Some(cursor) = cursor {
        let bad = || Refusal::bad_request("cursor: it is not one that an answer held; leave it out to begin anew");
        let (at, id) = cursor.split_once('.').ok_or_else(bad)?;
        let after = (at.parse::<u64>().map_err(|_| bad())?, id.to_owned());
        incidents.retain(|incident| place(incident) < after);
    }
    let more = incidents.len() > limit;
    incidents.truncate(limit);
    let next = incidents.last().filter(|_| more).map(|last| {
        let (at, id) = place(last);
        format!("{at}.{id}")
    });
    Ok(api::IncidentList { incidents, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;

    fn one(id: &str, started: &str) -> api::Incident {
        api::Incident { started_at: started.into(), ..sample::incident(id, api::Phase::Spreading) }
    }

    #[test]
    fn pages_follow_each_other_also_when_others_open_meanwhile() {
        let mut all =
            vec![one("a", "2026-11-21T09:00:00Z"), one("b", "2026-11-21T09:00:00Z"), one("c", "2026-11-21T10:00:00Z")];
        let ids = |list: &api::IncidentList| list.incidents.iter().map(|i| i.id.clone()).collect::<Vec<_>>();
        let first = page(all.clone(), Some(2), None).unwrap();
        assert_eq!(ids(&first), ["c", "b"]);
        all.push(one("d", "2026-11-21T11:00:00Z"));
        let second = page(all, Some(2), first.next.as_deref()).unwrap();
        assert_eq!((ids(&second), second.next), (vec!["a".to_owned()], None));
        assert!(page(Vec::new(), Some(0), None).is_err() && page(Vec::new(), None, Some("x")).is_err());
    }

    #[test]
    fn filters_are_levels_phases_and_whom_it_is_about() {
        let incident = sample::incident("A", api::Phase::Spreading);
        let keeps = |level: Option<&str>, phase: Option<&str>, service: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let params = IncidentParams {
                level: text(level),
                phase: text(phase),
                service: text(service),
                ..IncidentParams::default()
            };
            Filter::of(&params).map(|filter| filter.keeps(&incident))
        };
        assert_eq!(keeps(Some("cascade,amplifying"), Some("spreading"), Some("shop/web")), Ok(true));
        assert_eq!(keeps(Some("local"), None, None), Ok(false));
        assert_eq!(keeps(None, Some("resolved,contained"), None), Ok(false));
        assert_eq!(keeps(None, None, Some("shop/payments-db")), Ok(true), "the suspected origin");
        assert_eq!(keeps(None, None, Some("shop/search")), Ok(false));
        assert!(keeps(Some("awful"), None, None).is_err());
    }
}
