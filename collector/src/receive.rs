//! Receiving OTLP: over gRPC and over HTTP, from anybody who can reach the listeners.
//!
//! # Life of one request
//! 1. [`http`] or [`grpc`] reads the request line and headers, asks for the token, and finds out what is sent and how.
//! 2. The body is read within a time and a size; its bytes count against one budget for all requests ([`budget`]), taken
//!    before they are read. That is what keeps the collector small under ten times the load it can carry.
//! 3. [`intake`] takes room in the queues of the live graph and of history. Whoever finds none for five seconds is refused, to
//!    try again; nothing is taken in that could not be passed on.
//! 4. [`compression`] decompresses, never beyond the limit, and [`decode`] reads the OTLP message.
//! 5. [`commit`], one thread that owns the journal, writes the request, syncs, takes repeats out ([`repeats`]), hands the
//!    [`Batch`](crate::batch::Batch) to the graph, history and the exporters in the order of positions, and only then is the sender told.
//!
//! Zipkin's JSON (`http`) and X-Ray's segments ([`xray`]) become OTLP protobuf in step 4 and differ in nothing from there on.
//!
//! # Answers
//! As the OTLP specification 1.9 asks: a [`Refusal`] carries one [`Reason`], and the reason alone decides the status, whether
//! the sender should try again, and which counter grows. What is permanently bad within an otherwise good request is left
//! out and told as a partial success. An empty request succeeds.

pub mod budget;
pub mod counters;
pub mod refusal;

mod body;
mod commit;
mod compression;
mod decode;
pub mod grpc;
pub mod http;
pub mod intake;
mod pool;
mod repeats;
mod replay;
pub mod xray;

use std::sync::Arc;
use std::sync::mpsc;

pub use commit::{Committer, Store};
pub use counters::Counters;
pub use intake::{Intake, Outlets};
pub use refusal::{Reason, Refusal};
pub use replay::ReplayError;

use crate::config::Limits;

/// Requests between decoding and the journal's thread.
const QUEUE: usize = 1024;

/// The way in, and the owner of the journal, whose [`Committer::run`] belongs on a thread of its own. Without a `store`
/// requests are acknowledged as soon as they are passed on.
#[must_use]
pub fn open(outlets: Outlets, store: Option<Store>, limits: Limits, counters: Arc<Counters>) -> (Intake, Committer) {
    let (queue, pending) = mpsc::sync_channel(QUEUE);
    let pool = pool::Pool::new(limits.in_flight_bytes);
    let committer = Committer::new(pending, store, outlets.exporters.clone(), (Arc::clone(&counters), pool.clone()));
    (Intake::new(outlets, queue, limits, (counters, pool)), committer)
}

#[cfg(test)]
pub(crate) mod tests;
