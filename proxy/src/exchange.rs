//! One request as one half of the sidecar saw it, recorded exactly once.
//!
//! An exchange records itself when it is dropped, so that none is forgotten, whatever ends the task that carries it: an
//! exchange that nobody has settled was cancelled by its caller. It lives in the body of the answer until the last
//! byte is handed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tripline_model::{EdgeCounts, Timestamp};

use crate::correlate::{CallEnd, Calls, Followed, Joined};
use crate::crowd::Ticket;
use crate::grpc::Code;
use crate::guarded_io::Busy;
use crate::mark::Mark;
use crate::span::{SpanDraft, SpanEnd};
use crate::tally::{EdgeSlot, Ended, Protection};
use crate::trace_context::TraceContext;
use crate::worker::{Shared, Worker};

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum End {
    /// Its caller left; what holds as long as nothing else is said.
    #[default]
    Cancelled,
    /// With an answer that is no failure.
    Success,
    /// With a failing answer or none.
    Failed,
    /// Refused by a breaker or a limit before any attempt.
    Shed,
}

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// With an answer that is no failure.
    Success,
    /// With a failing answer.
    Answered,
    /// With a failing answer that a breaker further on caused.
    Induced,
    /// Without an answer.
    NoAnswer,
}

/// Which half saw it, and how it is joined to the other one.
#[derive(Debug)]
enum Side {
    Outbound {
        /// Whether it is a call of an inbound request under way.
        joined: Option<Joined>,
        mark: Option<Mark>,
    },
    Inbound(Option<Followed>),
}

/// One request under way. It is handed on from the request to its answer and to the answer's body, hence the box.
#[derive(Debug)]
pub(crate) struct Exchange(Box<Life>);

#[derive(Debug)]
struct Life {
    worker: Arc<Worker>,
    slot: EdgeSlot,
    began: Timestamp,
    end: End,
    counts: EdgeCounts,
    streamed: Option<Arc<AtomicU64>>,
    protection: Protection,
    /// Time that counts as its latency, when that is not its whole life.
    latency: Option<Duration>,
    context: TraceContext,
    span: Option<Box<SpanDraft>>,
    /// What the span says about the end.
    span_end: SpanEnd,
    side: Side,
    _busy: Busy,
    /// Its place among the calls to its target, where these are limited.
    ticket: Option<Ticket>,
    /// Time that a policy made it wait on purpose.
    injected: Duration,
}

impl Exchange {
    /// A call of the application begins.
    pub(crate) fn outbound(worker: &Arc<Worker>, target: usize, context: TraceContext, busy: Busy) -> Self {
        let now = worker.shared.clock.now();
        let joined = worker.shared.correlator.as_ref().and_then(|c| c.call_begins(context.trace, now));
        let side = Side::Outbound { joined, mark: None };
        Self::new(worker, EdgeSlot::Outbound(target), (context, now), side, busy)
    }

    /// A request for the application arrived; its caller waits no longer than `limit`.
    pub(crate) fn inbound(
        worker: &Arc<Worker>,
        client: usize,
        context: TraceContext,
        limit: Option<Duration>,
        busy: Busy,
    ) -> Self {
        let now = worker.shared.clock.now();
        let deadline = limit.map(|limit| now + limit);
        let followed = worker.shared.correlator.as_ref().map(|c| c.begin(context.trace, now, deadline));
        Self::new(worker, EdgeSlot::Inbound(client), (context, now), Side::Inbound(followed), busy)
    }

    /// A connection whose bytes pass without being looked at: it belongs to no trace and to no request.
    pub(crate) fn connection(worker: &Arc<Worker>, slot: EdgeSlot, busy: Busy) -> Self {
        let side = match slot {
            EdgeSlot::Outbound(_) => Side::Outbound { joined: None, mark: None },
            EdgeSlot::Inbound(_) => Side::Inbound(None),
        };
        Self::new(worker, slot, (TraceContext::none(), worker.shared.clock.now()), side, busy)
    }

    fn new(
        worker: &Arc<Worker>,
        slot: EdgeSlot,
        (context, began): (TraceContext, Timestamp),
        side: Side,
        busy: Busy,
    ) -> Self {
        Self(Box::new(Life {
            worker: Arc::clone(worker),
            slot,
            began,
            end: End::default(),
            counts: EdgeCounts::default(),
            streamed: None,
            protection: Protection::default(),
            latency: None,
            context,
            span: None,
            span_end: SpanEnd::default(),
            side,
            _busy: busy,
            ticket: None,
            injected: Duration::ZERO,
        }))
    }

