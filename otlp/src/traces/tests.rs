//! The walk against prost: what prost reads, the walk reads too, and the same.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use proptest::prelude::*;

use super::*;
use crate::span::{DecodedSpans, decode};
use crate::{SpanKind, Value};

fn any_value() -> impl Strategy<Value = AnyValue> {
    let scalar = prop_oneof![
        "\\PC{0,12}".prop_map(Any::StringValue),
        Just(Any::StringValue("ä".repeat(3000))),
        any::<bool>().prop_map(Any::BoolValue),
        any::<i64>().prop_map(Any::IntValue),
        // Quarters, which JSON's readers give back exactly.
        prop_oneof![any::<i32>().prop_map(|n| f64::from(n) / 4.0), Just(f64::INFINITY)].prop_map(Any::DoubleValue),
        any::<Vec<u8>>().prop_map(Any::BytesValue),
    ];
    let nested = scalar.prop_recursive(3, 12, 3, |inner| {
        let value = inner.prop_map(|value| AnyValue { value: Some(value) });
        prop_oneof![
            prop::collection::vec(value.clone(), 0..3).prop_map(|values| Any::ArrayValue(ArrayValue { values })),
            prop::collection::vec(("[a-z\"]{0,5}", value), 0..3).prop_map(|pairs| {
                let pair = |(key, value)| KeyValue { key, value: Some(value), key_strindex: 0 };
                Any::KvlistValue(KeyValueList { values: pairs.into_iter().map(pair).collect() })
            }),
        ]
    });
    prop::option::weighted(0.95, nested).prop_map(|value| AnyValue { value })
}

fn attribute() -> impl Strategy<Value = KeyValue> {
    let any_key = prop_oneof!["[a-z.]{0,9}", Just("k".repeat(300))];
    let of_any = (any_key, prop::option::weighted(0.95, any_value()));
    // A list where a name belongs is no name for the walk, but text for a record: such do not count here.
    let scalar = prop_oneof![
        "[a-z0-9:/.]{0,12}".prop_map(Any::StringValue),
        any::<i64>().prop_map(Any::IntValue),
        any::<bool>().prop_map(Any::BoolValue),
        Just(Any::DoubleValue(0.5)),
    ];
    let key = prop::sample::select(crate::semconv::Key::ALL).prop_map(|key| key.name().to_owned());
    let of_known = (key, scalar.prop_map(|value| Some(AnyValue { value: Some(value) })));
    prop_oneof![of_any, of_known].prop_map(|(key, value)| KeyValue { key, value, key_strindex: 0 })
}

fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), length),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => Just(vec![0; length]),
    ]
}

prop_compose! {
    fn link()(trace_id in id(16), span_id in id(8), attributes in prop::collection::vec(attribute(), 0..2)) -> otlp::span::Link {
        otlp::span::Link { trace_id, span_id, attributes, ..Default::default() }
    }
}

prop_compose! {
    fn span()(
        ids in (id(16), id(8), id(8)),
        texts in ("\\PC{0,9}", "\\PC{0,9}", prop_oneof!["[a-z=,]{0,9}", Just("ot=th:c".to_owned())]),
        times in (any::<u64>(), any::<u64>()),
        numbers in (any::<i32>(), 0..5i32, any::<u32>()),
        attributes in prop::collection::vec(attribute(), 0..9),
        many in prop::option::weighted(0.05, 120..200usize),
        events in prop::collection::vec((any::<u64>(), "\\PC{0,9}"), 0..3),
        links in prop::collection::vec(link(), 0..3),
        kind in 0..7i32,
        has_status in any::<bool>(),
    ) -> otlp::Span {
        let attributes = match (many, attributes.first().cloned()) {
            (Some(many), Some(first)) => vec![first; many],
            _ => attributes,
        };
        otlp::Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            trace_state: texts.2,
            name: texts.0,
            kind: if numbers.1 == 4 { numbers.0 } else { kind },
            start_time_unix_nano: times.0,
            end_time_unix_nano: times.1,
            attributes,
            dropped_attributes_count: numbers.2,
            events: events.into_iter().map(|(time_unix_nano, name)| otlp::span::Event { time_unix_nano, name, ..Default::default() }).collect(),
            links,
            status: has_status.then_some(otlp::Status { message: texts.1, code: numbers.1 }),
            flags: numbers.2,
            ..Default::default()
        }
    }
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    const KEYS: &[&str] =
        &["service.name", "service.namespace", "service.instance.id", "deployment.environment", "tripline.role"];
    let named = (prop::sample::select(KEYS), prop_oneof!["\\PC{0,9}", Just("proxy".to_owned())])
        .prop_map(|(key, text)| crate::attribute::text(key, text));
    let attribute = prop_oneof![named, attribute()];
    prop::option::of(
        prop::collection::vec(attribute, 0..6).prop_map(|attributes| Resource { attributes, ..Resource::default() }),
    )
}

prop_compose! {
    fn request()(
        resources in prop::collection::vec((resource(), prop::collection::vec(prop::collection::vec(span(), 0..4), 0..3)), 0..4)
    ) -> ExportTraceServiceRequest {
        let scope = |spans| ScopeSpans { spans, schema_url: "s".into(), ..ScopeSpans::default() };
        let resource_spans = resources.into_iter().map(|(resource, scopes)| ResourceSpans {
            resource,
            scope_spans: scopes.into_iter().map(scope).collect(),
            schema_url: "u".into(),
        });
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
    }
}

