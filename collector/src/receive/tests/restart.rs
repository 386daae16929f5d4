//! What was acknowledged is there again after a restart, once.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use tempfile::TempDir;
use tripline_model::{BreakerState, BreakerTransition, FailureOrigin, ServiceName, Timestamp, TransitionReason};
use tripline_otlp::transition;

use prost::Message;

use super::harness::*;

fn transitions(sequences: &[u64]) -> Vec<u8> {
    let one = |sequence: &u64| BreakerTransition {
        breaker: "b".into(),
        client: ServiceName::new("shop", "web"),
        client_instance: "web-1".into(),
        server: ServiceName::new("shop", "cart"),
        route: String::new(),
        endpoint: String::new(),
        at: Timestamp::from_secs(1_795_000_000),
        from: BreakerState::Closed,
        to: BreakerState::Open,
        reason: TransitionReason::FailureRatio,
        window_total: 10,
        window_failed: 9,
        window_slow: 0,
        threshold: 0.5,
        last_error: "503".into(),
        origin: FailureOrigin::Remote,
        time_in_from: std::time::Duration::ZERO,
        sequence: *sequence,
        traces: Vec::new(),
    };
    transition::encode(&sequences.iter().map(one).collect::<Vec<_>>(), &sidecar()).encode_to_vec()
}

#[tokio::test]
async fn repeats_are_acknowledged_and_counted_once() {
    let mut receiver = start(Setup::default()).await;
    for (sequence, new) in [(1, 1), (1, 0), (2, 1), (1, 0), (2, 0), (4, 1), (3, 1)] {
        assert_eq!(receiver.call(METRICS, &[], framed(0, &report(sequence))).await.0, 0);
        assert_eq!(receiver.next_batch().await.reports.len(), new, "report {sequence}");
        receiver.next_kept().await;
    }
    for (sequences, new) in [(&[1, 2][..], 2), (&[2, 3], 1), (&[1], 0)] {
        assert_eq!(receiver.post_protobuf("/v1/logs", transitions(sequences)).await.status, 200);
        let (batch, kept) = (receiver.next_batch().await, receiver.next_kept().await);
        let counts = (batch.transitions.len(), kept.transitions.len(), kept.logs.len());
        assert_eq!(counts, (new, new, sequences.len()), "{sequences:?}");
    }
    assert_eq!(receiver.counters.repeated_reports.load(Relaxed), 3);
    assert_eq!(receiver.counters.repeated_transitions.load(Relaxed), 2);
}

#[tokio::test]
async fn the_acknowledged_is_replayed_after_what_history_has() {
    let folder = TempDir::new().expect("folder");
    let journal = |durable| Setup { journal: Some((folder.path(), durable)), ..Setup::default() };
    let mut receiver = start(journal(0)).await;
    for sequence in 1..=3 {
        assert_eq!(receiver.post_protobuf("/v1/metrics", report(sequence)).await.status, 200);
        assert_eq!(receiver.next_batch().await.position, sequence);
    }
    receiver.end().await;

    let mut receiver = start(journal(1)).await;
    for position in [2, 3] {
        let batch = receiver.next_batch().await;
        assert_eq!((batch.position, batch.reports[0].sequence), (position, position));
    }
    assert_eq!(receiver.counters.journal_replayed.load(Relaxed), 2);
    // The sidecar never got to read the acknowledgement and sends it once more.
    assert_eq!(receiver.post_protobuf("/v1/metrics", report(3)).await.status, 200);
    let batch = receiver.next_batch().await;
    assert_eq!((batch.position, batch.reports.len()), (4, 0));
    receiver.end().await;
}

/// What `kill -9` leaves behind is a copy of the files at some moment. At each acknowledgement they must hold the request.
#[tokio::test]
async fn files_at_the_moment_of_an_acknowledgement_hold_the_request() {
    let (folder, copies) = (TempDir::new().expect("folder"), TempDir::new().expect("folder"));
    let receiver = start(Setup { journal: Some((folder.path(), 0)), ..Setup::default() }).await;
    let mut killed: Vec<PathBuf> = Vec::new();
    for sequence in 1..=5 {
        assert_eq!(receiver.call(METRICS, &[], framed(0, &report(sequence))).await.0, 0);
        let copy = copies.path().join(sequence.to_string());
        std::fs::create_dir(&copy).expect("made");
        for entry in std::fs::read_dir(folder.path()).expect("readable") {
            let path = entry.expect("entry").path();
            std::fs::copy(&path, copy.join(path.file_name().expect("a name"))).expect("copied");
        }
        killed.push(copy);
    }
    receiver.end().await;
    for (acknowledged, copy) in (1u64..).zip(&killed) {
        let mut restarted = start(Setup { journal: Some((copy, 0)), ..Setup::default() }).await;
        for sequence in 1..=acknowledged {
            assert_eq!(restarted.next_batch().await.reports[0].sequence, sequence);
        }
        restarted.end().await;
    }
}

#[tokio::test]
async fn segments_go_when_history_has_them() {
    let folder = TempDir::new().expect("folder");
    let mut receiver = start(Setup { journal: Some((folder.path(), 0)), ..Setup::default() }).await;
    let body = vec![0u8; 0];
    assert_eq!(receiver.post_protobuf("/v1/traces", body).await.status, 200);
    assert_eq!(receiver.post_protobuf("/v1/traces", spans(100)).await.status, 200);
    assert_eq!(receiver.next_batch().await.position, 1, "an empty request is not worth a place in the journal");
    receiver.durable.send(1).expect("heard");
    receiver.end().await;
    let mut receiver = start(Setup { journal: Some((folder.path(), 1)), ..Setup::default() }).await;
    assert_eq!(receiver.post_protobuf("/v1/traces", spans(1)).await.status, 200);
    assert_eq!(receiver.next_batch().await.position, 2, "nothing is replayed that history has");
    receiver.end().await;
}
