//! Whom an incident hurts: entry points with their share, and the services between.

use leptos::prelude::*;
use tripline_api::{AffectedEntry, Incident};

use crate::icons::{self, Icon};
use crate::{format, links};

/// The blast radius.
#[component]
pub(crate) fn BlastRadius(incident: Incident) -> impl IntoView {
    let blast = incident.blast_radius;
    let entries = blast.entries.iter().map(entry);
    // Entry points that came without figures are still named.
    let bare =
        blast.entry_points.iter().filter(|id| blast.entries.iter().all(|e| e.service != **id)).map(|id| service(id));
    let services = blast.services.iter().map(|id| service(id));
    let count = blast.services.len();
    view! {
        <section class="card-box">
            <h2>"Blast radius"</h2>
            <h3><Icon d=icons::ENTRY />"Entry points"</h3>
            <ul class="entries">{entries.collect_view()}{bare.collect_view()}</ul>
            {blast.entry_points.is_empty().then(|| view! { <p class="hint">"None: nobody outside notices."</p> })}
            <h3>"Services"<span class="tally">{count}</span></h3>
            <ul class="names">{services.collect_view()}</ul>
        </section>
    }
}

fn entry(entry: &AffectedEntry) -> impl IntoView + use<> {
    let share = format!("{:.0}%", entry.failed_ratio.clamp(0.0, 1.0) * 100.0);
    let added =
        (entry.added_latency_ms > 0.05).then(|| format!("+{} at the median", format::latency(entry.added_latency_ms)));
    view! {
        <li>
            <a href=links::select(&entry.service)>{format::short(&entry.service).to_owned()}</a>
            <span class="bar failed" aria-hidden="true"><span style:width=share></span></span>
            <span>{format!("{} failed", format::ratio(entry.failed_ratio))}</span>
            <small>{added}</small>
        </li>
    }
}

fn service(id: &str) -> impl IntoView + use<> {
    view! { <li><a href=links::select(id)>{format::short(id).to_owned()}</a></li> }
}