    /// A policy made something go wrong on purpose: its span says so, and its duration is told without the delay.
    pub(crate) fn injected(&mut self, fault: &'static str, delay: Duration) {
        self.0.injected = delay;
        if let Some(span) = &mut self.0.span {
            span.injected(fault);
        }
    }

    /// Holds a place among the calls to its target until it ends.
    pub(crate) fn keep(&mut self, ticket: Option<Ticket>) {
        self.0.ticket = ticket;
    }

    /// When nobody waits for a call's answer any more, because the request it belongs to is given up then.
    pub(crate) fn inherited_deadline(&self) -> Option<Timestamp> {
        match &self.0.side {
            Side::Outbound { joined: Some(joined), .. } => joined.deadline,
            _ => None,
        }
    }

    /// When it began.
    pub(crate) fn began(&self) -> Timestamp {
        self.0.began
    }

    /// Its trace.
    pub(crate) fn context(&self) -> &TraceContext {
        &self.0.context
    }

    /// What everyone shares.
    pub(crate) fn shared(&self) -> &Shared {
        &self.0.worker.shared
    }

    /// Gives it a span to send at its end.
    pub(crate) fn describe(&mut self, draft: SpanDraft) {
        self.0.span = Some(Box::new(draft));
    }

    /// Whether it has a span, so that details for it are worth collecting.
    pub(crate) fn is_described(&self) -> bool {
        self.0.span.is_some()
    }

    /// Notes the length of a request body that is known.
    pub(crate) fn request_bytes(&mut self, bytes: u64) {
        self.0.counts.request_bytes = bytes;
    }

    /// Counts the bytes of a request body of unknown length as they pass.
    pub(crate) fn count_streamed(&mut self) -> Arc<AtomicU64> {
        Arc::clone(self.0.streamed.get_or_insert_default())
    }

    /// Bytes of the request's body that have come so far.
    pub(crate) fn received(&self) -> u64 {
        self.0.streamed.as_ref().map_or(self.0.counts.request_bytes, |streamed| streamed.load(Ordering::Relaxed))
    }

    /// Counts bytes of the answer's body.
    pub(crate) fn response_bytes(&mut self, bytes: u64) {
        self.0.counts.response_bytes += bytes;
    }

    /// Counts bytes that passed on an upgraded connection or one that is no HTTP.
    pub(crate) fn passed(&mut self, to_server: u64, to_client: u64) {
        self.0.counts.request_bytes += to_server;
        self.0.counts.response_bytes += to_client;
    }

    /// Tells what has passed so far, of an exchange that may live for long.
    pub(crate) fn tell_progress(&mut self) {
        let (request_bytes, response_bytes) = (self.0.counts.request_bytes, self.0.counts.response_bytes);
        self.0.counts.request_bytes = 0;
        self.0.counts.response_bytes = 0;
        let counts = EdgeCounts { request_bytes, response_bytes, ..EdgeCounts::default() };
        let progress = Ended { counts: &counts, latency: None, self_time: None, protection: self.0.protection };
        self.0.worker.shard.record(self.0.slot, &progress);
    }

    /// The time from its beginning to now is its latency, however long it lives on.
    pub(crate) fn latency_ends(&mut self) {
        self.0.latency = Some(self.0.worker.shared.clock.now().since(self.0.began));
    }

    /// Says how the connection it goes over is protected.
    pub(crate) fn protected(&mut self, protection: Protection) {
        self.0.protection = protection;
    }

    /// Notes the status that a gRPC call ended with.
    pub(crate) fn grpc_status(&mut self, code: Code) {
        if self.0.span.is_some() {
            self.0.span_end.grpc = Some(code.number());
        }
    }

    /// An attempt is sent.
    pub(crate) fn attempt_begins(&mut self) {
        if self.0.counts.attempts > 0 {
            self.0.counts.retries += 1;
        }
        self.0.counts.attempts += 1;
    }

    /// Attempts so far.
    pub(crate) fn attempts(&self) -> u64 {
        self.0.counts.attempts
    }

