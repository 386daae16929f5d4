//! A small recording on disk, from bytes to the suspected origin: the way to the database is slow for both who call it, one breaker opens,
//! and among the windows stand five lines that cannot be true.

use std::collections::BTreeMap;

use tripline_model::Timestamp;
use tripline_recording::read;
use tripline_topology::detect::Settings;
use tripline_topology::localise::{Answer, CandidateKind, DegradedReason, Evidence, Question, Signal, localise};
use tripline_topology::recording::{Recording, RecordingLimits, Rejection};

const LINES: &str = include_str!("recordings/slow-way-to-db.jsonl");

fn recording(lines: &str) -> Recording {
    read(lines.as_bytes(), RecordingLimits::default()).expect("a recording")
}

fn ask(recording: &Recording) -> Answer {
    let question = Question {
        from: Timestamp::from_secs(1_700_000_030),
        to: Timestamp::from_secs(1_700_000_050),
        entry: None,
        signal: None,
    };
    localise(&Settings::default(), recording, None, &question).expect("an answer")
}

#[test]
fn the_suspect_stands_first_with_its_numbers() {
    let answer = ask(&recording(LINES));
    assert_eq!((answer.signal, answer.entries.as_slice()), (Signal::Latency, &["web".into()][..]));
    let first = &answer.candidates[0];
    assert_eq!((&*first.service, first.kind, &first.edge), ("db", CandidateKind::Network, &None), "{answer:#?}");
    assert!(first.score > 0.75 && answer.unexplained < 0.1, "{answer:#?}");
    let gaps: BTreeMap<&str, f64> = first
        .evidence
        .iter()
        .filter_map(|evidence| match evidence {
            Evidence::NetworkGap { client, seen_ms, .. } => Some((&**client, *seen_ms)),
            _ => None,
        })
        .collect();
    assert!(gaps.len() == 2 && gaps.values().all(|ms| (43.0..49.0).contains(ms)), "{gaps:?}");
    assert!(first.evidence.iter().any(|evidence| matches!(evidence, Evidence::BreakerOpened { .. })));
    let tripped = answer.degraded.iter().find(|degraded| degraded.reasons.contains(&DegradedReason::Breaker));
    assert_eq!(tripped.and_then(|degraded| degraded.client.as_deref()), Some("checkout"));
}

#[test]
fn lines_that_cannot_be_true_are_counted_and_change_nothing() {
    let dirty = recording(LINES);
    let counted: Vec<(Rejection, u64)> = dirty.rejected.iter().map(|(reason, of)| (*reason, of.rows)).collect();
    let expected = [
        (Rejection::Malformed, 1),
        (Rejection::Negative, 1),
        (Rejection::FailuresAboveRequests, 1),
        (Rejection::TimeGoesBack, 1),
        (Rejection::UnknownEdge, 1),
    ];
    assert_eq!(counted, expected);
    let bad = ["-60", ":61", "\"client\":\"db\"", "9000", "ads is slow"];
    let clean: String = LINES
        .lines()
        .filter(|line| !bad.iter().any(|bad| line.contains(bad)))
        .map(|line| format!("{line}\n"))
        .collect();
    let clean = recording(&clean);
    assert_eq!(clean.rejected_rows(), 0);
    assert_eq!(ask(&clean), ask(&dirty));
}

#[test]
fn the_same_recording_gives_the_same_bytes() {
    let text = |recording: &Recording| format!("{:?}", ask(recording));
    assert_eq!(text(&recording(LINES)), text(&recording(LINES)));
}
