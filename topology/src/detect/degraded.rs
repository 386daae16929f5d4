//! Is an edge, or a service, worse than its own past?
//!
//! An edge is judged by the requests made on it (failures, latency as the client has it, attempts per request, the gap between what
//! the client waited and what the server took), a service by its self time, the time outside its own calls. Each verdict
//! must hold in two of three windows. A verdict that turns bad is a *raw alert*: what a rule of its own would have sent.
//!
//! Late data: see [`super::judged`]. A window is learned from 11 to 15 s after its end, unless it was bad, or an incident that had begun
//! by its end touches the edge. Learning is done in the seconds between two windows, in which there is nothing to judge.

use tripline_model::{EdgeKey, ServiceName, Timestamp};

use super::Settings;
use super::baseline::{FailureShare, Level};
use super::everywhere::Common;
use super::judged::{FAILING, FAR, Judged, LATE, Limits, Run, SLOW};
use super::keep::{BaselineOf, BaselineState, LevelState};
use crate::ServiceGraph;
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
    /// [`crate::graph::EdgeState::born`] of its edge; zero for none.
    born: u64,
    failures: FailureShare,
    latency: Level,
    /// The server's own mean latency, and what the client waited beyond it.
    served: Level,
    gap: Level,
    /// What these make of the next window: worked out when they learn, so that judging need not.
    limits: Limits,
    /// Windows that may still change, oldest first.
    open: [Option<Judged>; LATE],
    /// What those before them say, and what all of them do.
    settled: Run,
    run: Run,
    /// [`ServiceGraph::late_at`] when it was last judged.
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

    /// The same for the edge that was `born` then, ready to judge.
    pub(super) fn born_at(self, born: u64, settings: &Settings) -> Self {
        Self { born, limits: self.limits(settings), ..self }
    }

    /// [`crate::graph::EdgeState::born`] of its edge; none where there is no edge.
    pub(super) const fn born(&self) -> Option<u64> {
        if self.born > 0 { Some(self.born) } else { None }
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

    /// Learns from the oldest window that may still change, unless it was bad, or an incident that began at `frozen` had begun by its end.
    pub(super) fn learn_oldest(&mut self, settings: &Settings, frozen: Option<Timestamp>) {
        let may_learn = |oldest: &Judged| !oldest.is_bad() && frozen.is_none_or(|began| began > oldest.end(settings));
        if let Some(oldest) = self.open[0].filter(may_learn) {
            self.learn(settings, &oldest);
            self.limits = self.limits(settings);
        }
    }

    /// Judges the window that starts at `from`, and those before it again that may have changed. The oldest is let go.
    pub(super) fn judge(
        &mut self,
        settings: &Settings,
        at: (&ServiceGraph, usize),
        (from, common): (Timestamp, &[Common; LATE]),
    ) {
        if let Some(oldest) = self.open[0] {
            self.settled.push(&oldest);
        }
        self.open.rotate_left(1);
        let late = at.0.late_at(at.1);
        let changed = std::mem::replace(&mut self.late, late) != late;
        for (window, common) in self.open.iter_mut().zip(common).take(LATE - 1) {
            if let Some(window) = window.as_mut().filter(|window| changed || window.common != *common) {
                *window = window.again(settings, at, *common);
            }
        }
        self.open[LATE - 1] = Some(Judged::of(settings, at, from, (self.limits, common[LATE - 1])));
        self.run = self.settled;
        self.open.iter().flatten().for_each(|window| self.run.push(window));
    }

    /// Seconds that the requests of the last windows took longer than normal, all together.
    pub(super) fn added(&self) -> f64 {
        let Some(normal) = self.normal_latency() else { return 0.0 };
        let added = |window: &Judged| {
            let [latency, ..] = window.times();
            latency.map_or(0.0, |latency| (latency - normal).max(0.0) * f64::from(window.asked))
        };
        self.open.iter().flatten().map(added).sum()
    }

    fn limits(&self, settings: &Settings) -> Limits {
        let limit = |level: &Level| limit(settings, level).map_or(f32::INFINITY, |limit| limit as f32);
        Limits { share: self.failures.get() as f32, slow: limit(&self.latency), far: limit(&self.gap) }
    }

    fn learn(&mut self, settings: &Settings, window: &Judged) {
        if window.asked == 0 {
            return;
        }
        let (asked, failed) = window.seen();
        self.failures.learn(asked, failed);
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
pub(super) fn phase(name: &ServiceName) -> u8 {
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
pub(super) fn limit(settings: &Settings, level: &Level) -> Option<f64> {
    let (median, mad) = level.median_and_mad()?;
    Some(median + allowed(settings, (median, mad)).max(settings.slower_floor))
}

fn is_slow(settings: &Settings, seconds: f64, level: &Level) -> bool {
    limit(settings, level).is_some_and(|limit| seconds > limit)
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
