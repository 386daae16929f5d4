//! The main page: the graph, what is said over it, and the panel of what is selected.

use leptos::prelude::*;

use super::camera::{Camera, Mode};
use super::canvas::Canvas;
use super::legend::Legend;
use super::node;
use super::notice::Notices;
use super::picture::{Picture, picture};
use super::scene::Direction;
use crate::app::{Ui, focus, store, ui};
use crate::icons::{self, Icon};
use crate::nav::Nav;
use crate::panel::Panel;

/// The main page.
#[component]
pub(crate) fn GraphPage() -> impl IntoView {
    let store = store();
    let heading = move || {
        let (nodes, edges) = (store.nodes.with(Vec::len), store.edges.with(Vec::len));
        format!("Service graph: {nodes} nodes and {edges} edges. Arrow keys walk, Enter opens. The same as tables: ")
    };
    view! {
        <div class="stage">
            <div class="board">
                <h1 class="unseen">{heading}<a href="/services">"services"</a>", "<a href="/edges">"edges"</a></h1>
                <Canvas />
                <Notices />
                <Tools />
                <Legend />
            </div>
            <Panel />
        </div>
    }
}

#[component]
fn Tools() -> impl IntoView {
    let (ui, picture) = (ui(), picture());
    let percent = move || format!("{:.0}%", picture.camera.get().zoom * 100.0);
    view! {
        <div class="tools" role="group" aria-label="Zoom">
            <button class="tool" title="Zoom out (-)" aria-label="Zoom out" on:click=move |_| zoom(ui, picture, 0.8)>
                <Icon d=icons::MINUS />
            </button>
            <output>{percent}</output>
            <button class="tool" title="Zoom in (+)" aria-label="Zoom in" on:click=move |_| zoom(ui, picture, 1.25)>
                <Icon d=icons::PLUS />
            </button>
            <button class="tool" title="Fit (f)" aria-label="Fit the whole graph" on:click=move |_| whole(ui)>
                <Icon d=icons::FIT />
            </button>
        </div>
    }
}

/// Zooms around the middle of the screen.
pub(crate) fn zoom(ui: Ui, picture: Picture, factor: f64) {
    let (width, height) = ui.screen.get_untracked();
    picture.look(ui, |camera| camera.zoom_at(super::shape::Point::new(width / 2.0, height / 2.0), factor));
}

/// Shows the whole graph.
pub(crate) fn whole(ui: Ui) {
    ui.camera.set(Camera { mode: Mode::Whole, ..Camera::default() });
}

/// Gives the focus to the next node in a direction; at first to what is selected, or to where traffic comes in.
pub(crate) fn walk(direction: Direction, picture: Picture, nav: Nav) {
    if nav.page.get_untracked() != "/" {
        return;
    }
    let focused = document().active_element().and_then(|element| node::id_of(&element.id()).map(str::to_owned));
    let next = picture.scene.with_untracked(|scene| match focused {
        Some(from) => scene.neighbour(&from, direction).map(str::to_owned),
        None => {
            let selected =
                nav.selected.get_untracked().map(|s| s.id().to_owned()).filter(|id| scene.nodes.contains_key(id));
            let leftmost = scene.nodes.iter().min_by(|a, b| a.1.center.x.total_cmp(&b.1.center.x));
            selected.or_else(|| leftmost.map(|(id, _)| id.clone()))
        }
    });
    if let Some(id) = next {
        focus(&node::element_id(&id));
    }
}
