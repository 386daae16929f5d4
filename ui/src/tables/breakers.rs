//! All breakers, open ones first, and their latest transitions.

use std::time::Duration;

use leptos::prelude::*;
use tripline_api::{Breaker, BreakerList, Transition};

use super::edges::openness;
use super::sorting::{Column, Key, Sorting, TableHead, headings, holds, sort};
use crate::app::store;
use crate::icons::BreakerBadge;
use crate::nav::nav;
use crate::panel::transition;
use crate::poll::{Loaded, poll};
use crate::store::Store;
use crate::{format, links, time};

/// How often they are asked for; transitions come in the stream, at once.
const EVERY: Duration = Duration::from_secs(2);
/// Transitions that are shown.
const TRANSITIONS: usize = 40;

const COLUMNS: &[Column<Breaker>] = &[
    Column { name: "State", key: |b| Key::Rank(openness(b.state)) },
    Column { name: "Client", key: |b| Key::Text(b.client.clone()) },
    Column { name: "Server", key: |b| Key::Text(b.server.clone()) },
    Column { name: "Guards", key: |b| Key::Text(format!("{} {}", b.endpoint, b.route)) },
    Column { name: "Since", key: |b| Key::Number(time::parse(&b.since).unwrap_or(0.0)) },
    Column { name: "Trips", key: |b| Key::Number(b.trips as f64) },
    Column { name: "Last reason", key: |b| Key::Text(b.last_reason.clone().unwrap_or_default()) },
];

/// All breakers.
#[component]
pub(crate) fn BreakersPage() -> impl IntoView {
    let store = store();
    let filter = nav().filter;
    let sorting = RwSignal::new(Sorting { column: 0, descending: true });
    let loaded = poll::<BreakerList>(|| Some("/api/v1/breakers".into()), EVERY);
    let rows = Memo::new(move |_| {
        let mut rows = loaded.with(|list| rows(list, &filter.get()));
        sort(&mut rows, COLUMNS, sorting.get());
        rows
    });
    let head = move || rows.with(|rows| rows.first().map(|sample| headings(COLUMNS, sorting, sample)));
    let none = move || match loaded.get() {
        Loaded::Waiting => "Looking…".to_owned(),
        Loaded::Failed(error) => error.to_string(),
        Loaded::Ready(_) => "No breaker fits.".to_owned(),
    };
    view! {
        <article class="page">
            <TableHead title="Breakers" count=Memo::new(move |_| rows.with(Vec::len)) />
            <table class="table">
                <thead>{head}</thead>
                <tbody>{move || rows.with(|rows| rows.iter().map(|b| row(b, store)).collect_view())}</tbody>
            </table>
            <Show when=move || rows.with(Vec::is_empty)>
                <p class="hint">{none}</p>
            </Show>
            <Latest />
        </article>
    }
}

#[component]
fn Latest() -> impl IntoView {
    let store = store();
    let lines = move || {
        store.transitions.with(|all| all.iter().take(TRANSITIONS).cloned().map(|t| with_edge(t, store)).collect_view())
    };
    view! {
        <section class="card-box">
            <h2>"Latest transitions"</h2>
            <ol class="transitions wide">{lines}</ol>
            <Show when=move || store.transitions.with(Vec::is_empty)>
                <p class="hint">"None lately: every breaker has stayed as it is."</p>
            </Show>
        </section>
    }
}

fn with_edge(t: Transition, store: Store) -> impl IntoView {
    let edge = format!("{} → {}", format::short(&t.client), format::short(&t.server));
    // A transition does not name the protocol, so its edge is looked up.
    let known = store.edges.with_untracked(|cells| {
        cells.iter().find(|cell| *cell.client == *t.client && *cell.server == *t.server).map(|cell| cell.id.to_string())
    });
    let address = links::select(&known.unwrap_or_else(|| t.client.clone()));
    view! {
        <li class="with-edge">
            <a class="name" href=address>{edge}</a>
            <ol>{transition(t)}</ol>
        </li>
    }
}

fn row(breaker: &Breaker, store: Store) -> impl IntoView + use<> {
    let Breaker { id, client, client_instance, server, route, endpoint, state, since, trips, last_reason } =
        breaker.clone();
    let guards = match (endpoint.is_empty(), route.is_empty()) {
        (true, true) => "whole service".to_owned(),
        (false, true) => endpoint,
        (true, false) => route,
        (false, false) => format!("{endpoint} {route}"),
    };
    view! {
        <tr class=format!("breaker-{state}") title=format!("{id} in {client_instance}")>
            <td><BreakerBadge state=Signal::stored(state) /></td>
            <th scope="row"><a href=links::service(&client)>{client.clone()}</a></th>
            <td><a href=links::service(&server)>{server.clone()}</a></td>
            <td><code>{guards}</code></td>
            <td class="number">{move || time::between(&since, store.at.get())}</td>
            <td class="number">{trips}</td>
            <td>{last_reason.map(|reason| format::words(&reason))}</td>
        </tr>
    }
}

fn rows(list: &Loaded<BreakerList>, filter: &str) -> Vec<Breaker> {
    let all = list.ready().map(|list| list.breakers.as_slice()).unwrap_or_default();
    let fits = |b: &&Breaker| holds(filter, &[&b.client, &b.server, &b.endpoint, &b.route, b.state.as_str()]);
    all.iter().filter(fits).cloned().collect()
}
