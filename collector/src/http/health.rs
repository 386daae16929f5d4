//! `/healthz`: the process answers. `/readyz`: it does its work. `/metrics`: what it counts.

use std::fmt;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{App, Shared};
use crate::clock;

/// The live task publishes once a second; after this long without, something is wrong with it.
const STALE_AFTER: std::time::Duration = std::time::Duration::from_secs(10);

/// Something that must hold for the collector to be ready.
pub struct Check {
    name: &'static str,
    holds: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Check {
    /// Called at each `/readyz`; must not block. The error says what is wrong and, where it is known, the fix.
    pub fn new(name: &'static str, holds: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { name, holds: Box::new(holds) }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Outcome {
    check: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// The process runs.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Every part does its work: 200, or 503 with what does not.
pub(super) async fn readyz(State(app): State<App>) -> Response {
    let outcomes: Vec<Outcome> = app.outcomes();
    let is_ready = outcomes.iter().all(|outcome| outcome.ready);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": is_ready, "checks": outcomes }))).into_response()
}

/// Everything counted, for Prometheus.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], app.parts.metrics.encode()).into_response()
}

impl Shared {
    fn outcomes(&self) -> Vec<Outcome> {
        let own = [("live", self.live_is_fresh()), ("history", self.history_runs())];
        let given = self.parts.checks.iter().map(|check| (check.name, (check.holds)()));
        let outcome = |(check, result): (_, Result<(), String>)| Outcome {
            check,
            ready: result.is_ok(),
            reason: result.err().unwrap_or_default(),
        };
        own.into_iter().chain(given).map(outcome).collect()
    }

    fn live_is_fresh(&self) -> Result<(), String> {
        let at = clock::parse_rfc3339(&self.view().graph.at).unwrap_or_default();
        let age = clock::now().since(at);
        if age <= STALE_AFTER { Ok(()) } else { Err(format!("the graph is {} s old", age.as_secs())) }
    }

    fn history_runs(&self) -> Result<(), String> {
        let batches = self.parts.history.batches();
        if batches.is_closed() {
            return Err("history has ended".into());
        }
        if batches.capacity() == 0 {
            return Err("history takes nothing: it is too slow, or its disk is full".into());
        }
        Ok(())
    }
}
