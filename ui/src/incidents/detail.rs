//! One incident in full: what happened, who was first and why we think so, how it spread, whom it hurts.

use std::time::Duration;

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use tripline_api::Incident;

use super::blast::BlastRadius;
use super::headline;
use super::list::LevelBadge;
use super::origins::Origins;
use super::path::PathSteps;
use super::phases::Phases;
use crate::app::store;
use crate::icons::{self, Icon};
use crate::poll::{Loaded, poll};
use crate::{clock, format, links, time};

/// How often it is asked for when the stream does not carry it.
const EVERY: Duration = Duration::from_secs(10);

/// One incident.
#[component]
pub(crate) fn IncidentPage() -> impl IntoView {
    let store = store();
    let params = use_params_map();
    let id = Memo::new(move |_| params.with(|params| params.get("id").unwrap_or_default()));
    let live = Memo::new(move |_| store.incidents.with(|all| all.iter().find(|i| id.with(|id| i.id == *id)).cloned()));
    let path = move || live.with(Option::is_none).then(|| format!("/api/v1/incidents/{}", links::encode(&id.get())));
    let stored = poll::<Incident>(path, EVERY);
    let incident = Memo::new(move |_| live.get().or_else(|| stored.with(|stored| stored.ready().cloned())));
    let missing = move || match stored.get() {
        Loaded::Failed(error) => error.to_string(),
        Loaded::Waiting | Loaded::Ready(_) => "Looking for it…".into(),
    };
    view! {
        <article class="page details">
            <p class="trail">
                <a href="/incidents">"Incidents"</a>
                <a class="button" href=move || links::graph_at(&id.get())>"Show in the graph"<Icon d=icons::ARROW /></a>
            </p>
            <Show
                when=move || incident.with(Option::is_some)
                fallback=move || view! { <div class="notice" role="status"><p>{missing}</p></div> }
            >
                <Full incident />
            </Show>
        </article>
    }
}

#[component]
fn Full(incident: Memo<Option<Incident>>) -> impl IntoView {
    let section = move |view: fn(Incident) -> AnyView| move || incident.get().map(view);
    view! {
        {section(|i| view! { <Head incident=i /> }.into_any())}
        {section(|i| view! { <Counters incident=i /> }.into_any())}
        <div class="columns">
            <div>
                {section(|i| view! { <Origins incident=i /> }.into_any())}
                {section(|i| view! { <PathSteps incident=i /> }.into_any())}
            </div>
            <div>
                {section(|i| view! { <Phases incident=i /> }.into_any())}
                {section(|i| view! { <BlastRadius incident=i /> }.into_any())}
            </div>
        </div>
    }
}

#[component]
fn Head(incident: Incident) -> impl IntoView {
    let phase = incident.phase;
    view! {
        <header class="incident-head">
            <p class="facts">
                <LevelBadge level=incident.level />
                <span class=format!("phase phase-{phase}") title=headline::phase_meaning(phase)>{headline::phase(phase)}</span>
                <code>{incident.id.clone()}</code>
            </p>
            <h1>{headline::headline(&incident)}</h1>
        </header>
    }
}

#[component]
fn Counters(incident: Incident) -> impl IntoView {
    let now = store().at;
    let blast = &incident.blast_radius;
    let (started, resolved) = (incident.started_at.clone(), incident.resolved_at.clone());
    let lasted = move || {
        let end = resolved.as_deref().and_then(time::parse).unwrap_or_else(|| now.get());
        time::between(&started, end)
    };
    let detected = time::parse(&incident.detected_at).and_then(|at| time::between(&incident.started_at, at));
    let folded =
        format!("{} folded into {}", format::plural(incident.raw_alerts as usize, "alert"), incident.alerts_sent);
    let failed = format!("{} of {}", format::count(blast.requests_failed), format::count(blast.requests_total));
    let retries = incident.amplification;
    view! {
        <dl class="counters">
            <div>
                <dt>"Lasts"</dt>
                <dd>{lasted}</dd>
                <dd class="note">{format!("since {}", clock::date_and_time(&incident.started_at))}</dd>
            </div>
            <div>
                <dt>"Requests failed at the entry"</dt>
                <dd>{format::ratio(blast.affected_request_ratio)}</dd>
                <dd class="note">{failed}</dd>
            </div>
            <div>
                <dt>"Services affected"</dt>
                <dd>{blast.services.len()}</dd>
                <dd class="note">{format::plural(blast.edges.len(), "edge")}</dd>
            </div>
            <div>
                <dt>"Breakers tripped"</dt>
                <dd>{incident.trips}</dd>
                <dd class="note">{detected.map(|d| format!("detected after {d}"))}</dd>
            </div>
            <div>
                <dt>"Attempts per request"</dt>
                <dd>{format!("{:.2}", retries.attempts_per_request)}</dd>
                <dd class="note">{format!("demand {:.1} × normal", retries.demand)}</dd>
            </div>
            <div>
                <dt>"Notifications sent"</dt>
                <dd>{incident.alerts_sent}</dd>
                <dd class="note">{folded}</dd>
            </div>
        </dl>
    }
}
