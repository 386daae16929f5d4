//! Is an edge, or a service, worse than its own past?
//!
//! An edge is judged by the requests made on it (failures, latency as the client has it, attempts per request, the gap between what
//! the client waited and what the server took), a service by its self time, the time outside its own calls. Each verdict
//! must hold in two of three windows. A verdict that turns bad is a *raw alert*: what a rule of its own would have sent.
//!
//! Late data: see [`super::judged`]. A window is learned from 15 s after its end, unless it was bad, or an incident that had begun
//! by its end touches the edge.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tripline_model::{EdgeKey, Reporter, ServiceName, Timestamp};

use super::Settings;
use super::baseline::{FailureShare, Level};
use super::judged::{FAILING, FAR, Judged, LATE, Limits, Run, SLOW};
use super::keep::{BaselineOf, BaselineState, LevelState, Waiting};
use crate::ServiceGraph;
use crate::graph::EdgeState;
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

/// One edge's past and its latest windows.
#[derive(Debug, Clone, Default)]
pub(super) struct EdgeWatch {
    failures: FailureShare,
    latency: Level,
    /// The server's own mean latency, and what the client waited beyond it.
    served: Level,
    gap: Level,
    /// Windows that may still change, oldest first.
    open: [Option<Judged>; LATE],
    /// What those before them say, and what all of them do.
    settled: Run,
    run: Run,
    /// [`EdgeState::late`] when it was last judged.
    late: u32,
    /// In which of its windows it takes a sample once it is old.
    phase: u8,
}

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
    pub(super) const fn is_degraded(&self) -> bool {
        self.run.is_degraded()
    }

    /// Whether it is slow rather than failing.
    pub(super) const fn is_only_slow(&self) -> bool {
        self.run.held() & SLOW != 0 && self.run.held() & FAILING == 0
    }

    /// Start of the first bad window of the run that goes on.
    pub(super) fn onset(&self) -> Option<Timestamp> {
        self.run.onset()
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
    pub(super) const fn is_far(&self) -> bool {
        self.run.held() & FAR != 0
    }

    /// Whether the server, by its own sidecar, takes longer than normal; none without a baseline.
    pub(super) fn serves_slowly(&self, settings: &Settings, seconds: f64) -> Option<bool> {
        self.served.median_and_mad().is_some().then(|| is_slow(settings, seconds, &self.served))
    }

    /// Verdicts that turned bad so far, and how many of them before the degradation that goes on.
    pub(super) fn alerts(&self) -> (u64, u64) {
        self.run.alerts()
    }

    /// Judges the window that starts at `from`, and those before it again that may have changed. Learns from the oldest unless it was bad, or an
    /// incident that began at `frozen` had begun by its end.
    pub(super) fn judge(&mut self, settings: &Settings, state: &EdgeState, from: Timestamp, frozen: Option<Timestamp>) {
        if let Some(oldest) = self.open[0] {
            self.settled.push(&oldest);
            if !oldest.is_bad() && frozen.is_none_or(|began| began > oldest.end(settings)) {
                self.learn(settings, &oldest);
            }
        }
        self.open.rotate_left(1);
        if self.late != state.late() {
            self.late = state.late();
            let open = self.open.iter_mut().take(LATE - 1).flatten();
            open.for_each(|window| *window = window.again(settings, state));
        }
        self.open[LATE - 1] = Some(Judged::of(settings, state, from, self.limits(settings)));
        self.run = self.settled;
        self.open.iter().flatten().for_each(|window| self.run.push(window));
    }

    fn limits(&self, settings: &Settings) -> Limits {
        let limit = |level: &Level| limit(settings, level).map_or(f32::INFINITY, |limit| limit as f32);
        Limits { share: self.failures.get() as f32, slow: limit(&self.latency), far: limit(&self.gap) }
    }

    fn learn(&mut self, settings: &Settings, window: &Judged) {
        if window.asked == 0 {
            return;
        }
        self.failures.learn(window.asked.into(), window.failed.into());
        let [latency, served, gap] = window.times();
        if let (true, Some(latency)) = (window.is_enough(settings), latency) {
            self.latency.learn(latency, self.phase);
            for (level, value) in [(&mut self.served, served), (&mut self.gap, gap)] {
                if let Some(value) = value {
                    level.learn(value, self.phase);
                }
            }
        }
    }
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

/// Above so many seconds a mean is slow; none without a baseline.
fn limit(settings: &Settings, level: &Level) -> Option<f64> {
    let (median, mad) = level.median_and_mad()?;
    Some(median + allowed(settings, (median, mad)).max(settings.slower_floor))
}

fn is_slow(settings: &Settings, seconds: f64, level: &Level) -> bool {
    limit(settings, level).is_some_and(|limit| seconds > limit)
}

/// One window of a service's self time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SelfTime {
    end: Timestamp,
    /// Above so many mean seconds it is slow.
    limit: f64,
    count: u64,
    micros: u64,
}

impl SelfTime {
    fn mean(&self, settings: &Settings) -> Option<f64> {
        (self.count >= settings.min_requests.max(1)).then(|| self.micros as f64 / self.count as f64 * 1e-6)
    }

