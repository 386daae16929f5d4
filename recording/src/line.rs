//! One line: its fields, and the row they make.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tripline_model::{BreakerTransition, ServiceName, Timestamp};
use tripline_topology::recording::{BreakerRow, EdgeRow, Row, ServiceRow};

/// Why a line is no row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("no \"{0}\"")]
    Missing(&'static str),
    #[error("\"at\" and \"seconds\" must be numbers of seconds, \"at\" since 1970")]
    Time,
    #[error("{0}")]
    Word(#[from] tripline_model::edge::UnknownWord),
}

/// Every field that any kind of line may have.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<Vec<(Arc<str>, Arc<str>)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures_own: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p95_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_out: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampled: Option<f64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    breaker: Option<Breaker<'a>>,
}

/// A transition; its time stands beside it.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Breaker<'a> {
    breaker: String,
    client: Arc<str>,
    client_instance: String,
    server: Arc<str>,
    route: String,
    endpoint: String,
    from: &'a str,
    to: &'a str,
    reason: &'a str,
    window_total: u64,
    window_failed: u64,
    window_slow: u64,
    threshold: f64,
    last_error: String,
    origin: &'a str,
    time_in_from_ms: f64,
    sequence: u64,
}

/// Reads one line.
pub(crate) fn decode(bytes: &[u8]) -> Result<Row, LineError> {
    let line: Line<'_> = serde_json::from_slice(bytes)?;
    if let Some(graph) = line.graph {
        return Ok(Row::Graph(graph));
    }
    let at = timestamp(line.at.ok_or(LineError::Missing("at"))?)?;
    if let Some(breaker) = line.breaker {
        return transition(at, breaker);
    }
    let length = seconds(line.seconds.ok_or(LineError::Missing("seconds"))?)?;
    let requests = line.requests.ok_or(LineError::Missing("requests"))?;
    if let Some(service) = line.service {
        return Ok(Row::Service(ServiceRow {
            operation: line.operation,
            failures: line.failures,
            failures_own: line.failures_own,
            latency_ms: line.latency_ms,
            latency_p50_ms: line.latency_p50_ms,
            latency_p95_ms: line.latency_p95_ms,
            latency_p99_ms: line.latency_p99_ms,
            self_ms: line.self_ms,
            calls_out: line.calls_out,
            ..ServiceRow::new(at, length, service, requests)
        }));
    }
    let client = line.client.ok_or(LineError::Missing("service\", \"client\" or \"graph"))?;
    let server = line.server.ok_or(LineError::Missing("server"))?;
    Ok(Row::Edge(EdgeRow {
        failures: line.failures,
        retries: line.retries,
        shed: line.shed,
        client_latency_ms: line.client_latency_ms,
        server_latency_ms: line.server_latency_ms,
        sampled: line.sampled,
        ..EdgeRow::new(at, length, (client, server), requests)
    }))
}

fn transition(at: Timestamp, breaker: Breaker<'_>) -> Result<Row, LineError> {
    let time_in_from = seconds(breaker.time_in_from_ms / 1000.0)?;
    let transition = BreakerTransition {
        breaker: breaker.breaker,
        client: ServiceName::from(&*breaker.client),
        client_instance: breaker.client_instance,
        server: ServiceName::from(&*breaker.server),
        route: breaker.route,
        endpoint: breaker.endpoint,
        at,
        from: breaker.from.parse()?,
        to: breaker.to.parse()?,
        reason: breaker.reason.parse()?,
        window_total: breaker.window_total,
        window_failed: breaker.window_failed,
        window_slow: breaker.window_slow,
        threshold: breaker.threshold,
        last_error: breaker.last_error,
        origin: if breaker.origin.is_empty() { Default::default() } else { breaker.origin.parse()? },
        time_in_from,
        sequence: breaker.sequence,
        traces: Vec::new(),
    };
    Ok(Row::Breaker(Box::new(BreakerRow { client: breaker.client, server: breaker.server, transition })))
}

/// Writes one row's fields.
pub(crate) fn encode(row: &Row) -> Line<'_> {
    match row {
        Row::Graph(edges) => Line { graph: Some(edges.clone()), ..Line::default() },
        Row::Service(row) => Line {
            at: Some(unix(row.at)),
            seconds: Some(row.length.as_secs_f64()),
            service: Some(row.service.clone()),
            operation: row.operation.clone(),
            requests: Some(row.requests),
            failures: row.failures,
            failures_own: row.failures_own,
            latency_ms: row.latency_ms,
            latency_p50_ms: row.latency_p50_ms,
            latency_p95_ms: row.latency_p95_ms,
            latency_p99_ms: row.latency_p99_ms,
            self_ms: row.self_ms,
            calls_out: row.calls_out,
            ..Line::default()
        },
        Row::Edge(row) => Line {
            at: Some(unix(row.at)),
            seconds: Some(row.length.as_secs_f64()),
            client: Some(row.client.clone()),
            server: Some(row.server.clone()),
            requests: Some(row.requests),
            failures: row.failures,
            retries: row.retries,
            shed: row.shed,
            client_latency_ms: row.client_latency_ms,
            server_latency_ms: row.server_latency_ms,
            sampled: row.sampled,
            ..Line::default()
        },
        Row::Breaker(row) => {
            let transition = &row.transition;
            let breaker = Breaker {
                breaker: transition.breaker.clone(),
                client: row.client.clone(),
                client_instance: transition.client_instance.clone(),
                server: row.server.clone(),
                route: transition.route.clone(),
                endpoint: transition.endpoint.clone(),
                from: transition.from.as_str(),
                to: transition.to.as_str(),
                reason: transition.reason.as_str(),
                window_total: transition.window_total,
                window_failed: transition.window_failed,
                window_slow: transition.window_slow,
                threshold: transition.threshold,
                last_error: transition.last_error.clone(),
                origin: transition.origin.as_str(),
                time_in_from_ms: transition.time_in_from.as_secs_f64() * 1000.0,
                sequence: transition.sequence,
            };
            Line { at: Some(unix(transition.at)), breaker: Some(breaker), ..Line::default() }
        }
    }
}

/// A double holds today's Unix time to a quarter of a microsecond; times are rounded to one.
fn timestamp(seconds: f64) -> Result<Timestamp, LineError> {
    if !(0.0..=1e10).contains(&seconds) {
        return Err(LineError::Time);
    }
    Ok(Timestamp::from_nanos((seconds * 1e6).round() as u64 * 1000))
}

fn seconds(seconds: f64) -> Result<Duration, LineError> {
    if !(0.0..=1e10).contains(&seconds) {
        return Err(LineError::Time);
    }
    Ok(Duration::from_micros((seconds * 1e6).round() as u64))
}

fn unix(at: Timestamp) -> f64 {
    (at.as_nanos() / 1000) as f64 / 1e6
}
