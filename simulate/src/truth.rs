//! What truly happened, from twin runs: the same plan and seed without the fault.
//!
//! Both runs draw the same numbers for the same requests, so whatever differs was caused by the fault. Each edge is compared in panes
//! of five seconds. A pane is *hurt* when at least 5 requests and 1 % of them failed that did not fail in the twin, or when its mean
//! latency exceeds the twin's by more than 10 %, 5 ms, and three standard deviations of the twin's own panes. An edge is
//! hurt when two of three panes in a row are, and in a pane in which a breaker on it opened that stayed closed in the twin; its first
//! hurt pane is the onset, its last the end. These limits are wider than noise and narrower than the detector's, so a
//! detector can miss hurt edges, which the blast radius' recall then shows.
//!
//! With several faults each is run alone against the run with none, so each has a truth of its own. A fault that lasts
//! from the very start is background: it is part of every run and has no truth.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tripline_model::{BreakerState, EdgeKey, NodeKind, Protocol, Reporter, ServiceName, Timestamp};

use crate::mesh::{Reported, START, run};
use crate::plan::{Fault, FaultKind, Plan};

/// Length of a pane in seconds.
const PANE: u64 = 5;

/// What one fault did.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// What it was.
    pub kind: FaultKind,
    /// The service at fault; of an edge its server, of a surge `user`.
    pub service: ServiceName,
    /// The edge at fault, if it was one.
    pub edge: Option<EdgeKey>,
    /// When it was there.
    pub span: (Timestamp, Timestamp),
    /// When the first edge was hurt and the last one recovered; none when nothing was hurt.
    pub hurt: Option<(Timestamp, Timestamp)>,
    /// The hurt edges with their onset.
    pub edges: BTreeMap<EdgeKey, Timestamp>,
    /// The hurt edges on ways from the fault to the users.
    pub path: BTreeSet<EdgeKey>,
    /// Services that answer on a hurt edge, the one at fault not included.
    pub services: BTreeSet<ServiceName>,
}

impl Truth {
    /// Whether the harm outlasted the fault by a minute and more.
    #[must_use]
    pub fn outlasted(&self) -> bool {
        self.hurt.is_some_and(|(_, end)| end.since(self.span.1) >= Duration::from_secs(60))
    }
}

/// A run with the truth about each of its faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What the sidecars reported.
    pub reported: Reported,
    /// By fault, background left out.
    pub truths: Vec<Truth>,
    /// Whether the twin without faults was well: no breaker opened, and less than 2 % failed on every edge. A mesh that breaks down by
    /// itself has no twin to compare with.
    pub fit: bool,
}

/// Runs a plan and its twins.
#[must_use]
pub fn run_with_truth(plan: &Plan, seed: u64) -> Told {
    let background = |at: usize| plan.faults[at].from_s <= 0.0;
    let reported = run(plan, seed);
    let faults: Vec<usize> = (0..plan.faults.len()).filter(|at| !background(*at)).collect();
    if faults.is_empty() {
        return Told { reported, truths: Vec::new(), fit: true };
    }
    let calm = Panes::of(&run(&plan.with_faults(background), seed), plan.seconds);
    let fit = calm.is_well();
    let truths = faults
        .iter()
        .map(|at| {
            let hurt = if faults.len() == 1 {
                Panes::of(&reported, plan.seconds)
            } else {
                Panes::of(&run(&plan.with_faults(|other| other == *at || background(other)), seed), plan.seconds)
            };
            truth(&plan.faults[*at], &hurt, &calm)
        })
        .collect();
    Told { reported, truths, fit }
}

#[derive(Debug, Clone, Copy, Default)]
struct Pane {
    requests: u64,
    failed: u64,
    answered: u64,
    seconds: f64,
}

impl Pane {
    fn mean(self) -> f64 {
        if self.answered == 0 { 0.0 } else { self.seconds / self.answered as f64 }
    }
}

/// Panes of each edge as its best reporter has them.
struct Panes {
    edges: BTreeMap<EdgeKey, Vec<Pane>>,
    /// Panes in which a breaker on an edge opened.
    trips: BTreeMap<EdgeKey, BTreeSet<usize>>,
}

