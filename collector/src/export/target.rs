//! The task that serves one second endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tripline_otlp::wire::{self, DecodeError, Encoding, Signal};

use super::{Counters, backoff, grpc, http};
use crate::journal::Record;

/// Requests on their way to one target at a time.
const IN_FLIGHT: usize = 8;
/// A request that was not taken for this long is dropped.
const GIVE_UP: Duration = Duration::from_secs(300);
/// One attempt may take this long.
pub(super) const ATTEMPT: Duration = Duration::from_secs(10);

/// How one attempt ended.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The target took it and left so many items out.
    Taken { rejected: u64, message: String },
    /// It may take it later.
    Later { asked: Option<Duration>, why: String },
    /// It will never take it.
    Never { why: String },
}

/// How a target is spoken to.
#[derive(Debug, Clone)]
pub(super) enum Client {
    Grpc(Box<grpc::Client>),
    Http(http::Client),
}

impl Client {
    async fn send(&self, signal: Signal, body: Bytes) -> Attempt {
        match self {
            Self::Grpc(client) => client.send(signal, body).await,
            Self::Http(client) => client.send(signal, body).await,
        }
    }
}

/// One second endpoint's task.
#[derive(Debug)]
pub struct Target {
    delivery: Delivery,
    queue: mpsc::Receiver<Record>,
}

#[derive(Debug, Clone)]
struct Delivery {
    endpoint: Arc<str>,
    client: Client,
    counters: Arc<Counters>,
}

impl Target {
    pub(super) fn new(
        endpoint: String,
        client: Client,
        queue: mpsc::Receiver<Record>,
        counters: Arc<Counters>,
    ) -> Self {
        Self { delivery: Delivery { endpoint: endpoint.into(), client, counters }, queue }
    }

    /// Sends what is in the queue until every end of it is gone; what is on its way then is still finished.
    pub async fn run(mut self) {
        let mut in_flight = JoinSet::new();
        while let Some(record) = self.queue.recv().await {
            if in_flight.len() >= IN_FLIGHT {
                in_flight.join_next().await;
            }
            let delivery = self.delivery.clone();
            in_flight.spawn(async move {
                let bytes = record.body.len();
                delivery.deliver(record).await;
                delivery.counters.waiting_bytes.fetch_sub(bytes, Relaxed);
            });
        }
        while in_flight.join_next().await.is_some() {}
    }
}

impl Delivery {
    async fn deliver(&self, record: Record) {
        let signal = record.signal;
        let Ok(body) = protobuf(record) else {
            // It was decoded when it came, so this is a mistake of ours; losing the export is the smaller evil.
            self.counters.dropped_refused.fetch_add(1, Relaxed);
            return;
        };
        let started = Instant::now();
        for attempt in 0.. {
            match self.client.send(signal, body.clone()).await {
                Attempt::Taken { rejected, message } => {
                    self.counters.sent.fetch_add(1, Relaxed);
                    self.counters.rejected_items.fetch_add(rejected, Relaxed);
                    if rejected > 0 {
                        tracing::warn!(endpoint = %self.endpoint, rejected, message, "export target left items out");
                    }
                    return;
                }
                Attempt::Never { why } => {
                    self.counters.dropped_refused.fetch_add(1, Relaxed);
                    tracing::warn!(endpoint = %self.endpoint, why, "export target refused a request for good");
                    return;
                }
                Attempt::Later { asked, why } => {
                    let pause = backoff::pause(attempt, asked, rand::random());
                    if started.elapsed() + pause > GIVE_UP {
                        self.counters.dropped_expired.fetch_add(1, Relaxed);
                        tracing::warn!(endpoint = %self.endpoint, why, "export target did not take a request in time");
                        return;
                    }
                    tracing::debug!(endpoint = %self.endpoint, why, ?pause, "export target asks for patience");
                    self.counters.retries.fetch_add(1, Relaxed);
                    sleep(pause).await;
                }
            }
        }
    }
}

/// The body as protobuf.
fn protobuf(record: Record) -> Result<Bytes, DecodeError> {
    let Record { signal, encoding, body, .. } = record;
    let written = match (encoding, signal) {
        (Encoding::Protobuf, _) => return Ok(body),
        (Encoding::Json, Signal::Traces) => wire::decode_traces_json(&body)?.encode_to_vec(),
        (Encoding::Json, Signal::Metrics) => wire::decode_metrics_json(&body)?.encode_to_vec(),
        (Encoding::Json, Signal::Logs) => wire::decode_logs_json(&body)?.encode_to_vec(),
    };
    Ok(written.into())
}
