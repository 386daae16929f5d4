//! What comes in, and what the view then shows.

use tripline_model::{EdgeCounts, Histogram, NodeKind, Reporter, ServiceName, Sidecar, SpanId, TraceId};
use tripline_otlp::{SpanKind, SpanRecord, SpanStatus, Spans};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn report(service: &str, client: ServiceName, requests: u64) -> SidecarReport {
    let length = Duration::from_secs(1);
    SidecarReport {
        sidecar: Sidecar { service: service.into(), instance: format!("{service}-1"), version: "1".into() },
        sequence: 1,
        start: NOW - length,
        length,
        edges: vec![EdgeWindow {
            key: EdgeKey { client, server: service.into(), protocol: Protocol::Http },
            reporter: Reporter::Server,
            client_kind: NodeKind::User,
            server_kind: NodeKind::Service,
            start: NOW - length,
            length,
            counts: EdgeCounts { requests, ..EdgeCounts::default() },
            latency: Histogram::default(),
            self_time: Histogram::default(),
            secured: false,
        }],
        breakers: Vec::new(),
        dropped: 3,
    }
}

fn span(id: u8, parent: u8, service: &str, kind: SpanKind) -> SpanRecord {
    SpanRecord {
        trace_id: TraceId::from_bytes([1; 16]).unwrap(),
        span_id: SpanId::from_bytes([id; 8]).unwrap(),
        parent: SpanId::from_bytes([parent; 8]),
        service: service.into(),
        instance: "".into(),
        environment: "".into(),
        from_sidecar: false,
        name: "GET".into(),
        kind,
        start: NOW,
        end: NOW,
        status: SpanStatus::Unset,
        status_message: String::new(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        weight: 1.0,
    }
}

fn state() -> State {
    State::new(Limits::default(), Settings::default())
}

fn batch(reports: Vec<SidecarReport>, spans: &[SpanRecord]) -> Batch {
    Batch {
        position: 0,
        received_at: NOW,
        reports,
        transitions: Vec::new(),
        spans: Spans::of_records(spans),
        logs: Vec::new(),
    }
}

fn edges(state: &mut State, now: Timestamp) -> Vec<(String, u64, String)> {
    state.graph(VIEW_WINDOW, now).edges.into_iter().map(|edge| (edge.id, edge.requests, edge.reporter)).collect()
}

#[test]
fn a_report_is_an_edge_a_node_and_a_live_proxy() {
    let mut state = state();
    state.take(&batch(vec![report("shop/web", ServiceName::user(), 7)], &[]), NOW);
    assert_eq!(edges(&mut state, NOW), [("user>shop/web:http".into(), 7, "server".into())]);
    let view = state.view(NOW);
    assert!(view.graph.nodes.iter().any(|node| node.id == "shop/web" && node.entry_point));
    assert!(view.proxies[0].live && view.proxies[0].dropped == 3);
    assert!(!state.view(NOW + Duration::from_secs(6)).proxies[0].live);
}

#[test]
fn a_view_in_memory_used_again_is_as_one_made_anew() {
    const ROOM: usize = 1_000;
    let mut state = state();
    let mut before = None;
    for second in 0..6 {
        let now = NOW + Duration::from_secs(second);
        let mut reports = vec![report("shop/web", ServiceName::user(), second)];
        if second >= 3 {
            // From here on the graph is another one.
            reports.push(report("shop/cart", "shop/web".into(), 2));
        }
        state.take(&batch(reports, &[]), now);
        let anew = state.graph(VIEW_WINDOW, now);
        let mut view = state.view(now);
        assert_eq!(view.graph, anew);
        let edge = &mut view.graph.edges[0].id;
        // Where nothing came or went, it is the room that was made below.
        assert_eq!(edge.capacity() > ROOM, before == Some(view.graph.generation), "{second}");
        edge.reserve(ROOM);
        before = Some(view.graph.generation);
        state.retire(Arc::new(view));
    }
    let held = Arc::new(state.view(NOW));
    let looked_at = Arc::clone(&held);
    state.retire(held);
    assert_eq!(state.view(NOW).graph, looked_at.graph, "somebody still looks at it");
}

#[test]
fn a_traced_caller_without_a_sidecar_gets_its_name_from_spans() {
    let mut state = state();
    let spans = vec![span(1, 9, "app", SpanKind::Client), span(2, 1, "shop/web", SpanKind::Server)];
    state.take(&batch(vec![report("shop/web", ServiceName::unknown(), 7)], &spans), NOW);
    let later = NOW + Duration::from_secs(13);
    state.tick(later);
    assert_eq!(edges(&mut state, later), [("app>shop/web:http".into(), 7, "server".into())]);
}

#[test]
fn a_traced_caller_that_nobody_knows_is_a_user() {
    let mut state = state();
    state.take(&batch(vec![report("shop/web", ServiceName::unknown(), 7)], &[]), NOW);
    assert!(edges(&mut state, NOW).is_empty(), "it waits for spans");
    let later = NOW + Duration::from_secs(13);
    state.tick(later);
    assert_eq!(edges(&mut state, later), [("user>shop/web:http".into(), 7, "server".into())]);
}
