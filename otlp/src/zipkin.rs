//! Zipkin v2 JSON as span records: a list of spans, as `POST /api/v2/spans` takes it.
//!
//! What maps to what follows OpenTelemetry's specification "Zipkin exporter", read backwards: the local endpoint's name is the
//! service, the remote endpoint's name the peer, tags are attributes, annotations are events, and a tag `error` is a failure. A server that
//! shares its span's id with its client (`shared`) keeps it: whoever pairs spans knows that habit.

use std::collections::BTreeMap;

use serde::Deserialize;
use tripline_model::{ServiceName, SpanId, Timestamp, TraceId};

use crate::traces::Foreign;
use crate::value::{MAX_ATTRIBUTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, cut_owned};
use crate::wire::{DecodeError, MAX_ITEMS};
use crate::{SpanEvent, SpanKind, SpanRecord, SpanStatus, Value, span};

/// One span, as far as it is read; what else there is is ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ZipkinSpan {
    #[serde(default)]
    trace_id: String,
    #[serde(default)]
    id: String,
    parent_id: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    /// Microseconds since 1970.
    timestamp: Option<f64>,
    /// Microseconds.
    duration: Option<f64>,
    local_endpoint: Option<Endpoint>,
    remote_endpoint: Option<Endpoint>,
    annotations: Option<Vec<Annotation>>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    service_name: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    port: Option<u16>,
}

#[derive(Debug, Deserialize)]
struct Annotation {
    timestamp: f64,
    value: String,
}

/// The spans of a list; those without usable ids are counted and left out.
///
/// # Errors
/// When the bytes are no such list, or past a limit.
pub fn decode(bytes: &[u8]) -> Result<Foreign, DecodeError> {
    let received: Vec<ZipkinSpan> = serde_json::from_slice(bytes)?;
    if received.len() > MAX_ITEMS {
        return Err(DecodeError::TooManyItems);
    }
    let mut decoded = Foreign::default();
    for span in received {
        match (trace_id(&span.trace_id), span_id(&span.id)) {
            (Some(trace), Some(id)) => decoded.records.push(span.into_record(trace, id)),
            (None, _) => decoded.rejected.trace_id += 1,
            (_, None) => decoded.rejected.span_id += 1,
        }
    }
    Ok(decoded)
}

impl ZipkinSpan {
    fn into_record(self, trace_id: TraceId, id: SpanId) -> SpanRecord {
        let tags = self.tags.unwrap_or_default();
        let kind = match self.kind.as_deref() {
            Some("CLIENT") => SpanKind::Client,
            Some("SERVER") => SpanKind::Server,
            Some("PRODUCER") => SpanKind::Producer,
            Some("CONSUMER") => SpanKind::Consumer,
            _ => SpanKind::Internal,
        };
        let local = self.local_endpoint.unwrap_or_default();
        let service = local.service_name.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown_service".into());
        let namespace = tags.get("service.namespace").map_or("", String::as_str);
        let start = micros(self.timestamp.unwrap_or_default());
        let error = tags
            .get("error")
            .cloned()
            .or_else(|| tags.get("otel.status_code").filter(|code| *code == "ERROR").map(|_| String::new()));
        let mut attributes = self.remote_endpoint.map(|peer| peer.attributes(kind)).unwrap_or_default();
        let tag = |(key, value)| (cut_owned(key, MAX_KEY_BYTES), Value::Text(cut_owned(value, MAX_VALUE_BYTES)));
        let service = ServiceName::new(namespace, &service);
        attributes.extend(tags.into_iter().filter(|(key, _)| !key.is_empty()).take(MAX_ATTRIBUTES).map(tag));
        let event = |annotation: Annotation| SpanEvent {
            at: micros(annotation.timestamp),
            name: cut_owned(annotation.value, MAX_KEY_BYTES),
        };
        SpanRecord {
            trace_id,
            span_id: id,
            parent: self.parent_id.as_deref().and_then(span_id),
            service,
            instance: "".into(),
            environment: "".into(),
            from_sidecar: false,
            name: cut_owned(self.name.unwrap_or_default(), MAX_KEY_BYTES),
            kind,
            start,
            end: start + std::time::Duration::from_micros(self.duration.unwrap_or_default().max(0.0) as u64),
            status: if error.is_some() { SpanStatus::Error } else { SpanStatus::Unset },
            status_message: cut_owned(error.unwrap_or_default(), MAX_VALUE_BYTES),
            attributes,
            events: self.annotations.unwrap_or_default().into_iter().take(span::MAX_EVENTS).map(event).collect(),
            links: Vec::new(),
            weight: 1.0,
        }
    }
}

