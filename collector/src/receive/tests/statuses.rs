//! The tables of the OTLP specification.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use prost::Message;
use tripline_otlp::proto::collector::trace::v1::ExportTraceServiceResponse;
use tripline_otlp::wire::Signal;

use super::harness::*;
use crate::receive::Reason;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

/// What it is, where it goes, its headers, its body, the status expected.
type Row<'a, B, S> = (&'a str, &'a str, &'a [(&'a str, &'a str)], B, S);

#[tokio::test]
async fn statuses_over_http() {
    let receiver = start(Setup::default()).await;
    let truncated = &spans(1)[..20];
    let wrong_type = br#"{"resourceSpans": 7}"#;
    let table: [Row<'_, &[u8], u16>; 13] = [
        ("empty protobuf", "/v1/traces", &[PROTOBUF], b"", 200),
        ("empty JSON", "/v1/logs", &[JSON], b"{}", 200),
        ("unknown JSON fields", "/v1/metrics", &[JSON], br#"{"resourceMetrics":[],"more":[1]}"#, 200),
        ("truncated protobuf", "/v1/traces", &[PROTOBUF], truncated, 400),
        ("rubbish", "/v1/metrics", &[PROTOBUF], b"\xff\xff\xff\xff", 400),
        ("wrong JSON type", "/v1/traces", &[JSON], wrong_type, 400),
        ("no JSON", "/v1/logs", &[JSON], b"<xml/>", 400),
        ("truncated gzip", "/v1/logs", &[PROTOBUF, ("content-encoding", "gzip")], b"\x1f\x8b\x08", 400),
        ("unknown type", "/v1/traces", &[("content-type", "text/plain")], b"", 415),
        ("no type", "/v1/traces", &[], b"", 415),
        ("unknown encoding", "/v1/traces", &[PROTOBUF, ("content-encoding", "br")], b"", 415),
        ("unknown path", "/v1/profiles", &[PROTOBUF], b"", 404),
        ("root", "/", &[PROTOBUF], b"", 404),
    ];
    for (what, path, headers, body, expected) in table {
        let answer = receiver.post(path, headers, body.to_vec()).await;
        assert_eq!(answer.status, expected, "{what}: {answer:?}");
        let given = headers.first().map_or("", |(_, value)| value.split(';').next().unwrap_or_default());
        let of_answer = answer.headers["content-type"].to_str().expect("text");
        assert!(
            expected != 400 || of_answer == given,
            "{what}: an error comes in the type of its request, not {of_answer}"
        );
        assert!(expected != 400 || !answer.body.is_empty(), "{what}: an error says what is wrong");
    }
    let got = reqwest::get(format!("http://{}/v1/traces", receiver.http)).await.expect("an answer");
    assert_eq!((got.status().as_u16(), got.headers()["allow"].to_str().expect("text")), (405, "POST"));
    assert_eq!(receiver.counters.refused(Reason::Malformed), 5);
    assert_eq!(receiver.counters.refused(Reason::MediaType), 2);
    assert_eq!(receiver.counters.refused(Reason::Compression), 1);
}

#[tokio::test]
async fn statuses_over_grpc() {
    let receiver = start(Setup::default()).await;
    let good = spans(1);
    let gzip: &[(&str, &str)] = &[("grpc-encoding", "gzip")];
    let table: [Row<'_, Bytes, i32>; 11] = [
        ("empty traces", TRACES, &[], framed(0, b""), 0),
        ("empty metrics", METRICS, &[], framed(0, b""), 0),
        ("empty logs", LOGS, &[], framed(0, b""), 0),
        ("spans", TRACES, &[], framed(0, &good), 0),
        ("truncated protobuf", TRACES, &[], framed(0, &good[..20]), 3),
        ("rubbish", LOGS, &[], framed(0, b"\xff\xff\xff\xff"), 3),
        ("truncated frame", TRACES, &[], framed(0, &good).slice(..30), 3),
        ("no frame", TRACES, &[], Bytes::new(), 3),
        ("damaged gzip", TRACES, gzip, framed(1, b"not gzip"), 3),
        ("unknown encoding", TRACES, &[("grpc-encoding", "snappy")], framed(1, b""), 12),
        ("unknown service", "profiles.v1.ProfilesService", &[], framed(0, b""), 12),
    ];
    for (what, service, headers, body, expected) in table {
        let (code, message, _) = receiver.call(service, headers, body).await;
        assert_eq!(code, expected, "{what}: {message}");
        assert!(code == 0 || !message.is_empty(), "{what}: an error says what is wrong");
    }
    let (code, _, _) = receiver.call(TRACES, &[("content-type", "application/json")], framed(0, b"")).await;
    assert_eq!(code, -415, "what is no gRPC gets an HTTP status");
}

#[tokio::test]
async fn all_compressions_and_formats_arrive() {
    use std::io::Write;
    let mut receiver = start(Setup::default()).await;
    let plain = spans(3);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::bulk::compress(&plain, 3).expect("memory");
    for (encoding, body) in [("identity", &plain), ("gzip", &gzip), ("zstd", &zstd)] {
        let answer = receiver.post("/v1/traces", &[PROTOBUF, ("content-encoding", encoding)], body.clone()).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]), "{encoding}: full success says nothing");
        assert_eq!(receiver.next_kept().await.spans.len(), 3, "{encoding} over HTTP");
        let compressed = u8::from(encoding != "identity");
        let (code, message, _) = receiver.call(TRACES, &[("grpc-encoding", encoding)], framed(compressed, body)).await;
        assert_eq!(code, 0, "{encoding}: {message}");
        assert_eq!(receiver.next_kept().await.spans.len(), 3, "{encoding} over gRPC");
    }
    let json = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},
        "scopeLogs":[{"logRecords":[{"timeUnixNano":"1795000000000000000","body":{"stringValue":"hello"}}]}]}]}"#;
    let answer = receiver.post("/v1/logs", &[JSON], json).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
    assert_eq!(receiver.next_kept().await.logs[0].body, "hello");
    assert_eq!(receiver.counters.requests(Signal::Traces), 6);
    assert_eq!(receiver.counters.bytes(Signal::Logs), json.len() as u64);
}

