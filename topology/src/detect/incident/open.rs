//! What open breakers alone can say, before anything has been counted.

use std::collections::BTreeSet;

use tripline_model::{EdgeKey, Ratio, ServiceName, Timestamp};

use super::measure::MAX_CANDIDATES;
use super::{Candidate, Evidence, EvidenceKind, View};
use crate::detect::blame::Flows;
use crate::detect::trips::EdgeTrip;
use crate::detect::{Suspect, SuspectKind};
use crate::graph::EdgeState;

/// The servers behind open breakers that make no degraded call themselves, in equal shares.
///
/// Where every such breaker of a server opened for no more failures than usual, the edge is named. Where a breaker opened because nobody
/// answered in time, and the server has a sidecar that may yet say that it is well, server and way are equally good: a tie, told as one.
pub(super) fn deepest(
    view: &View<'_>,
    degraded: &BTreeSet<EdgeKey>,
    (trips, span): (&[EdgeTrip], (Timestamp, Timestamp)),
    flows: &Flows,
) -> Vec<Candidate> {
    let clients: BTreeSet<&ServiceName> = degraded.iter().map(|key| &key.client).collect();
    let tripped: BTreeSet<&EdgeKey> = trips.iter().map(|trip| &trip.key).collect();
    let open = |key: &&EdgeKey| view.graph.edge(key).is_some_and(EdgeState::is_alarmed) || tripped.contains(*key);
    let into: Vec<&EdgeKey> = degraded.iter().filter(open).filter(|key| !clients.contains(&key.server)).collect();
    let servers: BTreeSet<&ServiceName> = into.iter().map(|key| &key.server).collect();
    let share = Ratio::of(1, servers.len() as u64).get();
    let candidate = |service: &ServiceName, edge: Option<&EdgeKey>, score: f64, text: String| Candidate {
        suspect: Suspect { service: service.clone(), edge: edge.cloned() },
        kind: if edge.is_some() { SuspectKind::Network } else { SuspectKind::Errors },
        score: Ratio::new(score),
        evidence: vec![Evidence { kind: EvidenceKind::BreakerOpen, text, value: 0.0, span }],
    };
    let mut candidates = Vec::new();
    for service in servers {
        let mut keys = into.iter().filter(|key| key.server == *service).copied();
        let Some(first) = keys.next() else { continue };
        let only = keys.next().is_none();
        let eager = |key: &EdgeKey| flows.edge(key).is_some_and(|flow| flow.eager);
        if into.iter().filter(|key| key.server == *service).all(|key| eager(key)) {
            let text = format!("a breaker to {service} opened although no more failed than usual");
            candidates.push(candidate(service, Some(first), share, text));
            continue;
        }
        let text = format!("a breaker to {service} is open, and no breaker on a call of its own");
        let has_sidecar = view.graph.node(service).is_some_and(|node| node.has_sidecar);
        let silent = view.trips.of(first).last().is_some_and(|trip| trip.unanswered);
        if only && has_sidecar && silent {
            candidates.push(candidate(service, None, share / 2.0, text));
            let text =
                format!("calls of {} to {service} got no answer in time: the way, or the time allowed", first.client);
            candidates.push(candidate(service, Some(first), share / 2.0, text));
        } else {
            candidates.push(candidate(service, None, share, text));
        }
    }
    candidates.truncate(MAX_CANDIDATES);
    candidates
}
