//! The breaker on its edge: a small switch whose lever shows its state, and words when it is not closed.

use leptos::prelude::*;
use tripline_api::BreakerState;

/// How much of the line gives way to the glyph.
pub(crate) const fn gap(state: BreakerState) -> f64 {
    match state {
        BreakerState::None | BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 62.0,
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
    /// Direction of the line there, in degrees.
    slope: Memo<f64>,
) -> impl IntoView {
    // A word can be read only level, so an open and a half-open breaker do not turn with their line.
    let turn = move || format!("rotate({:.0})", slope.get());
    move || match state.get() {
        BreakerState::None => ().into_any(),
        BreakerState::Closed => view! {
            <g class="breaker closed" transform=turn>
                <title>"Breaker closed"</title>
                <path class="breaker-back" d="M-9 0H9" />
                <path class="glyph" d="M-6 0H6" />
                <circle cx="-7" r="2.7" />
                <circle cx="7" r="2.7" />
            </g>
        }
        .into_any(),
        BreakerState::HalfOpen => view! {
            <g class="breaker half">
                <title>"Breaker half-open: it probes"</title>
                <rect x="-22" y="-9.5" width="44" height="19" rx="4.5" />
                <path class="glyph" d="M-18 0H-12M12 0H18M-9 0 7-5.5" />
                <circle cx="-9" r="2.8" />
                <circle cx="9" r="2.8" />
                <text class="breaker-word" y="21.5">"HALF-OPEN"</text>
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