    /// An attempt has ended.
    pub(crate) fn attempt_ends(&mut self, end: AttemptEnd) {
        match end {
            AttemptEnd::Success => {}
            AttemptEnd::Answered => self.0.counts.answered_failures += 1,
            AttemptEnd::Induced => {
                self.0.counts.answered_failures += 1;
                self.0.counts.induced += 1;
            }
            AttemptEnd::NoAnswer => self.0.counts.transport_failures += 1,
        }
    }

    /// Says how it ends; the latest word counts.
    pub(crate) fn settle(&mut self, end: End) {
        self.0.end = end;
    }

    /// Says what its span tells about the end.
    pub(crate) fn span_end(&mut self, end: SpanEnd) {
        self.0.span_end = end;
    }

    /// Remembers that a breaker caused the failure.
    pub(crate) fn induced_by(&mut self, cause: Mark) {
        if let Side::Outbound { mark, .. } = &mut self.0.side {
            *mark = Some(cause);
        }
    }

    /// Says that it fails whatever is still to come of its answer: the application may answer for its own request before that.
    pub(crate) fn fails(&self) {
        let Some(correlator) = &self.0.worker.shared.correlator else { return };
        match &self.0.side {
            Side::Outbound { joined: Some(_), mark } => correlator.call_fails(self.0.context.trace, mark.as_ref()),
            Side::Outbound { joined: None, .. } => correlator.orphan_failed(),
            Side::Inbound(_) => {}
        }
    }

    /// What the calls of an inbound request have come to.
    pub(crate) fn calls(&self) -> Option<Calls> {
        let Side::Inbound(Some(followed)) = &self.0.side else { return None };
        let correlator = self.0.worker.shared.correlator.as_ref()?;
        Some(correlator.calls(followed, self.0.worker.shared.clock.now()))
    }

    /// Notes whose failure a failed inbound request is: own when no call of it failed, passed on when one did.
    pub(crate) fn blame(&mut self, a_call_failed: Option<bool>) {
        match a_call_failed {
            Some(true) => self.0.counts.propagated_failures = 1,
            Some(false) => self.0.counts.origin_failures = 1,
            None => {}
        }
    }

    fn leave_correlator(&self, now: Timestamp) -> Option<Calls> {
        let correlator = self.0.worker.shared.correlator.as_ref()?;
        let failed = matches!(self.0.end, End::Failed | End::Shed);
        match &self.0.side {
            Side::Outbound { joined: Some(_), mark } => {
                // A call that the application gave up waiting for explains its failure as well as one that failed.
                let end = if self.0.end != End::Success { CallEnd::Failed(mark.as_ref()) } else { CallEnd::Fine };
                correlator.call_ends(self.0.context.trace, end, now);
                None
            }
            Side::Outbound { joined: None, .. } => {
                if failed {
                    correlator.orphan_failed();
                }
                None
            }
            Side::Inbound(followed) => {
                let followed = followed.as_ref()?;
                let calls = correlator.calls(followed, now);
                correlator.end(followed);
                Some(calls)
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let shared = &self.0.worker.shared;
        let now = shared.clock.now();
        let calls = self.leave_correlator(now);
        self.0.counts.requests = 1;
        match self.0.end {
            End::Success => {}
            End::Cancelled => self.0.counts.cancelled = 1,
            End::Failed => self.0.counts.failed = 1,
            End::Shed => {
                self.0.counts.failed = 1;
                self.0.counts.shed = 1;
            }
        }
        if !matches!(self.0.end, End::Failed | End::Shed) {
            // Blame was laid at the answer's head; a caller who left later takes it back.
            self.0.counts.origin_failures = 0;
            self.0.counts.propagated_failures = 0;
        }
        if let Some(streamed) = &self.0.streamed {
            self.0.counts.request_bytes += streamed.load(Ordering::Relaxed);
        }
        let latency = (self.0.end != End::Shed)
            .then(|| self.0.latency.unwrap_or_else(|| now.since(self.0.began)).saturating_sub(self.0.injected));
        let self_time = calls.and_then(|calls| calls.self_time).filter(|_| self.0.end != End::Cancelled);
        let ended = Ended { counts: &self.0.counts, latency, self_time, protection: self.0.protection };
        self.0.worker.shard.record(self.0.slot, &ended);
        if let Some(draft) = self.0.span.take() {
            let span = draft.finish(&self.0.context, (self.0.began, now), self.0.end, &self.0.span_end);
            if shared.spans.push(span).is_err() {
                shared.dropped.spans_queue.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