impl Endpoint {
    fn attributes(self, kind: SpanKind) -> Vec<(String, Value)> {
        // Who called is not whom a server called.
        if !matches!(kind, SpanKind::Client | SpanKind::Producer | SpanKind::Consumer) {
            return Vec::new();
        }
        let name = self.service_name.filter(|name| !name.is_empty());
        let address = self.ipv4.or(self.ipv6);
        let texts = [("peer.service", name), ("network.peer.address", address)];
        let texts = texts
            .into_iter()
            .filter_map(|(key, text)| Some((key.to_owned(), Value::Text(cut_owned(text?, MAX_VALUE_BYTES)))));
        texts.chain(self.port.map(|port| ("network.peer.port".to_owned(), Value::Int(port.into())))).collect()
    }
}

fn micros(micros: f64) -> Timestamp {
    // A cast from floating point saturates, and NaN is 0.
    Timestamp::from_nanos((micros.max(0.0) as u64).saturating_mul(1_000))
}

/// 16 or 32 hexadecimal digits; what is shorter is filled up on the left, as Zipkin does.
fn trace_id(text: &str) -> Option<TraceId> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    format!("{text:0>32}").parse().ok()
}

fn span_id(text: &str) -> Option<SpanId> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    format!("{text:0>16}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;
    use proptest::prelude::*;
    use tripline_model::NodeKind;

    /// After the example of Zipkin's own API description.
    const EXAMPLE: &str = r#"[
      {"id":"352bff9a74ca9ad2","traceId":"5af7183fb1d4cf5f","parentId":"6b221d5bc9e6496c","name":"get /api",
       "timestamp":1556604172355737,"duration":1431,"kind":"CLIENT",
       "localEndpoint":{"serviceName":"frontend","ipv4":"192.168.99.1","port":3306},
       "remoteEndpoint":{"serviceName":"backend","ipv4":"172.19.0.2","port":58648},
       "annotations":[{"timestamp":1556604172355800,"value":"ws"}],
       "tags":{"http.method":"GET","http.status_code":"503","error":"boom"}},
      {"id":"352bff9a74ca9ad2","traceId":"5af7183fb1d4cf5f","name":"get /api","kind":"SERVER","shared":true,
       "timestamp":1556604172356000,"duration":1000,"localEndpoint":{"serviceName":"backend"},
       "remoteEndpoint":{"serviceName":"frontend"}},
      {"id":"","traceId":"5af7183fb1d4cf5f"}, {"id":"1","traceId":"xyz"}, {"id":"1"}
    ]"#;

    #[test]
    fn the_documented_example_is_read() {
        let decoded = decode(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((decoded.rejected.trace_id, decoded.rejected.span_id), (2, 1));
        let [client, server] = &decoded.records[..] else { panic!("two spans") };
        assert_eq!(client.trace_id.to_string(), "00000000000000005af7183fb1d4cf5f");
        assert_eq!(client.parent.unwrap().to_string(), "6b221d5bc9e6496c");
        assert_eq!(
            (client.service.name(), client.kind, client.status),
            ("frontend", SpanKind::Client, SpanStatus::Error)
        );
        assert_eq!(client.peer(), Some(Peer { service: "backend".into(), kind: NodeKind::Service }));
        assert_eq!(client.start, Timestamp::from_nanos(1_556_604_172_355_737_000));
        assert_eq!(client.end.since(client.start).as_micros(), 1431);
        assert!(client.failed() && client.http_status() == Some(503) && client.events[0].name == "ws");
        assert_eq!((server.span_id, server.peer(), server.failed()), (client.span_id, None, false));
    }

    #[test]
    fn other_documents_are_errors() {
        for text in ["", "{}", "[7]", "[{\"tags\":7}]", "[{\"timestamp\":\"soon\"}]"] {
            assert!(matches!(decode(text.as_bytes()), Err(DecodeError::Json(_))), "{text}");
        }
        assert_eq!(decode(b"[]").unwrap().records, []);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_result(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut bytes = EXAMPLE.as_bytes().to_vec();
            let index = at.index(bytes.len());
            bytes[index] = to;
            let _ = decode(&bytes);
        }
    }
}