impl Panes {
    fn of(reported: &Reported, seconds: u64) -> Self {
        let mut by_reporter: BTreeMap<(&EdgeKey, Reporter), Vec<Pane>> = BTreeMap::new();
        let length = (seconds / PANE + 1) as usize;
        for window in &reported.windows {
            let panes =
                by_reporter.entry((&window.key, window.reporter)).or_insert_with(|| vec![Pane::default(); length]);
            let at = (window.start.since(START).as_secs() / PANE) as usize;
            if let Some(pane) = panes.get_mut(at) {
                pane.requests += window.counts.requests - window.counts.cancelled;
                // A caller who left was not served: for users that is a failure, and nobody else counts it.
                let left = if window.client_kind == NodeKind::User { window.counts.cancelled } else { 0 };
                pane.requests += left;
                pane.failed += window.counts.failed + left;
                pane.answered += window.latency.count();
                pane.seconds += window.latency.sum().as_secs_f64();
            }
        }
        let mut edges = BTreeMap::new();
        // The client's panes come first and stay.
        for ((key, _), panes) in by_reporter {
            edges.entry(key.clone()).or_insert(panes);
        }
        let mut trips: BTreeMap<EdgeKey, BTreeSet<usize>> = BTreeMap::new();
        for trip in reported.transitions.iter().filter(|transition| transition.to == BreakerState::Open) {
            let (client, server) = (trip.client.clone(), trip.server.clone());
            let key = EdgeKey { client, server, protocol: Protocol::Http };
            trips.entry(key).or_default().insert((trip.at.since(START).as_secs() / PANE) as usize);
        }
        Self { edges, trips }
    }
}

impl Panes {
    fn is_well(&self) -> bool {
        let failing = |panes: &Vec<Pane>| {
            let (failed, requests) =
                panes.iter().fold((0, 0), |sum, pane| (sum.0 + pane.failed, sum.1 + pane.requests));
            failed * 50 > requests
        };
        self.trips.is_empty() && !self.edges.values().any(failing)
    }
}

fn truth(fault: &Fault, with: &Panes, without: &Panes) -> Truth {
    let edges: BTreeMap<EdgeKey, (u64, u64)> = with
        .edges
        .iter()
        .filter_map(|(key, panes)| {
            let calm = without.edges.get(key).map_or(&[][..], Vec::as_slice);
            let opened = |panes: &Panes| panes.trips.get(key).cloned().unwrap_or_default();
            let trips: BTreeSet<usize> = opened(with).difference(&opened(without)).copied().collect();
            hurt(panes, calm, &trips).map(|span| (key.clone(), span))
        })
        .collect();
    let at = |seconds: f64| START + Duration::from_secs_f64(seconds);
    let span = (at(fault.from_s), at(fault.to_s));
    let second = |pane: u64| START + Duration::from_secs(pane * PANE);
    let first = edges.values().map(|(first, _)| *first).min();
    let last = edges.values().map(|(_, last)| *last).max();
    let (service, edge) = origin(fault);
    Truth {
        kind: fault.kind,
        // A pane may begin a moment before the fault that falls into it.
        hurt: first.zip(last).map(|(first, last)| (second(first).max(span.0), second(last + 1))),
        span,
        path: path(fault, &edges.keys().cloned().collect()),
        services: edges.keys().map(|key| key.server.clone()).filter(|server| *server != service).collect(),
        edges: edges.into_iter().map(|(key, (first, _))| (key, second(first))).collect(),
        service,
        edge,
    }
}

/// Whom the detector should name.
fn origin(fault: &Fault) -> (ServiceName, Option<EdgeKey>) {
    let server = ServiceName::from(fault.service.as_str());
    let client = fault.client.as_deref().map(ServiceName::from);
    match (fault.kind, client) {
        (FaultKind::DemandSurge, _) => (ServiceName::user(), None),
        // Who calls too often, or too impatiently, is at fault itself.
        (FaultKind::ExtraCalls | FaultKind::RetriesWithoutBudget, Some(client)) => (client, None),
        (_, Some(client)) => {
            let edge = EdgeKey { client, server: server.clone(), protocol: Protocol::Http };
            (server, Some(edge))
        }
        (_, None) => (server, None),
    }
}

