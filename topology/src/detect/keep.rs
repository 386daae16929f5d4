//! Baselines as plain values, so that whoever keeps them can give them back after a restart.
//!
//! Without them a detector that has just started takes 15 s to know what is slow and half an hour to know how often an edge fails on a
//! good day. [`Detector::baselines`] takes down what is known of each edge and service, [`Detector::restore`] gives it to the edges and
//! services of the same name when they show up. What has been taken down and put back goes on as if nothing had happened (a law under
//! test). Not kept: the last three windows, which are not learned from yet, and incidents, which are history's.
//!
//! Bounded: at most as many as the graph holds edges and services, and 40 numbers a level. What waits for an edge that does not
//! come is dropped after [`KEPT`]; what is older than that when it is restored is refused, because a baseline of yesterday is
//! none. Values that cannot be (not finite, negative, failures above requests) are refused one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tripline_model::{EdgeKey, ServiceName, Timestamp};

use super::Detector;
use super::baseline::{FailureShare, Level, MAX_STRIDE, SAMPLES};
use super::degraded::EdgeWatch;

/// How old a baseline may be, and how long it waits for its edge: as far as a baseline reaches back.
pub const KEPT: Duration = Duration::from_secs(3_600);
/// Baselines that may wait at once: of 100,000 edges and 10,000 services.
const MAX_WAITING: usize = 110_000;

/// Whose baseline it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaselineOf {
    /// An edge: failures, latency, the server's time, the gap between them.
    Edge(EdgeKey),
    /// A service: its self time.
    Service(ServiceName),
}

/// A level: up to 40 window means.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LevelState {
    /// Seconds, oldest first.
    pub samples: Vec<f32>,
    /// Windows from one sample to the next, 1 to 18.
    pub stride: u8,
    /// Windows since the last sample, below `stride`.
    pub skipped: u8,
}

/// One baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineState {
    /// Whose.
    pub of: BaselineOf,
    /// Requests of the last half hour, older ones fading; 0 for a service.
    pub requests: f64,
    /// Failed ones among them, fading alike.
    pub failed: f64,
    /// Mean latency of an edge as its client has it; self time of a service.
    pub latency: LevelState,
    /// The server's own time on an edge; empty for a service.
    pub served: LevelState,
    /// What the client waited beyond that; empty for a service.
    pub gap: LevelState,
}

/// What became of baselines that were given back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Taken, and waiting for their edges and services.
    pub taken: usize,
    /// Refused: impossible values, or an edge that is judged already.
    pub refused: usize,
    /// Left out: too old, or more than can wait.
    pub dropped: usize,
}

/// What waits for edges and services to show up.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    states: BTreeMap<BaselineOf, BaselineState>,
    until: Timestamp,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        Self { states: BTreeMap::new(), until: Timestamp::from_nanos(0) }
    }

    /// The watch of an edge that has just shown up.
    pub(super) fn watch(&mut self, key: &EdgeKey) -> EdgeWatch {
        if self.states.is_empty() {
            return EdgeWatch::of(key);
        }
        let known = self.states.remove(&BaselineOf::Edge(key.clone()));
        known.map_or_else(|| EdgeWatch::of(key), |known| EdgeWatch::restored(&known, key))
    }

    /// The self time of a service that has just shown up.
    pub(super) fn self_time(&mut self, service: &ServiceName) -> Level {
        if self.states.is_empty() {
            return Level::default();
        }
        let known = self.states.remove(&BaselineOf::Service(service.clone()));
        known.map(|known| known.latency.level()).unwrap_or_default()
    }

    pub(super) fn tidy(&mut self, now: Timestamp) {
        if now > self.until && !self.states.is_empty() {
            self.states.clear();
        }
    }
}

impl LevelState {
    pub(super) fn of(level: &Level) -> Self {
        let (samples, stride, skipped) = level.samples();
        Self { samples, stride, skipped }
    }

    pub(super) fn level(&self) -> Level {
        Level::of_samples(&self.samples, self.stride, self.skipped)
    }

    fn is_possible(&self) -> bool {
        let none = self.samples.is_empty() && self.stride == 0 && self.skipped == 0;
        let counts = (1..=MAX_STRIDE).contains(&self.stride) && self.skipped < self.stride;
        let few = self.samples.len() <= SAMPLES;
        (none || counts) && few && self.samples.iter().all(|value| value.is_finite() && *value >= 0.0)
    }
}

impl BaselineState {
    pub(super) fn failures(&self) -> FailureShare {
        FailureShare::of_counts((self.requests, self.failed))
    }

    fn is_possible(&self) -> bool {
        let counts = self.requests.is_finite() && self.failed >= 0.0 && self.failed <= self.requests;
        counts && [&self.latency, &self.served, &self.gap].into_iter().all(LevelState::is_possible)
    }
}

impl Detector {
    /// Every baseline that knows something, of edges first, then of services; also those that still wait for their edge.
    pub fn baselines(&self) -> impl Iterator<Item = BaselineState> + '_ {
        let edges = self.watches.iter().map(|(key, watch)| watch.baseline(key));
        let services = self.services.levels().map(|(service, level)| BaselineState {
            of: BaselineOf::Service(service.clone()),
            requests: 0.0,
            failed: 0.0,
            latency: LevelState::of(level),
            served: LevelState::default(),
            gap: LevelState::default(),
        });
        let known = |state: &BaselineState| state.requests > 0.0 || !state.latency.samples.is_empty();
        edges.chain(services).filter(known).chain(self.waiting.states.values().cloned())
    }

    /// Gives baselines back that were taken down at `taken`. Call it before the first evaluation: an edge that is judged already
    /// keeps what it has learned.
    pub fn restore(
        &mut self,
        states: impl IntoIterator<Item = BaselineState>,
        taken: Timestamp,
        now: Timestamp,
    ) -> Restored {
        let mut restored = Restored::default();
        let watched: BTreeSet<EdgeKey> = self.watches.iter().map(|(key, _)| key.clone()).collect();
        self.waiting.until = now + KEPT;
        for state in states {
            let judged = match &state.of {
                BaselineOf::Edge(key) => watched.contains(key),
                BaselineOf::Service(service) => self.services.knows(service),
            };
            if now.since(taken) > KEPT || self.waiting.states.len() >= MAX_WAITING {
                restored.dropped += 1;
            } else if judged || !state.is_possible() {
                restored.refused += 1;
            } else {
                restored.taken += 1;
                self.waiting.states.insert(state.of.clone(), state);
            }
        }
        restored
    }
}

#[cfg(test)]
mod tests;
