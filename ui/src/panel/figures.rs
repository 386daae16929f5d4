//! Rates, errors and latencies of a node or an edge, with their lines of the last minutes.

use leptos::prelude::*;
use tripline_api::Latency;

use super::sparkline::{Sparkline, shape};
use crate::app::store;
use crate::format;

/// Seconds that a line shows.
const SLOTS: usize = 120;
/// An error line reaches the top at this share or above, so that one failure in a thousand is not a mountain.
const ERROR_TOP: f32 = 0.05;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Now {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Share that failed.
    pub(crate) error_ratio: f64,
    /// Quantiles.
    pub(crate) latency: Latency,
}

/// Three lines and the quantiles.
#[component]
pub(crate) fn Figures(
    /// Of the node or edge; its history is looked up by it.
    id: String,
    /// Its figures.
    now: Memo<Now>,
) -> impl IntoView {
    let store = store();
    let history = Memo::new(move |_| {
        store.tick.track();
        let mut recent = store.history(&id);
        recent.keep_last(SLOTS);
        recent
    });
    view! {
        <section class="figures" aria-label="Figures">
            <Sparkline
                label="Requests / s"
                class="rate"
                value=Signal::derive(move || format::rate(now.get().rate))
                shape=Signal::derive(move || shape(&history.with(|h| h.series(|s| s.rate)), SLOTS, 0.0))
            />
            <Sparkline
                label="Errors"
                class="errors"
                value=Signal::derive(move || format::ratio(now.get().error_ratio))
                shape=Signal::derive(move || shape(&history.with(|h| h.series(|s| s.error_ratio)), SLOTS, ERROR_TOP))
            />
            <Sparkline
                label="Latency p99"
                class="latency"
                value=Signal::derive(move || format::latency(now.get().latency.p99))
                shape=Signal::derive(move || shape(&history.with(|h| h.series(|s| s.p99)), SLOTS, 0.0))
            />
            <Quantiles latency=Signal::derive(move || now.get().latency) />
        </section>
    }
}

#[component]
fn Quantiles(latency: Signal<Latency>) -> impl IntoView {
    let row = move |name: &'static str, read: fn(&Latency) -> f64| {
        let share = move || {
            let latency = latency.get();
            if latency.p99 > 0.0 { (read(&latency) / latency.p99 * 100.0).clamp(0.0, 100.0) } else { 0.0 }
        };
        view! {
            <dt>{name}</dt>
            <dd>
                <span class="bar" aria-hidden="true"><span style:width=move || format!("{:.0}%", share())></span></span>
                <span class="bar-value">{move || format::latency(read(&latency.get()))}</span>
            </dd>
        }
    };
    view! { <dl class="quantiles">{row("p50", |l| l.p50)} {row("p90", |l| l.p90)} {row("p99", |l| l.p99)}</dl> }
}
