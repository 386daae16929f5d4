//! Is an edge, or a service, worse than its own past?
//!
//! An edge is judged by the requests made on it (failures, latency as the client has it, attempts per request, the gap between what
//! the client waited and what the server took), a service by its self time, the time outside its own calls. Each verdict
//! must hold in two of three windows. A verdict that turns bad is a *raw alert*: what a rule of its own would have sent.

use std::collections::{BTreeMap, BTreeSet};

use tripline_model::{EdgeKey, Histogram, Reporter, ServiceName, Timestamp};

use super::Settings;
use super::baseline::{FailureShare, Level};
use super::keep::{BaselineOf, BaselineState, LevelState, Waiting};
use crate::ServiceGraph;
use crate::graph::{EdgeState, Sum};
use crate::robust::binomial_z;

/// The last three verdicts, newest in the lowest bit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Verdicts(u8);

impl Verdicts {
    /// Answers whether the verdict has turned bad.
    pub(crate) fn push(&mut self, bad: bool) -> bool {
        let turned = bad && self.0 & 1 == 0;
        self.0 = (self.0 << 1 | u8::from(bad)) & 0b111;
        turned
    }

    /// Whether two of the last three were bad.
    pub(crate) fn hold(self) -> bool {
        self.0.count_ones() >= 2
    }
}

/// One edge's past and its latest verdicts.
#[derive(Debug, Clone, Default)]
pub(super) struct EdgeWatch {
    failures: FailureShare,
    latency: Level,
    /// The server's own mean latency, and what the client waited beyond it.
    served: Level,
    gap: Level,
    failing: Verdicts,
    slow: Verdicts,
    retrying: Verdicts,
    far: Verdicts,
    first_bad: Option<Timestamp>,
    /// Verdicts that turned bad, ever and before the run that goes on.
    alerts: u64,
    alerts_before: u64,
    /// In which of twelve windows it takes a sample once it is old.
    phase: u8,
}

/// Share of requests with retries above which the gap says nothing: the client's back-off is in it.
const GAP_RETRIES: u64 = 10;

impl EdgeWatch {
    /// One that knows nothing yet.
    pub(super) fn of(key: &EdgeKey) -> Self {
        Self { phase: phase(&key.server) ^ phase(&key.client), ..Self::default() }
    }

    /// One that knows what a baseline says.
    pub(super) fn restored(known: &BaselineState, key: &EdgeKey) -> Self {
        Self {
            failures: known.failures(),
            latency: known.latency.level(),
            served: known.served.level(),
            gap: known.gap.level(),
            ..Self::of(key)
        }
    }

    /// Its baseline as plain values.
    pub(super) fn baseline(&self, key: &EdgeKey) -> BaselineState {
        let (requests, failed) = self.failures.counts();
        BaselineState {
            of: BaselineOf::Edge(key.clone()),
            requests,
            failed,
            latency: LevelState::of(&self.latency),
            served: LevelState::of(&self.served),
            gap: LevelState::of(&self.gap),
        }
    }

    /// Whether it is degraded by its counts; its breakers are asked elsewhere.
    pub(super) fn is_degraded(&self) -> bool {
        self.failing.hold() || self.slow.hold() || self.retrying.hold()
    }

    /// Whether it is slow rather than failing.
    pub(super) fn is_only_slow(&self) -> bool {
        self.slow.hold() && !self.failing.hold()
    }

    /// Start of the first bad window of the run that goes on.
    pub(super) const fn onset(&self) -> Option<Timestamp> {
        self.first_bad
    }

    /// Its normal share of failed requests.
    pub(super) fn normal_failures(&self) -> f64 {
        self.failures.get()
    }

    /// Whether it ever went well.
    pub(super) fn was_healthy(&self) -> bool {
        self.failures.was_healthy()
    }

    /// Its normal mean latency in seconds.
    pub(super) fn normal_latency(&self) -> Option<f64> {
        self.latency.median_and_mad().map(|(median, _)| median)
    }

    /// What the client normally waits beyond the server's time, in seconds.
    pub(super) fn normal_gap(&self) -> Option<f64> {
        self.gap.median_and_mad().map(|(median, _)| median)
    }

    /// Whether the way to the server takes longer than normal.
    pub(super) fn is_far(&self) -> bool {
        self.far.hold()
    }

