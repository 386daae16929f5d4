//! What is answered of the past: recordings, incidents in pages, examples of their suspects.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tripline_api::{Incident, Phase, RecordedRange};
use tripline_model::{SpanId, Timestamp};
use tripline_otlp::{LogRecord, SpanKind, SpanRecord, SpanStatus, Spans};

use super::*;
use crate::batch::Batch;
use crate::clock::{parse_rfc3339, rfc3339};
use crate::recorded;

/// Asks until the answer is as wanted.
async fn until(server: &Server, path: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let (status, body) = server.json(path).await;
        if status == 200 && is_right(&body) {
            return body;
        }
        assert!(tokio::time::Instant::now() < deadline, "{path}: {status} {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn at(seconds: u64) -> Timestamp {
    parse_rfc3339("2026-11-21T09:00:00Z").unwrap() + Duration::from_secs(seconds)
}

fn batch(position: u64) -> Batch {
    Batch {
        position,
        received_at: at(0),
        reports: Vec::new(),
        transitions: Vec::new(),
        spans: Spans::default(),
        logs: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_every_window_and_transition_of_a_range_and_nothing_else() {
    let server = Server::start().await;
    let windows_of_live = &server.feed.live.windows;
    let listeners = windows_of_live.receiver_count();
    tokio::spawn(crate::history::follow(server.history.clone(), server.feed.live.clone()));
    let windows: Vec<_> = [0, 10, 600, 3_600].map(|seconds| crate::history::sample_window(at(seconds))).into();
    // History may not be listening yet.
    while windows_of_live.receiver_count() == listeners {
        tokio::task::yield_now().await;
    }
    windows_of_live.send(Arc::new(windows.clone())).unwrap();
    let transition = |n: u64, seconds: u64| {
        let at = rfc3339(at(seconds));
        recorded::read_transition(&tripline_api::Transition { at, ..sample::transition(n) }).unwrap()
    };
    // More than history answers at once, many of them at one instant.
    let mut transitions: Vec<_> = (0..1_500).map(|n| transition(n, 3 + n / 400)).collect();
    transitions.push(transition(9_000, 700));
    server.history.batches().send(Arc::new(Batch { transitions, ..batch(1) })).await.unwrap();

    let path = format!("/api/v1/recording?from={}&to={}", rfc3339(at(5)), rfc3339(at(620)));
    let count = |body: &Value, name: &str| body[name].as_array().map_or(0, Vec::len);
    let body = until(&server, &path, |body| count(body, "windows") == 3 && count(body, "transitions") == 1_500).await;
    let range: RecordedRange = serde_json::from_value(body).unwrap();
    assert_eq!((range.from, range.next), (rfc3339(at(0)), None), "whole windows, in one page");
    let read: Vec<_> = range.windows.iter().map(|window| recorded::read_window(window).unwrap()).collect();
    assert_eq!(read.iter().map(|window| window.start).collect::<Vec<_>>(), [at(0), at(10), at(600)]);
    assert_eq!(read[0].latency, windows[0].latency);
    let mut told: Vec<u64> = range.transitions.iter().map(|transition| transition.sequence).collect();
    assert!(range.transitions.is_sorted_by_key(|transition| parse_rfc3339(&transition.at)));
    told.sort_unstable();
    assert_eq!(told, (0..1_500).collect::<Vec<_>>(), "each once");
    assert_eq!(server.json(&format!("{path}&cursor=2027-01-01T00:00:00Z")).await.0, 400);
}

/// A span of the suspect, in error.
fn failed_span(trace: u8, seconds: u64) -> SpanRecord {
    SpanRecord {
        trace_id: tripline_model::TraceId::from_bytes([trace; 16]).unwrap(),
        span_id: SpanId::from_bytes([1; 8]).unwrap(),
        parent: None,
        service: "shop/payments-db".into(),
        instance: "one".into(),
        environment: "".into(),
        from_sidecar: true,
        name: "POST /charges".into(),
        kind: SpanKind::Server,
        start: at(seconds),
        end: at(seconds) + Duration::from_millis(3),
        status: SpanStatus::Error,
        status_message: String::new(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        weight: 1.0,
    }
}

fn log(severity: &str, seconds: u64) -> LogRecord {
    LogRecord {
        at: at(seconds),
        service: "shop/payments-db".into(),
        instance: "one".into(),
        severity_number: 0,
        severity: severity.into(),
        body: format!("{severity} after {seconds} s"),
        event: String::new(),
        trace_id: None,
        span_id: None,
        attributes: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_comes_with_stored_traces_and_log_lines_of_its_suspects() {
    let server = Server::start().await;
    // From 09:00:00 to 09:01:00.
    let mut incident = sample::incident("A", Phase::Resolved);
    incident.resolved_at = Some(rfc3339(at(60)));
    let named = tripline_api::ExampleTrace { trace_id: "ab".repeat(16), why: "breaker".into() };
    incident.suspected_origins[0].traces = vec![named.clone()];
    server.feed.show(vec![incident]);
    let spans = Spans::of_records(&[failed_span(1, 10), failed_span(2, 20), failed_span(3, 500)]);
    let logs = vec![log("ERROR", 30), log("INFO", 31), log("WARN", 32), log("ERROR", 700)];
    server.history.batches().send(Arc::new(Batch { spans, logs, ..batch(1) })).await.unwrap();
    let has_examples =
        |body: &Value| body["suspected_origins"][0]["logs"].as_array().is_some_and(|logs| !logs.is_empty());
    let body = until(&server, "/api/v1/incidents/A", has_examples).await;
    let incident: Incident = serde_json::from_value(body).unwrap();
    let origin = &incident.suspected_origins[0];
    let traces: Vec<(String, &str)> =
        origin.traces.iter().map(|trace| (trace.trace_id[..2].to_owned(), trace.why.as_str())).collect();
    let expected = [("02".into(), "failed"), ("01".into(), "failed"), ("ab".into(), "breaker")];
    assert_eq!(traces, expected, "stored ones of its time first");
    let bodies: Vec<&str> = origin.logs.iter().map(|log| log.body.as_str()).collect();
    assert_eq!(bodies, ["WARN after 32 s", "ERROR after 30 s"]);
    let (_, list) = server.json("/api/v1/incidents").await;
    assert_eq!(list["incidents"][0]["suspected_origins"][0]["traces"], json!([named]), "a list asks nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_are_filtered_and_paged() {
    let server = Server::start().await;
    server.feed.show(vec![sample::incident("A", Phase::Spreading), sample::incident("B", Phase::Resolved)]);
    for (query, expected) in [
        ("", json!(["B", "A"])),
        ("?phase=spreading", json!(["A"])),
        ("?level=local,propagating", json!([])),
        ("?service=shop/payments-db&level=cascade", json!(["B", "A"])),
        ("?service=shop/search", json!([])),
        ("?limit=1", json!(["B"])),
    ] {
        let (status, body) = server.json(&format!("/api/v1/incidents{query}")).await;
        let ids: Vec<&Value> = body["incidents"].as_array().into_iter().flatten().map(|i| &i["id"]).collect();
        assert_eq!((status, json!(ids)), (200, expected), "{query}");
        if query == "?limit=1" {
            let cursor = body["next"].as_str().unwrap();
            let (_, rest) = server.json(&format!("/api/v1/incidents?cursor={cursor}")).await;
            assert_eq!((&rest["incidents"][0]["id"], &rest["next"]), (&json!("A"), &json!(null)));
        }
    }
    for wrong in ["?phase=dancing", "?limit=0", "?cursor=x", "?levels=local"] {
        assert_eq!(server.json(&format!("/api/v1/incidents{wrong}")).await.0, 400, "{wrong}");
    }
}

/// A question that takes long enough to be seen; its client hangs up while it is being answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_stops_when_its_client_hangs_up() {
    let server = Server::start().await;
    let many = |position: u64| {
        let spans: Vec<_> = (0..1_000).map(|number| span(position * 1_000 + number, at(number))).collect();
        Arc::new(Batch { spans: Spans::of_records(&spans), ..batch(position) })
    };
    for position in 1..=60 {
        server.history.batches().send(many(position)).await.unwrap();
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let counters = || server.history.counters();
    while counters().rows_waiting + counters().rows_written < 60_000 {
        assert!(tokio::time::Instant::now() < deadline, "the spans did not arrive: {:?}", counters());
        tokio::task::yield_now().await;
    }
    // Once more when the answer was there before the client could hang up.
    while counters().queries_given_up == 0 {
        let mut client = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let range = "from=2026-11-21T09:00:00Z&to=2026-11-21T10:00:00Z&attribute=none=such";
        let head = format!("GET /api/v1/traces?{range} HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
        client.write_all(head.as_bytes()).await.unwrap();
        while counters().queries_running == 0 && client.try_read(&mut [0]).is_err() {
            assert!(tokio::time::Instant::now() < deadline, "the question did not begin: {:?}", counters());
            tokio::task::yield_now().await;
        }
        drop(client);
        while counters().queries_running > 0 {
            assert!(tokio::time::Instant::now() < deadline, "the question went on: {:?}", counters());
            tokio::task::yield_now().await;
        }
        assert!(tokio::time::Instant::now() < deadline, "no query was given up: {:?}", counters());
    }
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(!metrics.contains("\ntripline_collector_history_queries_given_up_total 0"), "{metrics}");
    server.shutdown.cancel();
}

fn span(number: u64, start: Timestamp) -> SpanRecord {
    SpanRecord {
        trace_id: tripline_model::TraceId::from_bytes((u128::from(number) + 1).to_be_bytes()).unwrap(),
        span_id: SpanId::from_bytes((number + 1).to_be_bytes()).unwrap(),
        parent: None,
        service: "shop/web".into(),
        instance: "".into(),
        environment: "".into(),
        from_sidecar: false,
        name: "GET /".into(),
        kind: SpanKind::Server,
        start,
        end: start + Duration::from_millis(3),
        status: SpanStatus::Unset,
        status_message: String::new(),
        attributes: vec![("none".into(), tripline_otlp::Value::Text("other".into()))],
        events: Vec::new(),
        links: Vec::new(),
        weight: 1.0,
    }
}
