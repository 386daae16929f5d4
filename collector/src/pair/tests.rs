//! What the table of cases does not show: bounds, counters, reasons.

use tripline_model::{SpanId, TraceId};
use tripline_otlp::{SpanRecord, SpanStatus, Value};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn span(id: u64, parent: u64, service: &str, kind: SpanKind) -> SpanRecord {
    SpanRecord {
        trace_id: TraceId::from_bytes([7; 16]).unwrap(),
        span_id: SpanId::from_bytes(id.to_be_bytes()).unwrap(),
        parent: SpanId::from_bytes(parent.to_be_bytes()),
        service: service.into(),
        instance: "".into(),
        environment: "".into(),
        from_sidecar: false,
        name: "GET /".into(),
        kind,
        start: NOW,
        end: NOW + Duration::from_millis(250),
        status: SpanStatus::Unset,
        status_message: String::new(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        weight: 1.0,
    }
}

fn silent(paired: &Paired, service: &str, reason: SilentReason) -> u64 {
    let of_service = paired.silent.iter().find(|(name, _)| *name == service.into());
    of_service.map_or(0, |(_, counts)| counts[reason as usize])
}

#[test]
fn a_flood_of_spans_stays_bounded() {
    let mut pairer = Pairer::default();
    let sent = MAX_WAITING as u64 + 5_000;
    let extra = sent - rings::FREE as u64;
    let flood: Vec<_> = (1..=sent).map(|n| span(n, n + (1 << 40), "a", SpanKind::Server)).collect();
    for part in flood.chunks(50_000) {
        pairer.observe(&Spans::of_records(part), NOW);
    }
    // One service alone does not get the room that is kept for others.
    assert_eq!(pairer.waiting.len(), rings::FREE);
    assert_eq!(pairer.counters().evicted, extra);
    let paired = pairer.tick(NOW);
    assert_eq!(silent(&paired, "a", SilentReason::Evicted), extra);
    pairer.tick(NOW + LATE + Duration::from_secs(1));
    assert!(pairer.waiting.is_empty());
}

#[test]
fn many_orphans_of_one_parent_expire_in_no_time() {
    let mut pairer = Pairer::default();
    let orphans: Vec<_> = (1..=90_000).map(|n| span(n, 1 << 40, "a", SpanKind::Server)).collect();
    pairer.observe(&Spans::of_records(&orphans), NOW);
    let paired = pairer.tick(NOW + LATE + Duration::from_secs(1));
    assert_eq!(silent(&paired, "a", SilentReason::ParentMissing), 90_000);
    assert!(pairer.waiting.is_empty());
}

#[test]
fn reasons_are_told_for_edges_and_for_silence() {
    let mut pairer = Pairer::default();
    let mut named = span(5, 9, "a", SpanKind::Client);
    named.attributes.push(("server.address".into(), Value::Text("api".into())));
    pairer.observe(
        &Spans::of_records(&[
            span(1, 9, "a", SpanKind::Client),
            span(2, 1, "b", SpanKind::Server),
            span(3, 2, "b", SpanKind::Internal),
            span(4, 9, "a", SpanKind::Client),
            named,
        ]),
        NOW,
    );
    pairer.observe(&Spans::of_records(&[span(2, 1, "b", SpanKind::Server)]), NOW);
    let first = pairer.tick(NOW);
    assert_eq!(first.windows[0].reasons[CallReason::Paired as usize], 1);
    assert_eq!(silent(&first, "b", SilentReason::SameService), 1);
    assert_eq!(silent(&first, "b", SilentReason::Repeated), 1);
    let second = pairer.tick(NOW + LINGER + Duration::from_secs(1));
    assert_eq!(second.windows[0].reasons[CallReason::Named as usize], 1);
    assert_eq!(silent(&second, "a", SilentReason::PeerUnnamed), 1);
    assert_eq!(pairer.counters(), PairCounters { paired: 1, unpaired: 1, repeated: 1, ..PairCounters::default() });
}

#[test]
fn a_guess_that_was_wrong_is_taken_back() {
    let mut pairer = Pairer::default();
    let mut client = span(1, 9, "a", SpanKind::Client);
    client.attributes.push(("server.address".into(), Value::Text("10.0.0.7".into())));
    pairer.observe(&Spans::of_records(&[client]), NOW);
    let later = NOW + LINGER + Duration::from_secs(1);
    assert_eq!(pairer.tick(later).windows[0].window.key.to_string(), "a>10.0.0.7:http");
    pairer.observe(&Spans::of_records(&[span(2, 1, "b", SpanKind::Server)]), later);
    let paired = pairer.tick(later);
    assert_eq!(paired.retracted.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a>10.0.0.7:http"]);
    assert_eq!(paired.windows[0].window.key.to_string(), "a>b:http");
    assert_eq!(pairer.counters().retracted, 1);
}

#[test]
fn a_sampled_call_stands_for_many_and_was_timed_once() {
    let mut pairer = Pairer::default();
    let both = [span(1, 9, "a", SpanKind::Client), span(2, 1, "b", SpanKind::Server)];
    pairer.observe(&Spans::of_records(&both.map(|span| SpanRecord { weight: 100.0, ..span })), NOW);
    let [told] = pairer.tick(NOW + Duration::from_secs(1)).windows.try_into().unwrap();
    assert_eq!((told.window.counts.requests, told.window.latency.count()), (100, 1));
}
