//! The graph as its callers see it.

use proptest::prelude::*;
use tripline_model::{BreakerState, EdgeCounts, Histogram, Protocol, TransitionReason};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn window(client: &str, server: &str, second: u64, requests: u64) -> EdgeWindow {
    EdgeWindow {
        key: EdgeKey { client: client.into(), server: server.into(), protocol: Protocol::Http },
        reporter: Reporter::Client,
        client_kind: NodeKind::Service,
        server_kind: NodeKind::Service,
        start: Timestamp::from_secs(second),
        length: Duration::from_secs(1),
        counts: EdgeCounts { requests, attempts: requests, ..EdgeCounts::default() },
        latency: Histogram::default(),
        self_time: Histogram::default(),
        secured: false,
    }
}

fn requests(graph: &ServiceGraph, id: &str, seconds: u64) -> u64 {
    let edge = graph.edge(&id.parse().unwrap()).unwrap();
    edge.best(NOW - Duration::from_secs(seconds), NOW + Duration::from_secs(1), &mut Dense::new()).1.requests
}

#[test]
fn counts_are_exact_over_a_minute_also_after_thinning() {
    let mut graph = ServiceGraph::new(Limits::default());
    for second in 0..60 {
        let at = NOW.as_secs() - 59 + second;
        assert_eq!(graph.observe(&window("a", "b", at, 7), NOW), Observed::Counted);
    }
    graph.tidy(NOW);
    assert_eq!(requests(&graph, "a>b:http", 60), 420);
    graph.tidy(NOW + Duration::from_secs(200));
    assert_eq!(requests(&graph, "a>b:http", 300), 420);
}

#[test]
fn who_reports_itself_as_a_gateway_is_one_whoever_named_it_first() {
    let mut graph = ServiceGraph::new(Limits::default());
    let by_others = EdgeWindow { reporter: Reporter::Server, ..window("edge", "web", NOW.as_secs(), 1) };
    graph.observe(&by_others, NOW);
    graph.observe(&EdgeWindow { client_kind: NodeKind::Gateway, ..window("edge", "web", NOW.as_secs(), 1) }, NOW);
    assert_eq!(graph.kind(&"edge".into()), NodeKind::Gateway);
    graph.observe(&by_others, NOW);
    assert_eq!(graph.kind(&"edge".into()), NodeKind::Gateway, "and stays one");
}

#[test]
fn rates_of_a_young_graph_are_taken_over_its_age() {
    let minute = Duration::from_secs(60);
    let mut graph = ServiceGraph::new(Limits::default());
    assert_eq!(graph.covered(minute, NOW), minute);
    graph.observe(&window("a", "b", NOW.as_secs(), 1), NOW);
    assert_eq!(graph.covered(minute, NOW), Duration::from_secs(1));
    assert_eq!(graph.covered(minute, NOW + Duration::from_secs(20)), Duration::from_secs(20));
    assert_eq!(graph.covered(minute, NOW + Duration::from_secs(200)), minute);
}

#[test]
fn the_clients_count_wins_over_the_servers_and_they_are_never_added() {
    let mut graph = ServiceGraph::new(Limits::default());
    graph.observe(&window("a", "b", NOW.as_secs(), 10), NOW);
    graph.observe(&EdgeWindow { reporter: Reporter::Server, ..window("a", "b", NOW.as_secs(), 9) }, NOW);
    graph.observe(&EdgeWindow { reporter: Reporter::Spans, ..window("a", "b", NOW.as_secs(), 3) }, NOW);
    assert_eq!(requests(&graph, "a>b:http", 10), 10);
}

#[test]
fn impossible_and_misdated_windows_change_nothing() {
    let mut graph = ServiceGraph::new(Limits::default());
    let mut lie = window("a", "b", NOW.as_secs(), 1);
    lie.counts.failed = 2;
    assert_eq!(graph.observe(&lie, NOW), Observed::Implausible);
    assert_eq!(graph.observe(&window("a", "b", NOW.as_secs() - 3600, 1), NOW), Observed::OutOfTime);
    assert_eq!(graph.observe(&window("a", "b", NOW.as_secs() + 3600, 1), NOW), Observed::OutOfTime);
    assert_eq!(graph.nodes().count(), 0);
}

#[test]
fn strangers_fold_into_overflow_and_push_nobody_out() {
    let mut graph = ServiceGraph::new(Limits { nodes: 4, ..Limits::default() });
    graph.observe(&window("a", "b", NOW.as_secs(), 1), NOW);
    for stranger in 0..1000 {
        graph.observe(&window("a", &format!("x{stranger}"), NOW.as_secs(), 1), NOW);
    }
    assert!(graph.nodes().count() <= 5);
    assert_eq!(requests(&graph, "a>b:http", 10), 1);
    assert_eq!(requests(&graph, "a>__overflow__:http", 10), 998);
}

