//! Reading hostile files, and reading back what was written.

use std::time::Duration;

use proptest::prelude::*;
use tripline_model::{BreakerState, BreakerTransition, FailureOrigin, Timestamp, TransitionReason};
use tripline_topology::recording::{BreakerRow, EdgeRow, Rejected, Rejection, ServiceRow};

use super::*;

fn read_text(text: &str) -> Result<Recording, ReadError> {
    read(text.as_bytes(), RecordingLimits::default())
}

#[test]
fn every_kind_of_line_is_read() {
    let recording = read_text(
        r#"{"graph":[["web","db"]]}
{"at":10,"seconds":5,"service":"db","operation":"get","requests":7,"failures":1,"latency_ms":3.5,"self_ms":3.5,"calls_out":0.0,"ours":"ignored"}

{"at":10,"seconds":5,"client":"web","server":"db","requests":7,"shed":2,"client_latency_ms":4.5,"server_latency_ms":3.5}
{"at":12.25,"breaker":{"client":"web","server":"db","from":"closed","to":"open","reason":"consecutive_failures","window_total":5,"window_failed":5,"threshold":5}}"#,
    )
    .unwrap();
    assert_eq!(recording.rejected, [].into());
    assert_eq!((recording.edges.len(), recording.services.len(), recording.calls.len()), (1, 1, 1));
    assert_eq!(recording.services[0].self_ms, Some(3.5));
    assert_eq!(recording.calls[0].shed, Some(2.0));
    assert_eq!(recording.breakers[0].transition.at, Timestamp::from_millis(12_250));
    assert_eq!(recording.breakers[0].transition.to, BreakerState::Open);
}

#[test]
fn bad_lines_are_counted_by_reason_and_skipped() {
    let recording = read_text(
        "{\"at\":10,\"seconds\":5,\"service\":\"a\",\"requests\":7}\nnot json\n{\"at\":10,\"seconds\":5,\"service\":\"a\",\"requests\":NaN}\n\
         {\"at\":10,\"seconds\":5,\"service\":\"a\",\"requests\":-7}\n{\"at\":10,\"seconds\":5,\"requests\":7}\n\
         {\"at\":-10,\"seconds\":5,\"service\":\"a\",\"requests\":7}\n\u{0}\n",
    )
    .unwrap();
    assert_eq!(recording.services.len(), 1);
    let malformed = (Rejection::Malformed, Rejected { rows: 5, first_line: 2 });
    assert_eq!(recording.rejected, [malformed, (Rejection::Negative, Rejected { rows: 1, first_line: 4 })].into());
}

#[test]
fn a_file_of_something_else_says_what_was_expected() {
    let error = read_text("service,requests\nweb,10\n").unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("\"seconds\":5"), "{error}");
    assert!(read_text("").unwrap_err().to_string().starts_with("no window in it; expected"));
}

#[test]
fn a_line_without_end_is_refused() {
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    assert!(matches!(read(endless, RecordingLimits::default()), Err(ReadError::LineTooLong { line: 1 })));
}

fn some_rows() -> impl Strategy<Value = Row> {
    let name = "[a-zA-Z/:. äß\"-]{1,20}".prop_map(Into::into);
    let time = (0u64..4_000_000_000_000).prop_map(Timestamp::from_millis);
    let length = (1u64..86_400_000).prop_map(Duration::from_millis);
    // Eighths: serde_json reads the last digit of some other numbers a little differently.
    let eighths = (0u32..8_000_000).prop_map(|eighths| f64::from(eighths) / 8.0);
    let number = prop::option::of(eighths.clone());
    let service = (time.clone(), length.clone(), name.clone(), eighths.clone(), number.clone(), number.clone())
        .prop_map(|(at, length, service, requests, latency_ms, calls_out)| {
            Row::Service(ServiceRow { latency_ms, calls_out, ..ServiceRow::new(at, length, service, requests) })
        });
    let edge = (time.clone(), length, (name.clone(), name.clone()), eighths, number.clone(), number).prop_map(
        |(at, length, ends, requests, retries, client_latency_ms)| {
            Row::Edge(EdgeRow {
                retries,
                client_latency_ms,
                sampled: retries.map(|some| some.min(requests)),
                ..EdgeRow::new(at, length, ends, requests)
            })
        },
    );
    let breaker = (time, name.clone(), name, 0u64..1000).prop_map(|(at, client, server, window_total)| {
        let transition = BreakerTransition {
            breaker: "b".into(),
            client: (&*client).into(),
            client_instance: "i-1".into(),
            server: (&*server).into(),
            route: String::new(),
            endpoint: "10.0.0.1:80".into(),
            at,
            from: BreakerState::HalfOpen,
            to: BreakerState::Open,
            reason: TransitionReason::ProbeFailed,
            window_total,
            window_failed: window_total / 2,
            window_slow: 0,
            threshold: 0.5,
            last_error: "503".into(),
            origin: FailureOrigin::Induced,
            time_in_from: Duration::from_millis(1500),
            sequence: 3,
            traces: Vec::new(),
        };
        Row::Breaker(Box::new(BreakerRow { client, server, transition }))
    });
    prop_oneof![service, edge, breaker]
}

proptest! {
    #[test]
    fn what_is_written_reads_back(row in some_rows()) {
        let mut bytes = Vec::new();
        write(&row, &mut bytes).unwrap();
        let recording = read(bytes.as_slice(), RecordingLimits::default()).unwrap();
        let back: Vec<Row> = recording.services.into_iter().map(Row::Service)
            .chain(recording.calls.into_iter().map(Row::Edge))
            .chain(recording.breakers.into_iter().map(|row| Row::Breaker(Box::new(row))))
            .collect();
        prop_assert_eq!(back, vec![row]);
    }

    #[test]
    fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(bytes.as_slice(), RecordingLimits::default());
    }
}
