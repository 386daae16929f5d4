//! Line icons on a 16 by 16 grid, drawn with the text's colour. One shape per meaning, so that colour is never needed.

use leptos::prelude::*;
use tripline_api::{BreakerState, Health, NodeKind};

pub(crate) const SEARCH: &str = "M7 2.2a4.8 4.8 0 1 0 0 9.6 4.8 4.8 0 0 0 0-9.6M10.6 10.6 14 14";
pub(crate) const CLOSE: &str = "M3.8 3.8l8.4 8.4M12.2 3.8l-8.4 8.4";
pub(crate) const PLUS: &str = "M8 3v10M3 8h10";
pub(crate) const MINUS: &str = "M3 8h10";
pub(crate) const FIT: &str = "M2.2 5.6V2.2h3.4M10.4 2.2h3.4v3.4M13.8 10.4v3.4h-3.4M5.6 13.8H2.2v-3.4";
pub(crate) const SUN: &str = "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8 13 13M13 3l-1.2 1.2M4.2 11.8 3 13";
pub(crate) const MOON: &str = "M13.6 9.8A6 6 0 0 1 6.2 2.4a6 6 0 1 0 7.4 7.4";
pub(crate) const AUTO: &str = "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M8 1.8v12.4M8 4.6h3.9M8 8h6.2M8 11.4h3.9";
pub(crate) const HELP: &str = "M5.6 6a2.4 2.4 0 1 1 3.5 2.1c-.8.4-1.1.8-1.1 1.7M8 12.4v.1";
pub(crate) const TARGET: &str =
    "M8 4.2a3.8 3.8 0 1 0 0 7.6 3.8 3.8 0 0 0 0-7.6M8 .9v3.3M8 11.8v3.3M.9 8h3.3M11.8 8h3.3M8 7.9v.2";
pub(crate) const BOLT: &str = "M9.2 1.4 3.4 9.2h3.8l-.6 5.4 6-8H8.8z";
pub(crate) const EYE_OFF: &str = "M2 2l12 12M6.3 3.6A7 7 0 0 1 8 3.4c4 0 6.4 4.6 6.4 4.6a12 12 0 0 1-1.9 2.5M4.4 4.7A12 12 0 0 0 1.6 8S4 12.6 8 12.6a6.6 6.6 0 0 0 3-.7M6.6 6.6a2 2 0 0 0 2.8 2.8";
pub(crate) const ARROW: &str = "M3 8h9.4M8.8 4.4 12.4 8l-3.6 3.6";
pub(crate) const PLUG: &str = "M5.4 2v3.6M10.6 2v3.6M3.4 5.6h9.2v2.2a4.6 4.6 0 0 1-9.2 0zM8 12.4V15";
pub(crate) const ENTRY: &str = "M1.6 8h7M5.8 5.2 8.6 8l-2.8 2.8M9.6 2.4h4v11.2h-4";
pub(crate) const CHEVRON: &str = "M6 3.6 10.4 8 6 12.4";

/// A node's kind.
pub(crate) const fn kind(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Service => "M8 1.6 13.6 4.8v6.4L8 14.4l-5.6-3.2V4.8zM2.4 4.8 8 8l5.6-3.2M8 8v6.4",
        NodeKind::Gateway => "M1.6 8h8.2M6.8 4.8 10 8l-3.2 3.2M10.4 2.2h3.4v11.6h-3.4",
        NodeKind::External => {
            "M8 1.6a6.4 6.4 0 1 0 0 12.8A6.4 6.4 0 0 0 8 1.6M1.8 8h12.4M8 1.6c1.8 1.8 2.7 4 2.7 6.4S9.8 12.6 8 14.4C6.2 12.6 5.3 10.4 5.3 8S6.2 3.4 8 1.6"
        }
        NodeKind::Database => {
            "M2.8 4c0-1.2 2.3-2.1 5.2-2.1s5.2.9 5.2 2.1-2.3 2.1-5.2 2.1S2.8 5.2 2.8 4v8c0 1.2 2.3 2.1 5.2 2.1s5.2-.9 5.2-2.1V4M2.8 8c0 1.2 2.3 2.1 5.2 2.1s5.2-.9 5.2-2.1"
        }
        NodeKind::Queue => "M1.6 4.4h12.8v7.2H1.6zM5 4.4v7.2M8.2 4.4v7.2M11.4 4.4v7.2",
        NodeKind::User => "M8 8.4a3.1 3.1 0 1 0 0-6.2 3.1 3.1 0 0 0 0 6.2M2.4 14.2C3 11.6 5.2 10 8 10s5 1.6 5.6 4.2",
    }
}

