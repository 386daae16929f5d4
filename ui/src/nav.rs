//! Where one is and how to get elsewhere: selection and incident live in the address, so every view can be shared.

use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate, use_query_map};

use crate::links::{self, Selected};

/// The address, read and written. A handle: copies are the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nav {
    /// What is selected in the graph.
    pub(crate) selected: Memo<Option<Selected>>,
    /// Whose path is to be lit, when one was asked for by the address.
    pub(crate) incident: Memo<Option<String>>,
    /// The page, without its query.
    pub(crate) page: Memo<String>,
    /// What a table's rows must hold.
    pub(crate) filter: Memo<String>,
    go: Callback<String>,
    replace: Callback<String>,
}

impl Nav {
    /// Reads the router's address; only inside a router.
    pub(crate) fn new() -> Self {
        let query = use_query_map();
        let navigate = use_navigate();
        let quietly = navigate.clone();
        let go = move |address: String| navigate(&address, NavigateOptions { scroll: false, ..Default::default() });
        let replace = move |address: String| {
            quietly(&address, NavigateOptions { scroll: false, replace: true, ..Default::default() });
        };
        Self {
            selected: Memo::new(move |_| query.with(|q| q.get("select").as_deref().and_then(Selected::parse))),
            incident: Memo::new(move |_| query.with(|q| q.get("incident")).filter(|id| !id.is_empty())),
            page: use_location().pathname,
            filter: Memo::new(move |_| query.with(|q| q.get("q").unwrap_or_default())),
            go: Callback::new(go),
            replace: Callback::new(replace),
        }
    }

    /// Goes to an address of this page.
    pub(crate) fn go(self, address: String) {
        self.go.run(address);
    }

    /// Filters the table of this page; in the address, but not a step of its own for the back button.
    pub(crate) fn set_filter(self, text: &str) {
        let page = self.page.get_untracked();
        let query = if text.is_empty() { String::new() } else { format!("?q={}", links::encode(text)) };
        self.replace.run(format!("{page}{query}"));
    }

    /// Selects a node or an edge in the graph, or nothing; a lit incident stays lit.
    pub(crate) fn select(self, id: &str) {
        let incident = self.incident.get_untracked().unwrap_or_default();
        self.go(links::graph(&[("select", id), ("incident", &incident)]));
    }

    /// Whether this is selected.
    pub(crate) fn is_selected(self, id: &str) -> bool {
        self.selected.with(|selected| selected.as_ref().is_some_and(|s| s.id() == id))
    }
}

/// The navigation of this page.
pub(crate) fn nav() -> Nav {
    expect_context()
}
