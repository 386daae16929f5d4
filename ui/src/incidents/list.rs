//! All incidents, open ones first: the stream's own, and older ones from history.

use std::time::Duration;

use leptos::prelude::*;
use tripline_api::{Incident, IncidentList};

use super::headline;
use crate::app::store;
use crate::icons::{self, Icon};
use crate::poll::poll;
use crate::{clock, format, links, time};

/// How often older ones are asked for; open ones come in the stream.
const EVERY: Duration = Duration::from_secs(15);

/// The list.
#[component]
pub(crate) fn IncidentsPage() -> impl IntoView {
    let store = store();
    let older = poll::<IncidentList>(|| Some("/api/v1/incidents".into()), EVERY);
    let all = Memo::new(move |_| {
        let older = older.with(|list| list.ready().map(|list| list.incidents.clone()).unwrap_or_default());
        store.incidents.with(|live| merge(live, older))
    });
    view! {
        <article class="page">
            <h1>"Incidents"</h1>
            <Show
                when=move || all.with(|all| !all.is_empty())
                fallback=|| view! {
                    <div class="notice">
                        <h2>"No incident"</h2>
                        <p>"When one service starts failing and others fail because of it, all of that becomes one incident here, with its suspected origin and one alert."</p>
                    </div>
                }
            >
                <table class="table incidents">
                    <thead>
                        <tr>
                            <th>"Level"</th>
                            <th>"What"</th>
                            <th>"Phase"</th>
                            <th>"Started"</th>
                            <th class="number">"Duration"</th>
                            <th class="number">"Services"</th>
                            <th class="number">"Requests failed"</th>
                            <th class="number">"Alerts"</th>
                        </tr>
                    </thead>
                    <tbody>{move || all.get().iter().map(|incident| row(incident, store.at)).collect_view()}</tbody>
                </table>
            </Show>
        </article>
    }
}

fn row(incident: &Incident, now: RwSignal<f64>) -> impl IntoView + use<> {
    let Incident { level, phase, blast_radius, .. } = incident;
    let (started, resolved) = (incident.started_at.clone(), incident.resolved_at.clone());
    let duration = move || {
        let end = resolved.as_deref().and_then(time::parse).unwrap_or_else(|| now.get());
        time::between(&started, end)
    };
    let state = if incident.is_resolved() { "resolved" } else { "open" };
    view! {
        <tr class=format!("level-{level} {state}")>
            <td><LevelBadge level=*level /></td>
            <th scope="row"><a href=links::incident(&incident.id)>{headline::headline(incident)}</a></th>
            <td><span class=format!("phase phase-{phase}")>{headline::phase(*phase)}</span></td>
            <td><time datetime=incident.started_at.clone()>{clock::date_and_time(&incident.started_at)}</time></td>
            <td class="number">{duration}</td>
            <td class="number">{blast_radius.services.len()}</td>
            <td class="number">{format::ratio(blast_radius.affected_request_ratio)}</td>
            <td class="number">{incident.alerts_sent}<small>{format!(" of {}", incident.raw_alerts)}</small></td>
        </tr>
    }
}

/// A level as a badge.
#[component]
pub(crate) fn LevelBadge(level: tripline_api::Level) -> impl IntoView {
    view! {
        <span class=format!("badge level level-{level}")>
            <Icon d=icons::BOLT />
            {headline::level(level)}
        </span>
    }
}

/// Live ones win over what history says of them; open ones first, then the newest.
fn merge(live: &[Incident], mut older: Vec<Incident>) -> Vec<Incident> {
    older.retain(|incident| live.iter().all(|l| l.id != incident.id));
    let mut all: Vec<Incident> = live.iter().cloned().chain(older).collect();
    // Times of one format in UTC order as text.
    all.sort_by(|a, b| (a.is_resolved(), &b.started_at).cmp(&(b.is_resolved(), &a.started_at)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::wave::tests::incident;
    use tripline_api::Phase;

    #[test]
    fn open_ones_come_first_and_live_ones_win() {
        let one = |id: &str, started: &str, phase: Phase| Incident {
            id: id.into(),
            started_at: started.into(),
            phase,
            ..incident(&[], &[])
        };
        let live = [one("b", "2026-11-21T09:00:00Z", Phase::Contained)];
        let older = vec![
            one("c", "2026-11-21T10:00:00Z", Phase::Resolved),
            one("b", "2026-11-21T09:00:00Z", Phase::Starting),
            one("a", "2026-11-20T10:00:00Z", Phase::Resolved),
        ];
        let merged = merge(&live, older);
        assert_eq!(merged.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["b", "c", "a"]);
        assert_eq!(merged.first().map(|i| i.phase), Some(Phase::Contained));
    }
}