#[tokio::test]
async fn what_can_never_be_good_is_told_as_partial_success() {
    let mut receiver = start(Setup::default()).await;
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","name":"good","kind":2},
        {"traceId":"00","spanId":"0102030405060708","name":"bad"}]}]}]}"#;
    let request = tripline_otlp::wire::decode_traces_json(json.as_bytes()).expect("valid").encode_to_vec();
    let answer = receiver.post_protobuf("/v1/traces", request).await;
    assert_eq!(answer.status, 200);
    let partial = ExportTraceServiceResponse::decode(answer.body).expect("an answer").partial_success.expect("partial");
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("trace id"), "{}", partial.error_message);
    assert_eq!(receiver.next_batch().await.spans.len(), 1);
    assert_eq!(receiver.counters.rejected_items.load(Relaxed), 1);
}

#[tokio::test]
async fn a_token_is_asked_for_when_there_is_one() {
    let receiver = start(Setup { token: Some("s3cret"), ..Setup::default() }).await;
    for (token, status, code) in [("", 401, 16), ("Bearer wrong", 401, 16), ("Bearer s3cret", 200, 0)] {
        let answer = receiver.post("/v1/traces", &[PROTOBUF, ("authorization", token)], spans(1)).await;
        assert_eq!(answer.status, status, "{token}");
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
        let (got, message, _) = receiver.call(TRACES, &[("authorization", token)], framed(0, &spans(1))).await;
        assert_eq!(got, code, "{token}: {message}");
    }
    assert_eq!(receiver.counters.refused(Reason::Unauthenticated), 4);
}
