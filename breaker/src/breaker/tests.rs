//! Tables and laws of the breaker.

use proptest::prelude::*;
use tripline_model::Ratio;

use super::*;
use crate::policy::{Jitter, SlowRule};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn policy() -> Policy {
    Policy { jitter: Jitter::None, ..Policy::default() }
}

fn breaker(policy: Policy) -> Breaker {
    Breaker::new(policy, 1, at(0))
}

fn sample(outcome: Outcome) -> Sample {
    Sample { outcome, took: Duration::from_millis(1), trace: TraceId::from_bytes([1; 16]) }
}

fn failure() -> Sample {
    sample(Outcome::Failure(Fault { origin: FailureOrigin::Remote, error: LastError::Status(500) }))
}

/// One call from asking to recording; none when it was rejected.
fn call(breaker: &mut Breaker, sample: Sample, now: Timestamp) -> Option<Recorded> {
    match breaker.admit(now).admission {
        Admission::Admit(permit) | Admission::Probe(permit) => {
            Some(breaker.record(permit, sample, now, TripLeave::Granted))
        }
        Admission::Reject(_) => None,
    }
}

fn tripped(policy: Policy) -> Breaker {
    let mut breaker = breaker(policy);
    (0..5).for_each(|_| {
        call(&mut breaker, failure(), at(0));
    });
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[test]
fn five_failures_in_a_row_trip_it() {
    let mut breaker = breaker(policy());
    for _ in 0..4 {
        assert_eq!(call(&mut breaker, failure(), at(10)), Some(Recorded::Counted));
    }
    let Some(Recorded::Changed(change)) = call(&mut breaker, failure(), at(20)) else { panic!("did not trip") };
    assert_eq!((change.from, change.to), (BreakerState::Closed, BreakerState::Open));
    assert_eq!(change.reason, TransitionReason::ConsecutiveFailures);
    assert_eq!((change.window_total, change.window_failed, change.threshold), (5, 5, 5.0));
    assert_eq!((change.last_error.to_string().as_str(), change.origin), ("500", FailureOrigin::Remote));
    assert_eq!((change.time_in_from, change.traces.len()), (Duration::from_millis(20), 3));
    let Admission::Reject(rejection) = breaker.admit(at(20)).admission else { panic!("open breaker admitted") };
    assert_eq!(rejection.retry_after, Duration::from_secs(1));
}

#[test]
fn what_is_no_failure_ends_the_run_and_cancelled_calls_count_nothing() {
    let mut breaker = breaker(policy());
    for round in 0..10 {
        (0..4).for_each(|_| {
            call(&mut breaker, failure(), at(round * 20_000));
        });
        call(&mut breaker, sample(Outcome::Cancelled), at(round * 20_000));
        call(&mut breaker, sample(Outcome::Success), at(round * 20_000));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn half_of_twenty_trip_it_and_nineteen_are_too_few() {
    let mut breaker = breaker(policy());
    let mut last = None;
    for number in 0..20 {
        assert_eq!(breaker.state(), BreakerState::Closed, "after {number}");
        let outcome = if number % 2 == 0 { sample(Outcome::Success) } else { failure() };
        last = call(&mut breaker, outcome, at(number * 100));
    }
    let Some(Recorded::Changed(change)) = last else { panic!("did not trip") };
    assert_eq!((change.reason, change.threshold), (TransitionReason::FailureRatio, 0.5));
}

#[test]
fn soft_failures_count_for_the_share_only() {
    let soft = sample(Outcome::Soft(Fault { origin: FailureOrigin::Remote, error: LastError::Status(429) }));
    let mut breaker = breaker(policy());
    for number in 0..20 {
        assert_eq!(breaker.state(), BreakerState::Closed, "after {number}");
        call(&mut breaker, soft, at(0));
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn slow_answers_trip_it_when_asked_for() {
    let share = RatioRule { threshold: Ratio::new(0.8), volume: 10 };
    let slow = Some(SlowRule { longer_than: Duration::from_millis(100), share });
    let mut breaker = breaker(Policy { slow, ..policy() });
    let slow_answer = Sample { took: Duration::from_millis(101), ..sample(Outcome::Success) };
    let recorded: Vec<_> = (0..10).filter_map(|_| call(&mut breaker, slow_answer, at(0))).collect();
    assert!(matches!(recorded.last(), Some(Recorded::Changed(c)) if c.reason == TransitionReason::SlowRatio));
}

#[test]
fn two_good_probes_close_it_and_a_bad_one_doubles_the_time() {
    let mut breaker = tripped(policy());
    let decision = breaker.admit(at(1000));
    assert_eq!(
        decision.change.map(|c| (c.to, c.reason)),
        Some((BreakerState::HalfOpen, TransitionReason::TimeElapsed))
    );
    let Admission::Probe(permit) = decision.admission else { panic!("no probe") };
    let recorded = breaker.record(permit, failure(), at(1000), TripLeave::Granted);
    assert!(matches!(recorded, Recorded::Changed(c) if c.reason == TransitionReason::ProbeFailed));
    assert_eq!(breaker.trips(), 2);
    assert_eq!(call(&mut breaker, failure(), at(2999)), None, "open for two seconds now");
    assert_eq!(call(&mut breaker, sample(Outcome::Success), at(3000)), Some(Recorded::Counted));
    let closed = call(&mut breaker, sample(Outcome::Success), at(3000));
    assert!(matches!(closed, Some(Recorded::Changed(c)) if c.to == BreakerState::Closed));
}

#[test]
fn lost_probes_free_their_places() {
    let mut breaker = tripped(policy());
    for _ in 0..3 {
        assert!(matches!(breaker.admit(at(1000)).admission, Admission::Probe(_)));
    }
    assert!(matches!(breaker.admit(at(15_999)).admission, Admission::Reject(_)));
    assert!(matches!(breaker.admit(at(16_000)).admission, Admission::Probe(_)));
}

#[test]
fn results_of_calls_sent_before_the_trip_are_ignored() {
    let mut breaker = breaker(policy());
    let Admission::Admit(old) = breaker.admit(at(0)).admission else { panic!("closed breaker rejected") };
    (0..5).for_each(|_| {
        call(&mut breaker, failure(), at(0));
    });
    assert!(matches!(breaker.admit(at(1000)).admission, Admission::Probe(_)));
    assert_eq!(breaker.record(old, failure(), at(1000), TripLeave::Granted), Recorded::Counted);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[test]
fn a_denied_trip_is_reported_once_and_traffic_flows() {
    let mut breaker = breaker(policy());
    let (mut first, mut again) = (Vec::new(), 0);
    for millis in [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 10_000, 10_000, 10_000, 10_000, 10_000] {
        let Admission::Admit(permit) = breaker.admit(at(millis)).admission else { panic!("rejected") };
        match breaker.record(permit, failure(), at(millis), TripLeave::Denied) {
            Recorded::Suppressed(change) => first.push((change.from, change.to, change.reason, change.window_failed)),
            Recorded::SuppressedAgain => again += 1,
            _ => {}
        }
    }
    let event = (BreakerState::Closed, BreakerState::Closed, TransitionReason::ConsecutiveFailures, 5);
    assert_eq!((first.as_slice(), again), ([event, event].as_slice(), 1), "one event a window");
    assert_eq!((breaker.state(), breaker.trips()), (BreakerState::Closed, 0));
}

#[test]
fn held_open_it_rejects_for_ever_and_probes_once_let_go() {
    let mut breaker = breaker(policy());
    let change = breaker.force(Some(Forced::Open), at(5)).unwrap();
    assert_eq!(
        (change.from, change.to, change.reason),
        (BreakerState::Closed, BreakerState::Open, TransitionReason::Forced)
    );
    assert_eq!(breaker.force(Some(Forced::Open), at(6)), None, "nothing new");
    let Admission::Reject(rejection) = breaker.admit(at(1_000_000)).admission else {
        panic!("held open, yet admitted")
    };
    assert_eq!((rejection.reason, breaker.trips()), (TransitionReason::Forced, 0));
    assert_eq!(breaker.force(None, at(1_000_000)).map(|change| change.to), Some(BreakerState::HalfOpen));
    assert!(matches!(breaker.admit(at(1_000_000)).admission, Admission::Probe(_)));
}

#[test]
fn held_closed_it_passes_everything_and_trips_once_let_go() {
    let mut breaker = tripped(policy());
    assert_eq!(breaker.force(Some(Forced::Closed), at(1)).map(|change| change.to), Some(BreakerState::Closed));
    for _ in 0..100 {
        assert_eq!(call(&mut breaker, failure(), at(2)), Some(Recorded::Counted));
    }
    assert_eq!(breaker.force(None, at(3)), None);
    assert!(matches!(call(&mut breaker, failure(), at(3)), Some(Recorded::Changed(_))));
}

#[test]
fn a_calm_window_shortens_the_next_open_time_again() {
    let mut breaker = tripped(policy());
    call(&mut breaker, sample(Outcome::Success), at(1000));
    call(&mut breaker, sample(Outcome::Success), at(1000));
    assert_eq!(breaker.state(), BreakerState::Closed);
    (0..5).for_each(|_| {
        call(&mut breaker, failure(), at(2000));
    });
    assert_eq!(call(&mut breaker, failure(), at(3999)), None, "tripped again at once: two seconds");
    call(&mut breaker, sample(Outcome::Success), at(4000));
    call(&mut breaker, sample(Outcome::Success), at(4000));
    (0..5).for_each(|_| {
        call(&mut breaker, failure(), at(14_000));
    });
    assert!(call(&mut breaker, failure(), at(15_000)).is_some(), "after ten calm seconds: one second");
}

/// What a random run does next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    Ask,
    Finish(usize, bool),
    Cancel(usize),
    Lose(usize),
    Force(Option<Forced>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0u64..3_000).prop_map(Step::Wait),
        5 => Just(Step::Ask),
        5 => (any::<usize>(), prop::bool::weighted(0.6)).prop_map(|(n, failed)| Step::Finish(n, failed)),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::Lose),
        1 => prop_oneof![Just(None), Just(Some(Forced::Open)), Just(Some(Forced::Closed))].prop_map(Step::Force),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn laws_hold_in_every_run(steps in steps(), seed in any::<u64>()) {
        let policy = Policy { probe_deadline: Duration::from_secs(5), ..Policy::default() };
        let mut breaker = Breaker::new(policy, seed, at(0));
        let mut now = 0;
        let mut flying: Vec<(Permit, u64)> = Vec::new();
        for step in steps {
            if let Some(forced) = breaker.forced() {
                let held = if forced == Forced::Open { BreakerState::Open } else { BreakerState::Closed };
                prop_assert_eq!(breaker.state(), held);
            }
            match step {
                Step::Force(forced) => {
                    let before = breaker.state();
                    let change = breaker.force(forced, at(now));
                    prop_assert_eq!(change.is_some(), before != breaker.state());
                }
                Step::Wait(millis) => now += millis,
                Step::Ask => {
                    let before = breaker.state();
                    let decision = breaker.admit(at(now));
                    // Changes are published exactly when the state differs.
                    prop_assert_eq!(decision.change.is_some(), before != breaker.state());
                    match decision.admission {
                        Admission::Admit(permit) => {
                            prop_assert_eq!(breaker.state(), BreakerState::Closed);
                            flying.push((permit, now));
                        }
                        Admission::Probe(permit) => {
                            prop_assert_eq!(breaker.state(), BreakerState::HalfOpen);
                            flying.push((permit, now));
                            let live = flying
                                .iter()
                                .filter(|(p, sent)| p.generation == breaker.generation && now < sent + 5_000)
                                .count();
                            prop_assert!(live <= 3, "{live} probes at once");
                        }
                        Admission::Reject(_) => prop_assert_ne!(breaker.state(), BreakerState::Closed),
                    }
                }
                Step::Finish(n, failed) if !flying.is_empty() => {
                    let (permit, _) = flying.swap_remove(n % flying.len());
                    let result = if failed { failure() } else { sample(Outcome::Success) };
                    let before = breaker.state();
                    let recorded = breaker.record(permit, result, at(now), TripLeave::Granted);
                    prop_assert_eq!(matches!(recorded, Recorded::Changed(_)), before != breaker.state());
                }
                Step::Cancel(n) if !flying.is_empty() => {
                    let (permit, _) = flying.swap_remove(n % flying.len());
                    breaker.record(permit, sample(Outcome::Cancelled), at(now), TripLeave::Granted);
                }
                Step::Lose(n) if !flying.is_empty() => {
                    flying.swap_remove(n % flying.len());
                }
                Step::Finish(..) | Step::Cancel(_) | Step::Lose(_) => {}
            }
        }
        breaker.force(None, at(now));
        // Never stuck: after the longest open time and the probe deadline some call passes.
        let later = at(now + 60_000 + 5_000);
        prop_assert!(!matches!(breaker.admit(later).admission, Admission::Reject(_)));
    }

    #[test]
    fn open_passes_nothing_before_its_time(seed in any::<u64>(), millis in 0u64..1000) {
        let mut breaker = Breaker::new(Policy::default(), seed, at(0));
        (0..5).for_each(|_| { call(&mut breaker, failure(), at(0)); });
        let until = breaker.open_until;
        let decision = breaker.admit(at(millis));
        prop_assert_eq!(matches!(decision.admission, Admission::Reject(_)), at(millis) < until);
        prop_assert!(until >= at(100) && until <= at(1000));
    }
}
