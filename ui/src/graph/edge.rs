//! One edge: a line as thick as the logarithm of its rate, what failed in colour at the server's end, what was shed
//! at the client's end, dashed when idle, and a gap where a breaker is not closed.

use leptos::prelude::*;
use tripline_api::{BreakerState, Edge};

use super::breaker_glyph::{BreakerGlyph, gap};
use super::look::EdgeLook;
use super::picture::{Picture, picture};
use super::scene::Line;
use crate::app::{store, ui};
use crate::nav::{Nav, nav};
use crate::store::{EdgeCell, Store};
use crate::time;

/// How much longer the part that reacts to the pointer is than the line is wide.
const HIT: f64 = 14.0;
/// Length of an arrow's head.
const HEAD: f64 = 9.0;

/// What both layers of an edge read. Handles only.
#[derive(Debug, Clone, Copy)]
struct Parts {
    look: Memo<EdgeLook>,
    line: Memo<Option<Line>>,
    stands: Memo<Stands>,
}

/// How the edge stands to what is lit, pointed at and selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stands {
    selected: bool,
    /// It or one of its ends is pointed at or selected.
    near: bool,
    wave: Option<u32>,
    outside: bool,
}

impl Parts {
    fn of(cell: &EdgeCell) -> Self {
        let (ui, nav, picture) = (ui(), nav(), picture());
        let id = StoredValue::new(cell.clone());
        let now: ArcRwSignal<Edge> = cell.now.clone();
        let hovered = ui.hovered;
        Self {
            look: Memo::new(move |_| now.with(EdgeLook::of)),
            line: Memo::new(move |_| id.with_value(|c| picture.scene.with(|scene| scene.lines.get(&*c.id).cloned()))),
            stands: Memo::new(move |_| id.with_value(|cell| stands(cell, hovered, nav, picture))),
        }
    }

    fn path(self, part: impl Fn(&Line) -> String) -> String {
        self.line.with(|line| line.as_ref().map(part).unwrap_or_default())
    }

    /// Distances of the gap along the line; both at its mark when there is none.
    fn gap(self) -> impl Fn(&Line) -> (f64, f64) {
        let half = gap(self.look.with(|look| look.breaker)) / 2.0;
        // A line too short for its gap keeps a stub on each side, so that one sees what the breaker separates.
        move |line: &Line| ((line.mark - half).max(6.0), (line.mark + half).min(line.curve.length() - HEAD - 4.0))
    }
}

/// The line of an edge.
#[component]
pub(crate) fn EdgeLine(cell: EdgeCell) -> impl IntoView {
    let parts = Parts::of(&cell);
    let (ui, nav) = (ui(), nav());
    let Parts { look, stands, .. } = parts;
    let class = move || {
        let stands = stands.get();
        look.with(|look| {
            let mut class = format!("edge health-{} breaker-{} pace-{}", look.health, look.breaker, look.pace);
            let states = [
                (look.idle, " idle"),
                (stands.selected, " selected"),
                (stands.near, " near"),
                (stands.wave.is_some(), " path"),
                (stands.outside, " outside"),
            ];
            states.iter().filter(|(holds, _)| *holds).for_each(|(_, name)| class.push_str(name));
            class
        })
    };
    let id = cell.id.to_string();
    let hovered_id = id.clone();
    let width = move || look.with(|look| look.width);
    view! {
        <g
            class=class
            on:click=move |_| nav.select(&id)
            on:pointerenter=move |_| ui.hovered.set(Some(hovered_id.clone()))
            on:pointerleave=move |_| ui.hovered.set(None)
        >
            <path class="edge-hit" d=move || parts.path(|line| line.curve.path()) stroke-width=move || width() + HIT />
            <Strokes parts />
            <path class="edge-head" d=move || parts.path(|line| arrow(line, width())) />
        </g>
    }
}

/// The visible strokes, from the client to the server.
#[component]
fn Strokes(parts: Parts) -> impl IntoView {
    let look = parts.look;
    let width = move || look.with(|look| look.width);
    let broken = move || look.with(|look| !matches!(look.breaker, BreakerState::None | BreakerState::Closed));
    let open = move || look.with(|look| look.breaker == BreakerState::Open);
    let base = move || {
        let gap = parts.gap();
        parts.path(|line| if broken() { line.curve.part(0.0, gap(line).0).path() } else { line.curve.path() })
    };
    let tail = move || {
        let gap = parts.gap();
        parts.path(
            |line| if broken() { line.curve.part(gap(line).1, line.curve.length()).path() } else { String::new() },
        )
    };
    let shed = move || {
        let (gap, share) = (parts.gap(), look.with(|look| look.shed));
        parts.path(|line| {
            let room = if broken() { gap(line).0 } else { line.curve.length() };
            // An open breaker sheds all that comes now, whatever the window's share is.
            let length = if open() { room } else { room * share };
            line.curve.part(0.0, length).path()
        })
    };
    let failed = move || {
        let (gap, share) = (parts.gap(), look.with(|look| look.failed));
        parts.path(|line| {
            let length = line.curve.length();
            let from = if broken() { gap(line).1 } else { 0.0 };
            line.curve.part(length - (length - from) * share, length).path()
        })
    };
    view! {
        <path class="edge-base" d=base stroke-width=width />
        <path class="edge-tail" d=tail stroke-width=move || if open() { 1.6 } else { width() } />
        <path class="edge-shed" d=shed stroke-width=width />
        <path class="edge-failed" d=move || if open() { String::new() } else { failed() } stroke-width=width />
        <path class="edge-flow" d=move || if broken() { String::new() } else { base() } />
    }
}

