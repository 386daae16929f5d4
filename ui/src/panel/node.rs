//! Everything about one node.

use std::sync::Arc;

use leptos::prelude::*;
use tripline_api::NodeKind;

use super::TITLE;
use super::break_it::BreakIt;
use super::figures::{Figures, Now};
use super::neighbours::{Neighbours, Side};
use super::recent_traces::RecentTraces;
use crate::app::store;
use crate::icons::{self, HealthBadge, Icon};
use crate::incidents::headline;
use crate::store::NodeCell;
use crate::{format, links};

/// A node's details, for the panel and for its own page.
#[component]
pub(crate) fn NodeDetails(
    /// The node.
    cell: NodeCell,
) -> impl IntoView {
    let id: Arc<str> = cell.id.clone();
    let (health_of, kind_of, now_of, entry_of) =
        (cell.now.clone(), cell.now.clone(), cell.now.clone(), cell.now.clone());
    let health = Memo::new(move |_| health_of.with(|node| node.health));
    let kind = Memo::new(move |_| kind_of.with(|node| node.kind));
    let entry = Memo::new(move |_| entry_of.with(|node| node.entry_point));
    let now = Memo::new(move |_| {
        now_of.with(|node| Now {
            rate: node.requests_per_second,
            error_ratio: node.error_ratio,
            latency: node.latency_ms,
        })
    });
    let namespace = id.rsplit_once('/').map(|(namespace, _)| namespace.to_owned());
    view! {
        <header>
            <Icon d=Signal::derive(move || icons::kind(kind.get())) />
            <h2 id=TITLE tabindex="-1">
                <a href=links::service(&id) title="Its own page">{format::short(&id).to_owned()}</a>
            </h2>
            <p class="facts">
                <HealthBadge health />
                <span>{move || kind.get().to_string()}{namespace.map(|n| format!(" in {n}"))}</span>
                <Show when=move || entry.get()>
                    <span class="entry"><Icon d=icons::ENTRY />"entry point"</span>
                </Show>
            </p>
        </header>
        <InIncident cell />
        <Figures id=id.to_string() now />
        <Neighbours id=id.clone() side=Side::Dependents />
        <Neighbours id=id.clone() side=Side::Dependencies />
        <Show when=move || kind.get() != NodeKind::User>
            <BreakIt id=id.clone() />
            <RecentTraces id=id.to_string() />
        </Show>
    }
}

/// A line to the incident that the node is part of.
#[component]
fn InIncident(cell: NodeCell) -> impl IntoView {
    let store = store();
    let id = cell.id.clone();
    let now = cell.now;
    let found = Memo::new(move |_| {
        let incident = now.with(|node| node.incident.clone())?;
        store.incidents.with(|all| all.iter().find(|i| i.id == incident).cloned())
    });
    view! {
        {move || found.get().map(|incident| {
            let first = headline::is_origin(&incident, &id);
            let role = if first { "Suspected origin" } else { "Affected by an incident" };
            view! {
                <a class="callout" href=links::incident(&incident.id)>
                    <Icon d=if first { icons::TARGET } else { icons::BOLT } />
                    <span><strong>{role}</strong>{headline::headline(&incident)}</span>
                    <Icon d=icons::CHEVRON />
                </a>
            }
        })}
    }
}
