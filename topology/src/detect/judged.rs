//! One window of one edge against the edge's baseline, and the run of windows that its state is read from.
//!
//! A window is judged a second after its end, with limits that come from windows three and more before it. It waits for two more
//! windows then: what arrives meanwhile is judged again *with the same limits*, so that the verdict is a function of
//! the window's final counts and not of the order in which they came. Only then is it learned from.

use tripline_model::{Reporter, Timestamp};

use super::Settings;
use super::everywhere::Common;
use crate::ServiceGraph;
use crate::graph::{Brief, EdgeState};

/// Windows that may still change.
pub(super) const LATE: usize = 3;

/// What a window may be found guilty of, as bits.
pub(super) const FAILING: u8 = 1;
pub(super) const SLOW: u8 = 2;
pub(super) const RETRYING: u8 = 4;
/// The way takes longer. Does not make the edge degraded by itself.
pub(super) const FAR: u8 = 8;
const DEGRADED: u8 = FAILING | SLOW | RETRYING;

/// What a window is measured against. Seconds; infinite where nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Limits {
    /// Normal share of failures.
    pub(super) share: f32,
    /// Mean latency above which it is slow.
    pub(super) slow: f32,
    /// Gap above which the way is long.
    pub(super) far: f32,
}

/// One judged window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judged {
    limits: Limits,
    /// What all of the mesh was slower by in it.
    pub(super) common: Common,
    /// Start, in seconds since the epoch.
    start: u32,
    /// The second of its first failure, or its start.
    onset: u32,
    pub(super) asked: u32,
    failed: u32,
    /// Requests that each of those stands for which were really seen: what is by chance depends on how many these are.
    weight: f32,
    /// Mean seconds; negative where not known.
    latency: f32,
    served: f32,
    gap: f32,
    pub(super) guilt: u8,
}

/// Share of attempts that are retries above which the gap says nothing: the client's back-off is in it.
const GAP_RETRIES: u32 = 10;
const UNKNOWN: f32 = -1.0;
const REPORTERS: [Reporter; 3] = [Reporter::Client, Reporter::Server, Reporter::Spans];

impl Judged {
    /// Judges the window that starts at `from`, of the edge at a place of the graph.
    pub(super) fn of(
        settings: &Settings,
        (graph, place): (&ServiceGraph, usize),
        from: Timestamp,
        (limits, common): (Limits, Common),
    ) -> Self {
        let start = u32::try_from(from.as_secs()).unwrap_or(u32::MAX);
        let mut windows = REPORTERS.into_iter().map(|reporter| (reporter, graph.window(place, reporter, from)));
        let (reporter, client) =
            windows.find(|(_, window)| window.requests > 0).unwrap_or((Reporter::Client, Brief::default()));
        let nothing = Self {
            limits,
            common,
            start,
            onset: start,
            asked: 0,
            failed: 0,
            weight: 1.0,
            latency: UNKNOWN,
            served: UNKNOWN,
            gap: UNKNOWN,
            guilt: 0,
        };
        let asked = client.asked();
        if asked == 0 {
            return nothing;
        }
        let served = graph.window(place, Reporter::Server, from);
        let narrow = |seconds: Option<f64>| seconds.map_or(UNKNOWN, |seconds| seconds as f32);
        let judged = Self {
            asked,
            failed: client.failed,
            weight: client.weight(reporter) as f32,
            latency: narrow(client.mean()),
            served: narrow(served.mean()),
            gap: narrow(network_gap(&client, &served)),
            ..nothing
        };
        let guilt = judged.guilt(settings, &client);
        let length = u32::try_from(settings.window.as_secs()).unwrap_or(u32::MAX);
        let state = Some(graph).filter(|_| guilt & DEGRADED != 0).and_then(|graph| graph.at(place));
        let onset = state.map_or(start, |(_, state)| first_failure(state, start, length));
        Self { guilt, onset, ..judged }
    }

    /// The same window with what has come since.
    pub(super) fn again(self, settings: &Settings, at: (&ServiceGraph, usize), common: Common) -> Self {
        Self::of(settings, at, Timestamp::from_secs(self.start.into()), (self.limits, common))
    }

    /// Whether the edge is degraded in it.
    pub(super) const fn is_bad(&self) -> bool {
        self.guilt & DEGRADED != 0
    }

