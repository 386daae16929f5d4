//! Collects calls into windows of one second per edge.

use std::time::Duration;

use rustc_hash::FxHashMap;
use tripline_model::{EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind, Protocol, Reporter, Timestamp};

use super::names::{Names, Node};
use super::reason::{CALL_REASONS, CallReason};

/// Windows collected between two ticks at most; beyond, calls are dropped and counted. A hostile sender fills it, a real one never
/// does.
const MAX_WINDOWS: usize = 100_000;
const SECOND: Duration = Duration::from_secs(1);
/// A call whose time by its sender's clock is further from ours than this is counted now: a clock that is minutes off must not cost
/// the edge. The graph takes windows that are up to two minutes old.
const PAST: Duration = Duration::from_secs(110);
const FUTURE: Duration = Duration::from_secs(5);

/// One call, or one more attempt of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) client: Node,
    pub(super) server: Node,
    pub(super) protocol: Protocol,
    pub(super) client_kind: NodeKind,
    pub(super) server_kind: NodeKind,
    pub(super) start: Timestamp,
    /// How long it took, as the client saw it if the client's span is there.
    pub(super) latency: Duration,
    pub(super) counts: EdgeCounts,
    pub(super) reason: CallReason,
}

#[derive(Debug)]
struct Window {
    client_kind: NodeKind,
    server_kind: NodeKind,
    counts: EdgeCounts,
    latency: Histogram,
    reasons: [u64; CALL_REASONS],
}

/// A finished window, and why its calls were told.
#[derive(Debug, Clone, PartialEq)]
pub struct TracedWindow {
    /// The counts.
    pub window: EdgeWindow,
    /// Calls by [`CallReason`].
    pub reasons: [u64; CALL_REASONS],
}

/// Calls since the last tick, by edge and second of their start.
#[derive(Debug, Default)]
pub(super) struct CallWindows {
    windows: FxHashMap<(Node, Node, Protocol, u64), Window>,
    /// Calls dropped because there were too many windows.
    pub(super) dropped: u64,
}

impl CallWindows {
    /// Adds a call to its window.
    pub(super) fn count(&mut self, call: &Call, now: Timestamp) {
        let is_near = now.since(call.start) <= PAST && call.start.since(now) <= FUTURE;
        let second = if is_near { call.start.as_secs() } else { now.as_secs() };
        let key = (call.client, call.server, call.protocol, second);
        if self.windows.len() >= MAX_WINDOWS && !self.windows.contains_key(&key) {
            self.dropped += 1;
            return;
        }
        let window = self.windows.entry(key).or_insert_with(|| Window {
            client_kind: call.client_kind,
            server_kind: call.server_kind,
            counts: EdgeCounts::default(),
            latency: Histogram::default(),
            reasons: [0; CALL_REASONS],
        });
        let (sum, one) = (&mut window.counts, &call.counts);
        // Only these are ever told by spans; adding all thirteen costs more than pairing.
        sum.requests = sum.requests.saturating_add(one.requests);
        sum.failed = sum.failed.saturating_add(one.failed);
        sum.attempts = sum.attempts.saturating_add(one.attempts);
        sum.retries = sum.retries.saturating_add(one.retries);
        sum.answered_failures = sum.answered_failures.saturating_add(one.answered_failures);
        sum.transport_failures = sum.transport_failures.saturating_add(one.transport_failures);
        // Once for each that was seen, however many it stands for: the detector tells by it how many were.
        if call.counts.requests > 0 {
            window.latency.record(call.latency);
        }
        if let Some(count) = window.reasons.get_mut(call.reason as usize) {
            *count += 1;
        }
    }

    /// Everything collected, under its names.
    pub(super) fn drain(&mut self, names: &Names) -> Vec<TracedWindow> {
        let named =
            |((client, server, protocol, second), window): ((Node, Node, Protocol, u64), Window)| TracedWindow {
                window: EdgeWindow {
                    key: EdgeKey { client: names.name(client), server: names.name(server), protocol },
                    reporter: Reporter::Spans,
                    client_kind: window.client_kind,
                    server_kind: window.server_kind,
                    start: Timestamp::from_secs(second),
                    length: SECOND,
                    counts: window.counts,
                    latency: window.latency,
                    self_time: Histogram::default(),
                    secured: false,
                },
                reasons: window.reasons,
            };
        let mut windows: Vec<_> = self.windows.drain().map(named).collect();
        windows.sort_by(|a, b| (a.window.start, &a.window.key).cmp(&(b.window.start, &b.window.key)));
        windows
    }
}
