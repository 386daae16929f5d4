//! One edge: its tallies by reporter and its breakers.

use std::collections::BTreeMap;
use std::time::Duration;

use tripline_model::{BreakerState, EdgeCounts, EdgeKey, EdgeWindow, NodeKind, Reporter, Timestamp, TransitionReason};

use super::brief::{Brief, narrow};
use super::packed::Dense;
use super::tally::{Sum, Tally};

/// A breaker whose sidecar has not told its state for this long is taken for gone with its sidecar.
const BREAKER_SILENT: Duration = Duration::from_secs(30);

/// What is known of one breaker of one sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerInfo {
    /// Stable name within its sidecar.
    pub breaker: String,
    /// The sidecar's process.
    pub client_instance: String,
    /// The route it guards; empty for all.
    pub route: String,
    /// The endpoint it guards; empty for the whole service.
    pub endpoint: String,
    /// Its state.
    pub state: BreakerState,
    /// Since when.
    pub since: Timestamp,
    /// How often it tripped since its sidecar started.
    pub trips: u64,
    /// Why it last changed; none when only its state was reported.
    pub last_reason: Option<TransitionReason>,
}

/// Everything that is kept of one edge.
#[derive(Debug, Clone)]
pub struct EdgeState {
    tallies: [Tally; 3],
    breakers: BTreeMap<(String, String), (BreakerInfo, Timestamp)>,
    /// Its place among the graph's edges.
    pub(crate) place: u32,
    /// When it came, counted in changes of the graph: tells it from another one that had its place.
    pub(crate) born: u64,
    /// When something was last heard of it.
    pub last_seen: Timestamp,
    /// Whether every connection of the latest window was mutually authenticated.
    pub secured: bool,
    /// Whether anything was ever tried again on it.
    pub(crate) has_retried: bool,
}

/// What became of a breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// There was no room for it.
    Refused,
    /// Nothing new.
    Same,
    /// It is new, or differs from what was known.
    Changed,
}

const REPORTERS: [Reporter; 3] = [Reporter::Client, Reporter::Server, Reporter::Spans];

pub(super) const fn slot(reporter: Reporter) -> usize {
    match reporter {
        Reporter::Client => 0,
        Reporter::Server => 1,
        Reporter::Spans => 2,
    }
}

impl EdgeState {
    pub(super) fn new((place, born): (u32, u64), now: Timestamp) -> Self {
        Self {
            tallies: Default::default(),
            breakers: BTreeMap::new(),
            place,
            born,
            last_seen: now,
            secured: false,
            has_retried: false,
        }
    }

    /// Whether no sidecar ever counted it or guards it.
    pub(super) fn is_only_from_spans(&self) -> bool {
        let [client, server, _] = &self.tallies;
        client.is_empty() && server.is_empty() && self.breakers.is_empty()
    }

    /// Counts a window.
    pub(super) fn count(&mut self, window: &EdgeWindow, now: Timestamp) {
        self.tallies[slot(window.reporter)].count(window);
        self.secured = window.secured;
        self.has_retried |= window.counts.retries > 0;
        self.last_seen = self.last_seen.max(now);
    }

    /// Notes a breaker; at most `room` are kept.
    pub(super) fn note_breaker(&mut self, mut breaker: BreakerInfo, room: usize, now: Timestamp) -> Noted {
        let key = (breaker.client_instance.clone(), breaker.breaker.clone());
        match self.breakers.get(&key) {
            // A status says nothing of the reason, and a late one must not undo a newer transition.
            Some((known, _)) if known.since > breaker.since => return Noted::Same,
            Some((known, _)) if known.state == breaker.state && breaker.last_reason.is_none() => {
                breaker.last_reason = known.last_reason;
            }
            None if self.breakers.len() >= room => return Noted::Refused,
            _ => {}
        }
        self.last_seen = self.last_seen.max(now);
        match self.breakers.insert(key, (breaker.clone(), now)) {
            Some((known, _)) if known == breaker => Noted::Same,
            _ => Noted::Changed,
        }
    }

    /// Lets go what is old, or in history by `drained_to`. `room` is memory to work in.
    pub(super) fn thin_out(&mut self, now: Timestamp, drained_to: Timestamp, room: &mut Vec<u8>) {
        let times = (now, drained_to);
        let [client, server, spans] = &mut self.tallies;
        spans.thin_out(times, &[&*client, &*server], room);
        server.thin_out(times, &[&*client], room);
        client.thin_out(times, &[], room);
    }

