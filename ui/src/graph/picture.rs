//! What every part of the graph reads: the scene, the camera as it is now, and the cascade to be lit.

use leptos::prelude::*;

use super::camera::{Camera, Mode};
use super::scene::{Scene, Sketch, SketchEdge, SketchNode};
use super::shape::{Point, Rect};
use super::wave::Cascade;
use crate::app::Ui;
use crate::links::Selected;
use crate::nav::Nav;
use crate::store::Store;

/// The graph as drawn. A handle: copies are the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture {
    /// Boxes and curves; changes with the topology only.
    pub(crate) scene: Memo<Scene>,
    /// Where one looks from, fitted when nobody has moved it.
    pub(crate) camera: Memo<Camera>,
    /// The incident whose path is lit, if any.
    pub(crate) cascade: Memo<Option<Cascade>>,
}

impl Picture {
    /// Derives it; the memos live as long as the current owner.
    pub(crate) fn new(store: Store, ui: Ui, nav: Nav) -> Self {
        let scene = Memo::new(move |_| {
            store.shape.track();
            Scene::build(&sketch(store))
        });
        let cascade = Memo::new(move |_| cascade(store, ui, nav));
        let camera = Memo::new(move |_| {
            let camera = ui.camera.get();
            let (width, height) = ui.screen.get();
            let bounds = scene.with(|scene| scene.bounds);
            match (camera.mode, bounds) {
                (Mode::Framed, Some(bounds)) if width > 0.0 => {
                    Camera::frame(bounds, focus(scene, cascade, nav), (width, height))
                }
                (Mode::Whole, Some(bounds)) if width > 0.0 => Camera::fit(bounds, width, height),
                _ => camera,
            }
        });
        Self { scene, camera, cascade }
    }

    /// Looks from somewhere else, starting from where one looks now.
    pub(crate) fn look(self, ui: Ui, change: impl FnOnce(Camera) -> Camera) {
        ui.camera.set(change(self.camera.get_untracked()));
    }
}

/// The picture of this page.
pub(crate) fn picture() -> Picture {
    expect_context()
}

/// What matters: what is selected, else what the lit cascade touches.
fn focus(scene: Memo<Scene>, cascade: Memo<Option<Cascade>>, nav: Nav) -> Option<Rect> {
    let selected = nav.selected.get();
    scene.with(|scene| {
        let around = |id: &str| scene.nodes.get(id).copied();
        match &selected {
            Some(Selected::Node(id)) => around(id),
            Some(Selected::Edge(id)) => {
                let line = scene.lines.get(id)?;
                Some(Rect::around(line.curve.at(line.mark).0, 300.0, 160.0))
            }
            None => {
                let touched: Vec<Rect> =
                    cascade.with(|c| c.iter().flat_map(|c| c.nodes.keys()).filter_map(|id| around(id)).collect());
                Rect::union(&touched)
            }
        }
    })
}

fn sketch(store: Store) -> Sketch {
    let nodes = store.nodes.with_untracked(|cells| {
        cells
            .iter()
            .map(|cell| {
                cell.now.with_untracked(|node| SketchNode {
                    id: node.id.clone(),
                    kind: node.kind,
                    position: Point::new(node.position.x, node.position.y),
                })
            })
            .collect()
    });
    let edges = store.edges.with_untracked(|cells| {
        cells
            .iter()
            .map(|cell| SketchEdge {
                id: cell.id.to_string(),
                client: cell.client.to_string(),
                server: cell.server.to_string(),
            })
            .collect()
    });
    Sketch { nodes, edges }
}

/// The one that the address names, also when it is over; else the newest open one, unless the light is off.
fn cascade(store: Store, ui: Ui, nav: Nav) -> Option<Cascade> {
    if !ui.spotlight.get() {
        return None;
    }
    let wanted = nav.incident.get();
    store.incidents.with(|incidents| {
        let named = wanted.and_then(|id| incidents.iter().find(|incident| incident.id == id));
        named.or_else(|| incidents.iter().find(|incident| !incident.is_resolved())).map(Cascade::of)
    })
}
