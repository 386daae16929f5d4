//! The search field: services, edges and incidents by a part of their name; Enter goes to the first.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;

use crate::app::store;
use crate::icons::{self, Icon};
use crate::incidents::headline;
use crate::nav::nav;
use crate::store::Store;
use crate::{format, links};

/// The field's id, for the key that goes to it.
pub(crate) const FIELD: &str = "search";
/// Hits that are shown.
const SHOWN: usize = 9;

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hit {
    icon: &'static str,
    text: String,
    hint: String,
    address: String,
    rank: usize,
}

/// The search field and its hits.
#[component]
pub(crate) fn Search() -> impl IntoView {
    let (store, nav) = (store(), nav());
    let text = RwSignal::new(String::new());
    let open = RwSignal::new(false);
    let at = RwSignal::new(0_usize);
    let hits = Memo::new(move |_| if open.get() { find(store, &text.get()) } else { Vec::new() });
    let leave = move || {
        text.set(String::new());
        open.set(false);
    };
    let choose = move |address: String| {
        leave();
        crate::app::focus("main");
        nav.go(address);
    };
    let key = move |event: KeyboardEvent| {
        let count = hits.with(Vec::len);
        match event.key().as_str() {
            "ArrowDown" => at.update(|at| *at = (*at + 1).min(count.saturating_sub(1))),
            "ArrowUp" => at.update(|at| *at = at.saturating_sub(1)),
            "Enter" => {
                if let Some(hit) = hits.with(|hits| hits.get(at.get()).cloned()) {
                    choose(hit.address);
                }
            }
            _ => return,
        }
        event.prevent_default();
    };
    view! {
        <div class="search" role="search">
            <Icon d=icons::SEARCH />
            <input
                id=FIELD
                type="text"
                placeholder="Search"
                autocomplete="off"
                spellcheck="false"
                role="combobox"
                aria-label="Search services, edges and incidents"
                aria-expanded=move || hits.with(|hits| !hits.is_empty()).to_string()
                aria-controls="hits"
                aria-activedescendant=move || format!("hit-{}", at.get())
                prop:value=text
                on:input=move |event| {
                    text.set(event_target_value(&event));
                    at.set(0);
                    open.set(true);
                }
                on:blur=move |_| leave()
                on:keydown=key
            />
            <kbd aria-hidden="true">"/"</kbd>
            <Show when=move || open.get() && !text.with(String::is_empty)>
                <ul id="hits" role="listbox">
                    {move || hits.get().into_iter().enumerate().map(|(i, hit)| hit_view(i, hit, at, choose)).collect_view()}
                    <Show when=move || hits.with(Vec::is_empty)>
                        <li class="none">"Nothing of that name has been seen"</li>
                    </Show>
                </ul>
            </Show>
        </div>
    }
}

fn hit_view(i: usize, hit: Hit, at: RwSignal<usize>, choose: impl Fn(String) + 'static) -> impl IntoView {
    let address = hit.address.clone();
    view! {
        <li
            id=format!("hit-{i}")
            role="option"
            aria-selected=move || (at.get() == i).to_string()
            on:mouseenter=move |_| at.set(i)
            // Before the field loses the focus, which would take the list away.
            on:mousedown=move |event| {
                event.prevent_default();
                choose(address.clone());
            }
        >
            <Icon d=hit.icon />
            <span>{hit.text}</span>
            <small>{hit.hint}</small>
        </li>
    }
}

fn find(store: Store, text: &str) -> Vec<Hit> {
    let wanted = text.trim().to_lowercase();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut hits = Vec::new();
    let mut offer = |icon, text: String, hint: String, address: String| {
        let name = text.to_lowercase();
        if let Some(rank) = rank(format::short(&name), &wanted).or_else(|| rank(&name, &wanted)) {
            hits.push(Hit { icon, text, hint, address, rank });
        }
    };
    store.nodes.with(|cells| {
        for cell in cells {
            let (kind, hint) = cell.now.with_untracked(|node| (node.kind, node.kind.to_string()));
            offer(icons::kind(kind), cell.id.to_string(), hint, links::select(&cell.id));
        }
    });
    store.edges.with(|cells| {
        for cell in cells {
            offer(icons::ARROW, format::edge_name(&cell.id), "edge".into(), links::select(&cell.id));
        }
    });
    store.incidents.with(|incidents| {
        for incident in incidents {
            let hint = headline::phase(incident.phase).to_lowercase();
            offer(icons::BOLT, headline::headline(incident), hint, links::incident(&incident.id));
        }
    });
    // Stable, so services stay before edges before incidents of the same rank.
    hits.sort_by_key(|hit| hit.rank);
    hits.truncate(SHOWN);
    hits
}

/// How well a name fits: its beginning, the beginning of a word in it, or anywhere; smaller is better.
fn rank(name: &str, wanted: &str) -> Option<usize> {
    let at = name.find(wanted)?;
    let before = name.get(..at).and_then(|before| before.chars().next_back());
    Some(match before {
        None => 0,
        Some(c) if !c.is_alphanumeric() => 1,
        Some(_) => 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_come_before_middles() {
        assert_eq!(rank("payments", "pay"), Some(0));
        assert_eq!(rank("shop/payments-db", "pay"), Some(1));
        assert_eq!(rank("shop/payments-db", "ments"), Some(2));
        assert_eq!(rank("web", "pay"), None);
    }
}
