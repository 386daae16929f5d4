//! What differs between two graphs.
//!
//! No two minutes are equal, so a difference is told only where it is larger than what traffic does by itself:
//!
//! | what | differs when |
//! |---|---|
//! | `health`, `entry_point` | it is another |
//! | `breaker` | its state is another, both being known |
//! | `secured` | it is another, both with at least 20 requests |
//! | `error_ratio` | by 0.02 or more, both with at least 20 requests |
//! | `latency_p99` | by half of the smaller one or more, and by 5 ms, both with at least 20 requests |
//! | `requests_per_second` | by half of the smaller one or more, with at least 20 requests in one |
//! | `attempts` | by 0.1 a request or more, both with at least 20 requests |
//!
//! Below 20 requests a ratio or a quantile is an anecdote. Health that only fell idle, or woke up, is told as a rate that changed. Positions
//! and generations are not compared.

use std::collections::BTreeMap;

use tripline_api as api;

const FEW: u64 = 20;
const ERROR_RATIO: f64 = 0.02;
const FACTOR: f64 = 1.5;
const LATENCY_MS: f64 = 5.0;
const ATTEMPTS: f64 = 0.1;

/// What differs in `after`, compared with `before`.
pub(super) fn between(before: api::Graph, after: api::Graph) -> api::GraphDifference {
    let moment = |graph: &api::Graph| api::Moment { at: graph.at.clone(), window_seconds: graph.window_seconds };
    let (before_moment, after_moment) = (moment(&before), moment(&after));
    let nodes = paired(before.nodes, after.nodes, |node| node.id.clone());
    let edges = paired(before.edges, after.edges, |edge| edge.id.clone());
    let (all_nodes, all_edges) = (nodes.len(), edges.len());
    let nodes: Vec<api::NodeChange> = nodes
        .into_iter()
        .filter_map(|(id, (before, after))| {
            let (change, what) = told(before.as_ref(), after.as_ref(), node_differs)?;
            Some(api::NodeChange { id, change, what, before, after })
        })
        .collect();
    let edges: Vec<api::EdgeChange> = edges
        .into_iter()
        .filter_map(|(id, (before, after))| {
            let (change, what) = told(before.as_ref(), after.as_ref(), edge_differs)?;
            Some(api::EdgeChange { id, change, what, before, after })
        })
        .collect();
    api::GraphDifference {
        before: before_moment,
        after: after_moment,
        same_nodes: (all_nodes - nodes.len()) as u64,
        same_edges: (all_edges - edges.len()) as u64,
        nodes,
        edges,
    }
}

type Pairs<T> = BTreeMap<String, (Option<T>, Option<T>)>;

fn paired<T>(before: Vec<T>, after: Vec<T>, id: impl Fn(&T) -> String) -> Pairs<T> {
    let mut pairs: Pairs<T> = before.into_iter().map(|one| (id(&one), (Some(one), None))).collect();
    for one in after {
        let key = id(&one);
        pairs.entry(key).or_insert((None, None)).1 = Some(one);
    }
    pairs
}

fn told<T>(
    before: Option<&T>,
    after: Option<&T>,
    differs: impl Fn(&T, &T) -> Vec<&'static str>,
) -> Option<(api::ChangeKind, Vec<String>)> {
    match (before, after) {
        (None, _) => Some((api::ChangeKind::Added, Vec::new())),
        (_, None) => Some((api::ChangeKind::Removed, Vec::new())),
        (Some(before), Some(after)) => {
            let what: Vec<String> = differs(before, after).into_iter().map(str::to_owned).collect();
            (!what.is_empty()).then_some((api::ChangeKind::Changed, what))
        }
    }
}

/// What nodes and edges have in common.
struct Figures {
    health: api::Health,
    requests: u64,
    rate: f64,
    error_ratio: f64,
    p99: f64,
}

