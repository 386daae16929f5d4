//! What every service's added latency is made of, in seconds over all requests of the incident.
//!
//! Its own part: self time above normal where it is known; otherwise what is left of its latency's excess after its calls. A call's part: the excess
//! that the client saw on the edge, less the gap; without rows of the edge the server's excess, shared out among its clients by their own
//! excess. The gap goes to whom [`super::charge`] says. What is not believed stays in the whole and is unexplained.

use super::CandidateKind;
use super::charge::{Charge, charges};
use super::facts::{Edge, Facts, Service};
use super::series::Shift;
use crate::share_out::Parts;

/// Whom an amount is charged to, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Charged {
    pub(super) node: usize,
    /// The client, when the edge from it is meant and not the node.
    pub(super) edge_from: Option<usize>,
    pub(super) kind: CandidateKind,
}

impl Charged {
    pub(super) const fn node(node: usize, kind: CandidateKind) -> Self {
        Self { node, edge_from: None, kind }
    }
}

const MS: f64 = 1e-3;

/// Parts of all nodes, and every node's excess with what of it is believed.
pub(super) struct Latency {
    pub(super) parts: Vec<Parts<Charged>>,
    pub(super) whole: Vec<(f64, f64)>,
}

/// Works the parts out.
pub(super) fn latency(facts: &Facts) -> Latency {
    let own: Vec<f64> = facts.services.iter().map(own_belief).collect();
    let delays: Vec<Option<f64>> =
        facts.edges.iter().map(|edge| edge.gap.map(|gap| gap.believed / gap.requests)).collect();
    let charges = charges(facts, &delays, &own);
    let whole: Vec<(f64, f64)> =
        facts.services.iter().map(|service| sum(service, |operation| operation.latency)).collect();
    let at_clients = (0..facts.names.len()).map(|node| at_clients(facts, &whole, node)).collect();
    let view = View { facts, charges: &charges, whole: &whole, at_clients };
    let parts = (0..facts.names.len()).map(|node| view.of_node(node)).collect();
    Latency { parts, whole }
}

/// Belief in the excess of a service's own time, over all operations.
pub(super) fn own_belief(service: &Service) -> f64 {
    let (raw, believed) = sum(service, |operation| operation.self_time);
    if raw > 0.0 { believed / raw } else { 0.0 }
}

fn sum(service: &Service, of: impl Fn(&super::facts::Operation) -> Option<Shift>) -> (f64, f64) {
    let shifts = service.operations.iter().filter_map(of);
    shifts.fold((0.0, 0.0), |(raw, believed), shift| (raw + shift.raw * MS, believed + shift.believed * MS))
}

/// Excess of all clients of `node` together.
pub(super) fn at_clients(facts: &Facts, whole: &[(f64, f64)], node: usize) -> f64 {
    facts.callers_of(node).filter_map(|(_, client, _)| whole.get(client)).map(|(raw, _)| raw).sum()
}

struct View<'a> {
    facts: &'a Facts,
    charges: &'a [Charge],
    whole: &'a [(f64, f64)],
    at_clients: Vec<f64>,
}

impl View<'_> {
    fn of_node(&self, node: usize) -> Parts<Charged> {
        let mut parts = Parts::default();
        let mut gaps = 0.0;
        for (at, server, edge) in self.facts.calls_of(node) {
            if let Some(gap) = edge.gap {
                gaps += gap.raw * MS;
                parts.unexplained += (gap.raw - gap.believed) * MS;
                add_gap(&mut parts, self.charges.get(at), (node, server), gap.believed * MS);
            }
            let call = self.seconds_of_call((node, server), edge);
            if call > 0.0 {
                parts.calls.push((server, call));
            }
        }
        let Some(service) = self.facts.services.get(node) else { return parts };
        if service.operations.iter().any(|operation| operation.self_time.is_some()) {
            let (raw, believed) = sum(service, |operation| operation.self_time);
            parts.own.push((Charged::node(node, CandidateKind::Latency), believed));
            parts.unexplained += raw - believed;
            return parts;
        }
        let (raw, believed) = self.whole.get(node).copied().unwrap_or_default();
        let called: f64 = parts.calls.iter().map(|(_, amount)| amount).sum();
        let own = (raw - called - gaps).max(0.0);
        let belief = if raw > 0.0 { believed / raw } else { 0.0 };
        parts.own.push((Charged::node(node, CandidateKind::Latency), own * belief));
        parts.unexplained += own * (1.0 - belief);
        // Calls at the same time, or that the answer did not wait for: together they cannot explain more than there is.
        if called > raw - own && called > 0.0 {
            parts.calls.iter_mut().for_each(|(_, amount)| *amount *= ((raw - own) / called).max(0.0));
        }
        parts
    }

    /// What a call added to its client's latency, without the gap.
    fn seconds_of_call(&self, (client, server): (usize, usize), edge: &Edge) -> f64 {
        if let Some(latency) = edge.client_latency {
            return ((latency.raw - edge.gap.map_or(0.0, |gap| gap.raw)) * MS).max(0.0);
        }
        let excess = |node: usize| self.whole.get(node).map_or(0.0, |(raw, _)| *raw);
        let healthy = self.facts.services.get(server).is_some_and(|service| service.was_healthy);
        let clients = self.at_clients.get(server).copied().unwrap_or(0.0);
        if edge.has_latency || !healthy || clients <= 0.0 {
            return 0.0;
        }
        excess(server) * excess(client) / clients
    }
}

/// Charges what was lost between `client` and `server`, in seconds or requests.
pub(super) fn add_gap(
    parts: &mut Parts<Charged>,
    charge: Option<&Charge>,
    (client, server): (usize, usize),
    amount: f64,
) {
    let kind = CandidateKind::Network;
    match charge {
        Some(Charge::Ends { client: of_client, server: of_server }) => {
            parts.own.push((Charged::node(client, kind), amount * of_client));
            parts.own.push((Charged::node(server, kind), amount * of_server));
        }
        _ => parts.own.push((Charged { node: server, edge_from: Some(client), kind }, amount)),
    }
}
