//! Hostile bytes, real bytes, and bytes that were real until something changed them.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;
use tripline_model::NodeKind;

use super::*;
use crate::{Value, attribute, log, sidecar, span, transition};

/// What the OpenTelemetry SDK for Python (1.45.2) sends for a server span, a database call and an HTTP call.
const PYTHON_SDK: &[u8] = include_bytes!("../../fixtures/python-sdk-traces.binpb");

const JSON_TRACES: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{"spans":[{
    "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","name":"GET","kind":3,
    "startTimeUnixNano":"1800000000000000000","endTimeUnixNano":1800000001000000000,"status":{"code":2},
    "addedIn2030":{"a":[1]},"attributes":[{"key":"n","value":{"intValue":"7"}},{"key":"m","value":{"intValue":8}}]}]}]}]}"#;

const JSON_METRICS: &str = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
    {"name":"g","gauge":{"dataPoints":[{"asInt":"5","timeUnixNano":"1","attributes":[]},{"asDouble":1.5}]}},
    {"name":"h","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[
        {"count":"2","sum":3,"scale":3,"zeroCount":0,"positive":{"offset":1,"bucketCounts":["1",1]}}]}}]}]}]}"#;

/// A message of `inner` nested in lists `levels` deep, built from the inside without copying it each time.
fn nested_value(levels: usize) -> Vec<u8> {
    let mut reversed = Vec::new();
    let wrap = |reversed: &mut Vec<u8>, tag: u8| {
        let mut header = vec![tag];
        prost::encoding::encode_varint(reversed.len() as u64, &mut header);
        reversed.extend(header.iter().rev());
    };
    for _ in 0..levels {
        wrap(&mut reversed, 0x0a); // ArrayValue.values
        wrap(&mut reversed, 0x2a); // AnyValue.array_value
    }
    wrap(&mut reversed, 0x12); // KeyValue.value
    wrap(&mut reversed, 0x0a); // Resource.attributes
    wrap(&mut reversed, 0x0a); // ResourceSpans.resource
    wrap(&mut reversed, 0x0a); // ExportTraceServiceRequest.resource_spans
    reversed.reverse();
    reversed
}

fn nested_json(levels: usize) -> String {
    let value = format!("{}{{\"intValue\":1}}{}", "{\"arrayValue\":{\"values\":[".repeat(levels), "]}}".repeat(levels));
    JSON_TRACES.replace("{\"intValue\":8}", &value)
}

