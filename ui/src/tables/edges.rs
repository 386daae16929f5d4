//! All edges as a table.

use leptos::prelude::*;
use tripline_api::{BreakerState, Edge};

use super::services::severity;
use super::sorting::{Column, Key, Sorting, TableHead, headings, holds, sort};
use crate::app::store;
use crate::icons::{BreakerBadge, HealthBadge};
use crate::nav::nav;
use crate::store::Store;
use crate::{format, links};

const COLUMNS: &[Column<Edge>] = &[
    Column { name: "Edge", key: |e| Key::Text(e.id.clone()) },
    Column { name: "Protocol", key: |e| Key::Text(e.protocol.clone()) },
    Column { name: "Health", key: |e| Key::Rank(severity(e.health)) },
    Column { name: "Requests / s", key: |e| Key::Number(e.requests_per_second) },
    Column { name: "Errors", key: |e| Key::Number(e.error_ratio) },
    Column { name: "Shed", key: |e| Key::Number(e.shed as f64) },
    Column { name: "Attempts", key: |e| Key::Number(e.attempts_per_request) },
    Column { name: "p50", key: |e| Key::Number(e.latency_ms.p50) },
    Column { name: "p99", key: |e| Key::Number(e.latency_ms.p99) },
    Column { name: "Breaker", key: |e| Key::Rank(openness(e.breaker)) },
];

/// The more open, the larger.
pub(super) const fn openness(state: BreakerState) -> f64 {
    match state {
        BreakerState::None => 0.0,
        BreakerState::Closed => 1.0,
        BreakerState::HalfOpen => 2.0,
        BreakerState::Open => 3.0,
    }
}

/// All edges as a table.
#[component]
pub(crate) fn EdgesPage() -> impl IntoView {
    let store = store();
    let filter = nav().filter;
    let sorting = RwSignal::new(Sorting { column: 0, descending: false });
    let rows = Memo::new(move |_| rows(store, &filter.get(), sorting.get()));
    let head = move || rows.with(|rows| rows.first().map(|sample| headings(COLUMNS, sorting, sample)));
    view! {
        <article class="page">
            <TableHead title="Edges" count=Memo::new(move |_| rows.with(Vec::len)) />
            <table class="table">
                <thead>{head}</thead>
                <tbody>{move || rows.with(|rows| rows.iter().map(row).collect_view())}</tbody>
            </table>
            <Show when=move || rows.with(Vec::is_empty)>
                <p class="hint">"No edge fits."</p>
            </Show>
        </article>
    }
}

fn row(edge: &Edge) -> impl IntoView + use<> {
    let idle = edge.requests == 0;
    let figure = move |text: String| if idle { "–".to_owned() } else { text };
    view! {
        <tr class=format!("health-{}", edge.health)>
            <th scope="row"><a href=links::select(&edge.id)>{format!("{} → {}", edge.client, edge.server)}</a></th>
            <td>{edge.protocol.clone()}</td>
            <td><HealthBadge health=Signal::stored(edge.health) /></td>
            <td class="number">{figure(format::rate(edge.requests_per_second))}</td>
            <td class="number errors">{figure(format::ratio(edge.error_ratio))}</td>
            <td class="number shed">{figure(format::count(edge.shed))}</td>
            <td class="number">{figure(format!("{:.2}", edge.attempts_per_request))}</td>
            <td class="number">{figure(format::latency(edge.latency_ms.p50))}</td>
            <td class="number">{figure(format::latency(edge.latency_ms.p99))}</td>
            <td><BreakerBadge state=Signal::stored(edge.breaker) /></td>
        </tr>
    }
}

fn rows(store: Store, filter: &str, sorting: Sorting) -> Vec<Edge> {
    store.tick.track();
    let mut rows: Vec<Edge> = store.edges.with(|cells| {
        let now = cells.iter().map(|cell| cell.now.get_untracked());
        now.filter(|e| holds(filter, &[&e.id, &e.protocol, e.health.as_str(), e.breaker.as_str()])).collect()
    });
    sort(&mut rows, COLUMNS, sorting);
    rows
}
