//! What is different between two views, such that applying it to the first gives the second. No clock and no IO.

use std::collections::{BTreeMap, BTreeSet};

use tripline_api as api;
use tripline_api::stream::MAX_TRANSITIONS;

use crate::live::View;

/// The view as a listener first gets it.
pub(super) fn snapshot(view: &View) -> api::Snapshot {
    api::Snapshot {
        graph: view.graph.clone(),
        incidents: view.incidents.clone(),
        transitions: view.transitions.iter().take(MAX_TRANSITIONS).cloned().collect(),
    }
}

/// From `before` to `after`; none when [`api::Changes`] cannot say it: an incident or a transition left, the order of old ones
/// changed, the window's length changed.
pub(super) fn changes(before: &View, after: &View) -> Option<api::Changes> {
    if before.graph.window_seconds.to_bits() != after.graph.window_seconds.to_bits() {
        return None;
    }
    let (nodes, removed_nodes) = changed(&before.graph.nodes, &after.graph.nodes, |node| &node.id);
    let (edges, removed_edges) = changed(&before.graph.edges, &after.graph.edges, |edge| &edge.id);
    Some(api::Changes {
        at: after.graph.at.clone(),
        generation: after.graph.generation,
        nodes,
        removed_nodes,
        edges,
        removed_edges,
        incidents: changed_incidents(&before.incidents, &after.incidents)?,
        transitions: new_transitions(&before.transitions, &after.transitions)?,
    })
}

/// New or different items, and the ids of those that went. While none comes or goes, each stands where it stood.
fn changed<T: Clone + PartialEq>(before: &[T], after: &[T], id: impl Fn(&T) -> &String) -> (Vec<T>, Vec<String>) {
    if before.len() == after.len() && before.iter().zip(after).all(|(was, is)| id(was) == id(is)) {
        let different = before.iter().zip(after).filter(|(was, is)| was != is);
        return (different.map(|(_, is)| is.clone()).collect(), Vec::new());
    }
    let mut left: BTreeMap<&String, &T> = before.iter().map(|item| (id(item), item)).collect();
    let changed = after.iter().filter(|item| left.remove(id(item)) != Some(*item)).cloned().collect();
    (changed, left.into_keys().cloned().collect())
}

/// Changed and new incidents, new ones in the order in which the listener puts each in front of all others: oldest first.
fn changed_incidents(before: &[api::Incident], after: &[api::Incident]) -> Option<Vec<api::Incident>> {
    let (new, old) = after.split_at(after.len().checked_sub(before.len())?);
    if before.iter().map(|i| &i.id).ne(old.iter().map(|i| &i.id)) {
        return None;
    }
    let known: BTreeSet<&String> = before.iter().map(|i| &i.id).collect();
    if new.iter().any(|i| known.contains(&i.id)) {
        return None;
    }
    let different = before.iter().zip(old).filter(|(was, is)| was != is).map(|(_, is)| is);
    Some(new.iter().rev().chain(different).cloned().collect())
}

/// The transitions in front of those known, as few as explain the new list. Transitions bear no id, but any split that
/// explains the list gives the listener the same list.
fn new_transitions(before: &[api::Transition], after: &[api::Transition]) -> Option<Vec<api::Transition>> {
    let after = after.get(..MAX_TRANSITIONS).unwrap_or(after);
    let explains = |new: usize| {
        let kept = after.get(new..).unwrap_or_default();
        before.starts_with(kept) && (kept.len() == before.len() || after.len() == MAX_TRANSITIONS)
    };
    let new = (0..=after.len()).find(|new| explains(*new))?;
    Some(after.get(..new).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;
    use proptest::prelude::*;

    /// Nodes and edges from few ids, so that they come, go and change; incidents and transitions as the live task makes them:
    /// `older` of one long story, newest first.
    fn view() -> impl Strategy<Value = (View, usize, usize)> {
        let items = || prop::collection::btree_map(0..6u64, 0..3u64, 0..6);
        (items(), items(), 0..4usize, 0..260usize, 0..3u64).prop_map(|(nodes, edges, incidents, transitions, state)| {
            let mut view = sample::view();
            let node =
                |(id, requests): (&u64, &u64)| api::Node { requests: *requests, ..sample::node(&format!("s/{id}")) };
            let edge = |(id, requests): (&u64, &u64)| api::Edge {
                requests: *requests,
                ..sample::edge("s/0", &format!("s/{id}"))
            };
            view.graph.nodes = nodes.iter().map(node).collect();
            view.graph.edges = edges.iter().map(edge).collect();
            view.graph.generation = state;
            let incident =
                |n: usize| api::Incident { trips: state, ..sample::incident(&n.to_string(), api::Phase::Starting) };
            view.incidents = (0..incidents).rev().map(incident).collect();
            // Some transitions are equal to each other.
            view.transitions = (0..transitions as u64).rev().take(200).map(|n| sample::transition(n / 3)).collect();
            (view, incidents, transitions)
        })
    }

    proptest! {
        #[test]
        fn changes_applied_to_a_snapshot_give_the_next((a, a_incidents, a_transitions) in view(), (b, b_incidents, b_transitions) in view()) {
            match changes(&a, &b) {
                Some(changes) => {
                    let mut listener = snapshot(&a);
                    changes.apply_to(&mut listener);
                    prop_assert_eq!(listener, snapshot(&b));
                }
                None => prop_assert!(a_incidents > b_incidents || a_transitions > b_transitions),
            }
        }
    }

    #[test]
    fn what_changes_cannot_say_asks_for_a_snapshot() {
        let before = sample::view();
        let mut after = before.clone();
        after.incidents.clear();
        assert!(changes(&before, &after).is_none(), "an incident left");
        let mut after = before.clone();
        after.graph.window_seconds = 10.0;
        assert!(changes(&before, &after).is_none());
        let same = changes(&before, &before).unwrap();
        assert!(
            same.nodes.is_empty() && same.edges.is_empty() && same.incidents.is_empty() && same.transitions.is_empty()
        );
    }
}
