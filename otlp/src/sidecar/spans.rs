//! The sidecar's spans as an OTLP trace request.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use tripline_model::Sidecar;

use crate::{SpanEvent, SpanKind, SpanRecord, SpanStatus, attribute, resource, sampling};

/// The spans of one sidecar as one request. Their own `service`, `instance` and `environment` are not written: the resource is
/// the sidecar's.
#[must_use]
pub fn encode_spans(spans: &[SpanRecord], sidecar: &Sidecar) -> ExportTraceServiceRequest {
    let scope = ScopeSpans {
        scope: Some(resource::scope()),
        spans: spans.iter().map(encode_span).collect(),
        schema_url: String::new(),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource::of_sidecar(sidecar)),
            scope_spans: vec![scope],
            schema_url: String::new(),
        }],
    }
}

/// Spans as a request in which each stands under its own service, instance and environment.
#[must_use]
pub fn encode_records(spans: &[SpanRecord]) -> ExportTraceServiceRequest {
    let each = |span: &SpanRecord| ResourceSpans {
        resource: Some(resource::of_record(span)),
        scope_spans: vec![ScopeSpans { spans: vec![encode_span(span)], ..ScopeSpans::default() }],
        schema_url: String::new(),
    };
    ExportTraceServiceRequest { resource_spans: spans.iter().map(each).collect() }
}

fn encode_span(span: &SpanRecord) -> otlp::Span {
    otlp::Span {
        trace_id: span.trace_id.as_bytes().to_vec(),
        span_id: span.span_id.as_bytes().to_vec(),
        trace_state: sampling::tracestate(span.weight),
        parent_span_id: span.parent.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        // A span that is sent was sampled.
        flags: 1,
        name: span.name.clone(),
        kind: i32::from(encode_kind(span.kind)),
        start_time_unix_nano: span.start.as_nanos(),
        end_time_unix_nano: span.end.as_nanos(),
        attributes: span.attributes.iter().map(|(key, value)| attribute::of_value(key, value)).collect(),
        events: span.events.iter().map(encode_event).collect(),
        links: span.links.iter().map(|(trace, id)| encode_link(trace.as_bytes(), id.as_bytes())).collect(),
        status: encode_status(span),
        ..otlp::Span::default()
    }
}

fn encode_event(event: &SpanEvent) -> otlp::span::Event {
    otlp::span::Event { time_unix_nano: event.at.as_nanos(), name: event.name.clone(), ..otlp::span::Event::default() }
}

fn encode_link(trace: &[u8], span: &[u8]) -> otlp::span::Link {
    otlp::span::Link { trace_id: trace.to_vec(), span_id: span.to_vec(), ..otlp::span::Link::default() }
}

fn encode_status(span: &SpanRecord) -> Option<otlp::Status> {
    let code = match span.status {
        SpanStatus::Unset if span.status_message.is_empty() => return None,
        SpanStatus::Unset => otlp::status::StatusCode::Unset,
        SpanStatus::Ok => otlp::status::StatusCode::Ok,
        SpanStatus::Error => otlp::status::StatusCode::Error,
    };
    Some(otlp::Status { message: span.status_message.clone(), code: i32::from(code) })
}

const fn encode_kind(kind: SpanKind) -> otlp::span::SpanKind {
    match kind {
        SpanKind::Unspecified => otlp::span::SpanKind::Unspecified,
        SpanKind::Internal => otlp::span::SpanKind::Internal,
        SpanKind::Server => otlp::span::SpanKind::Server,
        SpanKind::Client => otlp::span::SpanKind::Client,
        SpanKind::Producer => otlp::span::SpanKind::Producer,
        SpanKind::Consumer => otlp::span::SpanKind::Consumer,
    }
}
