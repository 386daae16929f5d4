//! What the faults of a plan do at a moment, to a service or on an edge.

use std::collections::BTreeMap;

use super::layout::{Edge, nanos};
use crate::plan::{Fault, FaultKind, Plan};

/// Faults by what they are of.
pub(super) struct Effects {
    services: Vec<Vec<Effect>>,
    edges: Vec<Vec<Effect>>,
}

#[derive(Clone, Copy)]
struct Effect {
    kind: FaultKind,
    from: u64,
    to: u64,
    ratio: f64,
    added: u64,
    times: f64,
}

impl Effect {
    fn of(fault: &Fault) -> Self {
        Self {
            kind: fault.kind,
            from: nanos(fault.from_s * 1e3),
            to: nanos(fault.to_s * 1e3),
            ratio: fault.ratio.unwrap_or(1.0),
            added: nanos(fault.ms.unwrap_or(0.0)),
            times: fault.times.unwrap_or(1.0),
        }
    }
}

impl Effects {
    pub(super) fn of(plan: &Plan, index: &BTreeMap<&str, usize>, edges: &[Edge]) -> Self {
        let mut effects =
            Self { services: vec![Vec::new(); plan.services.len()], edges: vec![Vec::new(); edges.len()] };
        for fault in &plan.faults {
            let server = index[fault.service.as_str()];
            match fault.client.as_deref().map(|client| index[client]) {
                Some(client) => {
                    let of_it = |edge: &&Edge| edge.client == Some(client) && edge.server == server;
                    if let Some(at) = edges.iter().position(|edge| of_it(&edge)) {
                        effects.edges[at].push(Effect::of(fault));
                    }
                }
                None => effects.services[server].push(Effect::of(fault)),
            }
        }
        effects
    }

    fn of_service(&self, service: usize, now: u64) -> impl Iterator<Item = &Effect> {
        self.services[service].iter().filter(move |effect| (effect.from..effect.to).contains(&now))
    }

    fn of_edge(&self, edge: usize, now: u64) -> impl Iterator<Item = &Effect> {
        self.edges[edge].iter().filter(move |effect| (effect.from..effect.to).contains(&now))
    }

    /// Share of its requests that a replica fails, beyond its normal one.
    pub(super) fn failing(&self, service: usize, replica: usize, now: u64) -> f64 {
        self.of_service(service, now)
            .map(|effect| match effect.kind {
                FaultKind::Errors | FaultKind::Misconfigured | FaultKind::BadDeploy => effect.ratio,
                FaultKind::BadReplica if replica == 0 => effect.ratio,
                _ => 0.0,
            })
            .fold(0.0, f64::max)
    }

    /// Time that a request takes longer, with `busy` others in the replica.
    pub(super) fn slower(&self, service: usize, busy: u32, now: u64) -> u64 {
        self.of_service(service, now)
            .map(|effect| match effect.kind {
                FaultKind::Latency | FaultKind::BadDeploy => effect.added,
                FaultKind::Contention => effect.added * u64::from(busy),
                FaultKind::SlowLeak => {
                    let part = (now - effect.from) as f64 / (effect.to - effect.from).max(1) as f64;
                    (effect.added as f64 * part) as u64
                }
                _ => 0,
            })
            .sum()
    }

    /// How long work takes that begins now and would take `took`: hosts stand still, or are overloaded.
    pub(super) fn stretched(&self, service: usize, took: u64, now: u64) -> u64 {
        let sluggish = self.of_service(service, now).filter(|effect| effect.kind == FaultKind::Sluggish);
        let mut took = (took as f64 * sluggish.map(|effect| effect.times).fold(1.0, f64::max)) as u64;
        for pause in self.services[service].iter().filter(|effect| effect.kind == FaultKind::Pause) {
            let until = pause.from + pause.added;
            if now < until && now + took > pause.from {
                took += until - now.max(pause.from);
            }
        }
        took
    }

    /// Share of its requests that it answers with 4xx at once.
    pub(super) fn declined(&self, service: usize, now: u64) -> f64 {
        self.of_service(service, now)
            .filter(|effect| effect.kind == FaultKind::ClientErrors)
            .map(|effect| effect.ratio)
            .fold(0.0, f64::max)
    }

    pub(super) fn is_down(&self, service: usize, now: u64) -> bool {
        self.of_service(service, now).any(|effect| effect.kind == FaultKind::Crash)
    }

    pub(super) fn refuses(&self, service: usize, now: u64) -> bool {
        self.of_service(service, now).any(|effect| effect.kind == FaultKind::Refusal)
    }

    /// Share of its places that a service still has.
    pub(super) fn places(&self, service: usize, now: u64) -> f64 {
        self.of_service(service, now)
            .filter(|effect| effect.kind == FaultKind::CapacityLoss)
            .map(|effect| effect.ratio)
            .fold(1.0, f64::min)
    }

    pub(super) fn edge_delay(&self, edge: usize, now: u64) -> u64 {
        self.of_edge(edge, now).filter(|effect| effect.kind == FaultKind::EdgeDelay).map(|effect| effect.added).sum()
    }

    pub(super) fn edge_loss(&self, edge: usize, now: u64) -> f64 {
        self.of_edge(edge, now)
            .filter(|effect| effect.kind == FaultKind::EdgeLoss)
            .map(|effect| effect.ratio)
            .fold(0.0, f64::max)
    }

    /// How often a call is made instead of once.
    pub(super) fn calls(&self, edge: usize, now: u64) -> f64 {
        self.of_edge(edge, now)
            .filter(|effect| effect.kind == FaultKind::ExtraCalls)
            .map(|effect| effect.times)
            .fold(1.0, f64::max)
    }

    /// Retries without a budget, when the edge has them now.
    pub(super) fn unbounded_retries(&self, edge: usize, now: u64) -> Option<u32> {
        self.of_edge(edge, now)
            .find(|effect| effect.kind == FaultKind::RetriesWithoutBudget)
            .map(|effect| effect.times as u32)
    }

    /// A wrong timeout, when the edge has one now.
    pub(super) fn timeout(&self, edge: usize, now: u64) -> Option<u64> {
        self.of_edge(edge, now).find(|effect| effect.kind == FaultKind::WrongTimeout).map(|effect| effect.added)
    }
}
