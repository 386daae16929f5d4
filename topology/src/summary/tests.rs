//! What a summary tells, that one kept from second to second tells what a whole reading would, and how old it may be.

use tripline_model::{EdgeCounts, EdgeWindow, Histogram, Protocol};

use super::*;
use crate::{BreakerInfo, Limits};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);

fn window(client: &str, server: &str, at: Timestamp, requests: u64) -> EdgeWindow {
    let mut latency = Histogram::default();
    (0..requests).for_each(|_| latency.record(Duration::from_millis(10)));
    EdgeWindow {
        key: EdgeKey { client: client.into(), server: server.into(), protocol: Protocol::Http },
        reporter: Reporter::Spans,
        client_kind: NodeKind::Service,
        server_kind: NodeKind::Service,
        start: at,
        length: Duration::from_secs(1),
        counts: EdgeCounts { requests, attempts: requests, ..EdgeCounts::default() },
        latency,
        self_time: Histogram::default(),
        secured: false,
    }
}

#[test]
fn it_follows_edges_that_come_and_go() {
    let mut graph = ServiceGraph::new(Limits::default());
    let mut summary = GraphSummary::of(&graph, MINUTE, NOW);
    let mut read = |graph: &ServiceGraph| {
        summary.follow(graph, NOW);
        let edges = summary.edges.iter().map(|edge| (edge.key.to_string(), edge.figures.requests));
        let nodes = summary.nodes.iter().map(|node| (node.name.to_string(), node.figures.requests));
        edges.chain(nodes).map(|(name, requests)| format!("{name} {requests}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(read(&graph), "");
    graph.observe(&EdgeWindow { reporter: Reporter::Client, ..window("b", "c", NOW, 2) }, NOW);
    assert_eq!(read(&graph), "b>c:http 2, b 2, c 2");
    graph.observe(&window("a", "b", NOW, 3), NOW);
    assert_eq!(read(&graph), "a>b:http 3, b>c:http 2, a 3, b 3, c 2");
    assert!(graph.forget_guess(&"a>b:http".parse().unwrap()));
    graph.observe(&window("c", "d", NOW, 5), NOW);
    assert_eq!(read(&graph), "b>c:http 2, c>d:http 5, a 0, b 2, c 2, d 5");
}

/// Of a large graph parts are read in turn; each figure is that of a whole reading at most two seconds ago, and behind an open breaker of now.
#[test]
fn a_large_graph_is_read_in_turns() {
    const EDGES: usize = 2 * EDGES_A_TURN + 1;
    const TURNS: usize = 3;
    let mut graph = ServiceGraph::new(Limits { nodes: EDGES, ..Limits::default() });
    let ends = |edge: usize| (format!("c{}", edge % 50), format!("s{}", edge / 50));
    for edge in 0..EDGES {
        let (client, server) = ends(edge);
        graph.observe(&window(&client, &server, NOW, 1), NOW);
    }
    let mut summary = GraphSummary::of(&graph, MINUTE, NOW);
    let mut wholes = vec![summary.clone()];
    let breaker = |state, since| BreakerInfo {
        breaker: "one".into(),
        client_instance: "1".into(),
        route: String::new(),
        endpoint: String::new(),
        state,
        since,
        trips: 1,
        last_reason: None,
    };
    for second in (1..=12).filter(|second| *second != 10) {
        let now = NOW + Duration::from_secs(second);
        for edge in (0..EDGES).filter(|edge| edge % 7 == second as usize % 7) {
            let (client, server) = ends(edge);
            graph.observe(&window(&client, &server, now, second), now);
        }
        let state = if (4..8).contains(&second) { BreakerState::Open } else { BreakerState::Closed };
        graph.observe_breaker(&"c7>s9:http".parse().unwrap(), breaker(state, now), now);
        summary.follow(&graph, now);
        wholes.push(GraphSummary::of(&graph, MINUTE, now));
        // In the eleventh second the turns of two have come.
        let turns = if second == 11 { TURNS - 1 } else { TURNS };
        let whole = wholes.last().unwrap();
        assert_eq!((summary.at, summary.generation), (whole.at, whole.generation));
        let fresh = whole.nodes.iter().zip(&summary.nodes).filter(|(new, known)| new == known).count();
        let places = summary.edges.iter().enumerate();
        for (at, edge) in places {
            let latest = wholes.iter().rev().take(turns);
            assert!(latest.clone().any(|whole| whole.edges[at].figures == edge.figures), "{second}: {edge:?}");
        }
        for (at, node) in summary.nodes.iter().enumerate() {
            assert!(wholes.iter().rev().take(turns).any(|whole| whole.nodes[at] == *node), "{second}: {node:?}");
        }
        assert!(second < 2 || fresh < summary.nodes.len(), "{second}: not all are read");
        let guarded = |summary: &GraphSummary| summary.nodes.iter().position(|node| node.name == "s9".into());
        let at = guarded(&summary).unwrap();
        if (4..=8).contains(&second) {
            assert_eq!(summary.nodes[at], whole.nodes[at], "{second}");
            let health = if second < 8 { Health::Failing } else { Health::Healthy };
            assert_eq!(summary.nodes[at].figures.health, health, "{second}");
        }
    }
    summary.follow(&graph, NOW + Duration::from_secs(30));
    let whole = GraphSummary::of(&graph, MINUTE, NOW + Duration::from_secs(30));
    assert!(summary.edges.iter().zip(&whole.edges).all(|(known, new)| known.figures == new.figures));
    assert!(summary.edges.iter().all(|edge| edge.read == summary.readings), "after a pause all are read");
}