    fn is_slow(&self, settings: &Settings) -> bool {
        self.mean(settings).is_some_and(|mean| mean > self.limit)
    }
}

/// One service's self time, past and present.
#[derive(Debug, Clone, Default)]
struct ServiceWatch {
    level: Level,
    open: [Option<SelfTime>; LATE],
    settled: Verdicts,
    verdicts: Verdicts,
    phase: u8,
}

impl ServiceWatch {
    fn judge(&mut self, settings: &Settings, sums: &Sums, (at, end): (usize, Timestamp), late: bool) {
        if let Some(oldest) = self.open[0] {
            let slow = oldest.is_slow(settings);
            self.settled.push(slow);
            let frozen = sums.frozen.get(at).copied().flatten().is_some_and(|began| began <= oldest.end);
            if let Some(mean) = oldest.mean(settings).filter(|_| !slow && !frozen) {
                self.level.learn(mean, self.phase);
            }
        }
        self.open.rotate_left(1);
        let limit = limit(settings, &self.level).unwrap_or(f64::INFINITY);
        self.open[LATE - 1] = Some(SelfTime { end, limit, count: 0, micros: 0 });
        let first = if late { 0 } else { LATE - 1 };
        for (window, sums) in self.open.iter_mut().zip(&sums.windows).skip(first) {
            if let (Some(window), Some((count, micros))) = (window, sums.get(at)) {
                (window.count, window.micros) = (*count, *micros);
            }
        }
        self.verdicts = self.settled;
        for window in self.open.iter().flatten() {
            self.verdicts.push(window.is_slow(settings));
        }
    }
}

/// What all edges into each node say, by the node's number.
pub(super) struct Sums {
    /// Requests and microseconds of self time, of the windows that may still change, oldest first.
    windows: [Vec<(u64, u64)>; LATE],
    /// The begin of the first incident that touches an edge into it.
    frozen: Vec<Option<Timestamp>>,
    late: bool,
}

impl Sums {
    /// Of the windows up to the one that starts at `from`; `late` when those before the last may have changed.
    pub(super) fn new(graph: &ServiceGraph, late: bool) -> Self {
        let numbers = graph.node_numbers();
        Self { windows: std::array::from_fn(|_| vec![(0, 0); numbers]), frozen: vec![None; numbers], late }
    }

    /// Adds what an edge says.
    pub(super) fn add(&mut self, state: &EdgeState, (from, length): (Timestamp, u32), frozen: Option<Timestamp>) {
        let at = state.server as usize;
        let first = if self.late { 0 } else { LATE - 1 };
        for (back, sums) in (0..LATE as u64).rev().zip(&mut self.windows).skip(first) {
            let start = from - std::time::Duration::from_secs(back * u64::from(length));
            let window = state.window_by(Reporter::Server, start, length);
            if let Some(sum) = sums.get_mut(at) {
                sum.0 += u64::from(window.self_timed);
                sum.1 += window.self_micros;
            }
        }
        if let (Some(began), Some(slot)) = (frozen, self.frozen.get_mut(at)) {
            *slot = Some(slot.map_or(began, |known| known.min(began)));
        }
    }
}

/// Self time of every service that a sidecar of its own reports.
#[derive(Debug, Default)]
pub(super) struct ServiceWatches {
    levels: BTreeMap<ServiceName, ServiceWatch>,
}

impl ServiceWatches {
    pub(super) const fn new() -> Self {
        Self { levels: BTreeMap::new() }
    }

    /// Its normal mean self time in seconds.
    pub(super) fn normal_self_time(&self, service: &ServiceName) -> Option<f64> {
        self.levels.get(service).and_then(|watch| watch.level.median_and_mad()).map(|(median, _)| median)
    }

    /// Whether its self time is above its baseline in two of the last three windows.
    pub(super) fn is_slow(&self, service: &ServiceName) -> bool {
        self.levels.get(service).is_some_and(|watch| watch.verdicts.hold())
    }

    /// Judges the window that ends at `end` of every service.
    pub(super) fn judge(&mut self, settings: &Settings, graph: &ServiceGraph, sums: &Sums, end: Timestamp) {
        // Both are in the order of names and have the same names.
        for ((_, watch), (_, node)) in self.levels.iter_mut().zip(graph.nodes()) {
            watch.judge(settings, sums, (node.number as usize, end), sums.late);
        }
    }

    /// The baselines.
    pub(super) fn levels(&self) -> impl Iterator<Item = (&ServiceName, &Level)> {
        self.levels.iter().map(|(service, watch)| (service, &watch.level))
    }

    /// Whether it has been judged before.
    pub(super) fn knows(&self, service: &ServiceName) -> bool {
        self.levels.contains_key(service)
    }

    /// Makes the services those of the graph.
    pub(super) fn follow(&mut self, graph: &ServiceGraph, waiting: &mut Waiting) {
        self.levels.retain(|service, _| graph.node(service).is_some());
        for (service, _) in graph.nodes() {
            if let Entry::Vacant(entry) = self.levels.entry(service.clone()) {
                let level = waiting.self_time(service);
                entry.insert(ServiceWatch { level, phase: phase(service), ..ServiceWatch::default() });
            }
        }
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
