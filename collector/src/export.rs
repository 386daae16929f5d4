//! Everything received, sent on to second endpoints over OTLP.
//!
//! Requests leave as they came, byte for byte; only JSON is written anew as protobuf, which every receiver understands. Each
//! target has a queue of its own, bounded in requests and in bytes, and a task of its own, so that one that is slow or gone
//! disturbs neither the others nor the receivers. What does not fit is dropped and counted. The queue is in memory:
//! a crash of the collector loses what waits in it (history keeps it all the same).
//!
//! # Trying again
//! A target that answers "later" (HTTP 429, 502, 503, 504; gRPC's retryable codes), or not at all, is asked again after a
//! pause that doubles from half a second to thirty, with jitter, or as long as the target itself asks for. After five minutes
//! the request is dropped and counted. What the target refuses for good is dropped at once and counted.

mod backoff;
mod grpc;
mod http;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::mpsc;

use crate::config::{ExportProtocol, OtlpTarget};
use crate::journal::Record;

pub use target::Target;

/// The ends of all targets' queues. Cheap to clone; the targets end when the last one is gone.
#[derive(Debug, Clone, Default)]
pub struct Exporters {
    queues: Arc<[Queue]>,
}

/// What was counted about one target since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that the target took.
    pub sent: AtomicU64,
    /// Attempts that failed and were made again.
    pub retries: AtomicU64,
    /// Requests dropped because the queue was full.
    pub dropped_full: AtomicU64,
    /// Requests dropped because the target refused them for good.
    pub dropped_refused: AtomicU64,
    /// Requests dropped because the target did not take them for too long.
    pub dropped_expired: AtomicU64,
    /// Items that the target left out of requests which it took.
    pub rejected_items: AtomicU64,
    /// Bytes waiting now.
    pub waiting_bytes: AtomicUsize,
}

#[derive(Debug)]
struct Queue {
    endpoint: String,
    sender: mpsc::Sender<Record>,
    max_bytes: usize,
    counters: Arc<Counters>,
}

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The address is none that the client can use.
    #[error("export.otlp: cannot use endpoint {endpoint}")]
    Endpoint {
        /// The address.
        endpoint: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A header is none.
    #[error("export.otlp: cannot send header {name} to {endpoint}")]
    Header {
        /// The address.
        endpoint: String,
        /// The header.
        name: String,
    },
}

impl Exporters {
    /// Queues and tasks for all targets; each task runs until the exporters are gone and its queue is empty.
    ///
    /// # Errors
    /// When an address or a header cannot be used.
    pub fn open(targets: &[OtlpTarget]) -> Result<(Self, Vec<Target>), ExportError> {
        let mut queues = Vec::with_capacity(targets.len());
        let mut tasks = Vec::with_capacity(targets.len());
        for config in targets {
            let (sender, receiver) = mpsc::channel(config.queue);
            let counters = Arc::new(Counters::default());
            let client = match config.protocol {
                ExportProtocol::Grpc => target::Client::Grpc(Box::new(grpc::Client::new(config)?)),
                ExportProtocol::Http => target::Client::Http(http::Client::new(config)?),
            };
            let endpoint = config.endpoint.as_str().to_owned();
            tasks.push(Target::new(endpoint.clone(), client, receiver, Arc::clone(&counters)));
            queues.push(Queue { endpoint, sender, max_bytes: config.queue_bytes, counters });
        }
        Ok((Self { queues: queues.into() }, tasks))
    }

    /// Puts a request into every target's queue where there is room.
    pub fn offer(&self, record: &Record) {
        for queue in self.queues.iter() {
            let bytes = record.body.len();
            let before = queue.counters.waiting_bytes.fetch_add(bytes, Relaxed);
            if before.saturating_add(bytes) > queue.max_bytes || queue.sender.try_send(record.clone()).is_err() {
                queue.counters.waiting_bytes.fetch_sub(bytes, Relaxed);
                queue.counters.dropped_full.fetch_add(1, Relaxed);
            }
        }
    }

    /// Each target's address and counters.
    pub fn counters(&self) -> impl Iterator<Item = (&str, &Counters)> {
        self.queues.iter().map(|queue| (queue.endpoint.as_str(), queue.counters.as_ref()))
    }
}

#[cfg(test)]
mod tests;