    /// Whether the server, by its own sidecar, takes longer than normal; none without a baseline.
    pub(super) fn serves_slowly(&self, settings: &Settings, seconds: f64) -> Option<bool> {
        self.served.median_and_mad().is_some().then(|| is_slow(settings, seconds, &self.served))
    }

    /// Verdicts that turned bad so far, and how many of them before the degradation that goes on.
    pub(super) const fn alerts(&self) -> (u64, u64) {
        (self.alerts, self.alerts_before)
    }

    /// Judges the window `[from, to)`; learns from it unless it is bad or `frozen`.
    pub(super) fn judge(
        &mut self,
        settings: &Settings,
        state: &EdgeState,
        (from, to): (Timestamp, Timestamp),
        frozen: bool,
    ) {
        let (_, sum) = state.best(from, to);
        let counts = sum.counts;
        let asked = counts.requests - counts.cancelled;
        let enough = asked >= settings.min_requests;
        let failing = enough && is_failing(settings, asked, counts.failed, self.failures.get());
        let latency = sum.latency.mean().map(|mean| mean.as_secs_f64());
        let slow = enough && latency.is_some_and(|latency| is_slow(settings, latency, &self.latency));
        let first = counts.attempts - counts.retries;
        let retrying = enough && first > 0 && counts.attempts as f64 > settings.attempts * first as f64;
        let served = state.sum_by(Reporter::Server, from, to).latency;
        let gap = network_gap(&sum, &served);
        let far = enough && gap.is_some_and(|gap| is_slow(settings, gap, &self.gap));
        let turned =
            [self.failing.push(failing), self.slow.push(slow), self.retrying.push(retrying), self.far.push(far)];
        self.alerts += turned.into_iter().filter(|turned| *turned).count() as u64;
        let bad = failing || slow || retrying;
        if bad {
            self.first_bad.get_or_insert_with(|| first_failure(state, from, to));
        } else if !self.is_degraded() {
            self.first_bad = None;
            self.alerts_before = self.alerts;
        }
        if !bad && !frozen && asked > 0 {
            self.failures.learn(asked, counts.failed);
            if let (true, Some(latency)) = (enough, latency) {
                self.latency.learn(latency, self.phase);
                if let Some(served) = served.mean() {
                    self.served.learn(served.as_secs_f64(), self.phase);
                }
                if let Some(gap) = gap {
                    self.gap.learn(gap, self.phase);
                }
            }
        }
    }
}

/// Seconds a request that the client waited beyond the time that the server's sidecar saw; none when one of the two is
/// not known, or when retries blur it.
pub(super) fn network_gap(client: &Sum, served: &Histogram) -> Option<f64> {
    let count = client.latency.count();
    let blurred = client.counts.attempts == 0 || client.counts.retries * GAP_RETRIES > client.counts.attempts;
    if served.is_empty() || count == 0 || blurred {
        return None;
    }
    // By requests that both saw: some of the client's may not have arrived.
    let mean = |histogram: &Histogram| histogram.mean().map_or(0.0, |mean| mean.as_secs_f64());
    Some((mean(&client.latency) - mean(served)).max(0.0))
}

/// A number that scatters names (FNV-1a).
fn phase(name: &ServiceName) -> u8 {
    let bytes = name.namespace().bytes().chain(name.name().bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 24) as u8
}

/// Failures beyond what chance makes of the normal share.
pub(crate) fn is_failing(settings: &Settings, asked: u64, failed: u64, normal: f64) -> bool {
    failed >= settings.min_failures && binomial_z(asked as f64, failed as f64, normal) > settings.z
}

/// By how much a level may exceed its median before it counts.
pub(crate) fn allowed(settings: &Settings, (median, mad): (f64, f64)) -> f64 {
    (settings.mads * mad).max(settings.slower * median)
}

fn is_slow(settings: &Settings, seconds: f64, level: &Level) -> bool {
    level
        .median_and_mad()
        .is_some_and(|(median, mad)| seconds - median > allowed(settings, (median, mad)).max(settings.slower_floor))
}

/// The second of the first failure in the window, or its start.
fn first_failure(state: &EdgeState, from: Timestamp, to: Timestamp) -> Timestamp {
    let reporter = state.reporter(from, to).unwrap_or(Reporter::Client);
    let second = std::time::Duration::from_secs(1);
    std::iter::successors(Some(from), |at| (*at + second < to).then(|| *at + second))
        .find(|at| state.counts_by(reporter, *at, *at + second).failed > 0)
        .unwrap_or(from)
}

