//! Which fields of OTLP's messages hold messages, and what each costs in memory.
//!
//! Only what the scan needs. A field that is missing here is taken for a text: harmless for what a newer OTLP may add,
//! since the decoder skips it too.

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1 as resource;
use opentelemetry_proto::tonic::trace::v1 as trace;

/// What a length-delimited field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    TraceRequest,
    MetricsRequest,
    LogsRequest,
    Resource,
    EntityRef,
    Scope,
    KeyValue,
    AnyValue,
    List,
    Map,
    ResourceSpans,
    ScopeSpans,
    Span,
    SpanEvent,
    SpanLink,
    SpanStatus,
    ResourceLogs,
    ScopeLogs,
    LogRecord,
    ResourceMetrics,
    ScopeMetrics,
    Metric,
    /// A gauge or a sum: both hold their points in field 1.
    Gauge,
    Histogram,
    ExponentialHistogram,
    Summary,
    NumberPoint,
    HistogramPoint,
    ExponentialPoint,
    SummaryPoint,
    Buckets,
    Quantile,
    Exemplar,
    /// One text of many.
    Text,
    /// Integers of at least one byte each.
    PackedVarints,
}

impl Kind {
    /// What its field `number` holds; none when that is no message and no repeated field.
    pub(super) const fn child(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::TraceRequest, 1) => Self::ResourceSpans,
            (Self::MetricsRequest, 1) => Self::ResourceMetrics,
            (Self::LogsRequest, 1) => Self::ResourceLogs,
            (Self::ResourceSpans | Self::ResourceMetrics | Self::ResourceLogs, 1) => Self::Resource,
            (Self::ResourceSpans, 2) => Self::ScopeSpans,
            (Self::ResourceMetrics, 2) => Self::ScopeMetrics,
            (Self::ResourceLogs, 2) => Self::ScopeLogs,
            (Self::Resource, 3) => Self::EntityRef,
            (Self::EntityRef, 3 | 4) => Self::Text,
            (Self::ScopeSpans | Self::ScopeMetrics | Self::ScopeLogs, 1) => Self::Scope,
            (Self::ScopeSpans, 2) => Self::Span,
            (Self::ScopeMetrics, 2) => Self::Metric,
            (Self::ScopeLogs, 2) => Self::LogRecord,
            (Self::Span, 11) => Self::SpanEvent,
            (Self::Span, 13) => Self::SpanLink,
            (Self::Span, 15) => Self::SpanStatus,
            (Self::LogRecord, 5) | (Self::KeyValue, 2) | (Self::List, 1) => Self::AnyValue,
            (Self::AnyValue, 5) => Self::List,
            (Self::AnyValue, 6) => Self::Map,
            (Self::Resource | Self::Map, 1)
            | (Self::Scope | Self::SpanEvent, 3)
            | (Self::SpanLink, 4)
            | (Self::Span | Self::HistogramPoint, 9)
            | (Self::LogRecord, 6)
            | (Self::Metric, 12)
            | (Self::NumberPoint | Self::SummaryPoint | Self::Exemplar, 7)
            | (Self::ExponentialPoint, 1) => Self::KeyValue,
            (Self::Metric, 5 | 7) => Self::Gauge,
            (Self::Metric, 9) => Self::Histogram,
            (Self::Metric, 10) => Self::ExponentialHistogram,
            (Self::Metric, 11) => Self::Summary,
            (Self::Gauge, 1) => Self::NumberPoint,
            (Self::Histogram, 1) => Self::HistogramPoint,
            (Self::ExponentialHistogram, 1) => Self::ExponentialPoint,
            (Self::Summary, 1) => Self::SummaryPoint,
            (Self::NumberPoint, 5) | (Self::HistogramPoint, 8) | (Self::ExponentialPoint, 11) => Self::Exemplar,
            (Self::ExponentialPoint, 8 | 9) => Self::Buckets,
            (Self::Buckets, 2) => Self::PackedVarints,
            (Self::SummaryPoint, 6) => Self::Quantile,
            _ => return None,
        })
    }

    /// Bytes of memory for one, without what is in it.
    pub(super) const fn cost(self, length: usize) -> usize {
        match self {
            Self::TraceRequest | Self::MetricsRequest | Self::LogsRequest => 0,
            Self::Resource => size_of::<resource::Resource>(),
            Self::EntityRef => size_of::<common::EntityRef>(),
            Self::Scope => size_of::<common::InstrumentationScope>(),
            Self::KeyValue => size_of::<common::KeyValue>(),
            Self::AnyValue => size_of::<common::AnyValue>(),
            Self::List | Self::Map => size_of::<common::ArrayValue>(),
            Self::ResourceSpans => size_of::<trace::ResourceSpans>(),
            Self::ScopeSpans => size_of::<trace::ScopeSpans>(),
            Self::Span => size_of::<trace::Span>(),
            Self::SpanEvent => size_of::<trace::span::Event>(),
            Self::SpanLink => size_of::<trace::span::Link>(),
            Self::SpanStatus => size_of::<trace::Status>(),
            Self::ResourceLogs => size_of::<logs::ResourceLogs>(),
            Self::ScopeLogs => size_of::<logs::ScopeLogs>(),
            Self::LogRecord => size_of::<logs::LogRecord>(),
            Self::ResourceMetrics => size_of::<metrics::ResourceMetrics>(),
            Self::ScopeMetrics => size_of::<metrics::ScopeMetrics>(),
            Self::Metric => size_of::<metrics::Metric>(),
            Self::Gauge | Self::Histogram | Self::ExponentialHistogram | Self::Summary => size_of::<metrics::Sum>(),
            Self::NumberPoint => size_of::<metrics::NumberDataPoint>(),
            Self::HistogramPoint => size_of::<metrics::HistogramDataPoint>(),
            Self::ExponentialPoint => size_of::<metrics::ExponentialHistogramDataPoint>(),
            Self::SummaryPoint => size_of::<metrics::SummaryDataPoint>(),
            Self::Buckets => size_of::<metrics::exponential_histogram_data_point::Buckets>(),
            Self::Quantile => size_of::<metrics::summary_data_point::ValueAtQuantile>(),
            Self::Exemplar => size_of::<metrics::Exemplar>(),
            Self::Text => size_of::<String>(),
            Self::PackedVarints => size_of::<u64>().saturating_mul(length),
        }
    }

    /// Whether it is one of what a request is made of: a span, a log record, a data point.
    pub(super) const fn is_item(self) -> bool {
        matches!(
            self,
            Self::Span
                | Self::LogRecord
                | Self::NumberPoint
                | Self::HistogramPoint
                | Self::ExponentialPoint
                | Self::SummaryPoint
        )
    }

    /// Whether there are fields within.
    pub(super) const fn is_message(self) -> bool {
        !matches!(self, Self::Text | Self::PackedVarints)
    }
}