/// A health: ring with tick, triangle, octagon with cross, ring with dash.
pub(crate) const fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "M8 1.6a6.4 6.4 0 1 0 0 12.8A6.4 6.4 0 0 0 8 1.6M5 8.2l2.1 2.1L11.2 6",
        Health::Degraded => "M8 2.2 14.6 13.6H1.4zM8 6.4v3.4M8 11.7v.1",
        Health::Failing => "M5.4 1.6h5.2l3.8 3.8v5.2l-3.8 3.8H5.4l-3.8-3.8V5.4zM5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4",
        Health::Idle => "M8 1.6a6.4 6.4 0 1 0 0 12.8A6.4 6.4 0 0 0 8 1.6M5.2 8h5.6",
    }
}

/// A switch, as on the edges: its lever down, half up, up.
pub(crate) const fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::None => "M1.5 8h13",
        BreakerState::Closed => {
            "M.6 8h2.2M2.8 8a1.9 1.9 0 1 0 3.8 0 1.9 1.9 0 1 0-3.8 0M6.6 8h2.8M9.4 8a1.9 1.9 0 1 0 3.8 0 1.9 1.9 0 1 0-3.8 0M13.2 8h2.2"
        }
        BreakerState::HalfOpen => {
            "M.6 9h2.2M2.8 9a1.9 1.9 0 1 0 3.8 0 1.9 1.9 0 1 0-3.8 0M6.4 8 11.6 5M9.4 9a1.9 1.9 0 1 0 3.8 0 1.9 1.9 0 1 0-3.8 0M13.2 9h2.2"
        }
        BreakerState::Open => {
            "M.6 10.5h2.2M2.8 10.5a1.9 1.9 0 1 0 3.8 0 1.9 1.9 0 1 0-3.8 0M5.8 8.9 9.4 2.8M9.4 10.5a1.9 1.9 0 1 0 3.8 0 1.9 1.9 0 1 0-3.8 0M13.2 10.5h2.2"
        }
    }
}

/// An icon in HTML; hidden from screen readers, since a text always stands beside it or names its button.
#[component]
pub(crate) fn Icon(
    /// One of this file's shapes.
    #[prop(into)]
    d: Signal<&'static str>,
) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
            <path d=move || d.get() />
        </svg>
    }
}

/// A health's word for people.
pub(crate) const fn health_word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "Healthy",
        Health::Degraded => "Degraded",
        Health::Failing => "Failing",
        Health::Idle => "Idle",
    }
}

/// A breaker state's word for people.
pub(crate) const fn breaker_word(state: BreakerState) -> &'static str {
    match state {
        BreakerState::None => "No breaker",
        BreakerState::Closed => "Closed",
        BreakerState::HalfOpen => "Half-open",
        BreakerState::Open => "Open",
    }
}

/// Health as a badge: shape, word and colour.
#[component]
pub(crate) fn HealthBadge(
    /// What to show.
    #[prop(into)]
    health: Signal<Health>,
) -> impl IntoView {
    view! {
        <span class=move || format!("badge health-{}", health.get())>
            <Icon d=Signal::derive(move || self::health(health.get())) />
            {move || health_word(health.get())}
        </span>
    }
}

/// A breaker's state as a badge: switch, word and colour.
#[component]
pub(crate) fn BreakerBadge(
    /// What to show.
    #[prop(into)]
    state: Signal<BreakerState>,
) -> impl IntoView {
    view! {
        <span class=move || format!("badge breaker-{}", state.get())>
            <Icon d=Signal::derive(move || breaker(state.get())) />
            {move || breaker_word(state.get())}
        </span>
    }
}
