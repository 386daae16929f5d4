//! The collector's stream of events, read into the store: the only place that holds an `EventSource`.
//!
//! All decisions are [`Watch`]'s; here is only what the browser must be told. One stream lives as long as the page.

use std::cell::RefCell;
use std::rc::Rc;

use gloo_timers::callback::Interval;
use js_sys::Date;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Event, EventSource, MessageEvent};

use crate::store::Store;
use crate::watch::{Link, Step, Watch};

/// Where the collector writes its events.
const ADDRESS: &str = "/api/v1/stream";
/// How often the watch is asked.
const STEP_MS: u32 = 1_000;

/// Follows the collector for the rest of the page's life.
pub(crate) fn follow(store: Store) {
    let stream = Rc::new(Stream { store, watch: RefCell::new(Watch::new(Date::now())), open: RefCell::new(None) });
    stream.open();
    Interval::new(STEP_MS, move || stream.on_second()).forget();
}

struct Stream {
    store: Store,
    watch: RefCell<Watch>,
    open: RefCell<Option<Open>>,
}

/// A connection with its listeners, which must live as long as it does.
struct Open {
    source: EventSource,
    _messages: [Closure<dyn FnMut(MessageEvent)>; 2],
    _error: Closure<dyn FnMut(Event)>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.source.set_onerror(None);
        self.source.close();
    }
}

impl Stream {
    fn open(self: &Rc<Self>) {
        let connected = self.connect();
        if connected.is_none() {
            self.set(self.watch.borrow_mut().on_error(Date::now()));
        }
        *self.open.borrow_mut() = connected;
    }

    fn connect(self: &Rc<Self>) -> Option<Open> {
        let source = EventSource::new(ADDRESS).ok()?;
        let snapshot = self.listener(|store, text| serde_json::from_str(text).map(|snapshot| store.reset(snapshot)));
        let changes = self.listener(|store, text| serde_json::from_str(text).map(|changes| store.apply(changes)));
        source.add_event_listener_with_callback("snapshot", snapshot.as_ref().unchecked_ref()).ok()?;
        source.add_event_listener_with_callback("changes", changes.as_ref().unchecked_ref()).ok()?;
        let stream = Rc::downgrade(self);
        let error = Closure::<dyn FnMut(Event)>::new(move |_| {
            if let Some(stream) = stream.upgrade() {
                stream.on_error();
            }
        });
        source.set_onerror(Some(error.as_ref().unchecked_ref()));
        Some(Open { source, _messages: [snapshot, changes], _error: error })
    }

    fn listener(
        self: &Rc<Self>,
        take: impl Fn(Store, &str) -> Result<(), serde_json::Error> + 'static,
    ) -> Closure<dyn FnMut(MessageEvent)> {
        let stream = Rc::downgrade(self);
        Closure::new(move |event: MessageEvent| {
            let (Some(stream), Some(text)) = (stream.upgrade(), event.data().as_string()) else { return };
            let live = stream.watch.borrow_mut().on_event(Date::now());
            stream.set(match take(stream.store, &text) {
                Ok(()) => live,
                Err(error) => Link::Garbled { reason: error.to_string() },
            });
        })
    }

    fn on_error(&self) {
        if let Some(open) = self.open.borrow().as_ref() {
            // Without this the browser would try again by itself, beside us.
            open.source.close();
        }
        self.set(self.watch.borrow_mut().on_error(Date::now()));
    }

    fn on_second(self: &Rc<Self>) {
        let (step, link) = self.watch.borrow_mut().on_second(Date::now());
        if let Some(link) = link {
            self.set(link);
        }
        if step == Step::Reopen {
            self.open();
        }
    }

    fn set(&self, link: Link) {
        if self.store.link.with_untracked(|old| *old != link) {
            self.store.link.set(link);
        }
    }
}
