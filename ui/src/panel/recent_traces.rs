//! The latest traces through a service; those with an error first at hand.

use std::time::Duration;

use leptos::prelude::*;
use tripline_api::{TraceList, TraceSummary};

use crate::poll::{Loaded, poll};
use crate::{clock, format, links};

/// How often they are asked for.
const EVERY: Duration = Duration::from_secs(10);
/// How many.
const SHOWN: usize = 8;

/// The latest traces through a service.
#[component]
pub(crate) fn RecentTraces(
    /// Node id.
    id: String,
) -> impl IntoView {
    let failed_only = RwSignal::new(false);
    let path = move || {
        let error = if failed_only.get() { "&error=true" } else { "" };
        Some(format!("/api/v1/traces?service={}&limit={SHOWN}{error}", links::encode(&id)))
    };
    let traces = poll::<TraceList>(path, EVERY);
    view! {
        <section>
            <h3>
                "Traces"
                <button
                    class="switch small"
                    role="switch"
                    aria-checked=move || failed_only.get().to_string()
                    on:click=move |_| failed_only.update(|only| *only = !*only)
                >
                    <span class="switch-track" aria-hidden="true"></span>
                    "failed only"
                </button>
            </h3>
            {move || traces.with(|traces| match traces {
                Loaded::Waiting => view! { <p class="hint">"Looking…"</p> }.into_any(),
                Loaded::Failed(error) => view! { <p class="hint">{error.to_string()}</p> }.into_any(),
                Loaded::Ready(list) if list.traces.is_empty() => {
                    view! { <p class="hint">"None stored yet: traces are sampled and written every few seconds."</p> }.into_any()
                }
                Loaded::Ready(list) => view! {
                    <ul class="trace-list">{list.traces.iter().take(SHOWN).map(line).collect_view()}</ul>
                }
                .into_any(),
            })}
        </section>
    }
}

fn line(trace: &TraceSummary) -> impl IntoView + use<> {
    let errors = (trace.errors > 0).then(|| format::plural(trace.errors as usize, "error"));
    view! {
        <li>
            <a href=links::trace(&trace.trace_id)>
                <time datetime=trace.started_at.clone()>{clock::time_of_day(&trace.started_at)}</time>
                <span class="name">{format!("{} {}", format::short(&trace.root_service), trace.root_name)}</span>
                <span class="errors">{errors}</span>
                <span class="figure">{format::latency(trace.duration_ms)}</span>
            </a>
        </li>
    }
}
