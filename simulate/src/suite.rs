//! The scored set: a seed is a case, a mesh with one fault, two, or none.
//!
//! A seed draws the topology ([`shapes`]), its size, rates, replicas and retries, the kind of the fault, where it strikes, how hard and
//! when. Nothing in a case depends on the detector. Thresholds are set on [`TUNING`] only; figures are told of [`SCORED`].
//! One case in eight has two independent faults that begin within a minute of each other.

mod quiet;
pub mod shapes;

use std::ops::Range;

use tripline_breaker::jitter::SplitMix;

use crate::plan::{Fault, FaultKind, Plan};
use shapes::{Draw, Mesh};

pub use quiet::{QUIET, flapping, quiet, quiet_day};

/// Seeds on which thresholds may be set.
pub const TUNING: Range<u64> = 0..100_000;
/// Seeds of which figures are told.
pub const SCORED: Range<u64> = 100_000..200_000;

/// Length of a case in seconds.
const SECONDS: u64 = 300;

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its seed, also of its run.
    pub seed: u64,
    /// Its topology's name.
    pub shape: &'static str,
    /// What is run.
    pub plan: Plan,
}

/// Kinds that a case may have, each equally often.
const KINDS: [FaultKind; 16] = [
    FaultKind::Errors,
    FaultKind::Latency,
    FaultKind::Crash,
    FaultKind::BadReplica,
    FaultKind::EdgeDelay,
    FaultKind::EdgeLoss,
    FaultKind::Refusal,
    FaultKind::CapacityLoss,
    FaultKind::DemandSurge,
    FaultKind::ExtraCalls,
    FaultKind::RetriesWithoutBudget,
    FaultKind::WrongTimeout,
    FaultKind::LowThreshold,
    FaultKind::Contention,
    FaultKind::SlowLeak,
    FaultKind::BadDeploy,
];

/// Kinds that strike one service and nothing else, for two at once.
const PLAIN: [FaultKind; 5] =
    [FaultKind::Errors, FaultKind::Latency, FaultKind::Crash, FaultKind::Refusal, FaultKind::BadDeploy];

/// The case of a seed.
#[must_use]
pub fn case(seed: u64) -> Case {
    let mut draw = Draw(SplitMix::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(17)));
    let mut mesh = shapes::any(&mut draw);
    let from = 120.0 + draw.between(0.0, 20.0).floor();
    let to = from + draw.between(60.0, 100.0).floor();
    if draw.one_in(8) {
        two(&mut mesh, &mut draw, (from, to));
    } else {
        let kind = *draw.of(&KINDS);
        strike(&mut mesh, &mut draw, kind, (from, to));
    }
    let shape = mesh.shape;
    Case { seed, shape, plan: mesh.plan(SECONDS) }
}

/// A case in which retries keep a mesh down after the fault is gone.
#[must_use]
pub fn self_sustaining(seed: u64) -> Case {
    let mut draw = Draw(SplitMix::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(19)));
    let mut mesh = shapes::chain(&mut draw);
    let (client, server) = ("shop/payments".to_owned(), "shop/db".to_owned());
    mesh.narrow(&server, 30.0, 1.5);
    if let Some(call) = mesh.call(&client, &server) {
        (call.retries, call.budget, call.breaker) = (3, false, false);
        (call.timeout_ms, call.per_try_ms) = (1_000.0, Some(250.0));
    }
    for (client, server) in
        [("shop/checkout", "shop/payments"), ("shop/web", "shop/checkout"), ("shop/gateway", "shop/web")]
    {
        if let Some(call) = mesh.call(client, server) {
            call.breaker = false;
        }
    }
    let ratio = Some(draw.between(0.2, 0.4));
    let fault = Fault { from_s: 120.0, to_s: 150.0, ratio, ..of(FaultKind::CapacityLoss, &server) };
    mesh.faults.push(fault);
    let shape = mesh.shape;
    Case { seed, shape, plan: mesh.plan(SECONDS) }
}

fn of(kind: FaultKind, service: &str) -> Fault {
    Fault {
        kind,
        service: service.to_owned(),
        client: None,
        from_s: 0.0,
        to_s: 0.0,
        ratio: None,
        ms: None,
        times: None,
    }
}

fn two(mesh: &mut Mesh, draw: &mut Draw, (from, to): (f64, f64)) {
    let first = mesh.any_service(draw);
    let second = (0..20).map(|_| mesh.any_service(draw)).find(|other| !mesh.related(&first, other));
    for (number, service) in [Some(first), second].into_iter().flatten().enumerate() {
        let kind = *draw.of(&PLAIN);
        let later = if number == 0 { 0.0 } else { draw.between(0.0, 60.0).floor() };
        let fault = plain(kind, &service, draw);
        mesh.faults.push(Fault { from_s: from + later, to_s: to + later, ..fault });
    }
}

