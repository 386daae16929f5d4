//! Breakers and their transitions.

use crate::wire;

wire! {
    /// One breaker of one sidecar.
    pub struct Breaker {
        /// Stable name within its sidecar.
        pub id: String,
        /// Node id of who calls through it.
        pub client: String,
        /// Process of the client.
        pub client_instance: String,
        /// Node id of the called.
        pub server: String,
        /// The route it guards; empty for all.
        pub route: String,
        /// The endpoint it guards; empty for the whole service.
        pub endpoint: String,
        /// Its state.
        pub state: crate::BreakerState,
        /// Since when.
        pub since: String,
        /// How often it tripped since its sidecar started.
        pub trips: u64,
        /// Why it last changed its state.
        pub last_reason: Option<String>,
    }

    /// Answer of `GET /api/v1/breakers`.
    pub struct BreakerList {
        /// Open ones first, then by id.
        pub breakers: Vec<Breaker>,
        /// The latest transitions, newest first.
        pub transitions: Vec<Transition>,
        /// Cursor of the next page.
        pub next: Option<String>,
    }

    /// One change of a breaker's state.
    pub struct Transition {
        /// When.
        pub at: String,
        /// Its breaker.
        pub breaker: String,
        /// Node id of who calls through it.
        pub client: String,
        /// Process of the client.
        #[serde(default)]
        pub client_instance: String,
        /// Node id of the called.
        pub server: String,
        /// The route it guards; empty for all.
        #[serde(default)]
        pub route: String,
        /// The endpoint it guards; empty for the whole service.
        pub endpoint: String,
        /// State before.
        pub from: crate::BreakerState,
        /// State after.
        pub to: crate::BreakerState,
        /// Why.
        pub reason: String,
        /// `local`, `remote` or `induced`.
        pub origin: String,
        /// Attempts in its window.
        pub window_total: u64,
        /// Failed ones among them.
        pub window_failed: u64,
        /// Slow ones among them.
        #[serde(default)]
        pub window_slow: u64,
        /// The limit that was reached.
        pub threshold: f64,
        /// Last status or error seen.
        pub last_error: String,
        /// How long it was in the state before, in milliseconds.
        #[serde(default)]
        pub time_in_from_ms: u64,
        /// Counts the transitions of its sidecar.
        #[serde(default)]
        pub sequence: u64,
        /// Up to three traces of failed attempts.
        pub traces: Vec<String>,
    }
}