    /// Requests and failed ones among them that were seen, without those that they stand for.
    pub(super) fn seen(&self) -> (u64, u64) {
        if self.weight <= 1.0 {
            return (self.asked.into(), self.failed.into());
        }
        let seen = |count: u32| (f64::from(count) / f64::from(self.weight)).round() as u64;
        (seen(self.asked), seen(self.failed))
    }

    /// Whether so many requests were seen that their mean says something.
    pub(super) fn is_enough(&self, settings: &Settings) -> bool {
        self.seen().0 >= settings.min_requests
    }

    /// Its end.
    pub(super) fn end(&self, settings: &Settings) -> Timestamp {
        Timestamp::from_secs(self.start.into()) + settings.window
    }

    /// Mean latency, the server's own, and the gap; where they are known.
    pub(super) fn times(&self) -> [Option<f64>; 3] {
        [self.latency, self.served, self.gap].map(|seconds| (seconds >= 0.0).then_some(f64::from(seconds)))
    }

    fn guilt(&self, settings: &Settings, client: &Brief) -> u8 {
        if !self.is_enough(settings) {
            return 0;
        }
        let (asked, failed) = self.seen();
        let first = client.attempts.saturating_sub(client.retries);
        let retrying = first > 0 && f64::from(client.attempts) > settings.attempts * f64::from(first);
        let verdicts = [
            (FAILING, super::is_failing(settings, asked, failed, self.limits.share.into())),
            (SLOW, self.common.exceeds(self.latency, self.limits.slow)),
            (RETRYING, retrying),
            (FAR, self.common.exceeds(self.gap, self.limits.far)),
        ];
        verdicts.into_iter().filter(|(_, guilty)| *guilty).fold(0, |guilt, (bit, _)| guilt | bit)
    }
}

/// Seconds a request that the client waited beyond the time that the server's sidecar saw; none when one of the two is
/// not known, or when retries blur it.
pub(super) fn network_gap(client: &Brief, served: &Brief) -> Option<f64> {
    let blurred = client.attempts == 0 || client.retries.saturating_mul(GAP_RETRIES) > client.attempts;
    // By requests that both saw: some of the client's may not have arrived.
    let (waited, took) = client.mean().zip(served.mean())?;
    (!blurred).then(|| (waited - took).max(0.0))
}

/// The second of the first failure in a window, or its start.
fn first_failure(state: &EdgeState, start: u32, length: u32) -> u32 {
    let (from, to) = (Timestamp::from_secs(start.into()), Timestamp::from_secs((start + length).into()));
    let reporter = state.reporter(from, to).unwrap_or(Reporter::Client);
    let failed = state.seconds_by(reporter, from, to).find(|second| second.failed > 0);
    failed.map_or(start, |second| second.start.max(start))
}

/// What the last windows of an edge say together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Run {
    /// Guilt of the last three windows, newest first.
    last: [u8; 3],
    /// Second of the onset of the degradation that goes on; zero for none.
    onset: u32,
    /// Verdicts that turned bad, ever and before the degradation that goes on.
    alerts: u32,
    alerts_before: u32,
}

impl Run {
    /// Takes the next window.
    pub(super) fn push(&mut self, window: &Judged) {
        let turned = window.guilt & !self.last[0];
        self.last = [window.guilt, self.last[0], self.last[1]];
        self.alerts = self.alerts.saturating_add(turned.count_ones());
        if window.is_bad() {
            self.onset = if self.onset == 0 { window.onset } else { self.onset };
        } else if self.held() & DEGRADED == 0 {
            self.onset = 0;
            self.alerts_before = self.alerts;
        }
    }

    /// What two of the last three windows were guilty of.
    pub(super) const fn held(&self) -> u8 {
        let [a, b, c] = self.last;
        (a & b) | (a & c) | (b & c)
    }

    /// Whether the edge is degraded.
    pub(super) const fn is_degraded(&self) -> bool {
        self.held() & DEGRADED != 0
    }

    /// Start of the degradation that goes on.
    pub(super) fn onset(&self) -> Option<Timestamp> {
        (self.onset > 0).then(|| Timestamp::from_secs(self.onset.into()))
    }

    /// Verdicts that turned bad so far, and how many of them before the degradation that goes on.
    pub(super) fn alerts(&self) -> (u64, u64) {
        (self.alerts.into(), self.alerts_before.into())
    }
}
