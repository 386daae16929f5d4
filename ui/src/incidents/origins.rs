//! The suspected origins: each with its score and its evidence. Evidence, not proof; the words say so.

use leptos::prelude::*;
use tripline_api::{Candidate, Incident};

use super::headline;
use crate::icons::{self, Icon};
use crate::{format, links};

/// The candidates, best first.
#[component]
pub(crate) fn Origins(incident: Incident) -> impl IntoView {
    let unexplained = incident.unexplained;
    let none = incident.suspected_origins.is_empty();
    let candidates = incident.suspected_origins.into_iter().enumerate().map(|(i, c)| candidate(i, c));
    view! {
        <section class="card-box">
            <h2><Icon d=icons::TARGET />"Suspected origin"</h2>
            <ol class="origins">{candidates.collect_view()}</ol>
            {none.then(|| view! { <p class="hint">"No candidate explains what the entry points see."</p> })}
            {(unexplained > 0.005).then(|| view! {
                <p class="hint">{format!("{} of the entry points' excess is explained by no candidate.", format::ratio(unexplained))}</p>
            })}
        </section>
    }
}

fn candidate(rank: usize, candidate: Candidate) -> impl IntoView {
    let name = headline::candidate(&candidate);
    let target = candidate.edge.as_deref().unwrap_or(&candidate.service);
    let share = format!("{:.0}%", candidate.score.clamp(0.0, 1.0) * 100.0);
    let evidence = candidate.evidence.into_iter().map(|evidence| {
        view! {
            <li>
                <span class="evidence-kind">{format::words(&evidence.kind)}</span>
                {evidence.text}
            </li>
        }
    });
    let traces = candidate.traces.into_iter().map(|trace| {
        let short: String = trace.trace_id.chars().take(8).collect();
        view! {
            <li>
                <span class="evidence-kind">{format::words(&trace.why)}</span>
                <a href=links::trace(&trace.trace_id)>{format!("Trace {short}")}</a>
            </li>
        }
    });
    view! {
        <li class=if rank == 0 { "first" } else { "" }>
            <p>
                <a href=links::select(target)>{name}</a>
                <span class="origin-kind">{candidate.kind}</span>
                <span class="score" title="Share of the entry points' excess that goes away without this candidate's own">
                    <span class="bar" aria-hidden="true"><span style:width=share.clone()></span></span>
                    <span class="unseen">"Score "</span>
                    {share}
                </span>
            </p>
            <ul class="evidence">{evidence.collect_view()}{traces.collect_view()}</ul>
        </li>
    }
}