#[test]
fn a_late_status_does_not_undo_a_newer_transition() {
    let mut graph = ServiceGraph::new(Limits::default());
    let key: EdgeKey = "a>b:http".parse().unwrap();
    let info = |state, since, reason| BreakerInfo {
        breaker: "a>b".into(),
        client_instance: "1".into(),
        route: String::new(),
        endpoint: String::new(),
        state,
        since,
        trips: 1,
        last_reason: reason,
    };
    graph.observe_breaker(&key, info(BreakerState::Open, NOW, Some(TransitionReason::FailureRatio)), NOW);
    graph.observe_breaker(&key, info(BreakerState::Closed, NOW - Duration::from_secs(9), None), NOW);
    graph.observe_breaker(&key, info(BreakerState::Open, NOW, None), NOW);
    let edge = graph.edge(&key).unwrap();
    assert_eq!(edge.worst_breaker(), Some(BreakerState::Open));
    assert_eq!(edge.breakers().next().unwrap().last_reason, Some(TransitionReason::FailureRatio));
}

#[test]
fn silent_edges_and_nodes_go() {
    let mut graph = ServiceGraph::new(Limits::default());
    graph.observe(&window("a", "b", NOW.as_secs(), 1), NOW);
    let before = graph.generation();
    graph.tidy(NOW + Duration::from_secs(3600));
    assert_eq!((graph.nodes().count(), graph.edges().count()), (0, 0));
    assert!(graph.generation() > before);
}

#[test]
fn drained_windows_hold_each_request_once() {
    let mut graph = ServiceGraph::new(Limits::default());
    let mut drained = 0;
    for second in 0..100 {
        let at = NOW + Duration::from_secs(second);
        graph.observe(&window("a", "b", at.as_secs(), 3), at);
        drained += graph.drain_windows(at).iter().map(|w| w.counts.requests).sum::<u64>();
    }
    drained += graph.drain_windows(NOW + Duration::from_secs(200)).iter().map(|w| w.counts.requests).sum::<u64>();
    assert_eq!(drained, 300);
}

#[test]
fn edges_take_turns_with_their_finished_windows() {
    let mut graph = ServiceGraph::new(Limits::default());
    let edges = 2 * SHARES;
    let mut drained = BTreeMap::new();
    for second in 0..100 {
        let at = NOW + Duration::from_secs(second);
        for number in (0..edges).filter(|_| second < 60) {
            graph.observe(&window("a", &format!("b{number}"), at.as_secs(), 3), at);
        }
        let windows = graph.drain_windows(at);
        assert!(windows.len() <= edges / SHARES, "{second}: {}", windows.len());
        windows.into_iter().for_each(|window| *drained.entry(window.key).or_insert(0) += window.counts.requests);
    }
    assert_eq!(drained.len(), edges);
    assert!(drained.values().all(|requests| *requests == 180), "{drained:?}");
}

#[test]
fn what_is_known_of_breakers_changes_only_when_one_does() {
    let mut graph = ServiceGraph::new(Limits::default());
    let key: EdgeKey = "a>b:http".parse().unwrap();
    let breaker = |state, at| BreakerInfo {
        breaker: "one".into(),
        client_instance: "1".into(),
        route: String::new(),
        endpoint: String::new(),
        state,
        since: at,
        trips: 0,
        last_reason: None,
    };
    let mut changes = vec![graph.breaker_changes()];
    let later = NOW + Duration::from_secs(20);
    for (state, since, at) in [
        (BreakerState::Closed, NOW, NOW),
        (BreakerState::Closed, NOW, later),
        (BreakerState::Open, later, later),
        (BreakerState::Open, later, later),
    ] {
        graph.observe_breaker(&key, breaker(state, since), at);
        graph.tidy(at);
        changes.push(graph.breaker_changes());
    }
    graph.tidy(later + Duration::from_secs(60));
    changes.push(graph.breaker_changes());
    let turned: Vec<bool> = changes.windows(2).map(|pair| pair[0] != pair[1]).collect();
    assert_eq!(turned, [true, false, true, false, true], "new, told again, open, told again, silent");
    assert_eq!((graph.guarded().count(), graph.alarmed().count()), (0, 0));
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(mut seconds in prop::collection::vec(0u64..100, 1..60)) {
        let mut sums = Vec::new();
        for _ in 0..2 {
            let mut graph = ServiceGraph::new(Limits::default());
            for second in &seconds {
                graph.observe(&window("a", "b", NOW.as_secs() - second, 1 + second), NOW);
            }
            graph.tidy(NOW);
            sums.push((requests(&graph, "a>b:http", 30), requests(&graph, "a>b:http", 60)));
            seconds.reverse();
        }
        prop_assert_eq!(sums[0], sums[1]);
    }
}

