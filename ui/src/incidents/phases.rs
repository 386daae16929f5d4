//! The life of an incident as a line of phases, with the times that are known.

use leptos::prelude::*;
use tripline_api::{Incident, Phase};

use super::headline;
use crate::clock;

/// The phases; the present one is marked.
#[component]
pub(crate) fn Phases(incident: Incident) -> impl IntoView {
    let phases = Phase::ALL.iter().map(|&phase| {
        let state = match phase.cmp(&incident.phase) {
            std::cmp::Ordering::Less => "past",
            std::cmp::Ordering::Equal => "now",
            std::cmp::Ordering::Greater => "ahead",
        };
        let current = (state == "now").then_some("step");
        view! {
            <li class=state aria-current=current>
                <strong>{headline::phase(phase)}</strong>
                <small>{headline::phase_meaning(phase)}</small>
            </li>
        }
    });
    let times = [
        ("First sign", Some(incident.started_at.clone())),
        ("Detected", Some(incident.detected_at.clone())),
        ("Last change", Some(incident.updated_at.clone())),
        ("Resolved", incident.resolved_at.clone()),
    ];
    let times = times.into_iter().filter_map(|(name, at)| {
        at.map(|at| {
            let text = clock::date_and_time(&at);
            view! { <dt>{name}</dt><dd><time datetime=at>{text}</time></dd> }
        })
    });
    view! {
        <section class="card-box">
            <h2>"Phase"</h2>
            <ol class="phases">{phases.collect_view()}</ol>
            <dl class="counts">{times.collect_view()}</dl>
        </section>
    }
}
