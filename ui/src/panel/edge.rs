//! Everything about one edge: counts, retries, what was shed, its breakers and why they last changed.

use std::time::Duration;

use leptos::prelude::*;
use tripline_api::{Breaker, BreakerList, BreakerState, Edge, Transition};

use super::TITLE;
use super::figures::{Figures, Now};
use crate::app::store;
use crate::icons::{BreakerBadge, HealthBadge};
use crate::poll::poll;
use crate::store::EdgeCell;
use crate::{clock, format, links, time};

/// How often the breakers are asked for; transitions come in the stream, at once.
const BREAKERS_EVERY: Duration = Duration::from_secs(3);
/// Transitions that are shown.
const TRANSITIONS: usize = 8;

/// An edge's details.
#[component]
pub(crate) fn EdgeDetails(
    /// The edge.
    cell: EdgeCell,
) -> impl IntoView {
    let (of_health, of_breaker, of_now) = (cell.now.clone(), cell.now.clone(), cell.now.clone());
    let health = Memo::new(move |_| of_health.with(|edge| edge.health));
    let breaker = Memo::new(move |_| of_breaker.with(|edge| edge.breaker));
    let now = Memo::new(move |_| {
        of_now.with(|edge| Now {
            rate: edge.requests_per_second,
            error_ratio: edge.error_ratio,
            latency: edge.latency_ms,
        })
    });
    let (protocol, secured) = cell.now.with_untracked(|edge| (edge.protocol.clone(), edge.secured));
    view! {
        <header>
            <h2 id=TITLE tabindex="-1">
                <a href=links::select(&cell.client)>{format::short(&cell.client).to_owned()}</a>
                <span class="to">" → "</span>
                <a href=links::select(&cell.server)>{format::short(&cell.server).to_owned()}</a>
            </h2>
            <p class="facts">
                <HealthBadge health />
                <span>{protocol}{if secured { ", mutually authenticated" } else { ", plain text" }}</span>
            </p>
        </header>
        <Figures id=cell.id.to_string() now />
        <Counts cell=cell.clone() />
        <section>
            <h3>"Breaker"<BreakerBadge state=breaker /></h3>
            <Breakers cell=cell.clone() />
            <Transitions cell />
        </section>
    }
}

#[component]
fn Counts(cell: EdgeCell) -> impl IntoView {
    let store = store();
    let now = StoredValue::new(cell.now);
    let row = move |name: &'static str, class: &'static str, read: fn(&Edge) -> String| {
        view! {
            <dt>{name}</dt>
            <dd class=class>{move || now.with_value(|now| now.with(read))}</dd>
        }
    };
    view! {
        <section>
            <h3>"Counts"<span class="tally">{move || format!("last {:.0} s", store.window.get())}</span></h3>
            <dl class="counts">
                {row("Requests", "", |e| format::count(e.requests))}
                {row("Failed by the server or on the way", "errors", |e| format::count(e.failed.saturating_sub(e.shed)))}
                {row("Shed by breaker or limit, never sent", "shed", |e| format::count(e.shed))}
                {row("Attempts per request", "", |e| format!("{:.2}", e.attempts_per_request))}
                {row("Counted by", "", |e| counted_by(&e.reporter).to_owned())}
            </dl>
        </section>
    }
}

fn counted_by(reporter: &str) -> &str {
    match reporter {
        "client" => "the client's sidecar",
        "server" => "the server's sidecar",
        "spans" => "spans (as sampled)",
        other => other,
    }
}

#[component]
fn Breakers(cell: EdgeCell) -> impl IntoView {
    let store = store();
    let loaded = poll::<BreakerList>(|| Some("/api/v1/breakers".into()), BREAKERS_EVERY);
    let mine = Memo::new(move |_| {
        loaded.with(|list| {
            let all = list.ready().map(|list| list.breakers.as_slice()).unwrap_or_default();
            all.iter().filter(|b| *b.client == *cell.client && *b.server == *cell.server).cloned().collect::<Vec<_>>()
        })
    });
    view! {
        <ul class="breakers">
            <For each=move || mine.get() key=|b| (b.id.clone(), b.client_instance.clone(), b.state, b.trips) let(breaker)>
                <OneBreaker breaker now=store.at />
            </For>
        </ul>
    }
}

