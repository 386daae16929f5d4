//! The table of cases: traces as people read them, and the edges that they must give. Each is known to have gone wrong in some
//! builder of service graphs.
//!
//! A span is written `SERVICE KIND ID`, then what else there is: `under ID`, `links ID` (of trace 2), `at=SECONDS` (when it
//! arrived, 0 unless given), `trace=N`, `clock=SECONDS` (how far its sender's clock is off), `env=NAME`, `th=HEX` (sampling threshold),
//! `failed`, and attributes `key=value`. An edge is written `CLIENT > SERVER PROTOCOL REQUESTS/ATTEMPTS/FAILED`. Spans that
//! arrive at the same time are tried in the order written and in the reverse.

use std::collections::BTreeMap;

use tripline_model::{EdgeCounts, SpanId, TraceId};
use tripline_otlp::{SpanRecord, SpanStatus, Value};

use super::*;

struct Case {
    name: &'static str,
    spans: &'static [&'static str],
    edges: &'static [&'static str],
}

const fn case(name: &'static str, spans: &'static [&'static str], edges: &'static [&'static str]) -> Case {
    Case { name, spans, edges }
}

/// Calls between services.
const CALLS: &[Case] = &[
    case("a client and its server", &["a CLIENT 1", "b SERVER 2 under 1"], &["a > b http 1/1/0"]),
    case("a server without a parent is called by the users", &["a SERVER 1"], &["user > a http 1/1/0"]),
    case("a server whose caller is not traced is nobody's", &["a SERVER 2 under 1"], &[]),
    case(
        "a gateway that makes client spans only (Istio, Envoy)",
        &["a CLIENT 1", "gw CLIENT 2 under 1", "b SERVER 3 under 2"],
        &["a > gw http 1/1/0", "gw > b http 1/1/0"],
    ),
    case(
        "a proxy that makes server spans only (nginx)",
        &["nginx SERVER 1 under 9", "b SERVER 2 under 1"],
        &["nginx > b http 1/1/0"],
    ),
    case(
        "two calls of such a proxy are two calls, not a retry",
        &["nginx SERVER 1 under 9", "b SERVER 2 under 1", "b SERVER 3 under 1"],
        &["nginx > b http 2/2/0"],
    ),
    case(
        "proxy hops under the application's name collapse",
        &["a CLIENT 1", "a CLIENT 2 under 1", "b SERVER 3 under 2", "b SERVER 4 under 3", "b INTERNAL 5 under 4"],
        &["a > b http 1/1/0"],
    ),
    case("kinds that nobody set", &["a INTERNAL 1", "b INTERNAL 2 under 1"], &["a > b http 1/1/0"]),
    case("work within one service is no edge", &["a CLIENT 1", "a SERVER 2 under 1", "a INTERNAL 3 under 2"], &[]),
    case(
        "equal names in two namespaces are two services",
        &["x/a CLIENT 1", "y/a SERVER 2 under 1"],
        &["x/a > y/a http 1/1/0"],
    ),
    case(
        "one name in two environments is two services",
        &["a CLIENT 1 env=test", "a SERVER 2 under 1 env=prod"],
        &["a > a http 1/1/0"],
    ),
    case("an environment that only one side tells parts nobody", &["a CLIENT 1", "a SERVER 2 under 1 env=prod"], &[]),
    case(
        "spans that were sent twice",
        &["a CLIENT 1", "b SERVER 2 under 1", "b SERVER 2 under 1", "a CLIENT 1"],
        &["a > b http 1/1/0"],
    ),
    case(
        "spans that were sent again a minute later",
        &["a CLIENT 1", "b SERVER 2 under 1", "b SERVER 2 under 1 at=60", "a CLIENT 1 at=60"],
        &["a > b http 1/1/0"],
    ),
    case(
        "client and server under one id (Zipkin)",
        &["a CLIENT 1", "b SERVER 1 under 99", "b CLIENT 2 under 1", "c SERVER 2 under 1", "b INTERNAL 3 under 1"],
        &["a > b http 1/1/0", "b > c http 1/1/0"],
    ),
    case(
        "gRPC is told apart from HTTP",
        &["a CLIENT 1 rpc.system=grpc", "b SERVER 2 under 1 rpc.system=grpc"],
        &["a > b grpc 1/1/0"],
    ),
];

/// Retries, hedges, failures, sampling.
const OUTCOMES: &[Case] = &[
    case(
        "a retry under one client span is a second attempt of one request, which ended well",
        &[
            "a CLIENT 1 http.response.status_code=200",
            "b SERVER 2 under 1 http.response.status_code=503",
            "b SERVER 3 under 1 http.response.status_code=200",
        ],
        &["a > b http 1/2/0"],
    ),
    case(
        "a hedge to three servers is one request",
        &["a CLIENT 1", "b SERVER 2 under 1", "b SERVER 3 under 1", "b SERVER 4 under 1 at=40"],
        &["a > b http 1/3/0"],
    ),
    case(
        "the client saw a failure that the server did not (a timeout)",
        &["a CLIENT 1 failed", "b SERVER 2 under 1"],
        &["a > b http 1/1/1"],
    ),
    case(
        "an answer that blames the caller is no failure of a client's call",
        &["a CLIENT 1 failed http.response.status_code=404", "b SERVER 2 under 1"],
        &["a > b http 1/1/0"],
    ),
    case(
        "a failing gRPC status over HTTP 200",
        &["a CLIENT 1 rpc.system=grpc rpc.grpc.status_code=14 http.status_code=200", "b SERVER 2 under 1"],
        &["a > b grpc 1/1/1"],
    ),
    case("sampled spans stand for many", &["a CLIENT 1 th=c", "b SERVER 2 under 1 th=c"], &["a > b http 4/4/0"]),
    case(
        "halves sampled at different rates: the rarer counts",
        &["a CLIENT 1 th=c", "b SERVER 2 under 1"],
        &["a > b http 4/4/0"],
    ),
];

/// Peers that report nothing.
const PEERS: &[Case] = &[
    case("a client that names nobody", &["a CLIENT 1"], &[]),
    case(
        "a database, by the stable convention",
        &["a CLIENT 1 db.system.name=postgresql db.namespace=orders server.address=db1 server.port=5432"],
        &["a > orders (postgresql at db1) database 1/1/0"],
    ),
    case(
        "a database, by the old convention",
        &["a CLIENT 1 db.system=mysql db.name=orders net.peer.name=db1 net.peer.port=3307"],
        &["a > orders (mysql at db1:3307) database 1/1/0"],
    ),
    case(
        "an HTTP API outside, by address, by URL, by the oldest convention",
        &[
            "a CLIENT 1 server.address=api.example.com server.port=443",
            "a CLIENT 2 url.full=https://api.example.com/v1/7?key=1",
            "a CLIENT 3 http.url=http://api.example.com/v1",
        ],
        &["a > api.example.com http 3/3/0"],
    ),
    case(
        "a name given by people wins over an address",
        &["a CLIENT 1 peer.service=pay server.address=10.0.0.7", "a CLIENT 2 service.peer.name=pay peer.service=old"],
        &["a > pay http 2/2/0"],
    ),
    case(
        "steps within a client call (dns, tls) do not hide its peer",
        &["a CLIENT 1 server.address=api.example.com", "a INTERNAL 2 under 1"],
        &["a > api.example.com http 1/1/0"],
    ),
    case(
        "an SDK's call and the HTTP request that it makes are one call",
        &["a CLIENT 1 rpc.system=aws-api rpc.service=S3", "a CLIENT 2 under 1 server.address=s3.example.com"],
        &["a > s3.example.com http 1/1/0"],
    ),
    case("a service that names itself", &["a CLIENT 1 peer.service=a"], &[]),
    case(
        "a server that shows up a minute late takes the place of the guess",
        &["a CLIENT 1 server.address=10.0.0.7", "b SERVER 2 under 1 at=60"],
        &["a > b http 1/1/0"],
    ),
    case(
        "a server that shows up at last, just before two minutes",
        &["a CLIENT 1", "b SERVER 2 under 1 at=119"],
        &["a > b http 1/1/0"],
    ),
    case(
        "a client that comes long after its server",
        &["b SERVER 2 under 1", "a CLIENT 1 at=100"],
        &["a > b http 1/1/0"],
    ),
    case(
        "a server whose span was not sampled is known by its address",
        &[
            "a CLIENT 1 server.address=10.0.0.7",
            "b SERVER 2 under 1",
            "a CLIENT 3 trace=3 at=5 server.address=10.0.0.7",
        ],
        &["a > b http 2/2/0"],
    ),
    case(
        "an address behind which several services answer stands for none of them",
        &[
            "a CLIENT 1 server.address=lb",
            "b SERVER 2 under 1",
            "a CLIENT 3 server.address=lb",
            "c SERVER 4 under 3",
            "a CLIENT 5 at=5 server.address=lb",
        ],
        &["a > b http 1/1/0", "a > c http 1/1/0", "a > lb http 1/1/0"],
    ),
    case(
        "a database is a node even when something answers under it",
        &["a CLIENT 1 db.system=redis server.address=cache", "a INTERNAL 2 under 1"],
        &["a > redis at cache database 1/1/0"],
    ),
];

/// Messages: the queue is a node.
const MESSAGES: &[Case] = &[
    case(
        "sent and processed: through the queue that both name",
        &[
            "a PRODUCER 1 messaging.system=kafka messaging.destination.name=orders",
            "b CONSUMER 2 under 1 messaging.system=kafka messaging.destination.name=orders",
        ],
        &["a > orders (kafka) messaging 1/1/0", "orders (kafka) > b messaging 1/1/0"],
    ),
    case(
        "a consumer that names no queue takes its producer's, by parent",
        &["a PRODUCER 1 messaging.system=kafka messaging.destination.name=orders", "b CONSUMER 2 under 1"],
        &["a > orders (kafka) messaging 1/1/0", "orders (kafka) > b messaging 1/1/0"],
    ),
    case(
        "a batch processed in a trace of its own, by link",
        &["a PRODUCER 1 trace=2 messaging.system=kafka messaging.destination.name=orders", "b CONSUMER 5 links 1"],
        &["a > orders (kafka) messaging 1/1/0", "orders (kafka) > b messaging 1/1/0"],
    ),
    case(
        "nobody names a queue: the edge leads from service to service",
        &["a PRODUCER 1", "b CONSUMER 2 under 1"],
        &["a > b messaging 1/1/0"],
    ),
    case(
        "nobody names a queue, by link",
        &["a PRODUCER 1 trace=2", "b CONSUMER 5 links 1"],
        &["a > b messaging 1/1/0"],
    ),
    case(
        "two consumers of one message are two deliveries, not a retry",
        &["a PRODUCER 1", "b CONSUMER 2 under 1", "b CONSUMER 3 under 1"],
        &["a > b messaging 2/2/0"],
    ),
    case(
        "polling is no call to the queue",
        &["b CLIENT 1 messaging.system=kafka messaging.destination.name=orders messaging.operation.type=receive"],
        &[],
    ),
    case(
        "a message received and then processed is counted once",
        &[
            "b CONSUMER 1 messaging.system=sqs messaging.destination.name=q messaging.operation=receive",
            "b CONSUMER 2 under 1 messaging.system=sqs messaging.destination.name=q messaging.operation=process",
        ],
        &["q (sqs) > b messaging 1/1/0"],
    ),
    case(
        "a message created and then sent is counted once",
        &[
            "a PRODUCER 1 messaging.system=kafka messaging.destination.name=q messaging.operation.type=create",
            "a CLIENT 2 under 1 messaging.system=kafka messaging.destination.name=q messaging.operation.type=send",
        ],
        &["a > q (kafka) messaging 1/1/0"],
    ),
];

/// Clocks.
const CLOCKS: &[Case] = &[
    case(
        "a server whose clock is behind its client's",
        &["a CLIENT 1", "b SERVER 2 under 1 clock=-30"],
        &["a > b http 1/1/0"],
    ),
    case(
        "clocks that are an hour off do not lose the edge",
        &["a CLIENT 1 clock=3600", "b SERVER 2 under 1 clock=-3600"],
        &["a > b http 1/1/0"],
    ),
];

const BEGIN: Timestamp = Timestamp::from_secs(1_000_000);

/// Reads a span as the table writes it; tells with it the second of its arrival.
fn span(line: &str) -> (u64, SpanRecord) {
    let [service, kind, number] = [0, 1, 2].map(|n| line.split(' ').nth(n).unwrap());
    let id = |text: &str| SpanId::from_bytes([text.parse().unwrap(); 8]).unwrap();
    let trace = |text: &str| TraceId::from_bytes([text.parse().unwrap(); 16]).unwrap();
    let mut record = SpanRecord {
        trace_id: trace("1"),
        span_id: id(number),
        parent: Some(SpanId::from_bytes([99; 8]).unwrap()),
        service: service.into(),
        instance: "".into(),
        environment: "".into(),
        from_sidecar: false,
        name: "GET /".into(),
        kind: match kind {
            "CLIENT" => SpanKind::Client,
            "SERVER" => SpanKind::Server,
            "PRODUCER" => SpanKind::Producer,
            "CONSUMER" => SpanKind::Consumer,
            _ => SpanKind::Internal,
        },
        start: BEGIN,
        end: BEGIN + Duration::from_millis(250),
        status: SpanStatus::Unset,
        status_message: String::new(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        weight: 1.0,
    };
    // A root server is one without `under`; every other span without it has a parent that is never sent.
    if kind == "SERVER" || kind == "CONSUMER" {
        record.parent = None;
    }
    let (mut at, mut rest) = (0, line.split(' ').skip(3));
    while let Some(word) = rest.next() {
        match word.split_once('=') {
            None if word == "under" => record.parent = Some(id(rest.next().unwrap())),
            None if word == "links" => record.links.push((trace("2"), id(rest.next().unwrap()))),
            None => record.status = SpanStatus::Error,
            Some(("at", seconds)) => at = seconds.parse().unwrap(),
            Some(("trace", number)) => record.trace_id = trace(number),
            Some(("env", name)) => record.environment = name.into(),
            Some(("th", threshold)) => {
                record.weight = 16.0 / (16.0 - f64::from(u8::from_str_radix(threshold, 16).unwrap()))
            }
            Some(("clock", off)) => {
                let off: i64 = off.parse().unwrap();
                let shifted = BEGIN.as_secs().checked_add_signed(off).unwrap();
                record.start = Timestamp::from_secs(shifted);
                record.end = record.start + Duration::from_millis(250);
            }
            Some((key, value)) => {
                let number = value.parse().ok().filter(|_| key.ends_with("code") || key.ends_with("port"));
                let value = number.map_or_else(|| Value::Text(value.into()), Value::Int);
                record.attributes.push((key.into(), value));
            }
        }
    }
    (at, record)
}

/// The edges that a graph shows after all spans came and every wait is over.
fn edges(spans: &[(u64, SpanRecord)]) -> Vec<String> {
    let mut pairer = Pairer::default();
    let mut edges: BTreeMap<EdgeKey, EdgeCounts> = BTreeMap::new();
    for second in 0..400 {
        let now = BEGIN + Duration::from_secs(second);
        for (_, span) in spans.iter().filter(|(at, _)| *at == second) {
            pairer.observe(&Spans::of_records(std::slice::from_ref(span)), now);
        }
        let paired = pairer.tick(now);
        for TracedWindow { window, .. } in paired.windows {
            assert!(now.since(window.start) <= LATE && window.counts.is_plausible(), "{window:?}");
            assert!(window.latency.count() == 0 || window.latency.mean() == Some(Duration::from_millis(250)));
            edges.entry(window.key).or_default().merge(&window.counts);
        }
        edges.retain(|key, _| !paired.retracted.contains(key));
    }
    assert!(pairer.waiting.is_empty(), "nothing is remembered for ever");
    let line = |(key, c): (&EdgeKey, &EdgeCounts)| {
        format!("{} > {} {} {}/{}/{}", key.client, key.server, key.protocol, c.requests, c.attempts, c.failed)
    };
    edges.iter().map(line).collect()
}

#[test]
fn every_case_gives_its_edges_in_any_order() {
    for case in [CALLS, OUTCOMES, PEERS, MESSAGES, CLOCKS].into_iter().flatten() {
        let mut spans: Vec<_> = case.spans.iter().map(|line| span(line)).collect();
        assert_eq!(edges(&spans), case.edges, "{}", case.name);
        spans.reverse();
        assert_eq!(edges(&spans), case.edges, "{}, reversed", case.name);
    }
}
