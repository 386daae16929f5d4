//! The sidecars that report.

use crate::wire;

wire! {
    /// One sidecar process.
    pub struct Proxy {
        /// Node id of the service it stands beside.
        pub service: String,
        /// The process.
        pub instance: String,
        /// Its version.
        pub version: String,
        /// When its last report came in.
        pub last_seen: String,
        /// Whether a report came within the last five seconds.
        pub live: bool,
        /// Telemetry items it had to drop since it started.
        pub dropped: u64,
        /// Its clock minus the collector's, in milliseconds, delivery time included.
        pub clock_offset_ms: f64,
    }

    /// Answer of `GET /api/v1/proxies`.
    pub struct ProxyList {
        /// Ordered by service and instance.
        pub proxies: Vec<Proxy>,
        /// Cursor of the next page.
        pub next: Option<String>,
    }
}
