//! What the drawing's signs mean. Folded away until somebody asks.

use leptos::prelude::*;
use tripline_api::{BreakerState, Health};

use crate::icons::{self, Icon};

/// The legend.
#[component]
pub(crate) fn Legend() -> impl IntoView {
    let health = Health::ALL.iter().map(|health| {
        view! {
            <li class=format!("health-{health}")>
                <Icon d=icons::health(*health) />
                {icons::health_word(*health)}
            </li>
        }
    });
    let breaker = [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open].into_iter().map(|state| {
        view! {
            <li class=format!("breaker-{state}")>
                <Icon d=icons::breaker(state) />
                {icons::breaker_word(state)}
            </li>
        }
    });
    view! {
        <details class="legend">
            <summary>"Legend"</summary>
            <div>
                <h2>"Health"</h2>
                <ul>{health.collect_view()}</ul>
                <h2>"Breaker on the edge"</h2>
                <ul>{breaker.collect_view()}</ul>
                <h2>"Line, from client to server"</h2>
                <ul>
                    <li><span class="sample base"></span>"thicker: more requests"</li>
                    <li><span class="sample failed"></span>"share that failed"</li>
                    <li><span class="sample shed"></span>"share shed by the breaker"</li>
                    <li><span class="sample idle"></span>"no traffic"</li>
                    <li><span class="sample wave">"1"</span>"order in which a cascade hit"</li>
                </ul>
            </div>
        </details>
    }
}
