//! Replays beside what a simulated mesh really did under the same rules.

use tripline_model::{EdgeKey, Histogram, NodeKind};

use super::*;
use crate::mesh::run;
use crate::plan::{CallPlan, EntryPlan, Fault as Broken, FaultKind, Plan, ServicePlan};

/// `user > web > db`; the database fails `ratio` of its requests from 60 to 120 s, and the breaker trips at `limit` in a row.
fn plan(ratio: f64, limit: u32) -> Plan {
    let mut web = ServicePlan::new("web", 2.0);
    web.calls = vec![CallPlan { consecutive_failures: Some(limit), ..CallPlan::new("db") }];
    let fault = Broken {
        kind: FaultKind::Errors,
        service: "db".into(),
        client: None,
        from_s: 60.0,
        to_s: 120.0,
        ratio: Some(ratio),
        ms: None,
        times: None,
    };
    Plan {
        name: "chain".into(),
        seconds: 180,
        services: vec![web, ServicePlan::new("db", 3.0)],
        entries: vec![EntryPlan::new("web", 100.0)],
        sampled: 1.0,
        faults: vec![fault],
    }
}

/// What sidecars reported on `web > db`, and their rules: a run of failures only, as the plan's rule has it.
fn recorded(plan: &Plan) -> (Vec<EdgeWindow>, Vec<BreakerTransition>) {
    let reported = run(plan, 7);
    let key: EdgeKey = "web>db:http".parse().unwrap();
    let ours = |window: &EdgeWindow| window.key == key && window.reporter == Reporter::Client;
    (reported.windows.into_iter().filter(ours).collect(), reported.transitions)
}

fn rules(limit: u32) -> Policy {
    Policy { consecutive_failures: limit, ..Policy::default() }
}

fn answer(plan: &Plan, before: u32, after: u32) -> Answer {
    let (windows, transitions) = recorded(plan);
    let recorded = Recorded { windows: &windows, transitions: &transitions, breakers: Some(1) };
    what_if(&recorded, rules(before), rules(after), 1).unwrap()
}

#[test]
fn the_replay_under_the_rules_as_they_were_is_near_what_was() {
    let answer = answer(&plan(0.3, 3), 3, 3);
    let (really, model) = (answer.recorded, answer.before);
    assert_eq!(model, answer.after, "the same rules give the same");
    assert_eq!(model.requests, really.requests);
    assert!(really.trips >= 5 && really.shed >= 500, "{really:?}");
    let near = |a: f64, b: f64| (a - b).abs() <= 0.35 * a.max(b);
    assert!(near(model.shed as f64, really.shed as f64), "{model:?} {really:?}");
    assert!(near(model.errors as f64, really.errors as f64), "{model:?} {really:?}");
}

#[test]
fn a_more_patient_breaker_sheds_less_as_the_mesh_would_have() {
    let impatient = plan(0.3, 3);
    let told = answer(&impatient, 3, 12);
    let (windows, transitions) = recorded(&plan(0.3, 12));
    let recorded = Recorded { windows: &windows, transitions: &transitions, breakers: Some(1) };
    let really = what_if(&recorded, rules(12), rules(12), 1).unwrap().recorded;
    assert!(told.after.shed * 4 < told.before.shed, "{told:?}");
    assert!(told.after.shed.abs_diff(really.shed) * 10 <= told.before.shed, "{:?} {really:?}", told.after);
    assert!(told.after.errors < told.before.errors);
}

#[test]
fn what_was_rejected_is_assumed_to_fare_like_what_came_through_and_said_so() {
    let answer = answer(&plan(1.0, 5), 5, 0);
    assert!(answer.after.trips <= answer.before.trips);
    assert!(answer.assumptions.iter().any(|text| text.contains("really rejected")), "{:?}", answer.assumptions);
}

#[test]
fn settings_are_read_or_refused_with_what_they_take() {
    let read = |setting, value| with_setting(Policy::default(), setting, value);
    assert_eq!(read("max_failures", "10").unwrap().consecutive_failures, 10);
    assert_eq!(read("failure_ratio", "0").unwrap().failures, None);
    assert_eq!(read("failure_ratio", "0.2").unwrap().failures.unwrap().threshold, Ratio::new(0.2));
    assert_eq!(read("open_s", "2.5").unwrap().open_first, Duration::from_millis(2_500));
    assert!(matches!(read("max_failures", "-1"), Err(WhatIfError::BadValue { .. })));
    assert!(matches!(read("failure_ratio", "1.5"), Err(WhatIfError::BadValue { .. })));
    assert!(matches!(read("open_s", "NaN"), Err(WhatIfError::BadValue { .. })));
    assert!(matches!(read("nonsense", "1"), Err(WhatIfError::UnknownSetting(_))));
}

#[test]
fn what_cannot_be_replayed_is_refused_by_name() {
    let window = |client: &str, reporter, requests, failed| EdgeWindow {
        key: EdgeKey { client: client.into(), server: "db".into(), protocol: Default::default() },
        reporter,
        client_kind: NodeKind::Service,
        server_kind: NodeKind::Service,
        start: Timestamp::from_secs(1),
        length: Duration::from_secs(10),
        counts: EdgeCounts { requests, failed, attempts: requests.min(1_000), ..EdgeCounts::default() },
        latency: Histogram::default(),
        self_time: Histogram::default(),
        secured: false,
    };
    let refused = |windows: &[EdgeWindow]| {
        let recorded = Recorded { windows, transitions: &[], breakers: None };
        what_if(&recorded, Policy::default(), Policy::default(), 1).unwrap_err()
    };
    assert_eq!(refused(&[]), WhatIfError::NoTraffic);
    assert_eq!(refused(&[window("web", Reporter::Server, 5, 0)]), WhatIfError::NotTheClients);
    assert_eq!(refused(&[window("web", Reporter::Client, 0, 0)]), WhatIfError::NoTraffic);
    assert_eq!(refused(&[window("web", Reporter::Client, 5, 6)]), WhatIfError::Implausible(1));
    assert_eq!(refused(&[window("web", Reporter::Client, u64::MAX, 0)]), WhatIfError::TooMany(u64::MAX));
    let two = [window("web", Reporter::Client, 5, 0), window("other", Reporter::Client, 5, 0)];
    assert_eq!(refused(&two), WhatIfError::SeveralEdges);
}
