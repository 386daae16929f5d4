//! The top line: where one can go, whether the picture is live, and what the collector is blind to.

use std::time::Duration;

use leptos::prelude::*;
use leptos_router::components::A;
use tripline_api::ProxyList;

use crate::app::{store, ui};
use crate::icons::{self, Icon};
use crate::poll::{Loaded, poll};
use crate::search::Search;
use crate::theme::Theme;
use crate::watch::Link;
use crate::{clock, format};

/// How often the sidecars are asked for; they count as silent after five seconds.
const PROXIES_EVERY: Duration = Duration::from_secs(5);

/// The top line.
#[component]
pub(crate) fn Header() -> impl IntoView {
    let store = store();
    let ui = ui();
    let open = Memo::new(move |_| store.open_incidents().len());
    view! {
        <header class="top">
            <a class="brand" href="/" aria-label="Tripline, to the graph">
                <svg viewBox="0 0 26 20" aria-hidden="true">
                    <path class="brand-line" d="M1.5 10h6.5M18 10h6.5" />
                    <path class="brand-lever" d="M8 10 16 3" />
                    <circle cx="8" cy="10" r="2.4" />
                    <circle cx="18" cy="10" r="2.4" />
                </svg>
                <span>"Tripline"</span>
            </a>
            <nav aria-label="Pages">
                <A href="/" exact=true>"Graph"</A>
                <A href="/services">"Services"</A>
                <A href="/edges">"Edges"</A>
                <A href="/breakers">"Breakers"</A>
                <A href="/incidents">
                    "Incidents"
                    <Show when=move || open.get() != 0>
                        <span class="count" aria-label=move || format!("{} open", open.get())>{open}</span>
                    </Show>
                </A>
            </nav>
            <Search />
            <div class="status">
                <Blind />
                <Live />
            </div>
            <button class="tool" title="Keys (?)" aria-label="Show the keys" on:click=move |_| ui.help.set(true)>
                <Icon d=icons::HELP />
            </button>
            <ThemeToggle />
        </header>
    }
}

#[component]
fn ThemeToggle() -> impl IntoView {
    let theme = ui().theme;
    let icon = move || match theme.get() {
        Theme::Auto => icons::AUTO,
        Theme::Light => icons::SUN,
        Theme::Dark => icons::MOON,
    };
    let label = move || format!("Theme: {}. Press for {}.", theme.get().as_str(), theme.get().next().as_str());
    view! {
        <button class="tool" title=label aria-label=label on:click=move |_| theme.update(|t| *t = t.next())>
            <Icon d=Signal::derive(icon) />
        </button>
    }
}

/// How the stream does.
#[component]
fn Live() -> impl IntoView {
    let store = store();
    let window = move || format!("last {:.0} s", store.window.get());
    let state = move || match store.link.get() {
        Link::Connecting => ("waiting", "Connecting…".to_owned()),
        Link::Live => ("live", format!("Live · {}", window())),
        Link::Lost { since } => ("lost", format!("Collector gone since {}", clock::of_ms(since))),
        Link::Garbled { .. } => ("lost", "Other version: reload".to_owned()),
    };
    let why = move || match store.link.get() {
        Link::Connecting => "waiting for the collector's first answer".to_owned(),
        Link::Live => "the collector sends every change once a second; figures are over this window".to_owned(),
        Link::Lost { .. } => "the picture is as it was then; trying again by itself".to_owned(),
        Link::Garbled { reason } => reason,
    };
    view! {
        <span class=move || format!("chip link-{}", state().0) role="status" title=why>
            <span class="dot" aria-hidden="true"></span>
            {move || state().1}
        </span>
    }
}

/// Sidecars that the collector does not hear, and telemetry that they had to drop. Silent when there is nothing to say.
#[component]
fn Blind() -> impl IntoView {
    let proxies = poll::<ProxyList>(|| Some("/api/v1/proxies".into()), PROXIES_EVERY);
    let said = Memo::new(move |_| proxies.with(blind));
    view! {
        <Show when=move || said.with(Option::is_some)>
            <span
                class="chip blind"
                role="status"
                title=move || said.with(|said| said.as_ref().map(|s| s.1.clone()).unwrap_or_default())
            >
                <Icon d=icons::EYE_OFF />
                {move || said.with(|said| said.as_ref().map(|s| s.0.clone()))}
            </span>
        </Show>
    }
}

/// What the collector is blind to: in short, and at length.
fn blind(proxies: &Loaded<ProxyList>) -> Option<(String, String)> {
    let all = &proxies.ready()?.proxies;
    let silent: Vec<&str> = all.iter().filter(|proxy| !proxy.live).map(|proxy| proxy.service.as_str()).collect();
    let dropped: u64 = all.iter().map(|proxy| proxy.dropped).sum();
    match (silent.len(), dropped) {
        (0, 0) => None,
        (0, dropped) => Some((
            format!("{} dropped", format::count(dropped)),
            "telemetry items that sidecars had to drop since they started: some figures are too low".into(),
        )),
        (n, _) => Some((
            format!("Blind: {n} of {} silent", format::plural(all.len(), "sidecar")),
            format!("no report within five seconds from {}", silent.join(", ")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_api::Proxy;

    fn proxy(service: &str, live: bool, dropped: u64) -> Proxy {
        Proxy {
            service: service.into(),
            instance: "1".into(),
            version: "0".into(),
            last_seen: String::new(),
            live,
            dropped,
            clock_offset_ms: 0.0,
        }
    }

    #[test]
    fn blindness_is_said_and_sight_is_not() {
        let list = |proxies| Loaded::Ready(ProxyList { proxies, next: None });
        assert_eq!(blind(&Loaded::Waiting), None);
        assert_eq!(blind(&list(vec![proxy("a", true, 0)])), None);
        let silent = blind(&list(vec![proxy("shop/a", false, 0), proxy("b", true, 0)]));
        assert_eq!(silent.map(|s| s.0).as_deref(), Some("Blind: 1 of 2 sidecars silent"));
        assert_eq!(blind(&list(vec![proxy("a", true, 1_200)])).map(|s| s.0).as_deref(), Some("1\u{202f}200 dropped"));
    }
}
