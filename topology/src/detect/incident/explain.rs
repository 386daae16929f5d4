//! Does what is slow beside an incident belong to it?
//!
//! Two parts of an incident explain each other when at least 30 % of the excess of one is covered by the other along a path. Failures and open
//! breakers join as they come, because what a share of failures means is worked out by [`super::super::blame`]. An edge that is only slow joins
//! when
//! - its server makes calls that add at least 30 % of what it adds (whether they count as degraded or not: a silent hop is bridged), or
//! - it adds at least 30 % of what a degraded call to its client adds, or
//! - its server is a suspect of the incident.
//!
//! Others are healthy services that waver, as they do on a busy machine. They are left out: they neither widen the blast radius nor put off
//! the end. Without any incident they would have to open one of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use tripline_model::{EdgeKey, ServiceName};

use super::{Part, Tracked, View};
use crate::detect::degraded::EdgeWatch;
use crate::detect::near::NearEdge;

/// The specification's 30 %.
const COVERS: f64 = 0.3;
/// Score of a candidate below which it is no suspect.
const LIKELY: f64 = 0.1;

/// What of a part belongs to an incident that goes on.
pub(in crate::detect) fn explained(view: &View<'_>, tracked: &Tracked, part: Part) -> Part {
    let candidates = tracked.incident.candidates.iter().filter(|candidate| candidate.score.get() >= LIKELY);
    let suspects: BTreeSet<&ServiceName> = candidates.map(|candidate| &candidate.suspect.service).collect();
    if suspects.is_empty() {
        return part;
    }
    let near = view.nears.of(view.graph, &part.edges);
    let only_slow = near.touched().filter(|(_, edge)| only_slow(view, edge)).map(|(_, edge)| &edge.key);
    let foreign = only_slow.filter(|key| !suspects.contains(&key.server) && !covers(view, key, &part));
    let foreign: BTreeSet<&EdgeKey> = foreign.collect();
    if foreign.is_empty() {
        return part;
    }
    let edges: BTreeSet<EdgeKey> = part.edges.iter().filter(|key| !foreign.contains(key)).cloned().collect();
    let servers: BTreeSet<&ServiceName> = edges.iter().map(|key| &key.server).collect();
    let roots = part.roots.iter().filter(|root| servers.contains(&root.service)).cloned().collect();
    Part { edges: Arc::new(edges), roots }
}

fn only_slow(view: &View<'_>, edge: &NearEdge) -> bool {
    let state = view.graph.at(edge.place).map(|(_, state)| state).filter(|state| state.born == edge.born);
    state.is_some_and(|state| view.is_only_slow(state))
}

fn covers(view: &View<'_>, key: &EdgeKey, part: &Part) -> bool {
    let added = view.watch(key).map_or(0.0, EdgeWatch::added);
    let of = |state| view.watches.at(state).map_or(0.0, EdgeWatch::added);
    let called: f64 = view.graph.edges_from(&key.server).map(|(_, state)| of(state)).sum();
    let mut callers = view.graph.edges_into(&key.client).filter(|(caller, _)| part.edges.contains(caller));
    called >= COVERS * added || callers.any(|(_, state)| added >= COVERS * of(state))
}
