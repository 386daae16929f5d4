//! The page of one service: the same as its panel, wider, at an address of its own.

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;

use super::node::NodeDetails;
use crate::app::store;
use crate::icons::{self, Icon};
use crate::links;

/// The page of one service.
#[component]
pub(crate) fn ServicePage() -> impl IntoView {
    let store = store();
    let params = use_params_map();
    let id = Memo::new(move |_| params.with(|params| params.get("id").unwrap_or_default()));
    let cell = Memo::new(move |_| {
        store.shape.track();
        store.node(&id.get()).map(|cell| cell.id)
    });
    view! {
        <article class="page details">
            <p class="trail">
                <a href="/services">"Services"</a>
                <a class="button quiet" href=move || links::select(&id.get())>"Show in the graph"<Icon d=icons::ARROW /></a>
            </p>
            {move || match cell.get().and_then(|id| store.node(&id)) {
                Some(cell) => view! { <div class="sheet"><NodeDetails cell /></div> }.into_any(),
                None => view! {
                    <div class="notice">
                        <h1>{move || id.get()}</h1>
                        <p>"No such service is in the graph now. It may have had no traffic lately. "<a href="/services">"All services"</a></p>
                    </div>
                }.into_any(),
            }}
        </article>
    }
}
