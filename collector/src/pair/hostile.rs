//! A hostile sender cannot evict a healthy service: however many names it invents, the edge that was there stays, and is counted
//! in full; however many spans it sends, halves of the healthy service's calls wait for each other.

use tripline_model::{SpanId, TraceId};
use tripline_otlp::{SpanRecord, SpanStatus, Value};
use tripline_topology::{Limits, ServiceGraph};

use super::*;

const START: Timestamp = Timestamp::from_secs(1_000_000);
const SECONDS: u64 = 60;
/// More names, nodes and edges than there may be, long before the time is over.
const INVENTED: u64 = 4_000;

fn span(id: u64, parent: u64, service: &str, kind: SpanKind, now: Timestamp) -> SpanRecord {
    SpanRecord {
        trace_id: TraceId::from_bytes((u128::from(id) + 1).to_be_bytes()).unwrap(),
        span_id: SpanId::from_bytes((id + 1).to_be_bytes()).unwrap(),
        parent: SpanId::from_bytes(parent.to_be_bytes()),
        service: service.into(),
        instance: "".into(),
        environment: "".into(),
        from_sidecar: false,
        name: "GET /".into(),
        kind,
        start: now,
        end: now + Duration::from_millis(2),
        status: SpanStatus::Unset,
        status_message: String::new(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        weight: 1.0,
    }
}

/// A call of the healthy service, whose halves arrive a second apart.
fn healthy(second: u64, half: SpanKind, now: Timestamp) -> SpanRecord {
    let id = 1 << 50 | second;
    let server = SpanRecord {
        span_id: SpanId::from_bytes((1_u64 << 60).to_be_bytes()).unwrap(),
        ..span(id, id + 1, "shop/cart", half, now)
    };
    if half == SpanKind::Server { server } else { span(id, 1 << 51, "shop/web", half, now) }
}

/// Servers without parents and clients of made-up peers, each under a name that nobody has heard of.
fn invented(second: u64, now: Timestamp) -> Vec<SpanRecord> {
    let numbers = second * INVENTED..(second + 1) * INVENTED;
    let pair = |number: u64| {
        let mut client = span(2 * number, 0, &format!("evil/client-{number}"), SpanKind::Client, now);
        client.attributes.push(("server.address".into(), Value::Text(format!("evil-peer-{number}"))));
        [client, span(2 * number + 1, 0, &format!("evil/server-{number}"), SpanKind::Server, now)]
    };
    numbers.flat_map(pair).collect()
}

#[test]
fn a_hostile_sender_cannot_evict_a_healthy_service() {
    let (mut pairer, mut graph) = (Pairer::default(), ServiceGraph::new(Limits::default()));
    let key = EdgeKey { client: "shop/web".into(), server: "shop/cart".into(), protocol: Protocol::Http };
    let mut requests = 0;
    for second in 0..SECONDS {
        let now = START + Duration::from_secs(second);
        pairer.observe(&Spans::of_records(&[healthy(second, SpanKind::Client, now)]), now);
        pairer.observe(&Spans::of_records(&invented(second, now)), now);
        if let Some(before) = second.checked_sub(1) {
            pairer.observe(&Spans::of_records(&[healthy(before, SpanKind::Server, now)]), now);
        }
        for traced in pairer.tick(now).windows {
            requests += if traced.window.key == key { traced.window.counts.requests } else { 0 };
            graph.observe(&traced.window, now);
        }
    }
    assert_eq!(requests, SECONDS - 1, "every call of the healthy service was paired");
    assert!(graph.edge(&key).is_some(), "and its edge is still there");
    assert!(pairer.waiting.len() <= MAX_WAITING);
    let known = graph.edges().count();
    assert!(known <= Limits::default().edges + 1, "{known} edges");
}

/// More spans than may wait, of services that `named` names by their number, between the two halves of one healthy call.
fn paired_across_a_flood(named: impl Fn(u64) -> String) -> (u64, PairCounters) {
    let mut pairer = Pairer::default();
    // Both are heard of for long enough.
    let early = |service| span(1 << 40, 1, service, SpanKind::Internal, START);
    pairer.observe(&Spans::of_records(&["shop/web", "shop/cart", "evil/old"].map(early)), START);
    let now = START + rings::ESTABLISHED;
    pairer.tick(now);
    pairer.observe(&Spans::of_records(&[healthy(1, SpanKind::Client, now)]), now);
    let flood: Vec<u64> = (0..MAX_WAITING as u64 + 100_000).collect();
    for numbers in flood.chunks(1_000) {
        let records: Vec<_> =
            numbers.iter().map(|number| span(*number, 1 << 52, &named(*number), SpanKind::Client, now)).collect();
        pairer.observe(&Spans::of_records(&records), now);
    }
    assert!(pairer.waiting.len() <= MAX_WAITING);
    let later = now + Duration::from_secs(5);
    pairer.observe(&Spans::of_records(&[healthy(1, SpanKind::Server, later)]), later);
    (pairer.tick(later).windows.iter().map(|traced| traced.window.counts.requests).sum(), pairer.counters())
}

#[test]
fn a_flood_of_one_services_spans_does_not_push_out_a_half_that_waits() {
    for (case, named) in [
        ("a service as old", (|_| "evil/old".to_owned()) as fn(u64) -> String),
        ("a new service", |_| "evil/new".to_owned()),
        ("a new name each time", |number| format!("evil/{number}")),
    ] {
        let (requests, counters) = paired_across_a_flood(named);
        assert_eq!((requests, counters.paired), (1, 1), "{case}");
        assert!(counters.evicted >= 100_000, "{case}: the flood pushes itself out");
    }
}

/// Everybody has more than a share: then the newest are kept, as many as fit, whoever sends them.
#[test]
fn honest_services_under_pressure_go_in_the_order_of_arrival() {
    let (mut pairer, more) = (Pairer::default(), MAX_WAITING as u64 + 50_000);
    let named = |number: u64, kind, now| span(number, 1 << 52, &format!("shop/svc-{}", number % 10), kind, now);
    let early: Vec<_> = (0..10).map(|number| named(number, SpanKind::Internal, START)).collect();
    pairer.observe(&Spans::of_records(&early), START);
    let now = START + rings::ESTABLISHED;
    pairer.tick(now);
    let numbers: Vec<u64> = (10..more).collect();
    for numbers in numbers.chunks(1_000) {
        let clients: Vec<_> = numbers.iter().map(|number| named(*number, SpanKind::Client, now)).collect();
        pairer.observe(&Spans::of_records(&clients), now);
    }
    let server = |number: &u64| {
        let server = span(*number, number + 1, "shop/server", SpanKind::Server, now);
        SpanRecord { span_id: SpanId::from_bytes((1 << 62 | number).to_be_bytes()).unwrap(), ..server }
    };
    let newest = &numbers[numbers.len() - 100_000..];
    for numbers in newest.chunks(1_000) {
        pairer.observe(&Spans::of_records(&numbers.iter().map(server).collect::<Vec<_>>()), now);
    }
    assert_eq!(pairer.counters().paired, newest.len() as u64, "the newest all found their servers");
}
