//! AWS X-Ray segments as span records.
//!
//! A segment document is one service's part of a trace: it becomes a server span, each subsegment in it a span of the same service,
//! a client's when it says that it called something (`namespace` `aws` or `remote`, or `sql`). Source: "X-Ray segment documents" in the
//! developer guide. Left out and counted: segments that are still in progress, for the finished one follows; and subsegments sent alone,
//! which do not say whose they are.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use tripline_model::{ServiceName, SpanId, Timestamp, TraceId};

use crate::traces::Foreign;
use crate::value::{MAX_ATTRIBUTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, cut};
use crate::wire::{DecodeError, MAX_ITEMS};
use crate::{SpanKind, SpanRecord, SpanStatus, Value};

/// Longest document: what the daemon takes in one datagram.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// A segment or subsegment, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Segment {
    name: String,
    id: String,
    trace_id: Option<String>,
    parent_id: Option<String>,
    /// Seconds since 1970.
    start_time: f64,
    end_time: Option<f64>,
    in_progress: bool,
    #[serde(rename = "type")]
    kind: Option<String>,
    namespace: Option<String>,
    origin: Option<String>,
    fault: bool,
    error: bool,
    throttle: bool,
    http: Option<Http>,
    sql: Option<Sql>,
    aws: Option<Map<String, Json>>,
    annotations: Option<Map<String, Json>>,
    metadata: Option<Json>,
    subsegments: Vec<Segment>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Http {
    request: Request,
    response: Response,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    method: Option<String>,
    url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Response {
    status: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sql {
    database_type: Option<String>,
    sanitized_query: Option<String>,
}

/// The spans of one datagram to the daemon: a line that names the format, then the document.
///
/// # Errors
/// When it is no such datagram, or past a limit.
pub fn decode_datagram(bytes: &[u8]) -> Result<Foreign, DecodeError> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (head, document) = bytes.split_at(end);
    let head: Json = serde_json::from_slice(head)?;
    if head.get("format").and_then(Json::as_str) != Some("json") {
        return Err(wrong("expected the first line {\"format\": \"json\", \"version\": 1}"));
    }
    decode(document)
}

/// The spans of the body of `PutTraceSegments`.
///
/// # Errors
/// When it is none, or past a limit.
pub fn decode_request(bytes: &[u8]) -> Result<Foreign, DecodeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body {
        trace_segment_documents: Vec<String>,
    }
    let body: Body = serde_json::from_slice(bytes)?;
    let mut all = Foreign::default();
    for document in body.trace_segment_documents {
        match decode(document.as_bytes()) {
            Ok(one) => all.add(one),
            Err(_) => all.rejected.trace_id += 1,
        }
        if all.records.len() > MAX_ITEMS {
            return Err(DecodeError::TooManyItems);
        }
    }
    Ok(all)
}

/// The spans of one segment document.
///
/// # Errors
/// When it is none, or past a limit.
pub fn decode(document: &[u8]) -> Result<Foreign, DecodeError> {
    let segment: Segment = serde_json::from_slice(document)?;
    let mut decoded = Foreign::default();
    let Some(trace) = segment.trace_id.as_deref().and_then(trace_id) else {
        decoded.rejected.trace_id += 1;
        return Ok(decoded);
    };
    if segment.kind.as_deref() == Some("subsegment") || segment.in_progress {
        decoded.left_out += 1;
        return Ok(decoded);
    }
    let service = ServiceName::new("", if segment.name.is_empty() { "unknown_service" } else { &segment.name });
    let instance: Arc<str> = segment.aws.as_ref().and_then(instance).unwrap_or_default().into();
    let parent = segment.parent_id.as_deref().and_then(|id| id.parse().ok());
    // serde_json ends at 128 levels, but a list of work needs no trust in that.
    let mut open: Vec<(Segment, Option<SpanId>, bool)> = vec![(segment, parent, true)];
    while let Some((mut segment, parent, is_root)) = open.pop() {
        let Ok(id) = segment.id.parse::<SpanId>() else {
            decoded.rejected.span_id += 1;
            continue;
        };
        let within = std::mem::take(&mut segment.subsegments);
        open.extend(within.into_iter().filter(|inner| !inner.in_progress).map(|inner| (inner, Some(id), false)));
        decoded.records.push(SpanRecord {
            instance: instance.clone(),
            ..segment.into_record((trace, id, parent), &service, is_root)
        });
    }
    Ok(decoded)
}

