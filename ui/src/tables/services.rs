//! All nodes as a table.

use leptos::prelude::*;
use tripline_api::{Health, Node};

use super::sorting::{Column, Key, Sorting, TableHead, headings, holds, sort};
use crate::app::store;
use crate::icons::{self, HealthBadge, Icon};
use crate::nav::nav;
use crate::store::Store;
use crate::{format, links};

const COLUMNS: &[Column<Node>] = &[
    Column { name: "Service", key: |n| Key::Text(n.id.clone()) },
    Column { name: "Kind", key: |n| Key::Text(n.kind.to_string()) },
    Column { name: "Health", key: |n| Key::Rank(severity(n.health)) },
    Column { name: "Requests / s", key: |n| Key::Number(n.requests_per_second) },
    Column { name: "Errors", key: |n| Key::Number(n.error_ratio) },
    Column { name: "p50", key: |n| Key::Number(n.latency_ms.p50) },
    Column { name: "p90", key: |n| Key::Number(n.latency_ms.p90) },
    Column { name: "p99", key: |n| Key::Number(n.latency_ms.p99) },
];

/// The worst is the largest; traffic or none comes after.
pub(super) const fn severity(health: Health) -> f64 {
    match health {
        Health::Failing => 3.0,
        Health::Degraded => 2.0,
        Health::Healthy => 1.0,
        Health::Idle => 0.0,
    }
}

/// All nodes as a table.
#[component]
pub(crate) fn ServicesPage() -> impl IntoView {
    let store = store();
    let filter = nav().filter;
    let sorting = RwSignal::new(Sorting { column: 0, descending: false });
    let rows = Memo::new(move |_| rows(store, &filter.get(), sorting.get()));
    let head = move || rows.with(|rows| rows.first().map(|sample| headings(COLUMNS, sorting, sample)));
    view! {
        <article class="page">
            <TableHead title="Services" count=Memo::new(move |_| rows.with(Vec::len)) />
            <table class="table">
                <thead>{head}</thead>
                <tbody>
                    {move || rows.get().into_iter().map(|node| view! { <Row node /> }).collect_view()}
                </tbody>
            </table>
            <Show when=move || rows.with(Vec::is_empty)>
                <p class="hint">"No service fits."</p>
            </Show>
        </article>
    }
}

#[component]
fn Row(node: Node) -> impl IntoView {
    let idle = node.requests == 0;
    let figure = move |text: String| if idle { "–".to_owned() } else { text };
    view! {
        <tr class=format!("health-{}", node.health)>
            <th scope="row">
                <Icon d=icons::kind(node.kind) />
                <a href=links::service(&node.id)>{node.id.clone()}</a>
            </th>
            <td>{node.kind.to_string()}</td>
            <td><HealthBadge health=Signal::stored(node.health) /></td>
            <td class="number">{figure(format::rate(node.requests_per_second))}</td>
            <td class="number errors">{figure(format::ratio(node.error_ratio))}</td>
            <td class="number">{figure(format::latency(node.latency_ms.p50))}</td>
            <td class="number">{figure(format::latency(node.latency_ms.p90))}</td>
            <td class="number">{figure(format::latency(node.latency_ms.p99))}</td>
        </tr>
    }
}

fn rows(store: Store, filter: &str, sorting: Sorting) -> Vec<Node> {
    store.tick.track();
    let mut rows: Vec<Node> = store.nodes.with(|cells| {
        let now = cells.iter().map(|cell| cell.now.get_untracked());
        now.filter(|node| holds(filter, &[&node.id, node.kind.as_str(), node.health.as_str()])).collect()
    });
    sort(&mut rows, COLUMNS, sorting);
    rows
}
