//! One row of a recording, and whether its numbers can be true together.

use std::sync::Arc;
use std::time::Duration;

use tripline_model::{BreakerTransition, Timestamp};

use super::{RecordingLimits, Rejection};

/// The name of a service or an operation, exactly as recorded. Cheap to clone.
pub type Name = Arc<str>;

/// Counts of a service, or of one operation of it, in one window. What is unknown is none.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRow {
    /// Start of the window.
    pub at: Timestamp,
    /// Its length.
    pub length: Duration,
    /// Who answered.
    pub service: Name,
    /// What was asked for; none for all of it.
    pub operation: Option<Name>,
    /// Requests received.
    pub requests: f64,
    /// Failed ones among them.
    pub failures: Option<f64>,
    /// Failed ones that had no failed call of their own: they started here.
    pub failures_own: Option<f64>,
    /// Mean time to answer, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Its median.
    pub latency_p50_ms: Option<f64>,
    /// Its 95th percentile.
    pub latency_p95_ms: Option<f64>,
    /// Its 99th percentile.
    pub latency_p99_ms: Option<f64>,
    /// Mean time spent in no call of its own, in milliseconds.
    pub self_ms: Option<f64>,
    /// Mean number of calls made for a request.
    pub calls_out: Option<f64>,
}

impl ServiceRow {
    /// A row of which only the requests are known.
    #[must_use]
    pub const fn new(at: Timestamp, length: Duration, service: Name, requests: f64) -> Self {
        Self {
            at,
            length,
            service,
            operation: None,
            requests,
            failures: None,
            failures_own: None,
            latency_ms: None,
            latency_p50_ms: None,
            latency_p95_ms: None,
            latency_p99_ms: None,
            self_ms: None,
            calls_out: None,
        }
    }
}

/// Counts of an edge in one window. What is unknown is none.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeRow {
    /// Start of the window.
    pub at: Timestamp,
    /// Its length.
    pub length: Duration,
    /// Who called.
    pub client: Name,
    /// Who was called.
    pub server: Name,
    /// Requests, each counted once however often it was tried.
    pub requests: f64,
    /// Failed ones among them, shed ones not included.
    pub failures: Option<f64>,
    /// Further attempts beyond the first.
    pub retries: Option<f64>,
    /// Requests rejected in the client's own sidecar.
    pub shed: Option<f64>,
    /// Mean time the client waited, in milliseconds.
    pub client_latency_ms: Option<f64>,
    /// Mean time the server took, in milliseconds.
    pub server_latency_ms: Option<f64>,
    /// Where only sampled spans tell of the edge: requests that were seen. The other counts are what these stand for.
    pub sampled: Option<f64>,
}

impl EdgeRow {
    /// A row of which only the requests are known.
    #[must_use]
    pub fn new(at: Timestamp, length: Duration, (client, server): (Name, Name), requests: f64) -> Self {
        Self {
            at,
            length,
            client,
            server,
            requests,
            failures: None,
            retries: None,
            shed: None,
            client_latency_ms: None,
            server_latency_ms: None,
            sampled: None,
        }
    }
}

/// A breaker's change of state. The names are those of the graph; the transition has them too, in the form of the mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerRow {
    /// Who calls through it.
    pub client: Name,
    /// Who is called.
    pub server: Name,
    /// What happened, and when.
    pub transition: BreakerTransition,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// Who calls whom: pairs of client and server. Several of them add up.
    Graph(Vec<(Name, Name)>),
    /// Counts of a service.
    Service(ServiceRow),
    /// Counts of an edge.
    Edge(EdgeRow),
    /// A breaker changed its state.
    Breaker(Box<BreakerRow>),
}

impl Row {
    /// When it was; the beginning of time for a graph.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Graph(_) => Timestamp::default(),
            Self::Service(row) => row.at,
            Self::Edge(row) => row.at,
            Self::Breaker(row) => row.transition.at,
        }
    }

    /// How long its window is; zero when it has none.
    #[must_use]
    pub fn length(&self) -> Duration {
        match self {
            Self::Service(row) => row.length,
            Self::Edge(row) => row.length,
            Self::Graph(_) | Self::Breaker(_) => Duration::ZERO,
        }
    }

    /// Whether its values can be true together.
    pub(super) fn check(&self, limits: &RecordingLimits) -> Result<(), Rejection> {
        match self {
            Self::Graph(edges) => {
                edges.iter().try_for_each(|(client, server)| check_names(limits, [Some(client), Some(server)]))
            }
            Self::Service(row) => {
                check_names(limits, [Some(&row.service), row.operation.as_ref()])?;
                check_length(limits, row.length)?;
                check_numbers([
                    Some(row.requests),
                    row.failures,
                    row.failures_own,
                    row.latency_ms,
                    row.latency_p50_ms,
                    row.latency_p95_ms,
                    row.latency_p99_ms,
                    row.self_ms,
                    row.calls_out,
                ])?;
                check_part(row.failures, row.requests)?;
                check_part(row.failures_own, row.failures.unwrap_or(row.requests))
            }
            Self::Edge(row) => {
                check_names(limits, [Some(&row.client), Some(&row.server)])?;
                check_length(limits, row.length)?;
                check_numbers([
                    Some(row.requests),
                    row.failures,
                    row.retries,
                    row.shed,
                    row.client_latency_ms,
                    row.server_latency_ms,
                    row.sampled,
                ])?;
                check_part(row.sampled, row.requests)?;
                check_part(Some(row.failures.unwrap_or(0.0) + row.shed.unwrap_or(0.0)), row.requests)
            }
            Self::Breaker(row) => {
                check_names(limits, [Some(&row.client), Some(&row.server)])?;
                check_numbers([Some(row.transition.threshold)])
            }
        }
    }
}

fn check_names<'a>(
    limits: &RecordingLimits,
    names: impl IntoIterator<Item = Option<&'a Name>>,
) -> Result<(), Rejection> {
    let bad = |name: &Name| name.is_empty() || name.len() > limits.name_bytes || name.chars().any(char::is_control);
    if names.into_iter().flatten().any(bad) { Err(Rejection::BadName) } else { Ok(()) }
}

fn check_length(limits: &RecordingLimits, length: Duration) -> Result<(), Rejection> {
    if length.is_zero() || length > limits.longest { Err(Rejection::BadWindow) } else { Ok(()) }
}

fn check_numbers(numbers: impl IntoIterator<Item = Option<f64>>) -> Result<(), Rejection> {
    numbers.into_iter().flatten().try_for_each(|number| match number {
        _ if !number.is_finite() => Err(Rejection::NotFinite),
        _ if number < 0.0 => Err(Rejection::Negative),
        _ => Ok(()),
    })
}

/// Recorded counts may be means of several windows and rounded to a few digits: a millionth more than the whole is let pass.
fn check_part(part: Option<f64>, whole: f64) -> Result<(), Rejection> {
    match part {
        Some(part) if part > whole * (1.0 + 1e-6) => Err(Rejection::FailuresAboveRequests),
        _ => Ok(()),
    }
}
