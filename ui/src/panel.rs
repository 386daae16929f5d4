//! The panel beside the graph: everything about the node or edge that is selected.

mod break_it;
mod edge;
mod figures;
mod neighbours;
mod node;
pub(crate) mod page;
mod recent_traces;
pub(crate) mod sparkline;

use leptos::prelude::*;

use crate::app::store;
use crate::icons::{self, Icon};
use crate::links::Selected;
use crate::nav::nav;
use edge::EdgeDetails;
pub(crate) use edge::transition;
use node::NodeDetails;

/// The id of the panel's heading, which has the focus when the panel was opened by keyboard.
pub(crate) const TITLE: &str = "panel-title";

/// The panel, when something is selected.
#[component]
pub(crate) fn Panel() -> impl IntoView {
    let (store, nav) = (store(), nav());
    let details = move |selected: Selected| match &selected {
        Selected::Node(id) => {
            store.node(id).map_or_else(|| gone(&selected), |cell| view! { <NodeDetails cell /> }.into_any())
        }
        Selected::Edge(id) => {
            store.edge(id).map_or_else(|| gone(&selected), |cell| view! { <EdgeDetails cell /> }.into_any())
        }
    };
    view! {
        {move || nav.selected.get().map(|selected| view! {
            <aside class="panel" aria-labelledby=TITLE>
                <button class="tool panel-close" title="Close (Esc)" aria-label="Close the panel" on:click=move |_| nav.select("")>
                    <Icon d=icons::CLOSE />
                </button>
                {details(selected)}
            </aside>
        })}
    }
}

fn gone(selected: &Selected) -> AnyView {
    let id = selected.id().to_owned();
    view! {
        <header>
            <h2 id=TITLE tabindex="-1">{id}</h2>
        </header>
        <p class="hint">"Not in the graph now: it has had no traffic lately, or the collector has not answered yet."</p>
    }
    .into_any()
}
