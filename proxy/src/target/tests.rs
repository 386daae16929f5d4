//! Tables of picking, ejection and forcing.

use tripline_mesh::{BreakerRules, ListenerProtocol, TrafficPolicy};
use tripline_model::{Ratio, TransitionReason};

use super::*;

fn target(endpoints: usize) -> Arc<Target> {
    target_with(endpoints, TrafficPolicy::default())
}

fn target_with(endpoints: usize, policy: TrafficPolicy) -> Arc<Target> {
    let weighted = WeightedTarget {
        node: ServiceName::new("shop", "payments"),
        weight: 1,
        hostname: "payments".into(),
        port: 80,
        discovery: DiscoveryKind::Endpoints,
        protocol: ListenerProtocol::Http,
        outlier_detection: None,
        connection_pool: None,
        per_request: None,
        tls: None,
        policy: Some(Arc::new(policy)),
    };
    let target = Arc::new(Target::new(0, &weighted, 1, Events::for_test()));
    let endpoints: Vec<_> = (0..endpoints).map(|n| placed(n as u8)).collect();
    target.set_endpoints(&endpoints, at(0));
    target
}

/// The endpoint 10.0.0.N:80.
fn placed(n: u8) -> Placed {
    let address = SocketAddr::from(([10, 0, 0, n], 80));
    Placed::new(address.to_string(), Arc::from([address]))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn ejected_share(target: &Target) -> f64 {
    let statuses = target.statuses(at(0));
    let ejected = statuses.iter().filter(|(status, _)| status.state != BreakerState::Closed).count();
    Ratio::of(ejected as u64, statuses.len() as u64).get()
}

fn fail(target: &Arc<Target>, times: usize) {
    for _ in 0..times {
        if let Ok(picked) = target.pick(Wish::default(), at(0)) {
            let fault = Fault { origin: FailureOrigin::Remote, error: LastError::Status(500) };
            picked.ends(Outcome::Failure(fault), TraceId::from_bytes([1; 16]).unwrap(), at(0));
        }
    }
}

#[test]
fn the_only_endpoint_does_open() {
    let target = target(1);
    fail(&target, 5);
    let Err(NoPick::Rejected(id, _)) = target.pick(Wish::default(), at(0)) else { panic!("still admits") };
    assert_eq!(&*id, "shop/test>shop/payments@10.0.0.0:80");
}

#[test]
fn of_several_at_most_half_are_ejected_and_never_the_last() {
    for (endpoints, ejected) in [(2, 0.5), (3, 1.0 / 3.0), (4, 0.5), (10, 0.5)] {
        let target = target(endpoints);
        fail(&target, 500);
        assert_eq!(ejected_share(&target), ejected, "of {endpoints}");
        assert!(target.pick(Wish::default(), at(0)).is_ok());
    }
}

#[test]
fn the_less_loaded_of_two_is_picked_and_a_retry_goes_elsewhere() {
    let target = target(2);
    let first = target.pick(Wish::default(), at(0)).unwrap();
    let second = target.pick(Wish::default(), at(0)).unwrap();
    assert_ne!(first.endpoint.label(), second.endpoint.label());
    for _ in 0..20 {
        let again = target.pick(Wish { avoid: Some(&first.endpoint), ..Wish::default() }, at(0)).unwrap();
        assert_ne!(again.endpoint.label(), first.endpoint.label());
    }
}

#[test]
fn endpoints_that_stay_keep_their_breakers() {
    let target = target(1);
    fail(&target, 5);
    target.set_endpoints(&[placed(0)], at(1));
    assert!(target.pick(Wish::default(), at(1)).is_err());
    target.set_endpoints(&[], at(1));
    assert!(matches!(target.pick(Wish::default(), at(1)), Err(NoPick::Unresolved)));
}

fn take(target: &Arc<Target>, millis: u64, took: u64) -> String {
    let picked = target.pick(Wish::default(), at(millis)).unwrap();
    let label = picked.endpoint.label().to_owned();
    picked.ends(Outcome::Success, TraceId::from_bytes([1; 16]).unwrap(), at(millis + took));
    label
}

#[test]
fn the_slower_endpoint_gets_little() {
    let target = target(2);
    let mut counts = [0, 0];
    for round in 0..1_000 {
        let picked = target.pick(Wish::default(), at(round)).unwrap();
        let slow = picked.endpoint.label().starts_with("10.0.0.1");
        counts[usize::from(slow)] += 1;
        let took = if slow { 100 } else { 5 };
        picked.ends(Outcome::Success, TraceId::from_bytes([1; 16]).unwrap(), at(round + took));
    }
    assert!(counts[1] < 50, "{counts:?}");
}

#[test]
fn round_robin_takes_turns() {
    let target = target_with(3, TrafficPolicy { balance: Balance::RoundRobin, ..TrafficPolicy::default() });
    let labels: Vec<String> = (0..6).map(|n| take(&target, n, 1)).collect();
    assert_eq!(labels[..3], labels[3..]);
    assert!(labels[0] != labels[1] && labels[1] != labels[2] && labels[0] != labels[2]);
}

#[test]
fn a_key_stays_with_its_endpoint_until_that_is_ejected() {
    let key = HashKey::Header("x-user".into());
    let target = target_with(4, TrafficPolicy { balance: Balance::RingHash(key), ..TrafficPolicy::default() });
    let wish = Wish { key: Some(42), ..Wish::default() };
    let home = target.pick(wish, at(0)).unwrap().endpoint.label().to_owned();
    for _ in 0..20 {
        assert_eq!(target.pick(wish, at(0)).unwrap().endpoint.label(), home);
    }
    let id = format!("shop/test>shop/payments@{home}");
    assert!(target.force(&id, Some(Forced::Open), at(1)));
    let elsewhere = target.pick(wish, at(1)).unwrap().endpoint.label().to_owned();
    assert_ne!(elsewhere, home);
    assert!(target.force(&id, Some(Forced::Closed), at(2)));
    assert_eq!(target.pick(wish, at(2)).unwrap().endpoint.label(), home);
    assert!(!target.force("no such breaker", None, at(2)));
}

#[test]
fn an_endpoint_that_joins_others_starts_slowly() {
    let target =
        target_with(1, TrafficPolicy { slow_start: Some(Duration::from_secs(100)), ..TrafficPolicy::default() });
    target.set_endpoints(&[placed(0), placed(1)], at(0));
    let joins = |from: u64| (0..1_000).filter(|n| take(&target, from + n / 100, 1) == "10.0.0.1:80").count();
    let (young, grown) = (joins(1), joins(200_000));
    assert!(young < 60, "{young} of 1000 went to the endpoint that has just joined");
    assert!(grown > 200, "{grown} of 1000 when it is grown");
}

#[test]
fn an_endpoint_that_asked_for_a_pause_is_left_alone() {
    let target = target(2);
    let picked = target.pick(Wish::default(), at(0)).unwrap();
    let held = Arc::clone(&picked.endpoint);
    picked.ends(Outcome::Success, TraceId::from_bytes([1; 16]).unwrap(), at(1));
    assert_eq!(target.hold(&held, Duration::from_secs(3_600), at(0)), LONGEST_HOLD);
    assert!(target.has_other(&held, at(0)));
    for millis in 0..50 {
        assert_ne!(target.pick(Wish::default(), at(millis)).unwrap().endpoint.label(), held.label());
    }
    let later = (0..50).filter(|n| take(&target, 30_001 + n, 1) == held.label()).count();
    assert!(later > 0, "its pause is over");
}

#[test]
fn breakers_of_a_route_and_of_the_service_stop_their_calls_only() {
    let strict = Some(BreakerRules { consecutive_failures: Some(2), ..BreakerRules::default() });
    let policy = TrafficPolicy { route_breaker: strict, ..TrafficPolicy::default() };
    let target = target_with(2, policy);
    let (pay, list) = (target.route_guard("pay").unwrap(), target.route_guard("list").unwrap());
    let fault = Fault { origin: FailureOrigin::Remote, error: LastError::Status(500) };
    for _ in 0..2 {
        let wish = Wish { route: Some(&pay), ..Wish::default() };
        target.pick(wish, at(0)).unwrap().ends(Outcome::Failure(fault), TraceId::from_bytes([1; 16]).unwrap(), at(0));
    }
    let Err(NoPick::Rejected(id, why)) = target.pick(Wish { route: Some(&pay), ..Wish::default() }, at(0)) else {
        panic!("the route's breaker is open")
    };
    assert_eq!((&*id, why.reason), ("shop/test>shop/payments/pay", TransitionReason::ConsecutiveFailures));
    assert!(target.pick(Wish { route: Some(&list), ..Wish::default() }, at(0)).is_ok());
    let ids: Vec<String> = target.statuses(at(0)).into_iter().map(|(status, _)| status.breaker).collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    drop((pay, list));
    assert_eq!(target.statuses(at(0)).len(), 2, "routes that are gone take their breakers along");
}

#[test]
fn one_suppressed_trip_a_window_is_an_event() {
    let (events, mut waiting) = Events::with_queue_for_test();
    let declared = target(2).declared().clone();
    let target = Arc::new(Target::new(0, &declared, 1, events));
    target.set_endpoints(&[placed(0), placed(1)], at(0));
    fail(&target, 50);
    let told: Vec<_> = std::iter::from_fn(|| waiting.try_recv().ok()).map(|event| (event.from, event.to)).collect();
    let (closed, open) = (BreakerState::Closed, BreakerState::Open);
    assert_eq!(told, [(closed, open), (closed, closed)]);
}

/// How many of a thousand calls each of the endpoints 0 to 2 gets, of so many that chance hardly shows.
fn shares(target: &Arc<Target>, key: impl Fn(u64) -> Option<u64>) -> [u64; 3] {
    let mut counts = [0; 3];
    for number in 0..20_000 {
        let picked = target.pick(Wish { key: key(number), ..Wish::default() }, at(number)).unwrap();
        let n: usize = picked.endpoint.label()[7..8].parse().unwrap();
        counts[n] += 1;
        picked.ends(Outcome::Success, TraceId::from_bytes([1; 16]).unwrap(), at(number + 1));
    }
    counts.map(|count| count / 20)
}

#[test]
fn weights_give_shares_whatever_the_balancing() {
    for balance in
        [Balance::PeakEwma, Balance::RoundRobin, Balance::LeastRequests, Balance::RingHash(HashKey::Header("x".into()))]
    {
        let target = target_with(1, TrafficPolicy { balance: balance.clone(), ..TrafficPolicy::default() });
        target.set_endpoints(&[], at(0));
        let weighing = |n: u8, weight: u16| Placed { weight, ..placed(n) };
        target.set_endpoints(&[weighing(0, 60), weighing(1, 30), weighing(2, 10)], at(0));
        let [a, b, c] = shares(&target, |number| Some(crate::balance::hash(&number.to_be_bytes())));
        assert!(
            (500..700).contains(&a) && (220..380).contains(&b) && (50..160).contains(&c),
            "{balance:?}: {a} {b} {c}"
        );
    }
}

#[test]
fn a_less_wanted_tier_is_called_only_when_no_better_one_lets_a_call_pass() {
    let target = target(0);
    let tiered = |n: u8, tier: u16| Placed { tier, ..placed(n) };
    target.set_endpoints(&[tiered(2, 20), tiered(0, 10), tiered(1, 10)], at(0));
    let [a, b, c] = shares(&target, |_| None);
    assert!(a > 300 && b > 300 && c == 0, "{a} {b} {c}");
    for n in 0..2 {
        assert!(target.force(&format!("shop/test>shop/payments@10.0.0.{n}:80"), Some(Forced::Open), at(0)));
    }
    assert_eq!(shares(&target, |_| None), [0, 0, 1_000]);
    target.set_endpoints(&[tiered(2, 20), tiered(1, 10)], at(0));
    assert!(target.force("shop/test>shop/payments@10.0.0.1:80", None, at(0)));
    target.set_endpoints(&[tiered(2, 20), tiered(0, 10)], at(0));
    let only = target.pick(Wish::default(), at(0)).unwrap();
    assert_eq!(only.endpoint.label(), "10.0.0.0:80");
    let again = target.pick(Wish { avoid: Some(&only.endpoint), ..Wish::default() }, at(0)).unwrap();
    assert_eq!(again.endpoint.label(), "10.0.0.2:80", "a retry goes to the next tier rather than nowhere else");
}
