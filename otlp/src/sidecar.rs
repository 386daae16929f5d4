//! The sidecar's telemetry on the wire: one report a second, and its spans.
//!
//! A [`SidecarReport`] is one OTLP metrics request that any other backend can read too. Each number of
//! [`tripline_model::EdgeCounts`] is a part of exactly one metric, told apart from its siblings by one attribute, so that sums over a
//! metric are true: `tripline.client.requests` by `tripline.outcome` adds up to all requests. Zero parts are left out; the
//! requests point that carries what holds for a whole edge (kinds, secured) is always there.
//!
//! | metric | kind | point |
//! |---|---|---|
//! | `tripline.{client,server}.requests` | delta sum | edge, `tripline.outcome` success, failure, shed, cancelled |
//! | `tripline.{client,server}.attempts` | delta sum | edge, `tripline.outcome` success, failure, induced, no_answer |
//! | `tripline.{client,server}.retries` | delta sum | edge |
//! | `tripline.{client,server}.failures` | delta sum | edge, `tripline.failure.origin` own, propagated |
//! | `tripline.{client,server}.{request,response}.bytes` | delta sum | edge |
//! | `tripline.{client,server}.{duration,self_duration}` | delta exponential histogram, scale 3, `us` | edge |
//! | `tripline.breaker.state` | gauge, valid since its start time | breaker |
//! | `tripline.breaker.trips` | cumulative sum | breaker |
//! | `tripline.telemetry.dropped` | cumulative sum | sidecar |
//! | `tripline.report.sequence` | cumulative sum | sidecar; its start and time are the report's window |
//!
//! An edge is `service.peer.name`, `service.peer.namespace` (the other end; this end is the resource) and
//! `network.protocol.name`. `client` and `server` in a metric's name say which half counted, `spans` stands for counts from paired
//! spans. The sequence number is a metric and not an attribute of the scope: scopes identify series, and a new one each second
//! would make each second a new series elsewhere.
//!
//! A report of three busy edges and five breakers is about 6 kB, and 1 kB once the transport has compressed it with gzip: what
//! OTLP repeats on each point compresses well, so there is nothing to win by a form that others could not read.
//!
//! What does not come back: parts beyond `i64::MAX`, histogram sums beyond 2^53 us, and counts that contradict
//! each other (more failures than requests), which are clamped so that they do not.

mod decode;
mod encode;
mod part;
mod spans;

pub use decode::{DecodedReports, MAX_BREAKERS, MAX_EDGES, ReportError, decode_reports};
pub use encode::encode_report;
pub use spans::{encode_records, encode_spans};

#[cfg(test)]
pub(crate) mod tests;

#[cfg(doc)]
use tripline_model::SidecarReport;
