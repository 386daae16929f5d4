//! Spans out of a trace request.
//!
//! A span without a usable trace or span id can never be found or paired, so it is refused and counted; everything else is
//! kept: what is too large is cut, an end before its start becomes the start, and a time that no clock can have meant is
//! kept but counted, so that someone can ask whose clock that is.

use std::fmt;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use tripline_model::{SpanId, Timestamp, TraceId};

use super::{SpanEvent, SpanKind, SpanRecord, SpanStatus};
use crate::resource::Identity;
use crate::value::{MAX_KEY_BYTES, MAX_VALUE_BYTES, cut_owned};
use crate::{sampling, value};

/// Most events kept of one span.
pub const MAX_EVENTS: usize = 128;
/// Most links kept of one span.
pub const MAX_LINKS: usize = 128;
/// Before this (2000-01-01) a sender's clock was not set.
const EARLIEST: Timestamp = Timestamp::from_secs(946_684_800);
/// After this (2100-01-01) a sender mistook the unit.
const LATEST: Timestamp = Timestamp::from_secs(4_102_444_800);

/// What one trace request holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DecodedSpans {
    /// The spans in the order received.
    pub spans: Vec<SpanRecord>,
    /// The spans that were refused.
    pub rejected: RejectedSpans,
    /// Spans kept whose end was before their start, or whose times are before 2000 or after 2100.
    pub odd_times: u64,
}

/// How many spans were refused, and why. Written as the message of a partial success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RejectedSpans {
    /// Their trace id was not 16 bytes, or all zero.
    pub trace_id: u64,
    /// Their span id was not 8 bytes, or all zero.
    pub span_id: u64,
}

impl RejectedSpans {
    /// All refused spans.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.trace_id.saturating_add(self.span_id)
    }
}

impl fmt::Display for RejectedSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.trace_id, self.span_id) {
            (0, 0) => Ok(()),
            (trace, 0) => write!(f, "{trace} spans without a valid trace id of 16 bytes"),
            (0, span) => write!(f, "{span} spans without a valid span id of 8 bytes"),
            (trace, span) => {
                write!(
                    f,
                    "{trace} spans without a valid trace id of 16 bytes, {span} without a valid span id of 8 bytes"
                )
            }
        }
    }
}

/// The spans of a request.
#[must_use]
pub fn decode(request: ExportTraceServiceRequest) -> DecodedSpans {
    let mut decoded = DecodedSpans::default();
    for resource in request.resource_spans {
        let identity = Identity::of(resource.resource.as_ref());
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            decoded.add(span, &identity);
        }
    }
    decoded
}

impl DecodedSpans {
    fn add(&mut self, span: otlp::Span, identity: &Identity) {
        let Some(trace_id) = TraceId::from_slice(&span.trace_id) else {
            self.rejected.trace_id += 1;
            return;
        };
        let Some(span_id) = SpanId::from_slice(&span.span_id) else {
            self.rejected.span_id += 1;
            return;
        };
        let start = Timestamp::from_nanos(span.start_time_unix_nano);
        let end = Timestamp::from_nanos(span.end_time_unix_nano);
        self.odd_times += u64::from(is_odd(start, end));
        let status = span.status.unwrap_or_default();
        self.spans.push(SpanRecord {
            trace_id,
            span_id,
            parent: SpanId::from_slice(&span.parent_span_id),
            service: identity.service.clone(),
            instance: identity.instance.clone(),
            environment: identity.environment.clone(),
            from_sidecar: identity.from_sidecar,
            name: cut_owned(span.name, MAX_KEY_BYTES),
            kind: kind_of(span.kind),
            start,
            end: end.max(start),
            status: status_of(status.code),
            status_message: cut_owned(status.message, MAX_VALUE_BYTES),
            attributes: value::attributes(span.attributes),
            events: span.events.into_iter().take(MAX_EVENTS).map(event).collect(),
            links: span.links.iter().filter_map(link).take(MAX_LINKS).collect(),
            weight: sampling::weight(&span.trace_state),
        });
    }
}

/// Whether these are times that no span can have.
pub(crate) fn is_odd(start: Timestamp, end: Timestamp) -> bool {
    end < start || start < EARLIEST || end > LATEST
}

fn event(event: otlp::span::Event) -> SpanEvent {
    SpanEvent { at: Timestamp::from_nanos(event.time_unix_nano), name: cut_owned(event.name, MAX_KEY_BYTES) }
}

fn link(link: &otlp::span::Link) -> Option<(TraceId, SpanId)> {
    Some((TraceId::from_slice(&link.trace_id)?, SpanId::from_slice(&link.span_id)?))
}

