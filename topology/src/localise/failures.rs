//! What every service's failures are made of, in requests above normal.
//!
//! Its own part: those without a failed call of their own, where that is known; otherwise what is left after its failed calls. A call's part: what the
//! client saw fail on the edge, shed calls included; without rows of the edge the server's failures, shared out among its clients by
//! theirs. More failures at the clients than the server answered with were lost on the way, and are charged as a gap is. Calls that were
//! shed while nothing failed at the server make the edge the suspect, never the server.

use super::CandidateKind::{Breaker, Errors};
use super::charge::{Charge, charges};
use super::facts::{Edge, Facts};
use super::latency::{Charged, add_gap, at_clients, own_belief};
use crate::share_out::{NEGLIGIBLE, Parts};

/// Parts of all nodes, and every node's excess with what of it is believed.
pub(super) struct Failures {
    pub(super) parts: Vec<Parts<Charged>>,
    pub(super) whole: Vec<(f64, f64)>,
}

/// Works the parts out.
pub(super) fn failures(facts: &Facts) -> Failures {
    let whole: Vec<(f64, f64)> = (0..facts.names.len()).map(|node| failures_of(facts, node)).collect();
    let lost: Vec<f64> = (0..facts.names.len()).map(|node| lost_share(facts, node)).collect();
    let delays: Vec<Option<f64>> = facts
        .edges
        .iter()
        .zip(&facts.ends)
        .map(|(edge, (_, server))| {
            edge.failed.map(|failed| failed.excess * lost.get(*server).copied().unwrap_or(0.0) / failed.requests)
        })
        .collect();
    let own: Vec<f64> = facts.services.iter().map(own_belief).collect();
    let charges = charges(facts, &delays, &own);
    let at_clients = (0..facts.names.len()).map(|node| at_clients(facts, &whole, node)).collect();
    let view = View { facts, whole: &whole, lost: &lost, charges: &charges, at_clients };
    let parts = (0..facts.names.len()).map(|node| view.of_node(node)).collect();
    Failures { parts, whole }
}

/// Failures above normal and what of them is believed: as the service tells, or else as its clients do.
fn failures_of(facts: &Facts, node: usize) -> (f64, f64) {
    if let Some(failed) = facts.services.get(node).and_then(|service| service.failed) {
        return (failed.excess, failed.excess * failed.belief);
    }
    let seen = facts.callers_of(node).filter_map(|(_, _, edge)| edge.failed);
    seen.fold((0.0, 0.0), |(raw, believed), failed| (raw + failed.excess, believed + failed.excess * failed.belief))
}

/// Share of the failures at the clients of `node` that it never answered; zero where it does not tell.
fn lost_share(facts: &Facts, node: usize) -> f64 {
    let Some(answered) = facts.services.get(node).and_then(|service| service.failed) else { return 0.0 };
    let seen: f64 = facts.callers_of(node).filter_map(|(_, _, edge)| edge.failed).map(|failed| failed.excess).sum();
    if seen > NEGLIGIBLE { (1.0 - answered.excess / seen).clamp(0.0, 1.0) } else { 0.0 }
}

struct View<'a> {
    facts: &'a Facts,
    whole: &'a [(f64, f64)],
    lost: &'a [f64],
    charges: &'a [Charge],
    at_clients: Vec<f64>,
}

impl View<'_> {
    fn excess(&self, node: usize) -> f64 {
        self.whole.get(node).map_or(0.0, |(raw, _)| *raw)
    }

    fn of_node(&self, node: usize) -> Parts<Charged> {
        let mut parts = Parts::default();
        for (at, server, edge) in self.facts.calls_of(node) {
            if self.facts.services.get(server).is_some_and(|service| service.was_healthy || service.failed.is_none()) {
                self.add_call(&mut parts, (at, node, server), edge);
            }
        }
        let service = self.facts.services.get(node);
        let (raw, believed) = self.whole.get(node).copied().unwrap_or_default();
        let belief = if raw > 0.0 { believed / raw } else { 0.0 };
        let called: f64 = parts.calls.iter().map(|(_, amount)| amount).sum::<f64>()
            + parts.own.iter().map(|(_, amount)| amount).sum::<f64>();
        let own = match service.and_then(|service| service.failed_own) {
            Some(own) if called > NEGLIGIBLE => own.excess.min(raw),
            _ => (raw - called).max(0.0),
        };
        // Retries and fallbacks: not every failed call makes a failed request.
        if called > raw - own && called > 0.0 && raw > 0.0 {
            let scale = ((raw - own) / called).max(0.0);
            parts.calls.iter_mut().for_each(|(_, amount)| *amount *= scale);
            parts.own.iter_mut().for_each(|(_, amount)| *amount *= scale);
        }
        parts.own.push((Charged::node(node, Errors), own * belief));
        parts.unexplained += own * (1.0 - belief);
        parts
    }

    fn add_call(&self, parts: &mut Parts<Charged>, (at, client, server): (usize, usize, usize), edge: &Edge) {
        if edge.shed > NEGLIGIBLE {
            if self.excess(server) > NEGLIGIBLE {
                parts.calls.push((server, edge.shed));
            } else {
                parts.own.push((Charged { node: server, edge_from: Some(client), kind: Breaker }, edge.shed));
            }
        }
        let Some(failed) = edge.failed else {
            let clients = self.at_clients.get(server).copied().unwrap_or(0.0);
            if clients > NEGLIGIBLE && self.excess(server) > NEGLIGIBLE {
                parts.calls.push((server, self.excess(server) * self.excess(client) / clients));
            }
            return;
        };
        let lost = failed.excess * self.lost.get(server).copied().unwrap_or(0.0);
        if failed.excess - lost > NEGLIGIBLE {
            parts.calls.push((server, failed.excess - lost));
        }
        if lost > NEGLIGIBLE {
            add_gap(parts, self.charges.get(at), (client, server), lost);
        }
    }
}