impl Segment {
    fn into_record(
        self,
        (trace_id, span_id, parent): (TraceId, SpanId, Option<SpanId>),
        service: &ServiceName,
        is_root: bool,
    ) -> SpanRecord {
        let calls = self.namespace.as_deref().is_some_and(|namespace| matches!(namespace, "aws" | "remote"));
        let kind = match (is_root, calls || self.sql.is_some()) {
            (true, _) => SpanKind::Server,
            (false, true) => SpanKind::Client,
            (false, false) => SpanKind::Internal,
        };
        let start = seconds(self.start_time);
        let status = if self.fault || self.error || self.throttle { SpanStatus::Error } else { SpanStatus::Unset };
        SpanRecord {
            trace_id,
            span_id,
            parent,
            service: service.clone(),
            instance: "".into(),
            environment: "".into(),
            from_sidecar: false,
            name: cut(&self.name, MAX_KEY_BYTES).to_owned(),
            kind,
            start,
            end: self.end_time.map_or(start, seconds).max(start),
            status,
            status_message: String::new(),
            attributes: self.attributes(kind),
            events: Vec::new(),
            links: Vec::new(),
            weight: 1.0,
        }
    }

    fn attributes(self, kind: SpanKind) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        let mut text = |key: &str, text: Option<&str>| {
            found.extend(text.filter(|text| !text.is_empty()).map(|text| (key.to_owned(), kept(text))));
        };
        if let Some(http) = &self.http {
            text("http.request.method", http.request.method.as_deref());
            text("url.full", http.request.url.as_deref());
        }
        text("aws.xray.origin", self.origin.as_deref());
        if kind == SpanKind::Client {
            self.peer(&mut text);
        }
        let status = self.http.as_ref().and_then(|http| http.response.status);
        found.extend(status.map(|status| ("http.response.status_code".to_owned(), Value::Int(status))));
        for (key, value) in self.annotations.unwrap_or_default() {
            found.push((cut(&key, MAX_KEY_BYTES).to_owned(), scalar(&value)));
        }
        found.extend(self.metadata.map(|metadata| ("aws.xray.metadata".to_owned(), kept(&metadata.to_string()))));
        found.truncate(MAX_ATTRIBUTES);
        found
    }

    /// Whom a subsegment called, in OpenTelemetry's words.
    fn peer(&self, text: &mut impl FnMut(&str, Option<&str>)) {
        let operation = self.aws.as_ref().and_then(|aws| aws.get("operation")).and_then(Json::as_str);
        if let Some(sql) = &self.sql {
            // The SDKs name such a subsegment DATABASE@HOST.
            let (database, host) = self.name.split_once('@').unwrap_or(("", &self.name));
            let system = sql.database_type.as_deref().map(str::to_ascii_lowercase);
            text("db.system.name", Some(system.as_deref().unwrap_or("other_sql")));
            text("db.namespace", Some(database));
            text("server.address", Some(host));
            text("db.query.text", sql.sanitized_query.as_deref());
        } else if self.namespace.as_deref() == Some("aws") {
            if self.name.eq_ignore_ascii_case("dynamodb") {
                text("db.system.name", Some("aws.dynamodb"));
            } else {
                // AWS's services are named as the SDK does, not by the host of a region.
                text("peer.service", Some(&self.name));
            }
            text("rpc.system", Some("aws-api"));
            text("rpc.service", Some(&self.name));
            text("rpc.method", operation);
        } else {
            text("server.address", Some(&self.name));
        }
    }
}

fn instance(aws: &Map<String, Json>) -> Option<&str> {
    let of = |part: &str, key: &str| aws.get(part)?.get(key)?.as_str();
    of("ec2", "instance_id").or_else(|| of("ecs", "container"))
}

fn kept(text: &str) -> Value {
    Value::Text(cut(text, MAX_VALUE_BYTES).to_owned())
}

fn scalar(value: &Json) -> Value {
    match value {
        Json::Bool(bool) => Value::Bool(*bool),
        Json::String(text) => kept(text),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Double(number.as_f64().unwrap_or_default()), Value::Int)
        }
        other => kept(&other.to_string()),
    }
}

/// `1-5759e988-bd862e3fe1be46a994272793`, or 32 digits.
fn trace_id(text: &str) -> Option<TraceId> {
    match text.strip_prefix("1-") {
        Some(rest) => rest.replacen('-', "", 1).parse().ok(),
        None => text.parse().ok(),
    }
}

fn seconds(seconds: f64) -> Timestamp {
    // A cast from floating point saturates, and NaN is 0.
    Timestamp::from_nanos((seconds.max(0.0) * 1e6) as u64 * 1_000)
}

