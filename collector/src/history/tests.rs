//! History as a whole: a real folder, the real owner task.

mod durability;
mod lookback;
mod questions;
mod remote;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tripline_model::{
    BreakerState, BreakerTransition, EdgeCounts, EdgeWindow, FailureOrigin, Histogram, NodeKind, Reporter, SpanId,
    Timestamp, TraceId, TransitionReason,
};
use tripline_otlp::{LogRecord, SpanEvent, SpanKind, SpanRecord, SpanStatus, Spans, Value};

use super::{Counters, History, Input, LogQuery, Page, Settings, TraceQuery, open};
use crate::batch::Batch;
use crate::clock::parse_rfc3339;
use crate::config::Retention;

/// History in a folder, with its task.
struct Running {
    history: History,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(settings: Settings) -> Self {
        let (history, owner) = open(settings).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(owner.run(shutdown.clone()));
        Self { history, shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// As `kill -9`: what is not on disk is gone.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    async fn keep(&self, batch: Batch) {
        self.history.batches().send(Arc::new(batch)).await.unwrap();
    }

    async fn until(&self, what: impl Fn(&Counters) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !what(&self.history.counters()) {
            assert!(Instant::now() < deadline, "waited in vain: {:?}", self.history.counters());
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn log_bodies(&self) -> Vec<String> {
        let list = self.history.logs(LogQuery { page: all(), ..LogQuery::default() }).await.unwrap();
        list.logs.into_iter().map(|log| log.body).collect()
    }
}

/// Never flushes by itself within a test.
fn lazy(dir: &Path) -> Settings {
    Settings { flush_every: Duration::from_secs(3_600), ..Settings::new(dir.to_owned(), Retention::default()) }
}

/// Flushes all the time.
fn eager(dir: &Path) -> Settings {
    Settings { flush_every: Duration::from_millis(20), ..Settings::new(dir.to_owned(), Retention::default()) }
}

fn all() -> Page {
    Page { from: Timestamp::default(), to: at(9_000), limit: 1_000, cursor: None }
}

/// Seconds after the start of the tests' time.
fn at(seconds: u64) -> Timestamp {
    parse_rfc3339("2026-11-21T09:00:00Z").unwrap() + Duration::from_secs(seconds)
}

fn trace(number: u8) -> TraceId {
    TraceId::from_bytes([number.max(1); 16]).unwrap()
}

/// A span of a service in a trace, from `at(start)` for `millis`.
fn span(trace_number: u8, service: &str, start: u64, millis: u64) -> SpanRecord {
    SpanRecord {
        trace_id: trace(trace_number),
        span_id: SpanId::from_bytes([7; 8]).unwrap(),
        parent: None,
        service: service.into(),
        instance: "one".into(),
        environment: "test".into(),
        from_sidecar: true,
        name: format!("GET {service}"),
        kind: SpanKind::Server,
        start: at(start),
        end: at(start) + Duration::from_millis(millis),
        status: SpanStatus::Unset,
        status_message: String::new(),
        attributes: vec![("http.response.status_code".into(), Value::Int(200)), ("ok".into(), Value::Bool(true))],
        events: vec![SpanEvent { at: at(start), name: "accepted".into() }],
        links: vec![(trace(9), SpanId::from_bytes([8; 8]).unwrap())],
        weight: 1.0,
    }
}

fn log(seconds: u64, body: &str) -> LogRecord {
    LogRecord {
        at: at(seconds),
        service: "shop/web".into(),
        instance: "one".into(),
        severity_number: 9,
        severity: "INFO".into(),
        body: body.into(),
        event: String::new(),
        trace_id: Some(trace(1)),
        span_id: None,
        attributes: vec![("user".into(), Value::Text("ä \"quoted\"".into()))],
    }
}

fn transition(seconds: u64) -> BreakerTransition {
    BreakerTransition {
        breaker: "b".into(),
        client: "shop/web".into(),
        client_instance: "one".into(),
        server: "shop/cart".into(),
        route: "default".into(),
        endpoint: "127.0.0.1:1".into(),
        at: at(seconds),
        from: BreakerState::Closed,
        to: BreakerState::Open,
        reason: TransitionReason::ConsecutiveFailures,
        window_total: 10,
        window_failed: 5,
        window_slow: 0,
        threshold: 5.0,
        last_error: "503".into(),
        origin: FailureOrigin::Remote,
        time_in_from: Duration::from_secs(3),
        sequence: 1,
        traces: vec![trace(1)],
    }
}

pub(in crate::history) fn window(seconds: u64, requests: u64) -> EdgeWindow {
    let mut latency = Histogram::default();
    (0..requests).for_each(|n| latency.record(Duration::from_micros(900 + n * 77)));
    EdgeWindow {
        key: "shop/web>shop/cart:grpc".parse().unwrap(),
        reporter: Reporter::Server,
        client_kind: NodeKind::Service,
        server_kind: NodeKind::Database,
        start: at(seconds),
        length: super::PANE,
        counts: EdgeCounts {
            requests,
            failed: 2,
            attempts: requests,
            response_bytes: u64::MAX,
            ..EdgeCounts::default()
        },
        latency,
        self_time: Histogram::default(),
        secured: true,
    }
}

/// For tests of others: a window of an edge from web to cart.
pub(crate) fn sample_window(start: Timestamp) -> EdgeWindow {
    EdgeWindow { key: "shop/web>shop/cart:http".parse().unwrap(), start, ..window(0, 4) }
}

fn batch(position: u64) -> Batch {
    Batch {
        position,
        received_at: at(0),
        reports: Vec::new(),
        transitions: Vec::new(),
        spans: Spans::default(),
        logs: vec![log(position, &format!("batch {position}"))],
    }
}