/// What an edge wears: its breaker, its wave, and its figures when one points at it.
#[component]
pub(crate) fn EdgeMark(cell: EdgeCell) -> impl IntoView {
    let parts = Parts::of(&cell);
    let (store, nav) = (store(), nav());
    let Parts { look, stands, line, .. } = parts;
    let at = Memo::new(move |_| line.with(|line| line.as_ref().map(|line| line.curve.at(line.mark))));
    let breaker = Memo::new(move |_| look.with(|look| look.breaker));
    let (client, server) = (cell.client.clone(), cell.server.clone());
    let open_for = Memo::new(move |_| match breaker.get() {
        BreakerState::Open => since_open(store, &client, &server),
        _ => String::new(),
    });
    let turn = move || {
        let gap = parts.gap();
        parts.line.with(|line| line.as_ref().map(|line| (line.curve.at(gap(line).0), line.curve.at(gap(line).1))))
    };
    let id = cell.id.to_string();
    let transform = move || at.get().map(|(p, _)| format!("translate({:.1},{:.1})", p.x, p.y));
    view! {
        <g class=move || if stands.get().outside { "mark outside" } else { "mark" } on:click=move |_| nav.select(&id)>
            {move || match (breaker.get(), turn()) {
                (BreakerState::Open, Some(((start, slope), (end, _)))) => view! {
                    <path
                        class="open-bar"
                        d="M0-11V11"
                        transform=format!("translate({:.1},{:.1}) rotate({slope:.0})", start.x, start.y)
                    />
                    <circle class="open-end" cx=end.x cy=end.y r="2.6" />
                }.into_any(),
                (BreakerState::HalfOpen, Some(_)) => {
                    let gap = parts.gap();
                    let d = parts.path(|line| { let (a, b) = gap(line); line.curve.part(a, b).path() });
                    view! { <path class="half-gap" d=d /> }.into_any()
                }
                _ => ().into_any(),
            }}
            <g transform=transform>
                <BreakerGlyph state=breaker since=open_for slope=Memo::new(move |_| at.get().map_or(0.0, |(_, slope)| slope)) />
                <Wave wave=Memo::new(move |_| stands.get().wave) breaker />
                <Show when=move || stands.get().near>
                    <Figures look breaker />
                </Show>
            </g>
        </g>
    }
}

#[component]
fn Wave(wave: Memo<Option<u32>>, breaker: Memo<BreakerState>) -> impl IntoView {
    let lift = move || match breaker.get() {
        BreakerState::None => 0,
        BreakerState::Closed => -17,
        BreakerState::HalfOpen | BreakerState::Open => -21,
    };
    view! {
        {move || wave.get().map(|wave| view! {
            <g class="wave" transform=format!("translate(0,{})", lift())>
                <circle r="9.5" />
                <text y="4">{wave}</text>
            </g>
        })}
    }
}

/// The figures of an edge, under its mark: two short lines, which fit between two columns.
#[component]
fn Figures(look: Memo<EdgeLook>, breaker: Memo<BreakerState>) -> impl IntoView {
    // Characters times a mean width is close enough for a backdrop.
    let width = move || look.with(|look| look.rate.len().max(look.errors.len()) as f64 * 6.2 + 16.0);
    let drop = move || match breaker.get() {
        BreakerState::Open => 46,
        BreakerState::HalfOpen => 44,
        BreakerState::None | BreakerState::Closed => 30,
    };
    view! {
        <g class="edge-figures" transform=move || format!("translate(0,{})", drop())>
            <rect x=move || -width() / 2.0 y="-18" width=width height="36" rx="6" />
            <text y="-3">{move || look.with(|look| look.rate.clone())}</text>
            <text class=move || if look.with(|look| look.failed + look.shed > 0.0) { "errors" } else { "" } y="11.5">
                {move || look.with(|look| look.errors.clone())}
            </text>
        </g>
    }
}

fn stands(cell: &EdgeCell, hovered: RwSignal<Option<String>>, nav: Nav, picture: Picture) -> Stands {
    let touches = |id: &str| *id == *cell.id || *id == *cell.client || *id == *cell.server;
    let selected = nav.is_selected(&cell.id);
    let pointed = hovered.with(|id| id.as_deref().is_some_and(touches));
    let chosen = nav.selected.with(|s| s.as_ref().is_some_and(|s| touches(s.id())));
    let lit = picture.cascade.with(|cascade| cascade.as_ref().map(|c| c.wave(&cell.client, &cell.server)));
    Stands { selected, near: pointed || chosen, wave: lit.flatten(), outside: lit == Some(None) }
}

/// How long ago the edge's breaker left its closed state: probes that fail do not start the time anew. Nothing when
/// that was before this page's memory.
fn since_open(store: Store, client: &str, server: &str) -> String {
    let now = store.at.get();
    store.transitions.with(|newest_first| {
        let here = newest_first.iter().filter(|t| t.client == client && t.server == server);
        let left = here.take_while(|t| t.to != BreakerState::Closed).last();
        left.and_then(|t| time::between(&t.at, now)).unwrap_or_default()
    })
}

/// An arrow's head at the server's end.
fn arrow(line: &Line, width: f64) -> String {
    let length = line.curve.length();
    let ((tip, _), (_, slope)) = (line.curve.at(length), line.curve.at(length - HEAD / 2.0));
    let (sin, cos) = slope.to_radians().sin_cos();
    let half = 3.2 + width * 0.5;
    let corner = |side: f64| (tip.x - HEAD * cos - side * half * sin, tip.y - HEAD * sin + side * half * cos);
    let ((ax, ay), (bx, by)) = (corner(1.0), corner(-1.0));
    format!("M{:.1} {:.1}L{ax:.1} {ay:.1}L{bx:.1} {by:.1}Z", tip.x, tip.y)
}