/// Self time of every service that a sidecar of its own reports.
#[derive(Debug, Default)]
pub(super) struct ServiceWatches {
    levels: BTreeMap<ServiceName, (Level, Verdicts)>,
}

impl ServiceWatches {
    pub(super) const fn new() -> Self {
        Self { levels: BTreeMap::new() }
    }

    /// Its normal mean self time in seconds.
    pub(super) fn normal_self_time(&self, service: &ServiceName) -> Option<f64> {
        self.levels.get(service).and_then(|(level, _)| level.median_and_mad()).map(|(median, _)| median)
    }

    /// Whether its self time is above its baseline in two of the last three windows.
    pub(super) fn is_slow(&self, service: &ServiceName) -> bool {
        self.levels.get(service).is_some_and(|(_, verdicts)| verdicts.hold())
    }

    /// Judges the window `[from, to)` of every service; learns from it unless it is bad or an edge of it is frozen.
    pub(super) fn judge(
        &mut self,
        settings: &Settings,
        graph: &ServiceGraph,
        (from, to): (Timestamp, Timestamp),
        (frozen, waiting): (&BTreeSet<EdgeKey>, &mut Waiting),
    ) {
        let mut sums: BTreeMap<&ServiceName, (u64, f64, bool)> = BTreeMap::new();
        for (key, state) in graph.edges() {
            let own = state.sum_by(Reporter::Server, from, to).self_time;
            let entry = sums.entry(&key.server).or_default();
            entry.0 += own.count();
            entry.1 += own.sum().as_secs_f64();
            entry.2 |= frozen.contains(key);
        }
        for (service, (count, seconds, frozen)) in sums {
            let known = self.levels.entry(service.clone());
            let (level, verdicts) = known.or_insert_with(|| (waiting.self_time(service), Verdicts::default()));
            let enough = count >= settings.min_requests;
            let mean = seconds / count.max(1) as f64;
            let slow = enough && is_slow(settings, mean, level);
            verdicts.push(slow);
            if enough && !slow && !frozen {
                level.learn(mean, phase(service));
            }
        }
    }

    /// The baselines.
    pub(super) fn levels(&self) -> impl Iterator<Item = (&ServiceName, &Level)> {
        self.levels.iter().map(|(service, (level, _))| (service, level))
    }

    /// Whether it has been judged before.
    pub(super) fn knows(&self, service: &ServiceName) -> bool {
        self.levels.contains_key(service)
    }

    pub(super) fn retain(&mut self, graph: &ServiceGraph) {
        self.levels.retain(|service, _| graph.node(service).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_beyond_chance() {
        let settings = Settings::default();
        let cases = [
            (100, 0, 0.0, false),
            (100, 4, 0.0, false),
            (100, 6, 0.0, true),
            (1000, 20, 0.02, false),
            (1000, 60, 0.02, true),
        ];
        for (asked, failed, normal, expected) in cases {
            assert_eq!(is_failing(&settings, asked, failed, normal), expected, "{asked} {failed} {normal}");
        }
    }

    #[test]
    fn slower_than_its_past_by_more_than_noise() {
        let settings = Settings::default();
        let mut level = Level::default();
        assert!(!is_slow(&settings, 9.0, &level), "nothing is slow without a baseline");
        (0..5).for_each(|_| level.learn(0.100, 0));
        assert!(!is_slow(&settings, 0.140, &level), "five windows prove little");
        assert!(is_slow(&settings, 0.200, &level));
        (0..45).for_each(|_| level.learn(0.100, 0));
        assert!(!is_slow(&settings, 0.125, &level));
        assert!(is_slow(&settings, 0.140, &level));
        let mut quick = Level::default();
        (0..5).for_each(|_| quick.learn(0.001, 0));
        assert!(!is_slow(&settings, 0.009, &quick), "the floor of 10 ms");
    }

    #[test]
    fn two_of_three_hold() {
        let mut verdicts = Verdicts::default();
        let held: Vec<bool> = [true, false, true, false, false]
            .into_iter()
            .map(|bad| {
                verdicts.push(bad);
                verdicts.hold()
            })
            .collect();
        assert_eq!(held, [false, false, true, false, false]);
    }
}
