//! A received log record with its identities resolved.
//!
//! Log records are never refused: one without a valid trace or span id belongs to no trace, and everything that could be
//! too large is cut.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1 as otlp;
use tripline_model::{ServiceName, SpanId, Timestamp, TraceId};

use crate::resource::Identity;
use crate::{Value, value};

/// Longest body kept, in bytes; longer ones are cut at a character boundary.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// One log record, as history stores it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// Its time, or when it was observed if it has none.
    pub at: Timestamp,
    /// `service.namespace` and `service.name` of its resource.
    pub service: ServiceName,
    /// `service.instance.id` of its resource, or empty.
    pub instance: Arc<str>,
    /// OTLP's severity number, 0 when unspecified.
    pub severity_number: u8,
    /// `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR`, `FATAL`, or empty.
    pub severity: String,
    /// The text, or the JSON text of a structured body.
    pub body: String,
    /// Event name, or empty.
    pub event: String,
    /// The trace it belongs to.
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    pub span_id: Option<SpanId>,
    /// Attributes in the order received, bounded in number and length.
    pub attributes: Vec<(String, Value)>,
}

/// What one logs request holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DecodedLogs {
    /// The records in the order received.
    pub logs: Vec<LogRecord>,
}

/// The log records of a request.
#[must_use]
pub fn decode(request: ExportLogsServiceRequest) -> DecodedLogs {
    let mut decoded = DecodedLogs::default();
    for resource in request.resource_logs {
        let identity = Identity::of(resource.resource.as_ref());
        let records = resource.scope_logs.into_iter().flat_map(|scope| scope.log_records);
        decoded.logs.extend(records.map(|record| decode_record(record, &identity)));
    }
    decoded
}

fn decode_record(record: otlp::LogRecord, identity: &Identity) -> LogRecord {
    let at = if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano };
    let severity_number = u8::try_from(record.severity_number).ok().filter(|n| *n <= 24).unwrap_or(0);
    let (event, attributes) = event_and_attributes(record.event_name, value::attributes(record.attributes));
    LogRecord {
        at: Timestamp::from_nanos(at),
        service: identity.service.clone(),
        instance: identity.instance.clone(),
        severity_number,
        severity: severity_word(severity_number, &record.severity_text).into(),
        body: record.body.map(body_text).unwrap_or_default(),
        event: value::cut_owned(event, value::MAX_KEY_BYTES),
        trace_id: TraceId::from_slice(&record.trace_id),
        span_id: SpanId::from_slice(&record.span_id),
        attributes,
    }
}

/// The event's name, where it once was an attribute too.
fn event_and_attributes(name: String, attributes: Vec<(String, Value)>) -> (String, Vec<(String, Value)>) {
    if !name.is_empty() {
        return (name, attributes);
    }
    let old = attributes.iter().find_map(|(key, value)| match value {
        Value::Text(text) if key == "event.name" => Some(text.clone()),
        _ => None,
    });
    (old.unwrap_or_default(), attributes)
}

fn body_text(body: AnyValue) -> String {
    match value::flat(body, MAX_BODY_BYTES) {
        Some(Value::Text(text)) => text,
        Some(Value::Int(int)) => int.to_string(),
        Some(Value::Double(double)) => double.to_string(),
        Some(Value::Bool(bool)) => bool.to_string(),
        None => String::new(),
    }
}

/// The word of a severity: by its number, else by what common loggers write.
fn severity_word(number: u8, text: &str) -> &'static str {
    match number {
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        21..=24 => "FATAL",
        _ => [
            ("trace", "TRACE"),
            ("debug", "DEBUG"),
            ("info", "INFO"),
            ("information", "INFO"),
            ("notice", "INFO"),
            ("warn", "WARN"),
            ("warning", "WARN"),
            ("error", "ERROR"),
            ("err", "ERROR"),
            ("critical", "FATAL"),
            ("fatal", "FATAL"),
            ("panic", "FATAL"),
        ]
        .into_iter()
        .find(|(written, _)| text.eq_ignore_ascii_case(written))
        .map_or("", |(_, word)| word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::text;
    use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};

    fn decode_one(record: otlp::LogRecord) -> LogRecord {
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        decode(ExportLogsServiceRequest { resource_logs }).logs.remove(0)
    }

    #[test]
    fn an_empty_record_is_still_a_record() {
        let record = decode_one(otlp::LogRecord::default());
        assert_eq!((record.at, record.severity.as_str(), record.trace_id), (Timestamp::default(), "", None));
        assert_eq!(record.service.to_string(), "unknown_service");
    }

    #[test]
    fn severity_comes_from_number_or_text() {
        for (number, text, expected) in
            [(17, "", "ERROR"), (17, "info", "ERROR"), (0, "Warning", "WARN"), (-3, "", ""), (99, "x", "")]
        {
            let record =
                otlp::LogRecord { severity_number: number, severity_text: text.into(), ..otlp::LogRecord::default() };
            assert_eq!(decode_one(record).severity, expected, "{number} {text}");
        }
    }

    #[test]
    fn bodies_are_cut_and_observed_time_stands_in() {
        let record = otlp::LogRecord {
            observed_time_unix_nano: 7,
            body: text("", "ä".repeat(MAX_BODY_BYTES)).value,
            trace_id: vec![1, 2, 3],
            attributes: vec![text("event.name", "started")],
            ..otlp::LogRecord::default()
        };
        let record = decode_one(record);
        assert_eq!((record.at.as_nanos(), record.body.len(), record.trace_id), (7, MAX_BODY_BYTES, None));
        assert_eq!(record.event, "started");
    }
}