fn wrong(message: &str) -> DecodeError {
    <serde_json::Error as serde::de::Error>::custom(message).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;
    use proptest::prelude::*;
    use tripline_model::NodeKind;

    /// After the examples of the developer guide.
    const SEGMENT: &str = r#"{"name":"Scorekeep","id":"70de5b6f19ff9a0a","trace_id":"1-581cf771-a006649127e371903a2de979",
      "start_time":1478293361.271,"end_time":1478293361.449,"http":{"request":{"url":"http://scorekeep/api/user",
      "method":"POST"},"response":{"status":200,"content_length":0}},"annotations":{"zip":98101,"ok":true},
      "metadata":{"debug":{"test":"x"}},"aws":{"ec2":{"instance_id":"i-0b5a4678fc325bg98"}},
      "subsegments":[
        {"id":"53995c3f42cd8ad8","name":"api.example.com","start_time":1478293361.3,"end_time":1478293361.4,"fault":true,
         "namespace":"remote","http":{"request":{"url":"https://api.example.com/health","method":"GET"},"response":{"status":503}},
         "subsegments":[{"id":"53995c3f42cd8ad9","name":"parse","start_time":1478293361.31,"end_time":1478293361.32}]},
        {"id":"53995c3f42cd8ada","name":"S3","namespace":"aws","start_time":1,"end_time":2,"aws":{"operation":"GetObject"}},
        {"id":"53995c3f42cd8adb","name":"DynamoDB","namespace":"aws","start_time":1,"end_time":2},
        {"id":"53995c3f42cd8adc","name":"ebdb@db.internal","namespace":"remote","start_time":1,"end_time":2,
         "sql":{"database_type":"PostgreSQL","sanitized_query":"SELECT ?"}},
        {"id":"53995c3f42cd8add","name":"still open","start_time":1,"in_progress":true}]}"#;

    fn named<'a>(decoded: &'a Foreign, name: &str) -> &'a SpanRecord {
        decoded.records.iter().find(|record| record.name == name).unwrap()
    }

    #[test]
    fn a_segment_is_a_server_span_and_its_calls_are_client_spans() {
        let decoded = decode(SEGMENT.as_bytes()).unwrap();
        assert_eq!(decoded.records.len(), 6);
        let root = named(&decoded, "Scorekeep");
        assert_eq!(root.trace_id.to_string(), "581cf771a006649127e371903a2de979");
        assert_eq!((root.kind, root.parent, &*root.instance), (SpanKind::Server, None, "i-0b5a4678fc325bg98"));
        assert_eq!(root.end.since(root.start).as_millis(), 178);
        assert_eq!((root.attribute("zip"), root.attribute("ok")), (Some(&Value::Int(98101)), Some(&Value::Bool(true))));
        let remote = named(&decoded, "api.example.com");
        assert!(remote.failed() && remote.parent == Some(root.span_id));
        let peer = |service: &str, kind| Some(Peer { service: ServiceName::new("", service), kind });
        assert_eq!(remote.peer(), peer("api.example.com", NodeKind::External));
        assert_eq!(named(&decoded, "parse").kind, SpanKind::Internal);
        assert_eq!(named(&decoded, "parse").parent, Some(remote.span_id));
        assert_eq!(named(&decoded, "S3").peer(), peer("S3", NodeKind::Service));
        assert_eq!(named(&decoded, "DynamoDB").peer(), peer("aws.dynamodb", NodeKind::Database));
        let sql = named(&decoded, "ebdb@db.internal").peer();
        assert_eq!(sql, peer("ebdb (postgresql at db.internal)", NodeKind::Database));
    }

    #[test]
    fn datagrams_and_requests_hold_documents() {
        let datagram = format!("{{\"format\": \"json\", \"version\": 1}}\n{SEGMENT}");
        assert_eq!(decode_datagram(datagram.as_bytes()).unwrap().records.len(), 6);
        let body = serde_json::json!({"TraceSegmentDocuments": [SEGMENT, "nonsense"]}).to_string();
        let decoded = decode_request(body.as_bytes()).unwrap();
        assert_eq!((decoded.records.len(), decoded.rejected.total()), (6, 1));
        for text in ["", "{}", "{}\n{}", "{\"format\":\"xml\"}\n{}", SEGMENT] {
            assert!(decode_datagram(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_unfinished_or_nobodys_is_left_out_and_counted() {
        let trace = "\"trace_id\":\"1-581cf771-a006649127e371903a2de979\",\"id\":\"70de5b6f19ff9a0a\"";
        let count = |text: String| {
            let decoded = decode(text.as_bytes()).unwrap();
            assert_eq!(decoded.records, []);
            (decoded.left_out, decoded.rejected.trace_id)
        };
        assert_eq!(count(format!("{{{trace},\"in_progress\":true}}")), (1, 0));
        assert_eq!(count(format!("{{{trace},\"type\":\"subsegment\"}}")), (1, 0));
        assert_eq!(count("{\"trace_id\":\"2-x\"}".into()), (0, 1));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_result(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut bytes = SEGMENT.as_bytes().to_vec();
            let index = at.index(bytes.len());
            bytes[index] = to;
            let _ = decode(&bytes);
        }
    }
}
