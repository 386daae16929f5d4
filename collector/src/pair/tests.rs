//! The cases that other builders of service graphs get wrong, as a table of traces.

use std::collections::BTreeMap;

use tripline_otlp::{SpanStatus, Value};

use super::*;

/// A span of a test trace: id, parent (0: none), service, kind.
type Line = (u8, u8, &'static str, SpanKind);

/// What it shows, the spans, and the edges with (requests, attempts).
type Case = (&'static str, &'static [Line], &'static [(&'static str, u64, u64)]);

use SpanKind::{Client, Consumer, Internal, Producer, Server};

fn span((id, parent, service, kind): Line) -> SpanRecord {
    SpanRecord {
        trace_id: TraceId::from_bytes([7; 16]).unwrap(),
        span_id: SpanId::from_bytes([id; 8]).unwrap(),
        parent: SpanId::from_bytes([parent; 8]),
        service: service.into(),
        instance: "".into(),
        environment: "".into(),
        from_sidecar: false,
        name: "GET /".into(),
        kind,
        start: Timestamp::from_secs(100),
        end: Timestamp::from_millis(100_250),
        status: SpanStatus::Unset,
        status_message: String::new(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        weight: 1.0,
    }
}

/// Edges with (requests, attempts) after all spans came in and lingered.
fn edges(spans: &[SpanRecord]) -> BTreeMap<String, (u64, u64)> {
    let mut pairer = Pairer::default();
    let mut calls: Vec<Call> = spans.iter().flat_map(|span| pairer.observe(span, Timestamp::from_secs(101))).collect();
    calls.extend(pairer.expire(Timestamp::from_secs(200)));
    assert!(pairer.slots.is_empty() && pairer.orphans.is_empty(), "nothing is remembered for ever");
    let mut edges = BTreeMap::new();
    for call in calls {
        let sum: &mut (u64, u64) = edges.entry(call.key.to_string()).or_default();
        sum.0 += call.counts.requests;
        sum.1 += call.counts.attempts;
    }
    edges
}

#[test]
fn traces_give_the_right_edges_in_any_order() {
    let cases: &[Case] = &[
        ("client and server", &[(1, 9, "a", Client), (2, 1, "b", Server)], &[("a>b:http", 1, 1)]),
        ("root server", &[(1, 0, "a", Server)], &[("user>a:http", 1, 1)]),
        (
            "gateway that emits client spans only",
            &[(1, 9, "a", Client), (2, 1, "gw", Client), (3, 2, "b", Server)],
            &[("a>gw:http", 1, 1), ("gw>b:http", 1, 1)],
        ),
        (
            "proxy that emits server spans only",
            &[(1, 9, "nginx", Server), (2, 1, "b", Server)],
            &[("nginx>b:http", 1, 1)],
        ),
        (
            "proxy hops under the application's name collapse",
            &[
                (1, 9, "a", Client),
                (2, 1, "a", Client),
                (3, 2, "b", Server),
                (4, 3, "b", Server),
                (5, 4, "b", Internal),
            ],
            &[("a>b:http", 1, 1)],
        ),
        (
            "two servers under one client span are two attempts of one call",
            &[(1, 9, "a", Client), (2, 1, "b", Server), (3, 1, "b", Server)],
            &[("a>b:http", 1, 2)],
        ),
        ("kinds that nobody set", &[(1, 9, "a", Internal), (2, 1, "b", Internal)], &[("a>b:http", 1, 1)]),
        ("messages", &[(1, 9, "a", Producer), (2, 1, "b", Consumer)], &[("a>b:messaging", 1, 1)]),
        ("orphaned server span is nobody's", &[(1, 9, "a", Server)], &[]),
        (
            "equal names in two namespaces stay apart",
            &[(1, 9, "x/a", Client), (2, 1, "y/a", Server)],
            &[("x/a>y/a:http", 1, 1)],
        ),
        (
            "repeated spans",
            &[(1, 9, "a", Client), (2, 1, "b", Server), (2, 1, "b", Server), (1, 9, "a", Client)],
            &[("a>b:http", 1, 1)],
        ),
    ];
    for (name, lines, expected) in cases {
        let expected: BTreeMap<String, (u64, u64)> =
            expected.iter().map(|(edge, requests, attempts)| ((*edge).into(), (*requests, *attempts))).collect();
        let mut spans: Vec<SpanRecord> = lines.iter().map(|line| span(*line)).collect();
        assert_eq!(edges(&spans), expected, "{name}");
        spans.reverse();
        assert_eq!(edges(&spans), expected, "{name}, reversed");
    }
}

#[test]
fn a_database_is_a_node_and_a_missing_server_is_its_named_peer() {
    let mut query = span((1, 9, "a", Client));
    query.attributes = vec![
        ("db.system.name".into(), Value::Text("postgresql".into())),
        ("server.address".into(), Value::Text("db1".into())),
    ];
    let mut call = span((2, 9, "a", Client));
    call.attributes = vec![("server.address".into(), Value::Text("api.example.com".into()))];
    let edges = edges(&[query, call]);
    assert_eq!(edges.len(), 2, "{edges:?}");
    assert!(edges.keys().any(|edge| edge.ends_with(":database")), "{edges:?}");
    assert!(edges.keys().any(|edge| edge.contains("api.example.com")), "{edges:?}");
}

#[test]
fn a_failed_client_span_fails_the_call_and_weights_multiply() {
    let mut client = span((1, 9, "a", Client));
    client.status = SpanStatus::Error;
    let mut server = span((2, 1, "b", Server));
    (client.weight, server.weight) = (100.0, 100.0);
    let mut pairer = Pairer::default();
    pairer.observe(&client, Timestamp::from_secs(1));
    let calls = pairer.observe(&server, Timestamp::from_secs(1));
    assert_eq!((calls[0].counts.requests, calls[0].counts.failed), (100, 100));
    assert_eq!(calls[0].latency, Duration::from_millis(250));
}

#[test]
fn a_flood_of_spans_stays_bounded() {
    let mut pairer = Pairer::default();
    for number in 1..=(MAX_WAITING as u64 + 5_000) {
        let mut flood = span((1, 9, "a", Server));
        flood.span_id = SpanId::from_bytes(number.to_be_bytes()).unwrap();
        flood.parent = SpanId::from_bytes((number + (1 << 40)).to_be_bytes());
        pairer.observe(&flood, Timestamp::from_secs(1));
    }
    assert_eq!(pairer.slots.len(), MAX_WAITING);
    assert!(pairer.orphans.len() <= MAX_WAITING);
    assert_eq!(pairer.counters().evicted, 5_000);
}
