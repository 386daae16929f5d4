//! What is said over the graph when there is nothing to draw, or when it is no longer live.

use std::time::Duration;

use leptos::prelude::*;
use tripline_api::ProxyList;

use crate::app::store;
use crate::icons::{self, Icon};
use crate::poll::{Loaded, poll};
use crate::watch::Link;
use crate::{clock, time};

/// Empty, connecting, and gone.
#[component]
pub(crate) fn Notices() -> impl IntoView {
    let store = store();
    let empty = Memo::new(move |_| store.nodes.with(Vec::is_empty));
    view! {
        {move || match (store.link.get(), empty.get()) {
            (Link::Live, false) | (Link::Connecting, false) => ().into_any(),
            (Link::Live, true) => view! { <NoTraffic /> }.into_any(),
            (Link::Connecting, true) => {
                view! { <div class="notice" role="status"><p>"Waiting for the collector…"</p></div> }.into_any()
            }
            (Link::Lost { .. }, true) => view! { <NeverSeen /> }.into_any(),
            (Link::Lost { since }, false) => view! { <Gone since /> }.into_any(),
            (Link::Garbled { reason }, _) => view! {
                <div class="notice strip" role="alert">
                    <p><strong>"This page and the collector are of different versions. "</strong>"Reload the page. "<small>{reason}</small></p>
                </div>
            }
            .into_any(),
        }}
    }
}

/// There is no stream and never was one: the collector is not there, or does not let us in and says how to.
#[component]
fn NeverSeen() -> impl IntoView {
    let asked = poll::<ProxyList>(|| Some("/api/v1/proxies".into()), Duration::from_secs(3));
    let reason = move || match asked.get() {
        Loaded::Failed(error) => format!("{error}."),
        Loaded::Waiting | Loaded::Ready(_) => "The collector does not answer.".to_owned(),
    };
    view! {
        <div class="notice" role="alert">
            <Icon d=icons::PLUG />
            <h2>"No picture yet"</h2>
            <p>{reason}</p>
            <p class="hint">"Trying again by itself."</p>
        </div>
    }
}

/// The collector is gone, and the picture is as it was then.
#[component]
fn Gone(since: f64) -> impl IntoView {
    let store = store();
    let picture = format!("This is the picture of {}.", clock::of_ms(store.at.get_untracked()));
    let second = RwSignal::new(js_sys::Date::now());
    if let Ok(handle) = set_interval_with_handle(move || second.set(js_sys::Date::now()), Duration::from_secs(1)) {
        on_cleanup(move || handle.clear());
    }
    view! {
        <div class="notice strip" role="alert">
            <Icon d=icons::PLUG />
            <p>
                <strong>{format!("The collector has not answered since {}", clock::of_ms(since))}</strong>
                <span>{move || format!(" ({}). ", time::duration(second.get() - since))}</span>
                {picture}
                " Traffic flows without it; trying again by itself."
            </p>
        </div>
    }
}

#[component]
fn NoTraffic() -> impl IntoView {
    view! {
        <div class="notice" role="status">
            <svg class="notice-art" viewBox="0 0 180 60" aria-hidden="true">
                <rect x="2" y="14" width="52" height="32" rx="7" />
                <path d="M58 30h22M102 30h20" />
                <path class="accent" d="M80 30 98 18" />
                <circle cx="80" cy="30" r="3" />
                <circle cx="102" cy="30" r="3" />
                <rect x="126" y="14" width="52" height="32" rx="7" />
            </svg>
            <h2>"No traffic yet"</h2>
            <p>"The collector listens, and nothing has reported. Three ways to send some:"</p>
            <dl>
                <dt>"A shop of twelve services with a load"</dt>
                <dd><code>"tripline demo"</code></dd>
                <dt>"A sidecar beside a service of your own"</dt>
                <dd><code>"tripline-proxy --mesh mesh.yaml --node shop/web"</code></dd>
                <dt>"An application with an OpenTelemetry SDK"</dt>
                <dd><code>"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"</code></dd>
            </dl>
        </div>
    }
}
