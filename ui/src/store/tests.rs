//! The store holds, after any changes, what the wire type's own rule gives; and it tells only those whom it concerns.

use super::*;
use tripline_api::{BreakerState, Health, Latency, NodeKind, Position};

pub(crate) fn node(id: &str, requests: u64) -> Node {
    Node {
        id: id.into(),
        namespace: "shop".into(),
        name: id.into(),
        kind: NodeKind::Service,
        health: Health::Healthy,
        requests,
        requests_per_second: requests as f64 / 60.0,
        error_ratio: 0.0,
        latency_ms: Latency::default(),
        entry_point: false,
        incident: None,
        position: Position::default(),
    }
}

pub(crate) fn edge(client: &str, server: &str, requests: u64) -> Edge {
    Edge {
        id: format!("{client}>{server}:http"),
        client: client.into(),
        server: server.into(),
        protocol: "http".into(),
        reporter: "client".into(),
        health: Health::Healthy,
        requests,
        requests_per_second: requests as f64 / 60.0,
        failed: 0,
        shed: 0,
        error_ratio: 0.0,
        latency_ms: Latency::default(),
        attempts_per_request: 1.0,
        breaker: BreakerState::Closed,
        secured: false,
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        graph: Graph {
            at: "2026-11-21T09:00:00Z".into(),
            window_seconds: 60.0,
            generation: 1,
            nodes: vec![node("a", 1), node("b", 1)],
            edges: vec![edge("a", "b", 1)],
        },
        incidents: vec![],
        transitions: vec![],
    }
}

fn changes(nodes: Vec<Node>, edges: Vec<Edge>) -> Changes {
    Changes {
        at: "2026-11-21T09:00:01Z".into(),
        generation: 1,
        nodes,
        removed_nodes: vec![],
        edges,
        removed_edges: vec![],
        incidents: vec![],
        transitions: vec![],
    }
}

fn held(store: Store) -> (Vec<Node>, Vec<Edge>) {
    (
        store.nodes.with_untracked(|cells| cells.iter().map(|cell| cell.now.get_untracked()).collect()),
        store.edges.with_untracked(|cells| cells.iter().map(|cell| cell.now.get_untracked()).collect()),
    )
}

fn with_store(test: impl FnOnce(Store)) {
    let owner = Owner::new();
    owner.with(|| test(Store::new()));
}

#[test]
fn changes_give_what_the_wire_types_rule_gives() {
    with_store(|store| {
        let mut expected = snapshot();
        store.reset(expected.clone());
        let mut removal = changes(vec![node("c", 9)], vec![edge("c", "b", 2)]);
        removal.removed_nodes.push("a".into());
        removal.removed_edges.push("a>b:http".into());
        for change in [changes(vec![node("b", 7)], vec![]), removal, changes(vec![], vec![edge("c", "b", 3)])] {
            store.apply(change.clone());
            change.apply_to(&mut expected);
            assert_eq!(held(store), (expected.graph.nodes.clone(), expected.graph.edges.clone()));
        }
    });
}

#[test]
fn a_metric_changes_neither_lists_nor_shape() {
    with_store(|store| {
        store.reset(snapshot());
        let shape = store.shape.get_untracked();
        let cell = store.node("b").map(|cell| cell.now);
        store.apply(changes(vec![node("b", 7)], vec![edge("a", "b", 7)]));
        assert_eq!(store.shape.get_untracked(), shape);
        assert_eq!(cell.map(|signal| signal.get_untracked().requests), Some(7));
        let mut moved = node("b", 7);
        moved.position.x = 300.0;
        store.apply(changes(vec![moved], vec![]));
        assert_eq!(store.shape.get_untracked(), shape + 1);
    });
}

#[test]
fn a_new_snapshot_forgets_what_it_does_not_name() {
    with_store(|store| {
        store.reset(snapshot());
        let mut smaller = snapshot();
        smaller.graph.nodes.pop();
        smaller.graph.edges.clear();
        store.reset(smaller.clone());
        assert_eq!(held(store), (smaller.graph.nodes, vec![]));
        assert_eq!(store.history("b"), History::default());
        assert_eq!(store.history("a").series(|sample| sample.rate).len(), 2);
    });
}
