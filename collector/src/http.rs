//! The collector's HTTP side: API version 1, the stream of changes, `/metrics`, health, and the web UI.
//!
//! Every answer comes from the view that the live task publishes or from history; nothing here owns state but the applied
//! mesh documents. A request passes [`guard`] first (length, token, origin, number at a time, time limit), then its
//! handler. The routes stand in one table ([`routes`]), from which the router and the check of the OpenAPI document are
//! made.

mod answer;
pub mod assets;
mod difference;
mod examples;
mod explain;
mod faults;
mod graph;
mod guard;
mod health;
mod incidents;
mod live;
pub mod mesh;
mod params;
mod past;
mod recording;
mod routes;
#[cfg(test)]
pub(crate) mod sample;
mod stream;
#[cfg(test)]
mod tests;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::auth::Token;
use crate::history::History;
use crate::live::Live;
use crate::metrics::Metrics;

pub use assets::{Asset, Assets, Encoding};
pub use faults::DemoControl;
pub use health::Check;
pub use mesh::MeshStore;
pub use routes::openapi;

use stream::Hub;

/// Bounds of the HTTP side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body.
    pub body_bytes: usize,
    /// Longest path with query.
    pub uri_bytes: usize,
    /// Requests worked on at a time.
    pub requests: usize,
    /// Streams at a time.
    pub streams: usize,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 8 << 20, uri_bytes: 8 << 10, requests: 64, streams: 64, timeout: Duration::from_secs(15) }
    }
}

/// What the HTTP side is made of.
#[derive(Debug)]
pub struct Parts {
    /// The live task.
    pub live: Live,
    /// History.
    pub history: History,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// The mesh documents given last.
    pub mesh: MeshStore,
    /// Starts faults; only while the demo runs.
    pub demo: Option<Arc<dyn DemoControl>>,
    /// The web UI; none when it was not built in.
    pub assets: Option<Arc<dyn Assets>>,
    /// What every caller must bring.
    pub token: Option<Token>,
    /// What must hold for `/readyz`, beside what is checked anyway.
    pub checks: Vec<Check>,
    /// Bounds.
    pub limits: Limits,
    /// Ends the streams.
    pub shutdown: CancellationToken,
}

/// What handlers share.
#[derive(Debug)]
struct Shared {
    parts: Parts,
    hub: Hub,
    /// A place for each request that is worked on.
    places: Arc<Semaphore>,
    /// A place for each stream.
    stream_places: Arc<Semaphore>,
}

/// What handlers are given.
type App = Arc<Shared>;

/// The router, and the task that computes the stream's changes once for all who listen; it ends with the live task or on
/// shutdown.
pub fn prepare(parts: Parts) -> (Router, impl Future<Output = ()> + Send + 'static) {
    let limits = parts.limits;
    let (hub, task) = stream::hub(parts.live.views.clone(), parts.shutdown.clone());
    let shared = Arc::new(Shared {
        parts,
        hub,
        places: Arc::new(Semaphore::new(limits.requests)),
        stream_places: Arc::new(Semaphore::new(limits.streams)),
    });
    (guard::around(routes::router(&shared), shared), task)
}
