//! A received log record with its identities resolved.

use std::sync::Arc;

use tripline_model::{ServiceName, SpanId, Timestamp, TraceId};

use crate::Value;

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
