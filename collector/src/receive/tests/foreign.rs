//! What is not OTLP: Zipkin's JSON and X-Ray's segments, as their senders deliver them.

use serde_json::json;
use tokio::net::UdpSocket;
use tripline_otlp::SpanKind;

use super::harness::{Receiver, Setup, start};

const JSON: (&str, &str) = ("content-type", "application/json");

fn zipkin_span(id: &str) -> serde_json::Value {
    json!({"traceId": "5af7183fb1d4cf5f", "id": id, "kind": "CLIENT", "name": "get", "timestamp": 1_795_000_000_000_000_u64,
           "duration": 10, "localEndpoint": {"serviceName": "web"}, "remoteEndpoint": {"serviceName": "stock"}})
}

fn segment(id: &str) -> String {
    json!({"name": "web", "id": id, "trace_id": "1-581cf771-a006649127e371903a2de979", "start_time": 1_795_000_000.0,
           "end_time": 1_795_000_000.5, "subsegments": [
               {"name": "stock", "id": "53995c3f42cd8ad8", "namespace": "remote", "start_time": 1_795_000_000.1,
                "end_time": 1_795_000_000.2}]})
    .to_string()
}

/// The names of the services, the kinds and the peers of the next batch's spans.
async fn next(receiver: &mut Receiver) -> Vec<(String, SpanKind, Option<String>)> {
    let records = receiver.next_kept().await.spans.records();
    let each = |record: &tripline_otlp::SpanRecord| {
        (record.service.to_string(), record.kind, record.peer().map(|peer| peer.service.to_string()))
    };
    records.iter().map(each).collect()
}

#[tokio::test]
async fn zipkin_is_taken_in_under_both_paths_plain_and_compressed() {
    let mut receiver = start(Setup::default()).await;
    let body = json!([zipkin_span("352bff9a74ca9ad2"), zipkin_span("")]).to_string();
    for path in ["/api/v2/spans", "/zipkin/api/v2/spans"] {
        assert_eq!(receiver.post(path, &[JSON], body.clone()).await.status, 202, "{path}");
        let expected = [("web".to_owned(), SpanKind::Client, Some("stock".to_owned()))];
        assert_eq!(next(&mut receiver).await, expected, "{path}");
    }
    let zstd = zstd::bulk::compress(body.as_bytes(), 1).expect("compressed");
    let answer = receiver.post("/api/v2/spans", &[JSON, ("content-encoding", "zstd")], zstd).await;
    assert_eq!(answer.status, 202);
    assert_eq!(receiver.next_batch().await.spans.len(), 1);
    assert_eq!(receiver.counters.rejected_items.load(std::sync::atomic::Ordering::Relaxed), 3);
    assert_eq!(receiver.post("/api/v2/spans", &[JSON], "[7]").await.status, 400);
    assert_eq!(receiver.post("/api/v2/spans", &[("content-type", "text/plain")], body).await.status, 415);
    receiver.must_go_on().await;
}

#[tokio::test]
async fn xray_datagrams_become_spans_and_bad_ones_are_counted() {
    let mut receiver = start(Setup::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    socket.send_to(b"nonsense", receiver.xray).await.expect("sent");
    let datagram = format!("{{\"format\": \"json\", \"version\": 1}}\n{}", segment("70de5b6f19ff9a0a"));
    socket.send_to(datagram.as_bytes(), receiver.xray).await.expect("sent");
    let expected =
        [("web".to_owned(), SpanKind::Server, None), ("web".to_owned(), SpanKind::Client, Some("stock".to_owned()))];
    assert_eq!(next(&mut receiver).await, expected);
    assert_eq!(receiver.counters.refused(crate::receive::Reason::Malformed), 1);
}

#[tokio::test]
async fn xrays_http_side_answers_what_the_sdks_ask() {
    let mut receiver = start(Setup::default()).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("client");
    let post = async |path: &str, body: serde_json::Value| {
        let sent = client.post(format!("http://{}{path}", receiver.xray)).json(&body).send().await.expect("answered");
        let status = sent.status().as_u16();
        (status, sent.json::<serde_json::Value>().await.expect("JSON"))
    };
    let (status, rules) = post("/GetSamplingRules", json!({})).await;
    assert_eq!((status, &rules["SamplingRuleRecords"][0]["SamplingRule"]["FixedRate"]), (200, &json!(1.0)));
    assert_eq!(post("/SamplingTargets", json!({})).await.1["SamplingTargetDocuments"], json!([]));
    assert_eq!(post("/TraceSegments", json!({"TraceSegmentDocuments": 7})).await.0, 400);
    assert_eq!(post("/elsewhere", json!({})).await.0, 404);
    let documents = json!({"TraceSegmentDocuments": [segment("70de5b6f19ff9a0a")]});
    assert_eq!(post("/TraceSegments", documents).await.1["UnprocessedTraceSegments"], json!([]));
    assert_eq!(next(&mut receiver).await.len(), 2);
}
