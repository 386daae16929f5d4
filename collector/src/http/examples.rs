//! Traces and log lines to look at, for the candidates of one incident.
//!
//! Stored traces come first, because they can be opened; the traces that breakers named fill the rest, and may not have been sampled.
//! History that is slow or closed costs the examples, never the incident.

use std::time::Duration;

use tripline_api as api;
use tripline_model::Timestamp;

use crate::clock::{self, parse_rfc3339};
use crate::history::{History, LogQuery, Page, TraceQuery};
use crate::live::folded::MAX_TRACES;

/// Log lines shown of one candidate.
const MAX_LOGS: usize = 5;
/// Log lines looked through for those.
const LOGS: usize = 200;
/// Traces looked through for the slowest.
const TRACES: usize = 50;
/// Clocks differ, and what went wrong was said a moment before or after.
const SLACK: Duration = Duration::from_secs(5);
/// Candidates that are given examples.
const MAX_CANDIDATES: usize = 5;

/// Adds what history has to every candidate of `incident`.
pub(super) async fn add(history: &History, incident: &mut api::Incident) {
    let Some(from) = parse_rfc3339(&incident.started_at) else { return };
    let until = incident.resolved_at.as_deref().and_then(parse_rfc3339).unwrap_or_else(clock::now);
    let range = (from - SLACK, until + SLACK);
    for candidate in incident.suspected_origins.iter_mut().take(MAX_CANDIDATES) {
        let (stored, why) = match candidate.kind.as_str() {
            "latency" | "demand" => (slow(history, &candidate.service, range).await, "slow"),
            _ => (failed(history, &candidate.service, range).await, "failed"),
        };
        let stored = stored.into_iter().map(|trace_id| api::ExampleTrace { trace_id, why: why.into() });
        let named = std::mem::take(&mut candidate.traces);
        for trace in stored.chain(named) {
            let is_new = candidate.traces.iter().all(|known| known.trace_id != trace.trace_id);
            if is_new && candidate.traces.len() < MAX_TRACES {
                candidate.traces.push(trace);
            }
        }
        candidate.logs = logs(history, &candidate.service, range).await;
    }
}

fn page((from, to): (Timestamp, Timestamp), limit: usize) -> Page {
    Page { from, to, limit, cursor: None }
}

/// Stored traces in which the service has a span in error, newest first.
async fn failed(history: &History, service: &str, range: (Timestamp, Timestamp)) -> Vec<String> {
    let query = TraceQuery {
        service: Some(service.into()),
        error: Some(true),
        page: page(range, MAX_TRACES),
        ..TraceQuery::default()
    };
    traces(history, query).await.into_iter().map(|trace| trace.trace_id).collect()
}

/// The slowest of the stored traces that the service is in.
async fn slow(history: &History, service: &str, range: (Timestamp, Timestamp)) -> Vec<String> {
    let query = TraceQuery { service: Some(service.into()), page: page(range, TRACES), ..TraceQuery::default() };
    let mut traces = traces(history, query).await;
    traces.sort_by(|a, b| b.duration_ms.total_cmp(&a.duration_ms));
    traces.into_iter().take(MAX_TRACES).map(|trace| trace.trace_id).collect()
}

async fn traces(history: &History, query: TraceQuery) -> Vec<api::TraceSummary> {
    match history.traces(query).await {
        Ok(list) => list.traces,
        Err(error) => {
            tracing::warn!(%error, "no example traces for an incident");
            Vec::new()
        }
    }
}

/// The newest log lines of the service that warn or worse.
async fn logs(history: &History, service: &str, range: (Timestamp, Timestamp)) -> Vec<api::Log> {
    let query = LogQuery { service: Some(service.into()), page: page(range, LOGS), ..LogQuery::default() };
    let grave = |log: &api::Log| matches!(log.severity.as_str(), "WARN" | "ERROR" | "FATAL");
    match history.logs(query).await {
        Ok(list) => list.logs.into_iter().filter(grave).take(MAX_LOGS).collect(),
        Err(error) => {
            tracing::warn!(%error, "no example log lines for an incident");
            Vec::new()
        }
    }
}