#[test]
fn a_guess_is_taken_back_with_its_node_unless_more_is_known() {
    let mut graph = ServiceGraph::new(Limits::default());
    let guess = EdgeWindow { reporter: Reporter::Spans, ..window("a", "10.0.0.7", NOW.as_secs(), 1) };
    graph.observe(&guess, NOW);
    assert!(graph.forget_guess(&guess.key) && graph.edge(&guess.key).is_none());
    assert!(graph.node(&"10.0.0.7".into()).is_none() && graph.node(&"a".into()).is_some());
    assert!(!graph.forget_guess(&guess.key), "there is none any more");
    let counted = window("a", "b", NOW.as_secs(), 1);
    graph.observe(&counted, NOW);
    assert!(!graph.forget_guess(&counted.key), "a sidecar counted it");
    assert!(graph.edge(&counted.key).is_some());
}

/// One reporter's second with latencies, self times, failures and bytes.
fn full(reporter: Reporter, second: u64, requests: u64) -> EdgeWindow {
    let mut latency = Histogram::default();
    (0..requests).for_each(|n| latency.record(Duration::from_micros(900 + n * 700 + second % 7 * 100)));
    let failed = requests / 3;
    let self_time = if reporter == Reporter::Server { latency.clone() } else { Histogram::default() };
    let counts = EdgeCounts {
        failed,
        attempts: requests + 1,
        retries: 1,
        answered_failures: failed,
        request_bytes: requests * 100,
        ..window("a", "b", second, requests).counts
    };
    EdgeWindow { reporter, counts, latency, self_time, ..window("a", "b", second, requests) }
}

proptest! {
    /// Packed blocks add up to what was counted, whatever the order of arrival: counts to the second, histograms by ten seconds.
    #[test]
    fn what_is_packed_is_what_was_counted(seconds in prop::collection::vec((0u64..60, 1u64..30), 1..80), span in (0u64..60, 1u64..60)) {
        let mut graph = ServiceGraph::new(Limits::default());
        let begin = NOW.as_secs() - 60;
        let mut sum = Sum::default();
        let mut asked = EdgeCounts::default();
        let (from, to) = (begin + span.0, begin + span.0 + span.1);
        for (second, requests) in &seconds {
            let window = full(Reporter::Server, begin + second, *requests);
            graph.observe(&window, NOW);
            sum.merge(&Sum { counts: window.counts, latency: window.latency.clone(), self_time: window.self_time.clone() });
            if (from..to).contains(&(begin + second)) {
                asked.merge(&window.counts);
            }
        }
        graph.tidy(NOW);
        let edge = graph.edge(&"a>b:http".parse().unwrap()).unwrap();
        prop_assert_eq!(edge.sum_by(Reporter::Server, NOW - Duration::from_secs(60), NOW), sum);
        let read = edge.counts_by(Reporter::Server, Timestamp::from_secs(from), Timestamp::from_secs(to));
        prop_assert_eq!((read.requests, read.failed, read.attempts, read.retries), (asked.requests, asked.failed, asked.attempts, asked.retries));
        let drained: Vec<EdgeWindow> = (0..30).flat_map(|n| graph.drain_windows(NOW + Duration::from_secs(n))).collect();
        prop_assert!(drained.iter().all(|window| window.counts.is_plausible()));
    }
}

#[test]
fn old_blocks_keep_counts_and_the_latency_of_the_best_reporter() {
    let mut graph = ServiceGraph::new(Limits::default());
    for second in 0..500 {
        let at = NOW + Duration::from_secs(second);
        for reporter in [Reporter::Client, Reporter::Server] {
            graph.observe(&full(reporter, at.as_secs(), 6), at);
        }
        graph.tidy(at);
        graph.drain_windows(at);
    }
    let edge = graph.edge(&"a>b:http".parse().unwrap()).unwrap();
    let (end, far) = (NOW + Duration::from_secs(500), NOW + Duration::from_secs(20));
    let [client, server] = [Reporter::Client, Reporter::Server].map(|reporter| edge.sum_by(reporter, far, end));
    assert_eq!((client.counts.requests, server.counts.requests, client.counts.failed), (2_880, 2_880, 960));
    assert_eq!(client.latency.count(), 2_880);
    assert!(server.latency.count() < 400 && server.self_time.count() < 400, "history has the rest");
    let old = edge.sum_by(Reporter::Client, NOW + Duration::from_secs(200), NOW + Duration::from_secs(260));
    assert_eq!(old.counts.requests, 360, "to half a minute after three");
}
