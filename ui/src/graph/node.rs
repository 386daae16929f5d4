//! One node: its outline by kind, name, health and three figures.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use tripline_api::{Health, NodeKind};

use super::look::NodeLook;
use super::outline::outline;
use super::picture::{Picture, picture};
use super::shape::Rect;
use crate::app::{Ui, focus, ui};
use crate::nav::nav;
use crate::panel;
use crate::store::NodeCell;
use crate::{format, icons};

const PREFIX: &str = "node-";
/// Characters of a name that fit on a card.
const NAME_LIMIT: usize = 17;
/// Characters of a name that fit in any font.
const NAME_EASY: usize = 13;
/// Room for a name, between the icons.
const NAME_WIDTH: f64 = 106.0;

/// The id of the node's element.
pub(crate) fn element_id(node: &str) -> String {
    format!("{PREFIX}{node}")
}

/// The node whose element has this id.
pub(crate) fn id_of(element: &str) -> Option<&str> {
    element.strip_prefix(PREFIX)
}

/// How the node stands in the cascade that is lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Nothing is lit.
    None,
    /// It may have been first.
    Origin,
    /// It was hit.
    Hit,
    /// It has nothing to do with it.
    Outside,
}

/// One node.
#[component]
pub(crate) fn NodeCard(cell: NodeCell) -> impl IntoView {
    let (ui, nav, picture) = (ui(), nav(), picture());
    let id = StoredValue::new(cell.id.to_string());
    let now = cell.now.clone();
    let look = Memo::new(move |_| now.with(NodeLook::of));
    let place = Memo::new(move |_| id.with_value(|id| picture.scene.with(|scene| scene.nodes.get(id).copied())));
    let part = Memo::new(move |_| id.with_value(|id| part(id, picture)));
    let selected = Memo::new(move |_| id.with_value(|id| nav.is_selected(id)));
    let class = move || {
        look.with(|look| {
            let part = match part.get() {
                Part::None => "",
                Part::Origin => " origin",
                Part::Hit => " hit",
                Part::Outside => " outside",
            };
            let selected = if selected.get() { " selected" } else { "" };
            format!("node kind-{} health-{}{part}{selected}", look.kind, look.health)
        })
    };
    let transform = move || place.get().map(|rect| format!("translate({}px,{}px)", rect.center.x, rect.center.y));
    let open = move || id.with_value(|id| nav.select(id));
    let key = move |event: KeyboardEvent| {
        if matches!(event.key().as_str(), "Enter" | " ") {
            event.prevent_default();
            open();
            // After the panel is there.
            request_animation_frame(|| focus(panel::TITLE));
        }
    };
    let point = move |_| ui.hovered.set(Some(id.get_value()));
    view! {
        <g
            id=element_id(&cell.id)
            class=class
            style:transform=transform
            tabindex="0"
            role="button"
            aria-label=move || look.with(|look| look.label.clone())
            aria-pressed=move || selected.get().to_string()
            on:click=move |_| open()
            on:keydown=key
            on:pointerenter=point
            on:pointerleave=move |_| ui.hovered.set(None)
            on:focus=move |_| {
                ui.hovered.set(Some(id.get_value()));
                reveal(place.get_untracked(), ui, picture);
            }
            on:blur=move |_| ui.hovered.set(None)
        >
            <path class="card-halo" d=move || outline(look.with(|look| look.kind)) />
            <path class="card" d=move || outline(look.with(|look| look.kind)) />
            <Texts name=cell.id.to_string() look />
            <Show when=move || part.get() == Part::Origin>
                <OriginFlag />
            </Show>
        </g>
    }
}

#[component]
fn Texts(name: String, look: Memo<NodeLook>) -> impl IntoView {
    let short = StoredValue::new(format::clip(format::short(&name), NAME_LIMIT));
    let kind = Memo::new(move |_| look.with(|look| look.kind));
    view! {
        <title>{name}</title>
        {move || match kind.get() {
            NodeKind::User => view! { <PeerTexts short look /> }.into_any(),
            kind => view! { <CardTexts short kind look /> }.into_any(),
        }}
    }
}

/// Who calls from outside: a name and a rate, and a sign only when it is not served well.
#[component]
fn PeerTexts(short: StoredValue<String>, look: Memo<NodeLook>) -> impl IntoView {
    let health = move || match look.with(|look| look.health) {
        Health::Healthy | Health::Idle => "",
        unwell => icons::health(unwell),
    };
    view! {
        <path class="node-kind" d=icons::kind(NodeKind::User) transform="translate(-42,-19) scale(.9)" />
        <text class="node-name" x="-20" y="-6">{short.get_value()}</text>
        <text class="node-figure" x="-20" y="13">{move || look.with(|look| format!("{} rps", look.rate))}</text>
        <path class="node-health" d=health transform="translate(24,-19) scale(.9)" />
    }
}

#[component]
fn CardTexts(short: StoredValue<String>, kind: NodeKind, look: Memo<NodeLook>) -> impl IntoView {
    // The lid of a cylinder needs room.
    let lower = if kind == NodeKind::Database { 5.0 } else { 0.0 };
    // A long name is squeezed into its room whatever the font; a short one is left as it is.
    let name = short.get_value();
    let fitted = (name.chars().count() > NAME_EASY).then_some(NAME_WIDTH);
    let health = move || icons::health(look.with(|look| look.health));
    let y = 12.0 + lower * 0.6;
    view! {
        <path class="node-kind" d=icons::kind(kind) transform=format!("translate(-74,{})", lower - 26.0) />
        <text class="node-name" x="-52" y=lower - 12.5 textLength=fitted lengthAdjust="spacingAndGlyphs">{name}</text>
        <path class="node-health" d=health transform=format!("translate(58,{}) scale(1.05)", lower - 27.0) />
        <Figure x=-73.0 y unit="rps" value=Signal::derive(move || look.with(|look| look.rate.clone())) />
        <Figure x=-4.0 y unit="errors" value=Signal::derive(move || look.with(|look| look.errors.clone())) />
        <Figure x=73.0 y unit="p99" value=Signal::derive(move || look.with(|look| look.p99.clone())) />
    }
}

#[component]
fn Figure(x: f64, y: f64, unit: &'static str, value: Signal<String>) -> impl IntoView {
    view! {
        <text class=format!("node-figure figure-{unit}") x=x y=y>{move || value.get()}</text>
        <text class=format!("node-unit figure-{unit}") x=x y=y + 14.5>{unit}</text>
    }
}

#[component]
fn OriginFlag() -> impl IntoView {
    view! {
        <g class="origin-flag" transform="translate(0,-53)">
            <rect x="-68" y="-12" width="136" height="24" rx="12" />
            <path class="glyph" d=icons::TARGET transform="translate(-59,-7.2) scale(.9)" />
            <text x="9" y="4.3">"Suspected origin"</text>
        </g>
    }
}

fn part(id: &str, picture: Picture) -> Part {
    picture.cascade.with(|cascade| match cascade {
        None => Part::None,
        Some(cascade) => match cascade.nodes.get(id) {
            Some(0) => Part::Origin,
            Some(_) => Part::Hit,
            None => Part::Outside,
        },
    })
}

/// Moves the camera so that a node reached by keyboard is seen.
fn reveal(place: Option<Rect>, ui: Ui, picture: Picture) {
    let (width, height) = ui.screen.get_untracked();
    let Some(place) = place else { return };
    let before = picture.camera.get_untracked();
    let after = before.reveal(place, width, height);
    if after != before {
        ui.camera.set(after);
    }
}
