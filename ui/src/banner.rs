//! The line under the header while an incident is open: what, since when, how bad, and where to look.

use leptos::prelude::*;
use tripline_api::Incident;

use crate::app::{store, ui};
use crate::icons::{self, Icon};
use crate::incidents::headline;
use crate::nav::nav;
use crate::{format, links, time};

/// The newest open incident, if there is one.
#[component]
pub(crate) fn IncidentBanner() -> impl IntoView {
    let (store, nav) = (store(), nav());
    let open = Memo::new(move |_| store.open_incidents());
    let first = Memo::new(move |_| open.with(|all| all.first().cloned()));
    let more = Memo::new(move |_| open.with(|all| all.len().saturating_sub(1)));
    view! {
        <Show when=move || first.with(Option::is_some) && nav.page.get() != part(first, |i| links::incident(&i.id))>
            <section class=move || format!("banner level-{}", part(first, |i| i.level.to_string())) aria-label="Open incident">
                <span class="banner-level">
                    <Icon d=icons::BOLT />
                    {move || part(first, |i| headline::level(i.level).into())}
                </span>
                <p>
                    // Announced when it changes; the figures beside it change every second and are not.
                    <strong role="status">{move || part(first, headline::headline)}</strong>
                    <span class="banner-facts">{move || facts(first, store.at.get())}</span>
                </p>
                <Show when=move || more.get() != 0>
                    <a class="quiet" href="/incidents">{move || format!("and {} more", more.get())}</a>
                </Show>
                <Spotlight />
                <a class="button" href=move || part(first, |i| links::incident(&i.id))>
                    "Open incident"
                    <Icon d=icons::ARROW />
                </a>
            </section>
        </Show>
    }
}

/// Lights the path in the graph, or shows all alike.
#[component]
fn Spotlight() -> impl IntoView {
    let lit = ui().spotlight;
    let nav = nav();
    view! {
        <Show when=move || nav.page.get() == "/">
            <button
                class="switch"
                role="switch"
                aria-checked=move || lit.get().to_string()
                title="Light the path of the incident and dim the rest"
                on:click=move |_| lit.update(|lit| *lit = !*lit)
            >
                <span class="switch-track" aria-hidden="true"></span>
                "Show path"
            </button>
        </Show>
    }
}

fn part(incident: Memo<Option<Incident>>, read: impl Fn(&Incident) -> String) -> String {
    incident.with(|incident| incident.as_ref().map(read).unwrap_or_default())
}

fn facts(incident: Memo<Option<Incident>>, now: f64) -> String {
    part(incident, |incident| {
        let since = time::between(&incident.started_at, now).unwrap_or_default();
        let failing = format::ratio(incident.blast_radius.affected_request_ratio);
        let folded = match incident.raw_alerts {
            0 => String::new(),
            n => format!(" · {} folded into {}", format::plural(n as usize, "alert"), incident.alerts_sent.max(1)),
        };
        format!(
            "{} · started {since} ago · {failing} of requests failed at the entry{folded}",
            headline::phase(incident.phase)
        )
    })
}
