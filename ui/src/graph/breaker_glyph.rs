//! The breaker on its edge: a small switch whose lever shows its state, and words when it is not closed.

use leptos::prelude::*;
use tripline_api::BreakerState;

use crate::icons;

/// How much of the line gives way to the glyph.
pub(crate) const fn gap(state: BreakerState) -> f64 {
    match state {
        BreakerState::None | BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 50.0,
        BreakerState::Open => 62.0,
    }
}

/// The breaker, around the middle of its mark.
#[component]
pub(crate) fn BreakerGlyph(
    /// Worst state on the edge.
    state: Memo<BreakerState>,
    /// How long it has been open; empty when that is unknown.
    since: Memo<String>,
) -> impl IntoView {
    move || {
        match state.get() {
        BreakerState::None => ().into_any(),
        BreakerState::Closed => view! {
            <g class="breaker closed">
                <title>"Breaker closed"</title>
                <circle r="8" />
                <path class="glyph" d=icons::breaker(BreakerState::Closed) transform="translate(-5.6,-5.6) scale(.7)" />
            </g>
        }
        .into_any(),
        BreakerState::HalfOpen => view! {
            <g class="breaker half">
                <title>"Breaker half-open: it probes"</title>
                <circle r="9.5" />
                <path class="glyph" d=icons::breaker(BreakerState::HalfOpen) transform="translate(-6.4,-6.4) scale(.8)" />
                <text class="breaker-word" y="22">"HALF-OPEN"</text>
            </g>
        }
        .into_any(),
        BreakerState::Open => view! {
            <g class="breaker open">
                <title>"Breaker open: calls are rejected"</title>
                <rect x="-22" y="-9.5" width="44" height="19" rx="4.5" />
                <text class="breaker-word" y="4">"OPEN"</text>
                <text class="breaker-since" y="22">{since}</text>
            </g>
        }
        .into_any(),
    }
    }
}
