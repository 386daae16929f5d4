//! Pairs spans into calls between services that report no counts of their own.
//!
//! A call is seen where the service identity (namespace, name) changes between a span and its parent, whatever the kinds
//! of the two: CLIENT -> CLIENT -> SERVER through a gateway and SERVER -> SERVER through a proxy give the same edge, and a proxy that
//! reports under its application's name collapses into it. Rules:
//!
//! - A span whose parent belongs to another service makes a call from that service. A second child of the same parent is a
//!   further attempt of the same call (a retry or a hedge).
//! - A client or producer span that got no child at all within [`LINGER`] called someone who reports nothing: the peer that its attributes
//!   name becomes a node. A database never reports spans, so it is not waited for.
//! - A server span without a parent was called by the users.
//! - A span seen before (same trace, same id) is counted once, for senders repeat themselves after a lost acknowledgement.
//!
//! Spans arrive in any order: a child may wait for its parent as long as a parent waits for children. At most [`MAX_WAITING`] spans are
//! remembered; beyond, the oldest goes and is counted. Sampling weights multiply counts, rounded to whole requests.

mod slot;

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tripline_model::{EdgeCounts, EdgeKey, NodeKind, Protocol, ServiceName, SpanId, Timestamp, TraceId};
use tripline_otlp::{SpanKind, SpanRecord};

use slot::Slot;

/// How long a span waits for its other half. Exporters flush every five seconds by default.
pub const LINGER: Duration = Duration::from_secs(15);
/// Spans remembered at most; about 100 MB when full.
pub const MAX_WAITING: usize = 200_000;

/// One call, or one more attempt of it, as two spans (or one and its attributes) tell it.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Who called whom.
    pub key: EdgeKey,
    /// What the client's node stands for.
    pub client_kind: NodeKind,
    /// What the server's node stands for.
    pub server_kind: NodeKind,
    /// When it began.
    pub start: Timestamp,
    /// How long it took, as the client saw it if the client's span is there.
    pub latency: Duration,
    /// What it adds to its edge.
    pub counts: EdgeCounts,
    /// Whether the server's own span showed it, so that the client is known to have called that very service.
    pub seen_by_server: bool,
}

/// What was counted about pairing, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairCounters {
    /// Spans that found their other half.
    pub paired: u64,
    /// Client spans that neither found a server nor named one.
    pub unpaired: u64,
    /// Spans put out because too many were waiting.
    pub evicted: u64,
    /// Spans seen before.
    pub repeated: u64,
}

type SpanKey = (TraceId, SpanId);

/// Spans in waiting. One task owns it.
#[derive(Debug, Default)]
pub struct Pairer {
    slots: FxHashMap<SpanKey, Slot>,
    /// Children whose parent has not come yet, by parent.
    orphans: FxHashMap<SpanKey, Vec<SpanKey>>,
    /// Arrival order; also the order of expiry, for every span lingers equally long.
    arrivals: VecDeque<(Timestamp, SpanKey)>,
    counters: PairCounters,
}

impl Pairer {
    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> PairCounters {
        self.counters
    }

    /// Takes a span that arrived at `now`; answers the calls that it completes.
    pub fn observe(&mut self, span: &SpanRecord, now: Timestamp) -> Vec<Call> {
        let key = (span.trace_id, span.span_id);
        if self.slots.contains_key(&key) {
            self.counters.repeated += 1;
            return Vec::new();
        }
        if self.arrivals.len() >= MAX_WAITING {
            self.evict_oldest();
        }
        let mut calls = Vec::new();
        let mut slot = Slot::of(span);
        match span.parent.map(|parent| (span.trace_id, parent)) {
            None if matches!(span.kind, SpanKind::Server | SpanKind::Consumer) => calls.push(from_users(&slot)),
            None => {}
            Some(parent) => match self.slots.get_mut(&parent) {
                Some(parent) => calls.extend(self.counters.join(parent, &slot)),
                None => self.orphans.entry(parent).or_default().push(key),
            },
        }
        for child in self.orphans.remove(&key).unwrap_or_default() {
            if let Some(child) = self.slots.get(&child) {
                calls.extend(self.counters.join(&mut slot, child));
            }
        }
        if slot.calls_database() {
            calls.extend(slot.call_to_peer());
            slot.children = slot.children.max(1);
        }
        self.slots.insert(key, slot);
        self.arrivals.push_back((now, key));
        calls
    }