fn figures_differ(before: &Figures, after: &Figures) -> Vec<&'static str> {
    let is_idle = |figures: &Figures| figures.health == api::Health::Idle;
    let both_many = before.requests >= FEW && after.requests >= FEW;
    let one_many = before.requests >= FEW || after.requests >= FEW;
    let is_slower = (before.p99 - after.p99).abs() >= LATENCY_MS && by_factor(before.p99, after.p99);
    let table = [
        ("health", before.health != after.health && !is_idle(before) && !is_idle(after)),
        ("error_ratio", both_many && (before.error_ratio - after.error_ratio).abs() >= ERROR_RATIO),
        ("latency_p99", both_many && is_slower),
        ("requests_per_second", one_many && by_factor(before.rate, after.rate)),
    ];
    table.into_iter().filter_map(|(what, differs)| differs.then_some(what)).collect()
}

fn by_factor(one: f64, other: f64) -> bool {
    one.max(other) > 0.0 && one.max(other) >= one.min(other) * FACTOR
}

fn node_differs(before: &api::Node, after: &api::Node) -> Vec<&'static str> {
    let figures = |node: &api::Node| Figures {
        health: node.health,
        requests: node.requests,
        rate: node.requests_per_second,
        error_ratio: node.error_ratio,
        p99: node.latency_ms.p99,
    };
    let mut what = figures_differ(&figures(before), &figures(after));
    if before.entry_point != after.entry_point {
        what.push("entry_point");
    }
    what
}

fn edge_differs(before: &api::Edge, after: &api::Edge) -> Vec<&'static str> {
    let figures = |edge: &api::Edge| Figures {
        health: edge.health,
        requests: edge.requests,
        rate: edge.requests_per_second,
        error_ratio: edge.error_ratio,
        p99: edge.latency_ms.p99,
    };
    let mut what = figures_differ(&figures(before), &figures(after));
    let both_many = before.requests >= FEW && after.requests >= FEW;
    let is_known = |edge: &api::Edge| edge.breaker != api::BreakerState::None;
    let more = [
        ("breaker", is_known(before) && is_known(after) && before.breaker != after.breaker),
        ("attempts", both_many && (before.attempts_per_request - after.attempts_per_request).abs() >= ATTEMPTS),
        ("secured", both_many && before.secured != after.secured),
    ];
    what.extend(more.into_iter().filter_map(|(what, differs)| differs.then_some(what)));
    what
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;

    #[test]
    fn what_came_went_and_changed_is_told_and_noise_is_not() {
        let before = sample::view().graph;
        let mut after = before.clone();
        assert!(!before.edges.is_empty() && before.edges.iter().all(|edge| edge.requests >= FEW), "{before:?}");
        let same = between(before.clone(), after.clone());
        assert_eq!((same.nodes, same.edges, same.same_edges), (vec![], vec![], before.edges.len() as u64));

        after.nodes.push(sample::node("bank/ledger"));
        after.edges.push(sample::edge("shop/cart", "bank/ledger"));
        let edge = &mut after.edges[0];
        edge.requests_per_second *= 1.4;
        edge.latency_ms.p99 += 4.0;
        assert_eq!(edge_differs(&before.edges[0], edge), Vec::<&str>::new(), "noise");
        (edge.error_ratio, edge.breaker) = (0.5, api::BreakerState::Open);
        edge.latency_ms.p99 = before.edges[0].latency_ms.p99 * 2.0 + 10.0;
        let told = between(before.clone(), after.clone());
        let changes: Vec<_> = told.edges.iter().map(|e| (e.id.as_str(), e.change, e.what.join(" "))).collect();
        assert_eq!(
            changes,
            [
                ("shop/cart>bank/ledger:http", api::ChangeKind::Added, String::new()),
                ("shop/web>shop/cart:http", api::ChangeKind::Changed, "error_ratio latency_p99 breaker".to_owned()),
            ]
        );
        assert_eq!(told.nodes.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(), ["bank/ledger"]);
        let back = between(after, before);
        assert_eq!(back.edges[0].change, api::ChangeKind::Removed);
        assert!(back.edges[0].before.is_some() && back.edges[0].after.is_none());
    }

    #[test]
    fn few_requests_prove_nothing() {
        let graph = sample::view().graph;
        let few = api::Edge { requests: 3, error_ratio: 0.0, ..graph.edges[0].clone() };
        let failed = api::Edge { error_ratio: 1.0, ..few.clone() };
        assert_eq!(edge_differs(&few, &failed), Vec::<&str>::new());
    }
}
