//! Tripline's web page: the live service graph, its breakers, and the incidents that run through it.
//!
//! Leptos, rendered in the browser, compiled to WebAssembly by `cargo xtask ui` and embedded in the `tripline` binary. It
//! draws what the collector's API says ([`tripline_api`]) at the positions that the collector laid out, and decides
//! nothing: no health, no detection, no layout happens here.
//!
//! One [`store`] holds a signal for each node and edge, fed by one [`stream`]; views read the signals they show, so a
//! second's metrics touch only what changed. The address holds page, selection and incident ([`nav`], [`links`]).
//! What can be pure is pure and tested on the host: [`time`], [`format`], [`links`], [`watch`], [`keys`], the geometry below
//! [`graph`], the waterfall of [`traces`].

#![expect(clippy::needless_pass_by_value, reason = "a component owns its properties")]
#![expect(unreachable_pub, reason = "leptos's component macro writes `pub` into what it generates")]

mod app;
mod banner;
mod clock;
mod fetch;
mod format;
mod graph;
mod header;
mod help;
mod icons;
mod incidents;
mod keys;
mod links;
mod nav;
mod panel;
mod poll;
mod search;
mod store;
mod stream;
mod tables;
mod theme;
mod time;
mod traces;
mod watch;

use wasm_bindgen::prelude::wasm_bindgen;

/// Draws the page into the document; `boot.js` calls it by loading the module.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
    app::mount();
}
