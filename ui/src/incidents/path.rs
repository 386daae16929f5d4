//! How it spread: the hops in the order of cause, each with its wave and its lag.

use leptos::prelude::*;
use tripline_api::{Incident, PathEvent, PathStep};

use crate::graph::wave::Cascade;
use crate::icons::{self, Icon};
use crate::{clock, format, links};

/// The path.
#[component]
pub(crate) fn PathSteps(incident: Incident) -> impl IntoView {
    let cascade = Cascade::of(&incident);
    let none = incident.path.is_empty();
    let steps = incident.path.iter().map(|one| step(one, cascade.wave(&one.client, &one.server)));
    view! {
        <section class="card-box">
            <h2><Icon d=icons::ARROW />"How it spread"</h2>
            <ol class="steps">{steps.collect_view()}</ol>
            {none.then(|| view! { <p class="hint">"It has not spread."</p> })}
        </section>
    }
}

fn step(step: &PathStep, wave: Option<u32>) -> impl IntoView + use<> {
    let (icon, event) = match step.event {
        PathEvent::Degraded => (icons::health(tripline_api::Health::Degraded), "degraded"),
        PathEvent::Tripped => (icons::breaker(tripline_api::BreakerState::Open), "breaker opened"),
        PathEvent::Closed => (icons::breaker(tripline_api::BreakerState::Closed), "breaker closed"),
    };
    view! {
        <li class=format!("event-{}", step.event)>
            <span class="step-wave" title="Wave: hops from the suspected origin">{wave.map(format::circled)}</span>
            <span class="step-what">
                <span class="step-edge">
                    <a href=links::select(&step.client)>{format::short(&step.client).to_owned()}</a>
                    " → "
                    <a href=links::select(&step.server)>{format::short(&step.server).to_owned()}</a>
                </span>
                <span class="step-event"><Icon d=icon />{event}<small>{format!(" {}", format::words(&step.reason))}</small></span>
            </span>
            <span class="step-when">
                {lag(step.lag_ms)}
                <time datetime=step.at.clone()>{clock::time_of_day(&step.at)}</time>
            </span>
        </li>
    }
}

/// `+3 ms`, `+0.4 s`, `+12 s`.
fn lag(ms: u64) -> String {
    match ms {
        0..100 => format!("+{ms} ms"),
        100..10_000 => format!("+{:.1} s", ms as f64 / 1e3),
        _ => format!("+{}", crate::time::duration(ms as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_finer_when_they_are_short() {
        assert_eq!(
            [0, 3, 420, 9_940, 12_000, 95_000].map(lag),
            ["+0 ms", "+3 ms", "+0.4 s", "+9.9 s", "+12 s", "+1 min 35 s"]
        );
    }
}