fn plain(kind: FaultKind, service: &str, draw: &mut Draw) -> Fault {
    let mut fault = of(kind, service);
    match kind {
        FaultKind::Errors | FaultKind::BadReplica => fault.ratio = Some(draw.between(0.2, 1.0)),
        FaultKind::Latency => fault.ms = Some(draw.between(50.0, 600.0)),
        FaultKind::BadDeploy => {
            (fault.ratio, fault.ms) = (Some(draw.between(0.1, 0.4)), Some(draw.between(20.0, 200.0)))
        }
        FaultKind::SlowLeak => fault.ms = Some(draw.between(200.0, 800.0)),
        FaultKind::Contention => fault.ms = Some(draw.between(10.0, 30.0)),
        _ => {}
    }
    fault
}

/// Lets a fault of a kind strike somewhere, and prepares the place where the kind needs it.
fn strike(mesh: &mut Mesh, draw: &mut Draw, kind: FaultKind, (from_s, to_s): (f64, f64)) {
    let (client, server) = mesh.any_edge(draw);
    let service = mesh.any_service(draw);
    let mut fault = Fault { from_s, to_s, ..plain(kind, &service, draw) };
    if kind.is_of_an_edge() {
        (fault.client, fault.service) = (Some(client.clone()), server.clone());
    }
    match kind {
        FaultKind::BadReplica => {
            if let Some(service) = mesh.service(&service) {
                service.replicas = service.replicas.max(2);
            }
        }
        FaultKind::EdgeDelay => fault.ms = Some(draw.between(40.0, 300.0)),
        FaultKind::EdgeLoss => fault.ratio = Some(draw.between(0.1, 0.5)),
        FaultKind::CapacityLoss => {
            mesh.narrow(&service, draw.between(20.0, 40.0), 2.0);
            fault.ratio = Some(draw.between(0.1, 0.35));
        }
        FaultKind::Contention => mesh.narrow(&service, draw.between(20.0, 40.0), 2.0),
        FaultKind::DemandSurge => {
            fault.service.clone_from(&mesh.entries[0].server);
            mesh.narrow(&service, draw.between(20.0, 40.0), 1.6);
            fault.times = Some(draw.between(3.0, 5.0));
        }
        FaultKind::ExtraCalls => {
            mesh.narrow(&server, draw.between(20.0, 40.0), 1.6);
            fault.times = Some(draw.between(4.0, 6.0));
        }
        FaultKind::RetriesWithoutBudget => {
            // From the start, and harmless until the server fails.
            fault.times = Some(3.0);
            let ratio = Some(draw.between(0.4, 0.9));
            mesh.faults.push(Fault { from_s, to_s, ratio, ..of(FaultKind::Errors, &server) });
            (fault.from_s, fault.to_s) = (0.0, SECONDS as f64);
            if let Some(call) = mesh.call(&client, &server) {
                call.breaker = false;
            }
        }
        FaultKind::WrongTimeout => fault.ms = Some(mesh.service(&server).map_or(1.0, |s| s.median_ms * 0.9)),
        FaultKind::LowThreshold => {
            fault.times = Some(1.0);
            if let Some(server) = mesh.service(&server) {
                server.failing = 0.01;
            }
        }
        _ => {}
    }
    mesh.faults.push(fault);
}

/// A large mesh of so many services, up to 10,000, without a fault, for a minute.
#[must_use]
pub fn large(seed: u64, services: usize) -> Case {
    let mut draw = Draw(SplitMix::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(31)));
    let mesh = shapes::large(&mut draw, services.clamp(10, 10_000));
    let shape = mesh.shape;
    Case { seed, shape, plan: mesh.plan(60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_meshes_have_the_shape_of_large_meshes() {
        let plan = large(1, 10_000).plan;
        let mut fan_outs: Vec<usize> = plan.services.iter().map(|s| s.calls.len()).filter(|calls| *calls > 0).collect();
        fan_outs.sort_unstable();
        let at = |q: f64| fan_outs[(q * fan_outs.len() as f64) as usize];
        assert!((3..=5).contains(&at(0.5)) && (18..=28).contains(&at(0.9)), "{} {}", at(0.5), at(0.9));
        assert!((200..=300).contains(&at(0.99)), "{}", at(0.99));
        assert!((5_800..=6_200).contains(&fan_outs.len()) && plan.entries.len() == 1_300);
        let small = large(2, 200);
        assert!(Plan::from_json(&small.plan.to_json()).is_ok());
        assert!(crate::run(&small.plan, 2).windows.len() > 10_000);
    }

    #[test]
    fn every_case_is_a_plan_that_can_be_run() {
        for seed in 0..300 {
            let drawn = case(seed);
            let read = Plan::from_json(&drawn.plan.to_json());
            assert!(read.is_ok(), "seed {seed}: {}", read.unwrap_err());
            assert_eq!(case(seed), drawn);
            assert!(Plan::from_json(&quiet(seed).0.plan.to_json()).is_ok());
        }
        assert!(Plan::from_json(&self_sustaining(1).plan.to_json()).is_ok());
    }

    #[test]
    fn two_faults_at_once_are_independent() {
        let both: Vec<Case> = (0..200).map(case).filter(|case| case.plan.faults.len() == 2).collect();
        assert!(both.len() > 10);
        assert!((0..400).map(case).any(|case| case.plan.faults.iter().any(|f| f.kind == FaultKind::LowThreshold)));
    }
}