pub(crate) const fn kind_of(number: i32) -> SpanKind {
    match number {
        1 => SpanKind::Internal,
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

pub(crate) const fn status_of(number: i32) -> SpanStatus {
    match number {
        1 => SpanStatus::Ok,
        2 => SpanStatus::Error,
        _ => SpanStatus::Unset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::text;
    use crate::sidecar::encode_spans;
    use crate::{Value, names};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
    use proptest::prelude::*;
    use tripline_model::{ServiceName, Sidecar};

    fn good() -> otlp::Span {
        otlp::Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            start_time_unix_nano: 1_800_000_000_000_000_000,
            end_time_unix_nano: 1_800_000_000_001_000_000,
            ..otlp::Span::default()
        }
    }

    fn request(spans: Vec<otlp::Span>) -> ExportTraceServiceRequest {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let attributes = vec![text(names::SERVICE_NAME, "web"), text(names::SERVICE_NAMESPACE, "shop")];
        let resource = Some(Resource { attributes, ..Resource::default() });
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
        }
    }

    #[test]
    fn unusable_ids_are_refused_and_counted() {
        let decoded = decode(request(vec![
            good(),
            otlp::Span { trace_id: vec![0; 16], ..good() },
            otlp::Span { trace_id: vec![1; 8], ..good() },
            otlp::Span { span_id: vec![0; 8], ..good() },
            otlp::Span { span_id: vec![], ..good() },
            otlp::Span { parent_span_id: vec![0; 8], ..good() },
        ]));
        assert_eq!(decoded.rejected, RejectedSpans { trace_id: 2, span_id: 2 });
        assert_eq!(decoded.spans.len(), 2);
        assert_eq!(decoded.spans[1].parent, None);
        assert_eq!(
            decoded.rejected.to_string(),
            "2 spans without a valid trace id of 16 bytes, 2 without a valid span id of 8 bytes"
        );
    }

    #[test]
    fn odd_times_are_kept_and_counted() {
        let decoded = decode(request(vec![
            otlp::Span { end_time_unix_nano: 5, ..good() },
            otlp::Span { start_time_unix_nano: 0, ..good() },
            otlp::Span { end_time_unix_nano: u64::MAX, ..good() },
            good(),
        ]));
        assert_eq!((decoded.spans.len(), decoded.odd_times), (4, 3));
        assert_eq!(decoded.spans[0].end, decoded.spans[0].start);
    }

    #[test]
    fn what_is_too_large_is_cut() {
        let decoded = decode(request(vec![otlp::Span {
            name: "n".repeat(9999),
            attributes: vec![text("key", "v".repeat(9999)); 500],
            events: vec![otlp::span::Event::default(); 500],
            links: vec![otlp::span::Link { trace_id: vec![1; 16], span_id: vec![1; 8], ..Default::default() }; 500],
            ..good()
        }]));
        let span = &decoded.spans[0];
        assert_eq!(span.name.len(), MAX_KEY_BYTES);
        assert_eq!((span.attributes.len(), span.events.len(), span.links.len()), (128, MAX_EVENTS, MAX_LINKS));
        assert_eq!(span.attributes[0].1, Value::Text("v".repeat(MAX_VALUE_BYTES)));
    }

    #[test]
    fn sampling_gives_weight() {
        let decoded = decode(request(vec![otlp::Span { trace_state: "ot=th:c".into(), ..good() }]));
        assert_eq!(decoded.spans[0].weight, 4.0);
    }

    prop_compose! {
        fn any_span()(
            ids in (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<[u8; 8]>()),
            texts in ["\\PC{0,40}", "\\PC{0,40}", "[a-z.]{1,20}", "\\PC{0,40}"],
            number in any::<i64>(),
            times in (1u64 << 60..1 << 61, 0u64..1 << 40),
            kind in 0i32..6,
            status in 0i32..3,
            half in any::<bool>(),
        ) -> SpanRecord {
            let [name, status_message, key, text] = texts;
            let trace_id = TraceId::from_bytes(ids.0).unwrap_or(TraceId::from_bytes([1; 16]).unwrap());
            let span_id = SpanId::from_bytes(ids.1).unwrap_or(SpanId::from_bytes([1; 8]).unwrap());
            SpanRecord {
                trace_id,
                span_id,
                parent: SpanId::from_bytes(ids.2),
                service: ServiceName::new("shop", "web"),
                instance: "i-1".into(),
                environment: "".into(),
                from_sidecar: true,
                name,
                kind: kind_of(kind),
                start: Timestamp::from_nanos(times.0),
                end: Timestamp::from_nanos(times.0 + times.1),
                status: status_of(status),
                status_message,
                attributes: vec![
                    (key, Value::Text(text)),
                    ("int".into(), Value::Int(number)),
                    ("double".into(), Value::Double(0.5)),
                    ("bool".into(), Value::Bool(half)),
                ],
                events: vec![SpanEvent { at: Timestamp::from_nanos(times.0), name: "retry".into() }],
                links: vec![(trace_id, span_id)],
                weight: if half { 2.0 } else { 1.0 },
            }
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_the_sidecars_encoding(spans in prop::collection::vec(any_span(), 0..5)) {
            let sidecar =
                Sidecar { service: ServiceName::new("shop", "web"), instance: "i-1".into(), version: "1".into() };
            prop_assert_eq!(decode(encode_spans(&spans, &sidecar)).spans, spans);
        }
    }
}
