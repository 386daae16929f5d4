//! From a body that was read to an acknowledgement: room first, then decoding, then the journal.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tripline_otlp::wire::{Encoding, Signal};
use tripline_otlp::zipkin;

use super::budget::{Budget, Share};
use super::commit::{Pending, Room};
use super::compression::{self, Limit};
use super::counters::Counters;
use super::decode::{self, Decoded, Rejected};
use super::pool::Pool;
use super::{Reason, Refusal};
use crate::batch::Batch;
use crate::clock;
use crate::config::{Compression, Limits};
use crate::export::Exporters;
use crate::journal::Record;

/// Bodies that unfold to this size, or do not tell to which, are decoded on a thread for blocking work, so that small requests need not
/// wait behind them.
const LARGE_BODY: usize = 512 * 1024;

/// Where requests go that were taken in.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// To the live graph.
    pub live: mpsc::Sender<Arc<Batch>>,
    /// To history.
    pub history: mpsc::Sender<Arc<Batch>>,
    /// To second endpoints.
    pub exporters: Exporters,
}

/// Takes requests in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    outlets: Outlets,
    queue: SyncSender<Pending>,
    budget: Budget,
    pool: Pool,
    limits: Limits,
    counters: Arc<Counters>,
}

/// A request as a transport read it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) signal: Signal,
    pub(super) shape: Shape,
    pub(super) compression: Compression,
    pub(super) body: Bytes,
    /// The largest body after decompression.
    pub(super) limit: Limit,
    /// What the body holds of the budget.
    pub(super) share: Share,
}

/// In which shape spans, metrics or logs come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// OTLP.
    Otlp(Encoding),
    /// A list of Zipkin's spans, version 2, as JSON.
    Zipkin,
}

impl Intake {
    /// An intake whose requests are committed by whoever owns the other end of `queue`.
    pub(super) fn new(
        outlets: Outlets,
        queue: SyncSender<Pending>,
        limits: Limits,
        (counters, pool): (Arc<Counters>, Pool),
    ) -> Self {
        Self { outlets, queue, budget: Budget::new(limits.in_flight_bytes), pool, limits, counters }
    }

    pub(super) const fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn share(&self) -> Share {
        self.budget.share()
    }

    /// Takes a request in; returns when it is as safe as the configuration asks, with what was left out of it.
    pub(super) async fn take(&self, request: Request) -> Result<Rejected, Refusal> {
        let room = self.room().await?;
        let signal = request.signal;
        let encoding = match request.shape {
            Shape::Otlp(encoding) => encoding,
            Shape::Zipkin => Encoding::Protobuf,
        };
        let (decoded, body, share) = read(request, &self.pool).await?;
        let rejected = decoded.rejected.clone();
        self.counters.rejected_items.fetch_add(rejected.items, Relaxed);
        let size = body.len();
        let record = Record { signal, encoding, received_at: clock::now(), body };
        if decoded.is_empty() {
            // Nothing to keep: other people's metrics, say. They still go where everything goes.
            self.outlets.exporters.offer(&record);
        } else {
            let (told, answer) = oneshot::channel();
            self.queue.try_send(Pending { record, decoded, room, share, told }).map_err(|error| match error {
                TrySendError::Full(_) => Refusal::new(Reason::BusyJournal, "the journal is behind; try again"),
                TrySendError::Disconnected(_) => stopping(),
            })?;
            answer.await.unwrap_or_else(|_| Err(stopping()))?;
        }
        self.counters.count_request(signal, size);
        Ok(rejected)
    }

    /// Room in the queues behind the journal, waited for a little, so that a burst slows its senders down before any of
    /// them is refused.
    async fn room(&self) -> Result<Room, Refusal> {
        let wait = self.limits.queue_timeout;
        let live = reserve(&self.outlets.live, wait, Reason::BusyLive, "the live graph is behind; try again").await?;
        let history = reserve(&self.outlets.history, wait, Reason::BusyHistory, "history is behind; try again").await?;
        Ok(Room { live, history })
    }
}

/// A body that gives its part of the budget back when nobody holds it any more.
struct Held {
    body: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

async fn reserve<T>(
    queue: &mpsc::Sender<T>,
    wait: Duration,
    reason: Reason,
    message: &str,
) -> Result<mpsc::OwnedPermit<T>, Refusal> {
    match timeout(wait, queue.clone().reserve_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(stopping()),
        Err(_) => Err(Refusal::new(reason, message)),
    }
}

fn stopping() -> Refusal {
    Refusal::new(Reason::Stopping, "the collector is stopping; try again")
}

async fn read(request: Request, pool: &Pool) -> Result<(Decoded, Bytes, Share), Refusal> {
    let size = compression::told(request.compression, &request.body, request.limit);
    if size.is_some_and(|size| size < LARGE_BODY) && request.body.len() < LARGE_BODY {
        return read_now(request, pool);
    }
    let pool = pool.clone();
    match tokio::task::spawn_blocking(move || read_now(request, &pool)).await {
        Ok(result) => result,
        Err(_) => Err(stopping()),
    }
}

fn read_now(mut request: Request, pool: &Pool) -> Result<(Decoded, Bytes, Share), Refusal> {
    let outputs = (&mut request.share, pool);
    let body = compression::decompress(request.compression, request.body, request.limit, outputs)?;
    // What was compressed is gone, and what was taken for unfolding it was a guess.
    request.share.shrink_to(body.len());
    let none = request.share.none();
    match request.shape {
        Shape::Otlp(Encoding::Protobuf) if request.signal == Signal::Traces => {
            // Spans stay where they lie until history has written them, and so long they hold their part of the budget. Whoever sends
            // the request on has a bound of its own.
            let held = Bytes::from_owner(Held { body: body.clone(), _share: request.share });
            Ok((decode::decode(request.signal, Encoding::Protobuf, &held)?, body, none))
        }
        Shape::Otlp(encoding) => {
            let decoded = decode::decode(request.signal, encoding, &body)?;
            Ok((decoded, body, request.share))
        }
        Shape::Zipkin => {
            let spans = zipkin::decode(&body).map_err(|error| Refusal::new(Reason::Malformed, error.to_string()))?;
            let body = spans.to_protobuf();
            request.share.grow_by(body.len())?;
            let mut decoded = decode::decode(Signal::Traces, Encoding::Protobuf, &body)?;
            decoded.rejected = Rejected { items: spans.rejected.total(), message: spans.rejected.to_string() };
            Ok((decoded, body, request.share))
        }
    }
}