    /// Whether the sidecar of one of its breakers has gone silent.
    pub(super) fn has_silent_breaker(&self, now: Timestamp) -> bool {
        self.breakers.values().any(|(_, heard)| now.since(*heard) > BREAKER_SILENT)
    }

    /// Forgets breakers whose sidecar has gone silent.
    pub(super) fn tidy_breakers(&mut self, now: Timestamp) {
        self.breakers.retain(|_, (_, heard)| now.since(*heard) <= BREAKER_SILENT);
    }

    /// Every breaker on the edge.
    pub fn breakers(&self) -> impl Iterator<Item = &BreakerInfo> {
        self.breakers.values().map(|(breaker, _)| breaker)
    }

    /// Whether one of its breakers is not closed.
    pub(crate) fn is_alarmed(&self) -> bool {
        self.worst_breaker().is_some_and(|worst| worst != BreakerState::Closed)
    }

    /// The worst state among its breakers; none when it has none.
    #[must_use]
    pub fn worst_breaker(&self) -> Option<BreakerState> {
        self.breakers().map(|breaker| breaker.state).max()
    }

    /// The best reporter that counted a request in `[from, to)`.
    #[must_use]
    pub fn reporter(&self, from: Timestamp, to: Timestamp) -> Option<Reporter> {
        let (from, to) = (narrow(from.as_secs()), narrow(to.as_secs()));
        REPORTERS.into_iter().find(|reporter| self.tallies[slot(*reporter)].counted(from, to))
    }

    /// The first second of `[from, to)` in which a request was counted by whomever.
    pub(crate) fn first_counted(&self, from: Timestamp, to: Timestamp) -> Option<u64> {
        let (from, to) = (narrow(from.as_secs()), narrow(to.as_secs()));
        let of = |tally: &Tally| tally.seconds(from, to).find(|pane| pane.requests > 0).map(|pane| pane.start.into());
        self.tallies.iter().filter_map(of).min()
    }

    /// What one reporter counted in `[from, to)`, in whole seconds.
    pub(crate) fn brief_by(&self, reporter: Reporter, from: Timestamp, to: Timestamp) -> Brief {
        self.tallies[slot(reporter)].brief(narrow(from.as_secs()), narrow(to.as_secs()))
    }

    /// The seconds of `[from, to)` in which one reporter counted anything, each by itself; none while `from` is older than 75 s.
    pub(crate) fn seconds_by(&self, reporter: Reporter, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Brief> {
        self.tallies[slot(reporter)].seconds(narrow(from.as_secs()), narrow(to.as_secs()))
    }

    /// What one reporter counted in `[from, to)`, in whole seconds.
    #[must_use]
    pub fn sum_by(&self, reporter: Reporter, from: Timestamp, to: Timestamp) -> Sum {
        self.tallies[slot(reporter)].sum(from, to)
    }

    /// The counts only.
    #[must_use]
    pub fn counts_by(&self, reporter: Reporter, from: Timestamp, to: Timestamp) -> EdgeCounts {
        self.tallies[slot(reporter)].counts(from, to)
    }

    /// What the best reporter counted in `[from, to)`; `latency` becomes what it timed, of the blocks of ten seconds that the span touches.
    pub(crate) fn best(&self, from: Timestamp, to: Timestamp, latency: &mut Dense) -> (Reporter, EdgeCounts) {
        for reporter in REPORTERS {
            latency.clear();
            let counts = self.tallies[slot(reporter)].traffic(from, to, latency);
            if counts.requests > 0 {
                return (reporter, counts);
            }
        }
        latency.clear();
        (Reporter::Client, EdgeCounts::default())
    }

    /// The window `[from, from + length)` of each reporter that counted something.
    pub(super) fn windows<'a>(
        &'a self,
        key: &'a EdgeKey,
        (client_kind, server_kind): (NodeKind, NodeKind),
        from: Timestamp,
        length: Duration,
    ) -> impl Iterator<Item = EdgeWindow> + 'a {
        REPORTERS.into_iter().filter_map(move |reporter| {
            let Sum { counts, latency, self_time } = self.sum_by(reporter, from, from + length);
            (counts.requests > 0 || counts.attempts > 0).then(|| EdgeWindow {
                key: key.clone(),
                reporter,
                client_kind,
                server_kind,
                start: from,
                length,
                counts,
                latency,
                self_time,
                secured: self.secured,
            })
        })
    }
}