    /// Lets go of spans that waited long enough; answers the calls to peers that report nothing.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Call> {
        let mut calls = Vec::new();
        while self.arrivals.front().is_some_and(|(arrived, _)| now.since(*arrived) > LINGER) {
            let Some((_, key)) = self.arrivals.pop_front() else { break };
            calls.extend(self.forget(key));
        }
        calls
    }

    fn evict_oldest(&mut self) {
        if let Some((_, key)) = self.arrivals.pop_front() {
            self.forget(key);
            self.counters.evicted += 1;
        }
    }

    fn forget(&mut self, key: SpanKey) -> Option<Call> {
        let slot = self.slots.remove(&key)?;
        if let Some(parent) = slot.parent.map(|parent| (key.0, parent))
            && let Some(waiting) = self.orphans.get_mut(&parent)
        {
            waiting.retain(|child| *child != key);
            if waiting.is_empty() {
                self.orphans.remove(&parent);
            }
        }
        if slot.children > 0 || !matches!(slot.kind, SpanKind::Client | SpanKind::Producer) {
            return None;
        }
        let call = slot.call_to_peer();
        if call.is_none() {
            self.counters.unpaired += 1;
        }
        call
    }
}

impl PairCounters {
    /// Joins a child to its parent: a call where they belong to different services.
    fn join(&mut self, parent: &mut Slot, child: &Slot) -> Option<Call> {
        if parent.service == child.service {
            // The child carries on for its service; whether the call found a server is the child's to tell.
            parent.children += 1;
            return None;
        }
        let further = parent.other_children > 0;
        parent.children += 1;
        parent.other_children += 1;
        self.paired += 1;
        Some(call_between(parent, child, further))
    }
}

fn call_between(parent: &Slot, child: &Slot, further: bool) -> Call {
    // The client's own span knows the whole wait; a parent that did more than the call (a server span) does not.
    let by_client = matches!(parent.kind, SpanKind::Client | SpanKind::Producer);
    let failed = child.failed || (by_client && parent.failed);
    let weight = child.weight;
    Call {
        key: EdgeKey {
            client: parent.service.clone(),
            server: child.service.clone(),
            protocol: if parent.protocol == Protocol::default() { child.protocol } else { parent.protocol },
        },
        client_kind: NodeKind::Service,
        server_kind: NodeKind::Service,
        start: if by_client { parent.start } else { child.start },
        latency: if by_client { parent.duration } else { child.duration },
        counts: if further {
            let answered_failures = if child.failed { weight } else { 0 };
            EdgeCounts { attempts: weight, retries: weight, answered_failures, ..EdgeCounts::default() }
        } else {
            whole_request(failed, weight)
        },
        seen_by_server: true,
    }
}

fn from_users(server: &Slot) -> Call {
    Call {
        key: EdgeKey { client: ServiceName::user(), server: server.service.clone(), protocol: server.protocol },
        client_kind: NodeKind::User,
        server_kind: NodeKind::Service,
        start: server.start,
        latency: server.duration,
        counts: whole_request(server.failed, server.weight),
        seen_by_server: true,
    }
}

/// One request with its first attempt.
fn whole_request(failed: bool, weight: u64) -> EdgeCounts {
    let failed = if failed { weight } else { 0 };
    EdgeCounts { requests: weight, attempts: weight, failed, answered_failures: failed, ..EdgeCounts::default() }
}

#[cfg(test)]
mod tests;
