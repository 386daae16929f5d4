//! A recording gives its incidents, whatever the order of its rows.

use proptest::prelude::*;

use super::*;
use crate::recording::{BreakerRow, EdgeRow, RecordingBuilder, RecordingLimits, Row, ServiceRow};

/// `user > web > db`, a hundred requests a second; from `fault` on for 30 s two in five fail in the database.
fn rows(seconds: u64, fault: u64) -> Vec<Row> {
    let mut rows = vec![Row::Graph(vec![("user".into(), "web".into()), ("web".into(), "db".into())])];
    for second in 0..seconds {
        let at = Timestamp::from_secs(1_000_000 + second);
        let bad = (fault..fault + 30).contains(&second);
        let failures = Some(if bad { 40.0 } else { 0.0 });
        let length = Duration::from_secs(1);
        for (service, own) in [("web", 0.0), ("db", 1.0)] {
            let failures_own = failures.map(|failures| failures * own);
            let times = (Some(5.0), Some(3.0));
            let row = ServiceRow::new(at, length, service.into(), 100.0);
            rows.push(Row::Service(ServiceRow {
                failures,
                failures_own,
                latency_ms: times.0,
                self_ms: times.1,
                ..row
            }));
        }
        for (client, server, client_latency_ms) in [("user", "web", None), ("web", "db", Some(6.0))] {
            let row = EdgeRow::new(at, length, (client.into(), server.into()), 100.0);
            rows.push(Row::Edge(EdgeRow { failures, client_latency_ms, server_latency_ms: Some(5.0), ..row }));
        }
    }
    rows
}

fn recorded(rows: Vec<Row>) -> Recording {
    let mut builder = RecordingBuilder::new(RecordingLimits::default());
    for (line, row) in rows.into_iter().enumerate() {
        builder.push(line as u64 + 1, row).unwrap();
    }
    let recording = builder.finish();
    assert!(recording.rejected.is_empty(), "{:?}", recording.rejected);
    recording
}

#[test]
fn a_recorded_fault_is_one_incident_with_its_origin_and_a_quiet_one_none() {
    let replayed = replay(&recorded(rows(180, 60)), Settings::default());
    assert_eq!(replayed.incidents.len(), 1);
    let incident = &replayed.incidents[0];
    assert_eq!(incident.origin().unwrap().service.to_string(), "db");
    assert!(incident.resolved.is_some());
    let told: Vec<Notice> = replayed.notices.iter().map(|(_, notice, _)| *notice).collect();
    assert_eq!((told.first(), told.last()), (Some(&Notice::Opened), Some(&Notice::Resolved)));
    assert!(told.len() <= 3, "{told:?}");
    assert_eq!(replay(&recorded(rows(180, 500)), Settings::default()), Replayed::default());
}

#[test]
fn a_breaker_alone_opens_an_incident_at_its_own_time() {
    let mut all = rows(60, 500);
    let at = Timestamp::from_millis(1_000_040_500);
    let transition = BreakerTransition {
        breaker: "web>db".into(),
        client: "web".into(),
        client_instance: "1".into(),
        server: "db".into(),
        route: String::new(),
        endpoint: String::new(),
        at,
        from: BreakerState::Closed,
        to: BreakerState::Open,
        reason: tripline_model::TransitionReason::ConsecutiveFailures,
        window_total: 5,
        window_failed: 5,
        window_slow: 0,
        threshold: 5.0,
        last_error: "503".into(),
        origin: tripline_model::FailureOrigin::Remote,
        time_in_from: Duration::ZERO,
        sequence: 1,
        traces: Vec::new(),
    };
    let row = BreakerRow { client: "web".into(), server: "db".into(), transition };
    let place = all.iter().position(|row| row.at() > at).unwrap();
    all.insert(place, Row::Breaker(Box::new(row)));
    let replayed = replay(&recorded(all), Settings::default());
    assert_eq!(replayed.notices.first().map(|(when, _, _)| *when), Some(at));
}

#[test]
fn services_without_recorded_calls_are_seen_through_their_callers() {
    let all: Vec<Row> = rows(180, 60).into_iter().filter(|row| !matches!(row, Row::Edge(_))).collect();
    let replayed = replay(&recorded(all), Settings::default());
    assert_eq!(replayed.incidents[0].origin().unwrap().service.to_string(), "db");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn late_and_reordered_rows_within_two_windows_change_nothing(late in prop::collection::vec(0u64..2, 600), fault in 30u64..60) {
        let ordered = rows(120, fault);
        let mut shuffled: Vec<(u64, usize, Row)> = Vec::new();
        for (place, row) in ordered.iter().enumerate() {
            // A row arrives up to two of its own windows late.
            let arrives = row.at().as_secs() + late.get(place % late.len()).copied().unwrap_or(0);
            shuffled.push((arrives, usize::MAX - place, row.clone()));
        }
        shuffled.sort_by_key(|(arrives, place, row)| (!matches!(row, Row::Graph(_)), *arrives, *place));
        let shuffled: Vec<Row> = shuffled.into_iter().map(|(_, _, row)| row).collect();
        let settings = Settings::default();
        prop_assert_eq!(replay(&recorded(shuffled), settings), replay(&recorded(ordered), settings));
    }
}
