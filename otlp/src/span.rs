//! A received span with its identities resolved.

mod decode;

use std::sync::Arc;

use tripline_model::{NodeKind, ServiceName, SpanId, Timestamp, TraceId};

pub use decode::{DecodedSpans, MAX_EVENTS, MAX_LINKS, RejectedSpans, decode};
pub(crate) use decode::{is_odd, kind_of, status_of};

/// OTLP's span kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpanKind {
    /// Not said, or a number that OTLP does not know.
    #[default]
    Unspecified,
    /// Work within a service.
    Internal,
    /// The server's side of a call.
    Server,
    /// The client's side of a call.
    Client,
    /// A message sent.
    Producer,
    /// A message received.
    Consumer,
}

/// OTLP's span status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpanStatus {
    /// Nobody said.
    #[default]
    Unset,
    /// Said to be well.
    Ok,
    /// Said to have failed.
    Error,
}

/// An attribute's value; nested ones are kept as their JSON text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, or the JSON text of a list or map.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Bool(bool),
}

/// An event within a span.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub name: String,
}

/// Whom a client span says it called, when that peer may report nothing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node it becomes.
    pub service: ServiceName,
    /// What that node stands for.
    pub kind: NodeKind,
}

/// One span, as history stores it and pairing reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanRecord {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// Its parent; none for a root.
    pub parent: Option<SpanId>,
    /// `service.namespace` and `service.name` of its resource.
    pub service: ServiceName,
    /// `service.instance.id` of its resource, or empty.
    pub instance: Arc<str>,
    /// `deployment.environment.name` (or its old form) of its resource, or empty.
    pub environment: Arc<str>,
    /// Whether a Tripline sidecar made it (`tripline.role=proxy`); its counts are then known exactly from reports.
    pub from_sidecar: bool,
    /// Operation.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// Start, by the sender's clock.
    pub start: Timestamp,
    /// End; never before the start.
    pub end: Timestamp,
    /// Its status.
    pub status: SpanStatus,
    /// What the status says.
    pub status_message: String,
    /// Span attributes in the order received, bounded in number and length.
    pub attributes: Vec<(String, Value)>,
    /// Events, bounded in number.
    pub events: Vec<SpanEvent>,
    /// Linked spans, bounded in number.
    pub links: Vec<(TraceId, SpanId)>,
    /// How many spans it stands for: 1 / sampling probability from tracestate `ot=th:`; 1 when unknown.
    pub weight: f64,
}