#[component]
fn OneBreaker(breaker: Breaker, now: RwSignal<f64>) -> impl IntoView {
    let Breaker { state, since, trips, route, endpoint, client_instance, last_reason, .. } = breaker;
    let guards = match (route.is_empty(), endpoint.is_empty()) {
        (true, true) => "the whole service".to_owned(),
        (false, true) => format!("route {route}"),
        (true, false) => format!("endpoint {endpoint}"),
        (false, false) => format!("{endpoint} on route {route}"),
    };
    view! {
        <li>
            <BreakerBadge state=Signal::stored(state) />
            <span>
                {guards}
                <small>
                    {move || time::between(&since, now.get()).map(|d| format!("for {d}"))}
                    {format!(" · {}", format::plural(trips as usize, "trip"))}
                    {last_reason.map(|reason| format!(" · {}", format::words(&reason)))}
                    {format!(" · in {client_instance}")}
                </small>
            </span>
        </li>
    }
}

#[component]
fn Transitions(cell: EdgeCell) -> impl IntoView {
    let store = store();
    let mine = Memo::new(move |_| {
        store.transitions.with(|all| {
            let here = all.iter().filter(|t| *t.client == *cell.client && *t.server == *cell.server);
            here.take(TRANSITIONS).cloned().collect::<Vec<_>>()
        })
    });
    view! {
        <Show when=move || mine.with(|m| !m.is_empty()) fallback=|| view! { <p class="hint">"It has not changed its state lately."</p> }>
            <ol class="transitions">
                {move || mine.get().into_iter().map(transition).collect_view()}
            </ol>
        </Show>
    }
}

/// One transition with its reason and numbers.
pub(crate) fn transition(t: Transition) -> impl IntoView {
    let numbers = numbers(&t);
    let traces = t
        .traces
        .into_iter()
        .enumerate()
        .map(|(i, id)| view! { " "<a href=links::trace(&id)>{format!("trace {}", i + 1)}</a> });
    view! {
        <li>
            <time datetime=t.at.clone()>{clock::time_of_day(&t.at)}</time>
            <BreakerBadge state=Signal::stored(t.to) />
            <span>
                {format::words(&t.reason)}
                {(t.origin == "induced" && t.to == BreakerState::Open).then_some(" (induced: the cause is behind its server)")}
                <small>{numbers}{traces.collect_view()}</small>
            </span>
        </li>
    }
}

/// `12 of 20 failed, limit 0.5, last: status 503`.
fn numbers(t: &Transition) -> String {
    let mut parts = Vec::new();
    if t.window_total > 0 {
        parts.push(format!("{} of {} failed", t.window_failed, t.window_total));
    }
    if t.threshold > 0.0 {
        parts.push(format!("limit {}", t.threshold));
    }
    if !t.last_error.is_empty() {
        parts.push(format!("last: {}", t.last_error));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_says_its_numbers_and_only_those_it_has() {
        let mut t = Transition {
            at: String::new(),
            breaker: "b".into(),
            client: "a".into(),
            client_instance: String::new(),
            server: "b".into(),
            route: String::new(),
            endpoint: String::new(),
            from: BreakerState::Closed,
            to: BreakerState::Open,
            reason: "failure_ratio".into(),
            origin: "remote".into(),
            window_total: 20,
            window_failed: 12,
            window_slow: 0,
            threshold: 0.5,
            last_error: "status 503".into(),
            time_in_from_ms: 0,
            sequence: 1,
            traces: vec![],
        };
        assert_eq!(numbers(&t), "12 of 20 failed, limit 0.5, last: status 503");
        t.window_total = 0;
        t.threshold = 0.0;
        t.last_error.clear();
        assert_eq!(numbers(&t), "");
    }
}
