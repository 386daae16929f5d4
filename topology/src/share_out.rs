//! Sharing out what is too much: from everybody's own part and calls to *mixes*, callee first over the condensation of the graph.
//!
//! A node's excess has parts that start at it (or that are charged to an edge), parts that came with its calls, and parts that nobody
//! explains. The mix of a node says which share of its excess each suspect explains: its own parts count as they are, a call
//! counts with the mix of the called. Nodes of one cycle share one mix, made of all their parts but the calls among
//! themselves. Shares of a mix sum to one less what is unexplained.

use std::collections::BTreeMap;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// Below this much excess (requests, or seconds) there is nothing to share out.
pub(crate) const NEGLIGIBLE: f64 = 1e-9;

/// Shares by suspect.
pub(crate) type Mix<S> = BTreeMap<S, f64>;

/// Where one node's excess comes from. Amounts are in one unit, not negative.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parts<S> {
    /// What starts here, or on the way from here, by suspect.
    pub(crate) own: Vec<(S, f64)>,
    /// What came with calls, by the index of the called.
    pub(crate) calls: Vec<(usize, f64)>,
    /// What neither explains.
    pub(crate) unexplained: f64,
}

impl<S> Default for Parts<S> {
    fn default() -> Self {
        Self { own: Vec::new(), calls: Vec::new(), unexplained: 0.0 }
    }
}

/// The mix of every node. `nothing` answers for the members of a cycle, or for a single node, that have no excess at all.
pub(crate) fn mixes<S: Ord + Clone>(parts: &[Parts<S>], nothing: impl Fn(&[usize]) -> Mix<S>) -> Vec<Mix<S>> {
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(parts.len(), 0);
    parts.iter().for_each(|_| {
        graph.add_node(());
    });
    for (from, node) in parts.iter().enumerate() {
        for (to, _) in node.calls.iter().filter(|(to, _)| *to < parts.len()) {
            graph.add_edge(NodeIndex::new(from), NodeIndex::new(*to), ());
        }
    }
    let mut mixes: Vec<Mix<S>> = vec![Mix::new(); parts.len()];
    let mut component_of = vec![usize::MAX; parts.len()];
    // tarjan_scc answers components in reverse topological order: the called before their callers.
    for (number, component) in tarjan_scc(&graph).into_iter().enumerate() {
        let members: Vec<usize> = component.into_iter().map(NodeIndex::index).collect();
        for member in &members {
            if let Some(of) = component_of.get_mut(*member) {
                *of = number;
            }
        }
        let inside = |node: usize| component_of.get(node) == Some(&number);
        let mix = of_component(parts, &members, &mixes, inside).unwrap_or_else(|| nothing(&members));
        for member in members {
            if let Some(slot) = mixes.get_mut(member) {
                slot.clone_from(&mix);
            }
        }
    }
    mixes
}

fn of_component<S: Ord + Clone>(
    parts: &[Parts<S>],
    members: &[usize],
    known: &[Mix<S>],
    inside: impl Fn(usize) -> bool,
) -> Option<Mix<S>> {
    let mut mix = Mix::new();
    let mut whole = 0.0;
    for node in members.iter().filter_map(|member| parts.get(*member)) {
        whole += node.unexplained;
        for (suspect, amount) in &node.own {
            whole += amount;
            add(&mut mix, suspect.clone(), *amount);
        }
        for (to, amount) in node.calls.iter().filter(|(to, _)| !inside(*to)) {
            whole += amount;
            for (suspect, share) in known.get(*to).into_iter().flatten() {
                add(&mut mix, suspect.clone(), amount * share);
            }
        }
    }
    (whole > NEGLIGIBLE).then(|| {
        mix.values_mut().for_each(|share| *share /= whole);
        mix
    })
}

fn add<S: Ord>(mix: &mut Mix<S>, suspect: S, part: f64) {
    if part > 0.0 {
        *mix.entry(suspect).or_default() += part;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_call_counts_with_the_mix_of_the_called() {
        let parts = [
            Parts { own: vec![("web", 1.0)], calls: vec![(1, 3.0)], unexplained: 0.0 },
            Parts { own: vec![("db", 8.0)], calls: vec![], unexplained: 2.0 },
        ];
        let mixes = mixes(&parts, |_| Mix::new());
        assert!((mixes[0]["db"] - 0.6).abs() < 1e-9 && mixes[0]["web"] == 0.25, "{mixes:?}");
    }

    #[test]
    fn a_cycle_has_one_mix() {
        let parts = [
            Parts { own: vec![], calls: vec![(1, 3.0)], unexplained: 0.0 },
            Parts { own: vec![("b", 3.0)], calls: vec![(0, 3.0)], unexplained: 0.0 },
        ];
        let mixes = mixes(&parts, |_| Mix::new());
        assert_eq!(mixes, [Mix::from([("b", 1.0)]), Mix::from([("b", 1.0)])]);
    }

    proptest! {
        #[test]
        fn no_mix_explains_more_than_all(
            parts in prop::collection::vec((0.0..10.0f64, 0.0..10.0f64, prop::collection::vec((0usize..8, 0.0..10.0f64), 0..4)), 8)
        ) {
            let parts: Vec<Parts<usize>> = parts.into_iter().enumerate()
                .map(|(at, (own, unexplained, calls))| Parts { own: vec![(at, own)], calls, unexplained }).collect();
            for mix in mixes(&parts, |_| Mix::new()) {
                prop_assert!(mix.values().sum::<f64>() < 1.0 + 1e-9);
                prop_assert!(mix.values().all(|share| *share >= 0.0));
            }
        }
    }
}
