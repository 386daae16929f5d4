//! Laws of the simulation, and figures that can be worked out by hand.

use proptest::prelude::*;
use tripline_model::{BreakerState, EdgeCounts, Reporter};

use super::*;
use crate::plan::{CallPlan, EntryPlan, Fault, FaultKind, ServicePlan};

/// `web` calls `db`, 100 requests a second.
fn pair() -> Plan {
    let mut web = ServicePlan::new("shop/web", 2.0);
    web.calls = vec![CallPlan::new("shop/db")];
    Plan {
        name: "pair".into(),
        seconds: 60,
        services: vec![web, ServicePlan::new("shop/db", 3.0)],
        entries: vec![EntryPlan::new("shop/web", 100.0)],
        sampled: 1.0,
        faults: Vec::new(),
    }
}

fn fault(kind: FaultKind, service: &str, amount: Amount) -> Fault {
    let client = kind.is_of_an_edge().then(|| "shop/web".to_owned());
    let (ratio, ms, times) = amount;
    Fault { kind, service: service.into(), client, from_s: 30.0, to_s: 50.0, ratio, ms, times }
}

fn total(reported: &Reported, edge: &str, reporter: Reporter, seconds: std::ops::Range<u64>) -> (EdgeCounts, f64) {
    let mut counts = EdgeCounts::default();
    let mut latency = tripline_model::Histogram::default();
    for window in &reported.windows {
        let second = window.start.since(START).as_secs();
        if window.key.to_string() == edge && window.reporter == reporter && seconds.contains(&second) {
            counts.merge(&window.counts);
            latency.merge(&window.latency);
        }
    }
    (counts, latency.mean().map_or(0.0, |mean| mean.as_secs_f64() * 1e3))
}

/// Ratio, milliseconds, times.
type Amount = (Option<f64>, Option<f64>, Option<f64>);
/// What must be true of an edge's counts and mean latency in milliseconds.
type Holds = fn(&EdgeCounts, f64) -> bool;

const EDGE: &str = "shop/web>shop/db:http";

#[test]
fn both_ends_count_the_same_requests_and_take_the_planned_time() {
    let reported = run(&pair(), 1);
    let (client, latency) = total(&reported, EDGE, Reporter::Client, 0..60);
    let (server, inside) = total(&reported, EDGE, Reporter::Server, 0..60);
    assert!((5_700..6_300).contains(&client.requests), "{client:?}");
    assert!(client.requests.abs_diff(server.requests) <= 2 && client.failed == 0);
    // A log-normal's mean is its median times exp(sigma^2 / 2).
    assert!((inside - 3.0 * 0.08_f64.exp()).abs() < 0.2, "{inside}");
    assert!((latency - inside - 0.6).abs() < 0.1, "two ways of 0.3 ms: {latency} {inside}");
    assert!(reported.transitions.is_empty());
}

#[test]
fn each_fault_does_what_it_says() {
    let some = |value| Some(value);
    let table: [(FaultKind, Amount, Holds); 7] = [
        (FaultKind::Errors, (some(0.3), None, None), |c, _| {
            let share = c.answered_failures as f64 / c.attempts.max(1) as f64;
            (0.25..0.36).contains(&share)
        }),
        (FaultKind::Latency, (None, some(50.0), None), |_, ms| (50.0..60.0).contains(&ms)),
        (FaultKind::Crash, (None, None, None), |c, _| c.shed > 1500 && c.transport_failures > 5),
        (FaultKind::EdgeDelay, (None, some(40.0), None), |_, ms| (40.0..48.0).contains(&ms)),
        (FaultKind::WrongTimeout, (None, some(1.0), None), |c, _| c.transport_failures > 5),
        (FaultKind::ExtraCalls, (None, None, some(3.0)), |c, _| c.requests > 5_000),
        (FaultKind::Refusal, (None, None, None), |c, _| c.answered_failures > 5 && c.shed > 1500),
    ];
    for (kind, amount, holds) in table {
        let mut plan = pair();
        if kind == FaultKind::Errors {
            // The breaker would hide the share.
            plan.services[0].calls[0].breaker = false;
        }
        plan.faults = vec![fault(kind, "shop/db", amount)];
        let reported = run(&plan, 3);
        let (counts, latency) = total(&reported, EDGE, Reporter::Client, 30..50);
        assert!(holds(&counts, latency), "{kind:?}: {counts:?} {latency} ms");
        let (before, _) = total(&reported, EDGE, Reporter::Client, 0..29);
        assert_eq!((before.failed, before.retries), (0, 0), "{kind:?}");
    }
}

#[test]
fn a_twin_draws_the_same_numbers() {
    let mut plan = pair();
    plan.faults = vec![fault(FaultKind::Errors, "shop/db", (Some(0.5), None, None))];
    let (with, without) = (run(&plan, 9), run(&plan.with_faults(|_| false), 9));
    let before = |reported: &Reported| {
        let early = |window: &&EdgeWindow| window.start.since(START).as_secs() < 30;
        reported.windows.iter().filter(early).cloned().collect::<Vec<_>>()
    };
    assert_eq!(before(&with), before(&without));
    assert_ne!(with.windows, without.windows);
}

#[test]
fn an_open_breaker_sheds_and_probes_until_the_server_is_back() {
    let mut plan = pair();
    plan.faults = vec![fault(FaultKind::Crash, "shop/db", (None, None, None))];
    let reported = run(&plan, 5);
    let states: Vec<BreakerState> = reported.transitions.iter().map(|transition| transition.to).collect();
    assert_eq!(states.first(), Some(&BreakerState::Open));
    assert_eq!(states.last(), Some(&BreakerState::Closed));
    assert!(states.contains(&BreakerState::HalfOpen));
    let sequences: Vec<u64> = reported.transitions.iter().map(|transition| transition.sequence).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_clock_that_is_ahead_moves_what_its_sidecar_says() {
    let mut plan = pair();
    plan.services[1].clock_ahead_ms = 5_000;
    let reported = run(&plan, 1);
    assert!(total(&reported, EDGE, Reporter::Server, 0..5).0.requests == 0);
    assert!(total(&reported, EDGE, Reporter::Server, 60..65).0.requests > 400);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_same_seed_gives_the_same_report_and_another_another(seed in any::<u64>(), ratio in 0.05f64..0.9) {
        let mut plan = pair();
        plan.faults = vec![fault(FaultKind::Errors, "shop/db", (Some(ratio), None, None))];
        let first = run(&plan, seed);
        prop_assert_eq!(&first, &run(&plan, seed));
        prop_assert!(first.windows != run(&plan, seed ^ 1).windows);
        prop_assert!(first.windows.iter().all(|window| window.counts.is_plausible()));
    }
}
