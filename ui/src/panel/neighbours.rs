//! The edges of one node: who calls it, whom it calls.

use std::sync::Arc;

use leptos::prelude::*;

use crate::app::{store, ui};
use crate::format;
use crate::icons::{self, Icon};
use crate::links;
use crate::store::{EdgeCell, Store};

/// Which end of its edges the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// It is called: the others are its dependents.
    Dependents,
    /// It calls: the others are its dependencies.
    Dependencies,
}

/// The edges on one side of a node.
#[component]
pub(crate) fn Neighbours(
    /// The node.
    id: Arc<str>,
    /// Which of its edges.
    side: Side,
) -> impl IntoView {
    let store = store();
    let title = match side {
        Side::Dependents => "Dependents",
        Side::Dependencies => "Dependencies",
    };
    let none = match side {
        Side::Dependents => "Nobody calls it",
        Side::Dependencies => "It calls nobody",
    };
    let edges = Memo::new(move |_| of(store, &id, side).into_iter().map(|cell| cell.id).collect::<Vec<_>>());
    view! {
        <section>
            <h3>{title}<span class="tally">{move || edges.with(Vec::len)}</span></h3>
            <ul class="neighbours">
                <For each=move || edges.get() key=Clone::clone let(edge)>
                    {store.edge(&edge).map(|cell| view! { <Neighbour cell side /> })}
                </For>
            </ul>
            <Show when=move || edges.with(Vec::is_empty)>
                <p class="hint">{none}</p>
            </Show>
        </section>
    }
}

#[component]
fn Neighbour(cell: EdgeCell, side: Side) -> impl IntoView {
    let hovered = ui().hovered;
    let other = match side {
        Side::Dependents => &cell.client,
        Side::Dependencies => &cell.server,
    };
    let (id, now) = (cell.id.to_string(), cell.now.clone());
    let breaker = Memo::new(move |_| now.with(|edge| edge.breaker));
    let (rate, errors, health) = (cell.now.clone(), cell.now.clone(), cell.now.clone());
    view! {
        <li>
            <a
                href=links::select(&cell.id)
                class=move || format!("health-{}", health.with(|edge| edge.health))
                on:pointerenter=move |_| hovered.set(Some(id.clone()))
                on:pointerleave=move |_| hovered.set(None)
            >
                <span class=move || format!("breaker-{}", breaker.get()) title=move || icons::breaker_word(breaker.get())>
                    <Icon d=Signal::derive(move || icons::breaker(breaker.get())) />
                    <span class="unseen">{move || format!("Breaker {}. ", icons::breaker_word(breaker.get()))}</span>
                </span>
                <span class="name">{format::short(other).to_owned()}</span>
                <span class="figure">{move || rate.with(|edge| format::rate(edge.requests_per_second))}<small>" rps"</small></span>
                <span class="figure errors">{move || errors.with(|edge| format::ratio(edge.error_ratio))}<small>" err"</small></span>
            </a>
        </li>
    }
}

fn of(store: Store, id: &str, side: Side) -> Vec<EdgeCell> {
    store.edges.with(|cells| {
        let end = |cell: &&EdgeCell| match side {
            Side::Dependents => *cell.server == *id,
            Side::Dependencies => *cell.client == *id,
        };
        cells.iter().filter(end).cloned().collect()
    })
}
