//! The only place that names OTLP's types: between the wire and the nouns of `model`.
//!
//! [`traces`] walks over received spans where they lie, [`span`] and [`log`] hold records with resolved identities and semantic
//! conventions, old and new; [`sidecar`] and [`transition`] are the sidecar's own telemetry, encoded and decoded side by
//! side so that the two cannot drift apart. [`wire`] turns hostile bytes into requests, and answers into bytes; [`zipkin`] and
//! [`xray`] read what is not OTLP as span records. No
//! transport here: whoever sends or receives brings tonic or HTTP.

pub mod sidecar;
pub mod transition;

pub mod log;
pub mod semconv;
pub mod span;
pub mod traces;

pub mod wire;
pub mod xray;
pub mod zipkin;

pub mod names;

mod attribute;
#[cfg(test)]
mod fuzz;
mod resource;
mod sampling;
mod value;

pub use log::LogRecord;
pub use opentelemetry_proto::tonic as proto;
pub use resource::Identity;
pub use semconv::MessagingStep;
pub use span::{Peer, SpanEvent, SpanKind, SpanRecord, SpanStatus, Value};
pub use traces::{SpanFacts, Spans};
pub use value::{MAX_ATTRIBUTES, MAX_DEPTH, MAX_KEY_BYTES, MAX_VALUE_BYTES};