/// Fails unless the walk read the same as prost; and unless the facts say the same as the records.
pub(crate) fn assert_same(spans: &Spans, by_prost: &DecodedSpans) {
    assert_eq!(spans.records(), by_prost.spans);
    assert_eq!((spans.rejected, spans.odd_times), (by_prost.rejected, by_prost.odd_times));
    for (facts, record) in spans.facts.iter().zip(&by_prost.spans) {
        assert_eq!((facts.trace_id, facts.span_id, facts.parent), (record.trace_id, record.span_id, record.parent));
        assert_eq!(spans.identities[facts.source as usize].service, record.service);
        assert_eq!(facts.protocol, record.protocol());
        assert_eq!(facts.failed, record.failed());
        assert_eq!(spans.peers.get(facts.peer as usize), record.peer().as_ref());
        assert_eq!(spans.links.get(facts.link as usize), record.links.first());
    }
}

fn json_of(record: &SpanRecord) -> serde_json::Value {
    let value = |value: &Value| match value {
        Value::Text(text) => text.as_str().into(),
        Value::Int(int) => (*int).into(),
        Value::Double(double) => (*double).into(),
        Value::Bool(bool) => (*bool).into(),
    };
    serde_json::Value::Object(record.attributes.iter().map(|(key, v)| (key.clone(), value(v))).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_walk_reads_what_prost_reads(request in request()) {
        let bytes = request.encode_to_vec();
        let spans = Spans::read(bytes.into()).unwrap();
        assert_same(&spans, &decode(request));
    }

    #[test]
    fn attributes_as_json_are_those_of_the_record(request in request()) {
        let spans = Spans::read(request.encode_to_vec().into()).unwrap();
        let records = spans.records();
        let mut index = 0;
        spans.each(|span, _| {
            let mut text = Vec::new();
            span.write_attributes(&mut text);
            let text = String::from_utf8(text).unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), json_of(&records[index]), "{text}");
            index += 1;
        });
        prop_assert_eq!(index, records.len());
    }

    /// One byte changed: whatever prost still takes, the walk takes too, and reads the same.
    #[test]
    fn damaged_requests_are_read_as_prost_reads_them(request in request(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = request.encode_to_vec();
        if !bytes.is_empty() {
            let index = at.index(bytes.len());
            bytes[index] = to;
        }
        let by_prost = wire::decode_traces_protobuf(&bytes);
        let spans = Spans::read(bytes.into());
        if let Ok(request) = by_prost {
            assert_same(&spans.unwrap(), &decode(request));
        }
    }

    #[test]
    fn any_bytes_end_in_a_result(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(spans) = Spans::read(bytes.into()) {
            prop_assert_eq!(spans.records().len(), spans.len());
        }
    }
}

fn good() -> otlp::Span {
    otlp::Span { trace_id: vec![1; 16], span_id: vec![2; 8], kind: SpanKind::Client as i32, ..Default::default() }
}

fn read(spans: Vec<otlp::Span>) -> Spans {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    Spans::read(ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()).unwrap()
}

#[test]
fn a_resource_after_its_spans_counts_too() {
    let name = crate::attribute::text("service.name", "late");
    let resource = Resource { attributes: vec![name], ..Resource::default() };
    let spans = ScopeSpans { spans: vec![good()], ..ScopeSpans::default() };
    let mut inner = ResourceSpans { scope_spans: vec![spans], ..ResourceSpans::default() }.encode_to_vec();
    inner.extend(ResourceSpans { resource: Some(resource), ..ResourceSpans::default() }.encode_to_vec());
    let mut bytes = vec![0x0a];
    prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
    bytes.extend(inner);
    assert_eq!(Spans::read(bytes.into()).unwrap().records()[0].service.name(), "late");
}

#[test]
fn peers_are_shared_although_urls_differ() {
    let to = |url: &str| otlp::Span { attributes: vec![crate::attribute::text("url.full", url)], ..good() };
    let spans = read(vec![to("http://a/1"), to("http://a/2"), to("http://b/1")]);
    assert_eq!(spans.facts.iter().map(|facts| facts.peer).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(spans.peers[1].service.name(), "b");
}

#[test]
fn text_that_is_not_utf8_does_not_refuse_the_request() {
    let mut bytes = read(vec![otlp::Span { name: "QQQQ".into(), ..good() }]).body().to_vec();
    let at = bytes.windows(4).position(|part| part == b"QQQQ").unwrap();
    bytes[at] = 0xff;
    assert!(wire::decode_traces_protobuf(&bytes).is_err());
    assert_eq!(Spans::read(bytes.into()).unwrap().records()[0].name, "\u{fffd}QQQ");
}

#[test]
fn deep_values_and_too_many_spans_are_refused() {
    let deep = (0..200).fold(Any::IntValue(1), |inner, _| {
        Any::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(inner) }] })
    });
    let value = Some(AnyValue { value: Some(deep) });
    let attributes = vec![KeyValue { key: "deep".into(), value, key_strindex: 0 }];
    let bytes = Message::encode_to_vec(&otlp::Span { attributes, ..good() });
    let mut message = Vec::new();
    for (tag, inner) in [(0x12_u8, bytes), (0x12, Vec::new()), (0x0a, Vec::new())] {
        let content = if inner.is_empty() { std::mem::take(&mut message) } else { inner };
        message.push(tag);
        prost::encoding::encode_varint(content.len() as u64, &mut message);
        message.extend(content);
    }
    assert!(matches!(Spans::read(message.into()), Err(DecodeError::TooDeep)));
    let many = [0x12, 0].repeat(MAX_ITEMS + 1);
    let mut scope = vec![0x12];
    prost::encoding::encode_varint(many.len() as u64, &mut scope);
    scope.extend(many);
    let mut bytes = vec![0x0a];
    prost::encoding::encode_varint(scope.len() as u64, &mut bytes);
    bytes.extend(scope);
    assert!(matches!(Spans::read(bytes.into()), Err(DecodeError::TooManyItems)));
}
