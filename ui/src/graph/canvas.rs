//! The drawing surface: pan by drag, zoom by wheel, and the layers: edges, their marks, nodes.

use leptos::ev::{PointerEvent, WheelEvent};
use leptos::html::Div;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Element, ResizeObserver};

use super::edge::{EdgeLine, EdgeMark};
use super::node::NodeCard;
use super::picture::{Picture, picture};
use super::shape::Point;
use crate::app::{Ui, store, ui};
use crate::nav::nav;

/// Pixels that the pointer may move within a click.
const CLICK_SLACK: f64 = 4.0;
/// Above this many edges no dots run: the browser would paint all day.
const MOVING_EDGES: usize = 60;
/// Zoom below which only names and marks can be read, so the figures are left out.
const FAR: f64 = 0.42;

/// Where a drag stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Drag {
    None,
    Held { x: f64, y: f64 },
    Moving { x: f64, y: f64 },
}

/// The drawing surface.
#[component]
pub(crate) fn Canvas() -> impl IntoView {
    let (store, ui, nav, picture) = (store(), ui(), nav(), picture());
    let surface = NodeRef::<Div>::new();
    let drag = RwSignal::new(Drag::None);
    measure(surface, ui);
    let class = move || {
        let mut class = String::from("canvas");
        let states = [
            (store.edges.with(Vec::len) <= MOVING_EDGES, " moving"),
            (picture.cascade.with(Option::is_some), " lit"),
            (picture.camera.get().zoom < FAR, " far"),
            (matches!(drag.get(), Drag::Moving { .. }), " dragging"),
        ];
        states.iter().filter(|(holds, _)| *holds).for_each(|(_, name)| class.push_str(name));
        class
    };
    let leave = move |_| {
        if !matches!(drag.get_untracked(), Drag::Moving { .. }) && nav.selected.with_untracked(Option::is_some) {
            nav.select("");
        }
    };
    view! {
        <div
            node_ref=surface
            class=class
            on:pointerdown=move |event| hold(&event, drag)
            on:pointermove=move |event| pull(&event, drag, ui, picture)
            on:pointercancel=move |_| drag.set(Drag::None)
            on:wheel=move |event| zoom(&event, surface, ui, picture)
        >
            <svg width="100%" height="100%" role="group" aria-label="Service graph">
                <rect class="ground" width="100%" height="100%" on:click=leave />
                <g class="world" style:transform=move || picture.camera.get().transform()>
                    <g class="edges">
                        <For each=move || store.edges.get() key=|cell| cell.id.clone() let(cell)>
                            <EdgeLine cell />
                        </For>
                    </g>
                    <g class="marks">
                        <For each=move || store.edges.get() key=|cell| cell.id.clone() let(cell)>
                            <EdgeMark cell />
                        </For>
                    </g>
                    <g class="nodes">
                        <For each=move || store.nodes.get() key=|cell| cell.id.clone() let(cell)>
                            <NodeCard cell />
                        </For>
                    </g>
                </g>
            </svg>
        </div>
    }
}

/// Keeps the size of the surface in `ui.screen`.
fn measure(surface: NodeRef<Div>, ui: Ui) {
    let observer = StoredValue::new_local(None::<(ResizeObserver, Closure<dyn FnMut()>)>);
    Effect::new(move |_| {
        let Some(element) = surface.get() else { return };
        let read = element.clone();
        let changed = Closure::<dyn FnMut()>::new(move || {
            let size = (f64::from(read.client_width()), f64::from(read.client_height()));
            if ui.screen.get_untracked() != size {
                ui.screen.set(size);
            }
        });
        if let Ok(watching) = ResizeObserver::new(changed.as_ref().unchecked_ref()) {
            watching.observe(&element);
            observer.set_value(Some((watching, changed)));
        }
    });
    on_cleanup(move || {
        if let Some(Some((watching, _))) = observer.try_update_value(Option::take) {
            watching.disconnect();
        }
    });
}

fn hold(event: &PointerEvent, drag: RwSignal<Drag>) {
    if event.button() == 0 && event.is_primary() {
        drag.set(Drag::Held { x: f64::from(event.client_x()), y: f64::from(event.client_y()) });
    }
}

fn pull(event: &PointerEvent, drag: RwSignal<Drag>, ui: Ui, picture: Picture) {
    let (x, y) = (f64::from(event.client_x()), f64::from(event.client_y()));
    if event.buttons() & 1 == 0 {
        // The click that ends a drag comes before the next move, so it still sees the drag.
        if drag.get_untracked() != Drag::None {
            drag.set(Drag::None);
        }
        return;
    }
    match drag.get_untracked() {
        Drag::Held { x: from_x, y: from_y } if (x - from_x).hypot(y - from_y) > CLICK_SLACK => {
            // Captured only now: a captured pointer's click would go to the surface instead of the node.
            if let Some(surface) = event.current_target().and_then(|target| target.dyn_into::<Element>().ok()) {
                let _ = surface.set_pointer_capture(event.pointer_id());
            }
            picture.look(ui, |camera| camera.pan(x - from_x, y - from_y));
            drag.set(Drag::Moving { x, y });
        }
        Drag::Moving { x: from_x, y: from_y } => {
            picture.look(ui, |camera| camera.pan(x - from_x, y - from_y));
            drag.set(Drag::Moving { x, y });
        }
        Drag::None | Drag::Held { .. } => {}
    }
}

fn zoom(event: &WheelEvent, surface: NodeRef<Div>, ui: Ui, picture: Picture) {
    event.prevent_default();
    let Some(rect) = surface.get_untracked().map(|element| element.get_bounding_client_rect()) else { return };
    let pixel = Point::new(f64::from(event.client_x()) - rect.left(), f64::from(event.client_y()) - rect.top());
    // Mice report about 100 a notch, some in lines of 3; trackpads a few pixels at a time, with Ctrl for a pinch.
    let lines = if event.delta_mode() == WheelEvent::DOM_DELTA_LINE { 33.0 } else { 1.0 };
    let speed = if event.ctrl_key() { 0.01 } else { 0.0015 };
    let factor = (-event.delta_y() * lines * speed).clamp(-0.4, 0.4).exp();
    picture.look(ui, |camera| camera.zoom_at(pixel, factor));
}
