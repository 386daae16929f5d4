//! Bytes of strangers to OTLP requests, and answers back to bytes.
//!
//! The promise: no bytes make a decoder panic, overflow the stack, run for longer than a small multiple of their length,
//! or allocate more than a bound. Three dangers are known from other collectors, and each has its guard:
//!
//! | danger | guard |
//! |---|---|
//! | values nested 200,000 deep end the stack | [`MAX_NESTING`], checked by an iterative scan before any decoder recurses |
//! | two bytes on the wire become an empty message of some hundred bytes in memory | the same scan adds up what would be allocated: [`MAX_HEAP_BYTES`], [`MAX_OBJECTS`] |
//! | a request of a million spans holds everything up | [`MAX_ITEMS`] |
//!
//! What these functions do not bound is the length of what they are given: limiting the body, after decompression, is the
//! transport's business. A transport that lets a library decode for it (tonic's `ProstCodec`) goes round the guards; hand the raw
//! bytes here instead, or call [`check_protobuf`] first.

mod json;
mod response;
mod scan;
mod schema;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use thiserror::Error;

pub use json::MAX_OBJECTS;
pub use response::{error_response, export_response};
use schema::Kind;

/// Levels of messages, or of JSON's objects and lists, within one another.
pub const MAX_NESTING: usize = 100;
/// Spans, log records or metric data points of one request.
pub const MAX_ITEMS: usize = 100_000;
/// What the messages of a protobuf request may take in memory, by the sizes of their types, beside the bytes of their texts.
pub const MAX_HEAP_BYTES: usize = 128 * 1024 * 1024;

/// OTLP's signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
    /// Log records.
    Logs,
}

/// OTLP's two encodings over HTTP. An answer has the encoding of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// The encoding of a content type, its parameters ignored; none for any other.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Protobuf, Self::Json].into_iter().find(|e| essence.eq_ignore_ascii_case(e.content_type()))
    }

    /// Its content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// Why bytes are no OTLP request. Sending them again cannot help: 400 over HTTP, `INVALID_ARGUMENT` over gRPC.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Truncated, or no protobuf at all.
    #[error("malformed protobuf at byte {0}")]
    Malformed(usize),
    /// Protobuf, but not of this message.
    #[error("not an OTLP protobuf request: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// Not JSON, or not of this message.
    #[error("not an OTLP/JSON request: {0}")]
    Json(#[from] serde_json::Error),
    /// Past [`MAX_NESTING`].
    #[error("nested more than {MAX_NESTING} levels deep")]
    TooDeep,
    /// Past [`MAX_ITEMS`].
    #[error("more than {MAX_ITEMS} spans, records or data points in one request; send smaller batches")]
    TooManyItems,
    /// Past [`MAX_HEAP_BYTES`] or [`MAX_OBJECTS`].
    #[error("the request would take too much memory when decoded; send smaller batches")]
    TooLarge,
}

/// A trace request from protobuf.
///
/// # Errors
/// When the bytes are none, or past a limit.
pub fn decode_traces_protobuf(bytes: &[u8]) -> Result<ExportTraceServiceRequest, DecodeError> {
    decode_protobuf(Signal::Traces, bytes)
}

/// A metrics request from protobuf.
///
/// # Errors
/// When the bytes are none, or past a limit.
pub fn decode_metrics_protobuf(bytes: &[u8]) -> Result<ExportMetricsServiceRequest, DecodeError> {
    decode_protobuf(Signal::Metrics, bytes)
}

/// A logs request from protobuf.
///
/// # Errors
/// When the bytes are none, or past a limit.
pub fn decode_logs_protobuf(bytes: &[u8]) -> Result<ExportLogsServiceRequest, DecodeError> {
    decode_protobuf(Signal::Logs, bytes)
}

/// A trace request from OTLP/JSON.
///
/// # Errors
/// When the bytes are none, or past a limit.
pub fn decode_traces_json(bytes: &[u8]) -> Result<ExportTraceServiceRequest, DecodeError> {
    json::decode(bytes, |_: &ExportTraceServiceRequest| true)
}

/// A metrics request from OTLP/JSON.
///
/// # Errors
/// When the bytes are none, or past a limit.
pub fn decode_metrics_json(bytes: &[u8]) -> Result<ExportMetricsServiceRequest, DecodeError> {
    json::decode(bytes, json::has_all_data)
}

/// A logs request from OTLP/JSON.
///
/// # Errors
/// When the bytes are none, or past a limit.
pub fn decode_logs_json(bytes: &[u8]) -> Result<ExportLogsServiceRequest, DecodeError> {
    json::decode(bytes, |_: &ExportLogsServiceRequest| true)
}

/// Whether decoding these bytes stays within the limits; allocates nothing that grows with them.
///
/// # Errors
/// When they are no protobuf, or past a limit.
pub fn check_protobuf(signal: Signal, bytes: &[u8]) -> Result<(), DecodeError> {
    let root = match signal {
        Signal::Traces => Kind::TraceRequest,
        Signal::Metrics => Kind::MetricsRequest,
        Signal::Logs => Kind::LogsRequest,
    };
    scan::check(root, bytes)
}

/// Whether decoding one `AnyValue` stays within the limits.
pub(crate) fn check_value(bytes: &[u8]) -> Result<(), DecodeError> {
    scan::check(Kind::AnyValue, bytes)
}

fn decode_protobuf<T: Message + Default>(signal: Signal, bytes: &[u8]) -> Result<T, DecodeError> {
    check_protobuf(signal, bytes)?;
    Ok(T::decode(bytes)?)
}

#[cfg(test)]
mod tests;