/// First and last hurt pane of an edge.
fn hurt(panes: &[Pane], calm: &[Pane], trips: &BTreeSet<usize>) -> Option<(u64, u64)> {
    let means: Vec<f64> = calm.iter().filter(|pane| pane.answered >= 5).map(|pane| pane.mean()).collect();
    let count = means.len().max(1) as f64;
    let mean = means.iter().sum::<f64>() / count;
    let spread = (means.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    let worse: Vec<bool> = panes
        .iter()
        .enumerate()
        .map(|(at, pane)| {
            let twin = calm.get(at).copied().unwrap_or_default();
            let failed = pane.failed.saturating_sub(twin.failed);
            let usual = if twin.answered >= 5 { twin.mean() } else { mean };
            let slower = pane.mean() - usual;
            let slow = pane.answered >= 5 && slower > (0.1 * usual).max(0.005).max(3.0 * spread);
            (failed >= 5 && failed * 100 >= pane.requests) || slow
        })
        .collect();
    let holds = |at: usize| {
        let here = |at: Option<usize>| at.and_then(|at| worse.get(at)).is_some_and(|worse| *worse);
        trips.contains(&at)
            || here(Some(at))
                && [at.checked_sub(2), at.checked_sub(1), Some(at + 1), Some(at + 2)].into_iter().any(here)
    };
    let first = (0..worse.len()).find(|at| holds(*at))?;
    let last = (0..worse.len()).rev().find(|at| holds(*at))?;
    Some((first as u64, last as u64))
}

/// Hurt edges from which the place at fault is reached over hurt edges: the ways that the harm took.
fn path(fault: &Fault, hurt: &BTreeSet<EdgeKey>) -> BTreeSet<EdgeKey> {
    let mut path = BTreeSet::new();
    let (service, edge) = origin(fault);
    let mut reached: BTreeSet<ServiceName> = BTreeSet::new();
    // Demand hurts whoever serves it; the way back to the users starts there.
    let start =
        if matches!(fault.kind, FaultKind::DemandSurge | FaultKind::ExtraCalls | FaultKind::RetriesWithoutBudget) {
            ServiceName::from(fault.service.as_str())
        } else {
            service
        };
    let mut front = VecDeque::from([start]);
    while let Some(server) = front.pop_front() {
        if !reached.insert(server.clone()) {
            continue;
        }
        for key in hurt.iter().filter(|key| key.server == server) {
            if reached.len() == 1 && edge.as_ref().is_some_and(|edge| edge != key) {
                continue;
            }
            path.insert(key.clone());
            front.push_back(key.client.clone());
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CallPlan, EntryPlan, ServicePlan};

    /// user > web > pay > db, and web > ads on the side.
    fn chain() -> Plan {
        let mut web = ServicePlan::new("web", 2.0);
        web.calls = vec![CallPlan::new("pay"), CallPlan::new("ads")];
        let mut pay = ServicePlan::new("pay", 2.0);
        pay.calls = vec![CallPlan::new("db")];
        let services = vec![web, pay, ServicePlan::new("db", 2.0), ServicePlan::new("ads", 2.0)];
        let entries = vec![EntryPlan::new("web", 100.0)];
        Plan { name: "chain".into(), seconds: 120, services, entries, sampled: 1.0, faults: Vec::new() }
    }

    fn errors(service: &str, from_s: f64) -> Fault {
        let kind = FaultKind::Errors;
        Fault {
            kind,
            service: service.into(),
            client: None,
            from_s,
            to_s: 90.0,
            ratio: Some(0.3),
            ms: None,
            times: None,
        }
    }

    #[test]
    fn the_blast_of_a_fault_is_what_its_twin_did_not_have() {
        let plan = Plan { faults: vec![errors("db", 60.0)], ..chain() };
        let told = run_with_truth(&plan, 4);
        let truth = &told.truths[0];
        let hurt: Vec<String> = truth.edges.keys().map(ToString::to_string).collect();
        assert_eq!(hurt, ["pay>db:http", "user>web:http", "web>pay:http"]);
        assert_eq!(truth.path.len(), 3);
        let (first, last) = truth.hurt.unwrap();
        assert_eq!(first.since(START).as_secs(), 60);
        // Open breakers outlast the fault by their open time.
        assert!((90..=120).contains(&last.since(START).as_secs()), "{last:?}");
        assert!(!truth.outlasted());
    }

    #[test]
    fn two_faults_have_two_truths_and_a_calm_run_none() {
        let plan = Plan { faults: vec![errors("db", 60.0), errors("ads", 60.0)], ..chain() };
        let told = run_with_truth(&plan, 4);
        let of = |at: usize| told.truths[at].edges.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of(1), ["user>web:http", "web>ads:http"]);
        assert!(of(0).contains(&"pay>db:http".to_owned()) && !of(0).contains(&"web>ads:http".to_owned()));
        assert!(run_with_truth(&chain(), 4).truths.is_empty());
    }
}