#[test]
fn nesting_of_200_000_levels_is_an_error() {
    let bytes = nested_value(200_000);
    assert!(matches!(decode_traces_protobuf(&bytes), Err(DecodeError::TooDeep)));
    // Without our scan prost's own limit would not let it through.
    assert!(ExportTraceServiceRequest::decode(bytes.as_slice()).is_err());
    let json = nested_json(200_000);
    assert!(matches!(decode_traces_json(json.as_bytes()), Err(DecodeError::TooDeep)));
    // Nor does serde_json's own.
    assert!(serde_json::from_str::<ExportTraceServiceRequest>(&json).is_err());
    let unknown = format!("{{\"x\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(matches!(decode_traces_json(unknown.as_bytes()), Err(DecodeError::TooDeep)));
}

#[test]
fn nesting_that_is_allowed_is_decoded() {
    let decoded = decode_traces_protobuf(&nested_value(40)).unwrap();
    assert_eq!(span::decode(decoded).spans, []);
    assert!(decode_traces_json(nested_json(27).as_bytes()).is_ok());
}

#[test]
fn many_empty_messages_are_refused_before_they_take_memory() {
    // resource_spans { scope_spans { spans {} ... } }, two bytes a span.
    let spans = [0x12, 0].repeat(MAX_ITEMS + 1);
    let mut scope = vec![0x12];
    prost::encoding::encode_varint(spans.len() as u64, &mut scope);
    scope.extend(spans);
    let mut bytes = vec![0x0a];
    prost::encoding::encode_varint(scope.len() as u64, &mut bytes);
    bytes.extend(scope);
    assert!(matches!(decode_traces_protobuf(&bytes), Err(DecodeError::TooManyItems)));

    let resources = [0x0a, 0].repeat(2_000_000);
    assert!(matches!(decode_traces_protobuf(&resources), Err(DecodeError::TooLarge)));
    let json = format!("{{\"resourceSpans\":[{}{{}}]}}", "{},".repeat(MAX_OBJECTS));
    assert!(matches!(decode_traces_json(json.as_bytes()), Err(DecodeError::TooLarge)));
}

#[test]
fn truncated_and_foreign_bytes_are_errors() {
    assert!(matches!(decode_traces_protobuf(&PYTHON_SDK[..100]), Err(DecodeError::Malformed(_))));
    assert!(matches!(
        decode_traces_protobuf(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        Err(DecodeError::Malformed(_))
    ));
    assert!(decode_traces_protobuf(b"{}").is_err());
    // A wrong wire type where a message belongs.
    assert!(matches!(decode_traces_protobuf(&[0x08, 1]), Err(DecodeError::Protobuf(_))));
    for json in [
        "",
        "{",
        "[]",
        "7",
        "{\"resourceSpans\":7}",
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"kind\":\"x\"}]}]}]}",
    ] {
        assert!(matches!(decode_traces_json(json.as_bytes()), Err(DecodeError::Json(_))), "{json}");
    }
}

#[test]
fn an_empty_request_is_a_request() {
    assert_eq!(decode_traces_protobuf(b"").unwrap(), ExportTraceServiceRequest::default());
    assert_eq!(decode_metrics_protobuf(b"").unwrap(), ExportMetricsServiceRequest::default());
    assert_eq!(decode_logs_protobuf(b"").unwrap(), ExportLogsServiceRequest::default());
    assert_eq!(decode_traces_json(b"{}").unwrap(), ExportTraceServiceRequest::default());
    assert_eq!(decode_metrics_json(b"{}").unwrap(), ExportMetricsServiceRequest::default());
    assert_eq!(decode_logs_json(b"{}").unwrap(), ExportLogsServiceRequest::default());
}

#[test]
fn the_python_sdks_spans_are_understood() {
    let decoded = span::decode(decode_traces_protobuf(PYTHON_SDK).unwrap());
    assert_eq!((decoded.spans.len(), decoded.rejected.total(), decoded.odd_times), (3, 0, 0));
    let find = |name: &str| decoded.spans.iter().find(|s| s.name == name).unwrap();
    let (server, database, http) = (find("GET /orders"), find("SELECT orders"), find("GET"));
    assert_eq!((server.service.to_string().as_str(), &*server.environment), ("shop/orders", "prod"));
    assert!(server.failed() && server.http_status() == Some(503) && server.parent.is_none());
    let peer = database.peer().unwrap();
    assert_eq!((peer.service.name(), peer.kind), ("orders (postgresql at db.internal)", NodeKind::Database));
    assert_eq!((database.parent, database.events.len()), (Some(server.span_id), 1));
    assert_eq!(database.attribute("ids"), Some(&Value::Text("[1,2,3]".into())));
    assert_eq!(http.peer().unwrap().service.name(), "stock:8080");
    assert_eq!(http.links, [(server.trace_id, server.span_id)]);
}

#[test]
fn json_follows_the_otlp_mapping() {
    let decoded = span::decode(decode_traces_json(JSON_TRACES.as_bytes()).unwrap());
    let span = &decoded.spans[0];
    assert_eq!(span.trace_id.to_string(), "5b8efff798038103d269b633813fc60c");
    assert_eq!(span.end.since(span.start).as_secs(), 1);
    assert_eq!((span.attribute("n"), span.attribute("m")), (Some(&Value::Int(7)), Some(&Value::Int(8))));
    assert!(span.failed());

    let request = decode_metrics_json(JSON_METRICS.as_bytes()).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let Some(Data::Gauge(gauge)) = &metrics[0].data else { panic!("expected a gauge") };
    assert_eq!(gauge.data_points[0].value, Some(metrics::number_data_point::Value::AsInt(5)));
    let Some(Data::ExponentialHistogram(histogram)) = &metrics[1].data else { panic!("expected a histogram") };
    assert_eq!(histogram.data_points[0].positive.as_ref().unwrap().bucket_counts, [1, 1]);
}

#[test]
fn json_that_is_allowed_but_unusual_is_read_too() {
    for (value, expected) in [
        ("{\"arrayValue\":{}}", Some(Value::Text("[]".into()))),
        ("{\"kvlistValue\":{}}", Some(Value::Text("{}".into()))),
        ("{\"doubleValue\":\"1.5\"}", Some(Value::Double(1.5))),
        ("{\"doubleValue\":\"NaN\"}", Some(Value::Text("NaN".into()))),
        ("{\"bytesValue\":\"AQID\"}", Some(Value::Text("AQID".into()))),
        ("{\"stringValue\":null,\"boolValue\":true}", Some(Value::Bool(true))),
        ("{}", None),
        ("null", None),
    ] {
        let json =
            JSON_TRACES.replace("{\"intValue\":8}", value).replace("\"kind\":3", "\"kind\":3,\"parentSpanId\":null");
        let decoded = span::decode(decode_traces_json(json.as_bytes()).unwrap());
        assert_eq!(decoded.spans[0].attribute("m"), expected.as_ref(), "{value}");
    }
    let json = JSON_METRICS.replace(
        "\"asDouble\":1.5",
        "\"asDouble\":\"NaN\",\"attributes\":[{\"key\":\"k\",\"value\":{\"arrayValue\":{}}}]",
    );
    let request = decode_metrics_json(json.as_bytes()).unwrap();
    assert!(json::has_all_data(&request));
}

#[test]
fn content_types_tell_the_encoding() {
    for (text, expected) in [
        ("application/x-protobuf", Some(Encoding::Protobuf)),
        ("Application/JSON; charset=utf-8", Some(Encoding::Json)),
        ("text/plain", None),
        ("", None),
    ] {
        assert_eq!(Encoding::of_content_type(text), expected, "{text}");
    }
}

/// Everything that can be done with bytes from outside.
fn exercise(bytes: &[u8]) {
    for request in [decode_traces_protobuf(bytes), decode_traces_json(bytes)].into_iter().flatten() {
        for span in span::decode(request).spans {
            let _ = (span.peer(), span.protocol(), span.failed(), span.grpc_status());
        }
    }
    for request in [decode_metrics_protobuf(bytes), decode_metrics_json(bytes)].into_iter().flatten() {
        let _ = sidecar::decode_reports(&request);
    }
    for request in [decode_logs_protobuf(bytes), decode_logs_json(bytes)].into_iter().flatten() {
        for record in log::decode(request).logs {
            let _ = transition::decode(&record);
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let record = LogRecord {
        event_name: transition::EVENT.into(),
        body: attribute::texts("", ["a".to_owned()].into_iter()).value,
        attributes: vec![attribute::text("breaker.id", "b"), attribute::double("d", 1.0), attribute::number("n", 3)],
        trace_id: vec![1; 16],
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let logs = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] };
    vec![
        PYTHON_SDK.to_vec(),
        sidecar::encode_report(&sidecar::tests::typical()).encode_to_vec(),
        logs.encode_to_vec(),
        JSON_TRACES.into(),
        JSON_METRICS.into(),
    ]
}

#[test]
fn seeds_are_valid() {
    let [traces, metrics, logs, json_traces, json_metrics] = <[Vec<u8>; 5]>::try_from(seeds()).unwrap();
    assert!(decode_traces_protobuf(&traces).is_ok() && decode_traces_json(&json_traces).is_ok());
    assert!(decode_metrics_protobuf(&metrics).is_ok() && decode_metrics_json(&json_metrics).is_ok());
    let record = log::decode(decode_logs_protobuf(&logs).unwrap()).logs.remove(0);
    assert_eq!(record.body, "[\"a\"]");
    let any = attribute::number("", u64::MAX).value.unwrap().value;
    assert_eq!(any, Some(Any::IntValue(i64::MAX)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
    }

    #[test]
    fn changed_requests_never_panic(
        seed in prop::sample::select(seeds()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..8),
    ) {
        let mut bytes = seed;
        for (index, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        exercise(&bytes);
    }

    /// The scan refuses for syntax nothing that the decoder takes.
    #[test]
    fn the_scan_agrees_with_the_decoder(
        seed in prop::sample::select(seeds()),
        index in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = seed;
        let at = index.index(bytes.len());
        bytes[at] = byte;
        if ExportTraceServiceRequest::decode(bytes.as_slice()).is_ok() {
            prop_assert!(check_protobuf(Signal::Traces, &bytes).is_ok());
        }
        if ExportMetricsServiceRequest::decode(bytes.as_slice()).is_ok() {
            prop_assert!(check_protobuf(Signal::Metrics, &bytes).is_ok());
        }
        if ExportLogsServiceRequest::decode(bytes.as_slice()).is_ok() {
            prop_assert!(check_protobuf(Signal::Logs, &bytes).is_ok());
        }
    }
}
