//! The graph as it was: stored windows folded by the code that folds the live ones.
//!
//! Windows hold no breaker states; these are the latest transition of each breaker within the hour before. A breaker that
//! did not move in that hour is not shown, because nobody can say in which state it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tripline_api as api;
use tripline_model::{EdgeWindow, Timestamp};
use tripline_topology::{GraphSummary, Limits, ServiceGraph};

use super::App;
use super::answer::Refusal;
use crate::live::convert;

/// How far back the state of a breaker is looked for.
const BREAKERS_WITHIN: Duration = Duration::from_secs(3_600);
const MAX_TRANSITIONS: usize = 1_000;

/// The graph over the `window` before `at`, that rounded down to ten seconds. Where only minutes or hours are stored, over the whole
/// ones that hold it: the graph tells its true window.
pub(super) async fn graph(app: &App, at: Timestamp, window: Duration) -> Result<api::Graph, Refusal> {
    let history = &app.parts.history;
    let ((from, end), windows) = history.windows_at(at, window).await?;
    let incidents = history.incidents(end, end).await?;
    let transitions = history.transitions((end - BREAKERS_WITHIN, end), MAX_TRANSITIONS).await?;
    let mut graph = fold(&windows, (end, end.since(from)), &incidents);
    set_breakers(&mut graph, &transitions);
    Ok(graph)
}

fn fold(windows: &[EdgeWindow], (end, window): (Timestamp, Duration), incidents: &[api::Incident]) -> api::Graph {
    // Nothing in history is late, and nothing in it may be forgotten while it is folded.
    let limits = Limits { late: Duration::MAX, forget_after: Duration::MAX, ..Limits::default() };
    let mut graph = ServiceGraph::new(limits);
    for window in windows {
        // What does not count now did not count then: implausible windows were never stored.
        graph.observe(window, end);
    }
    let mut placed = convert::Placed::default();
    let summary = GraphSummary::of(&graph, window, end);
    placed.place(&summary);
    convert::graph(&summary, &placed, incidents.iter(), None)
}

fn set_breakers(graph: &mut api::Graph, newest_first: &[api::Transition]) {
    let mut seen = BTreeSet::new();
    let mut states: BTreeMap<(&str, &str), api::BreakerState> = BTreeMap::new();
    for transition in newest_first {
        if seen.insert((transition.client.as_str(), transition.breaker.as_str())) {
            let ends = (transition.client.as_str(), transition.server.as_str());
            let worst = states.entry(ends).or_insert(transition.to);
            *worst = transition.to.max(*worst);
        }
    }
    for edge in &mut graph.edges {
        if let Some(state) = states.get(&(edge.client.as_str(), edge.server.as_str())) {
            edge.breaker = *state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;
    use tripline_model::{EdgeCounts, Histogram, NodeKind, Reporter};

    fn window(start: u64, requests: u64) -> EdgeWindow {
        EdgeWindow {
            key: "shop/web>shop/cart:http".parse().unwrap(),
            reporter: Reporter::Client,
            client_kind: NodeKind::Service,
            server_kind: NodeKind::Service,
            start: Timestamp::from_secs(start),
            length: Duration::from_secs(10),
            counts: EdgeCounts { requests, ..EdgeCounts::default() },
            latency: Histogram::default(),
            self_time: Histogram::default(),
            secured: false,
        }
    }

    #[test]
    fn stored_windows_add_up_and_nodes_are_placed() {
        let windows: Vec<_> = (0..60).map(|n| window(10_000 + n * 10, 5)).collect();
        let minute = (Timestamp::from_secs(10_600), Duration::from_secs(60));
        assert_eq!(fold(&windows[54..], minute, &[]).edges[0].requests, 30);
        let ten = (Timestamp::from_secs(10_600), Duration::from_secs(600));
        let graph = fold(&windows, ten, &[sample::incident("A", api::Phase::Spreading)]);
        assert_eq!((graph.edges[0].requests, graph.at.as_str()), (300, "1970-01-01T02:56:40Z"));
        assert_ne!(graph.nodes[0].position, graph.nodes[1].position);
        assert_eq!(graph.nodes[1].incident.as_deref(), Some("A"), "web is in the blast radius");
    }

    #[test]
    fn the_last_transition_of_each_breaker_counts_and_the_worst_is_shown() {
        let mut graph = sample::view().graph;
        let to = |to, breaker: &str| api::Transition { to, breaker: breaker.into(), ..sample::transition(1) };
        use api::BreakerState::{Closed, HalfOpen, Open};
        set_breakers(&mut graph, &[to(Closed, "a"), to(HalfOpen, "b"), to(Open, "a")]);
        assert_eq!(graph.edges[0].breaker, HalfOpen);
    }
}
