//! The composition root: what exists once, the pages, and the keys.

use leptos::ev;
use leptos::mount::mount_to_body;
use leptos::prelude::*;
use leptos_router::components::{Route, Router, Routes};
use leptos_router::path;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, SvgElement};

use crate::banner::IncidentBanner;
use crate::graph::camera::Camera;
use crate::graph::node;
use crate::graph::page::{self, GraphPage};
use crate::graph::picture::Picture;
use crate::header::Header;
use crate::help::Help;
use crate::incidents::detail::IncidentPage;
use crate::incidents::headline;
use crate::incidents::list::IncidentsPage;
use crate::keys::{self, Action, Press};
use crate::nav::Nav;
use crate::panel::page::ServicePage;
use crate::search;
use crate::store::Store;
use crate::stream;
use crate::tables::{BreakersPage, EdgesPage, ServicesPage};
use crate::theme::{self, Theme};
use crate::traces::page::TracePage;

/// What the page's parts share besides the picture. A handle: copies are the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    /// Colours.
    pub(crate) theme: RwSignal<Theme>,
    /// Where one looks at the graph from.
    pub(crate) camera: RwSignal<Camera>,
    /// Size of the graph's part of the screen, in pixels.
    pub(crate) screen: RwSignal<(f64, f64)>,
    /// Node or edge under the pointer or with the focus.
    pub(crate) hovered: RwSignal<Option<String>>,
    /// Whether an open incident's path is lit and the rest dimmed.
    pub(crate) spotlight: RwSignal<bool>,
    /// Whether the keys are shown.
    pub(crate) help: RwSignal<bool>,
}

/// What the page's parts share.
pub(crate) fn ui() -> Ui {
    expect_context()
}

/// The picture.
pub(crate) fn store() -> Store {
    expect_context()
}

/// Draws the page and follows the collector.
pub(crate) fn mount() {
    mount_to_body(|| {
        let store = Store::new();
        provide_context(store);
        provide_context(Ui {
            theme: theme::kept(),
            camera: RwSignal::new(Camera::default()),
            screen: RwSignal::new((0.0, 0.0)),
            hovered: RwSignal::new(None),
            spotlight: RwSignal::new(true),
            help: RwSignal::new(false),
        });
        stream::follow(store);
        view! {
            <Router>
                <Shell />
            </Router>
        }
    });
}

#[component]
fn Shell() -> impl IntoView {
    let nav = Nav::new();
    provide_context(nav);
    let ui = ui();
    let picture = Picture::new(store(), ui, nav);
    provide_context(picture);
    let listener = window_event_listener(ev::keydown, move |event| {
        if let Some(action) = keys::action(&press(&event)) {
            event.prevent_default();
            act(action, ui, nav, picture);
        }
    });
    on_cleanup(move || listener.remove());
    let store = store();
    let title = Memo::new(move |_| headline::tab(&store.open_incidents()));
    Effect::new(move |_| document().set_title(&title.get()));
    view! {
        <a class="skip" href="#main">"Skip to content"</a>
        <Header />
        <IncidentBanner />
        <main id="main" tabindex="-1">
            <Routes fallback=NotFound>
                <Route path=path!("/") view=GraphPage />
                <Route path=path!("/services") view=ServicesPage />
                <Route path=path!("/services/*id") view=ServicePage />
                <Route path=path!("/edges") view=EdgesPage />
                <Route path=path!("/breakers") view=BreakersPage />
                <Route path=path!("/incidents") view=IncidentsPage />
                <Route path=path!("/incidents/:id") view=IncidentPage />
                <Route path=path!("/traces/:id") view=TracePage />
            </Routes>
        </main>
        <Help />
    }
}

#[component]
fn NotFound() -> impl IntoView {
    view! {
        <div class="notice">
            <h1>"There is no such page"</h1>
            <p>"The address may be from another version. " <a href="/">"Go to the graph"</a></p>
        </div>
    }
}

fn press(event: &web_sys::KeyboardEvent) -> Press {
    let focused = document().active_element().map(|element| element.tag_name().to_ascii_lowercase());
    Press {
        key: event.key(),
        typing: matches!(focused.as_deref(), Some("input" | "textarea" | "select")),
        modified: event.ctrl_key() || event.alt_key() || event.meta_key(),
    }
}

fn act(action: Action, ui: Ui, nav: Nav, picture: Picture) {
    match action {
        Action::Search => focus(search::FIELD),
        Action::Graph => nav.go("/".into()),
        Action::Incidents => nav.go("/incidents".into()),
        Action::Theme => ui.theme.update(|theme| *theme = theme.next()),
        Action::Help => ui.help.update(|shown| *shown = !*shown),
        Action::Fit => page::whole(ui),
        Action::ZoomIn => page::zoom(ui, picture, 1.25),
        Action::ZoomOut => page::zoom(ui, picture, 0.8),
        Action::Close => close(ui, nav),
        Action::Walk(direction) => page::walk(direction, picture, nav),
    }
}

/// Closes the help, else the panel; and gives the focus back to the node that it was about.
fn close(ui: Ui, nav: Nav) {
    if ui.help.get_untracked() {
        return ui.help.set(false);
    }
    if let Some(focused) = document().active_element().and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
        // Leaving the field closes the search.
        let _ = focused.blur();
    }
    if let Some(selected) = nav.selected.get_untracked().filter(|_| nav.page.get_untracked() == "/") {
        nav.select("");
        focus(&node::element_id(selected.id()));
    }
}

/// Gives the focus to the element with this id, if there is one.
pub(crate) fn focus(element: &str) {
    let Some(element) = document().get_element_by_id(element) else { return };
    // Focusing fails only for what cannot have the focus, and then nothing is lost.
    let _ = match element.dyn_into::<HtmlElement>() {
        Ok(html) => html.focus(),
        Err(element) => element.dyn_into::<SvgElement>().map_or(Ok(()), |svg| svg.focus()),
    };
}
