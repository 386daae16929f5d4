//! The time that services need for themselves, against their own past.
//!
//! Judged like edges are ([`super::judged`]): with limits from windows three and more before, again when something came late, and learned from
//! only then. Before any of them is judged, what all of the mesh has in common is taken out ([`super::common`]).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use rayon::prelude::*;
use tripline_model::{ServiceName, Timestamp};

use super::Settings;
use super::baseline::Level;
use super::degraded::{Verdicts, limit, phase};
use super::everywhere::Common;
use super::judged::LATE;
use super::keep::Waiting;
use crate::{NodeState, ServiceGraph};

/// Services that are worth a core of their own: fewer are gone through by one.
const SERVICES_A_CORE: usize = 2_048;

/// One window of a service's self time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SelfTime {
    end: Timestamp,
    /// Above so many mean seconds it is slow.
    limit: f64,
    count: u32,
    micros: u64,
}

impl SelfTime {
    fn mean(&self, settings: &Settings) -> Option<f64> {
        let enough = u64::from(self.count) >= settings.min_requests.max(1);
        enough.then(|| self.micros as f64 / f64::from(self.count) * 1e-6)
    }

    fn is_slow(&self, settings: &Settings, common: Common) -> bool {
        self.mean(settings).is_some_and(|mean| common.exceeds(mean as f32, self.limit as f32))
    }
}

/// One service's self time, past and present.
#[derive(Debug, Clone, Default)]
struct ServiceWatch {
    level: Level,
    /// Windows that may still change, oldest first.
    open: [Option<SelfTime>; LATE],
    /// What the last of them was judged with when it was the oldest.
    last_common: Common,
    settled: Verdicts,
    verdicts: Verdicts,
    phase: u8,
    /// It calls nobody.
    is_leaf: bool,
}

impl ServiceWatch {
    /// Learns from the oldest window.
    fn learn_oldest(&mut self, settings: &Settings, frozen: Option<Timestamp>) {
        let Some(oldest) = self.open[0] else { return };
        let frozen = frozen.is_some_and(|began| began <= oldest.end);
        let may_learn = !frozen && !oldest.is_slow(settings, self.last_common);
        if let Some(mean) = oldest.mean(settings).filter(|_| may_learn) {
            self.level.learn(mean, self.phase);
        }
    }

    /// Lets the oldest window go and opens the next, which ends at `end`.
    fn open_next(&mut self, settings: &Settings, end: Timestamp) {
        if let Some(oldest) = self.open[0] {
            self.settled.push(oldest.is_slow(settings, self.last_common));
        }
        self.open.rotate_left(1);
        let limit = limit(settings, &self.level).unwrap_or(f64::INFINITY);
        self.open[LATE - 1] = Some(SelfTime { end, limit, count: 0, micros: 0 });
    }

    /// Reads what was counted in its windows. Answers the mean of each and the normal one, where a leaf has both.
    fn count(&mut self, settings: &Settings, node: &NodeState, length: u32) -> [Option<(f64, f64)>; LATE] {
        let normal = self.level.median_and_mad().map(|(median, _)| median).filter(|_| self.is_leaf);
        self.open.each_mut().map(|window| {
            let window = window.as_mut()?;
            let start = window.end - Duration::from_secs(length.into());
            (window.count, window.micros) = node.self_time(start, length);
            window.mean(settings).zip(normal)
        })
    }

    fn judge(&mut self, settings: &Settings, common: &[Common; LATE]) {
        self.verdicts = self.settled;
        for (window, common) in self.open.iter().zip(common) {
            if let Some(window) = window {
                self.verdicts.push(window.is_slow(settings, *common));
            }
        }
        self.last_common = common[0];
    }
}

/// Self time of every service that a sidecar of its own reports.
#[derive(Debug, Default)]
pub(super) struct ServiceWatches {
    watches: BTreeMap<ServiceName, ServiceWatch>,
    /// Whether they have learned from the oldest of their windows.
    have_learned: bool,
}

impl ServiceWatches {
    pub(super) const fn new() -> Self {
        Self { watches: BTreeMap::new(), have_learned: false }
    }

    /// The normal mean self times in seconds of services that are in the order of their names.
    pub(super) fn normal_self_times<'a>(
        &'a self,
        names: impl Iterator<Item = &'a ServiceName>,
    ) -> impl Iterator<Item = Option<f64>> {
        let mut watches = self.watches.iter().peekable();
        names.map(move |name| {
            while watches.next_if(|(known, _)| *known < name).is_some() {}
            let (_, watch) = watches.next_if(|(known, _)| *known == name)?;
            watch.level.median_and_mad().map(|(median, _)| median)
        })
    }

    /// Whether it is known what its self time normally is.
    pub(super) fn has_baseline(&self, service: &ServiceName) -> bool {
        self.watches.get(service).is_some_and(|watch| watch.level.median_and_mad().is_some())
    }

    /// Whether its self time is above its baseline in two of the last three windows.
    pub(super) fn is_slow(&self, service: &ServiceName) -> bool {
        self.watches.get(service).is_some_and(|watch| watch.verdicts.hold())
    }

    /// Lets them learn, unless they have. `frozen` says since when an incident touches a service.
    pub(super) fn learn(&mut self, settings: &Settings, frozen: &BTreeMap<ServiceName, Timestamp>) {
        if !std::mem::replace(&mut self.have_learned, true) {
            let watches = self.watches.iter_mut();
            watches.for_each(|(name, watch)| watch.learn_oldest(settings, frozen.get(name).copied()));
        }
    }

    /// Judges the window that ends at `end` of every service. All have learned before. Answers what the windows that may still change have in common.
    pub(super) fn judge(&mut self, settings: &Settings, graph: &ServiceGraph, end: Timestamp) -> [Common; LATE] {
        self.have_learned = false;
        let length = graph.window_secs();
        // Both are in the order of names and have the same names.
        let mut watches: Vec<_> = self.watches.values_mut().zip(graph.nodes()).collect();
        let count = |(watch, (_, node)): &mut (&mut ServiceWatch, (&ServiceName, &NodeState))| {
            watch.open_next(settings, end);
            watch.count(settings, node, length)
        };
        let leaves: Vec<_> = watches.par_iter_mut().with_min_len(SERVICES_A_CORE).map(count).collect();
        let common = std::array::from_fn(|window| {
            let leaves: Vec<(f64, f64)> = leaves.iter().filter_map(|leaf| leaf[window]).collect();
            Common::of(&leaves)
        });
        let judge = |(watch, _): &mut (&mut ServiceWatch, _)| watch.judge(settings, &common);
        watches.par_iter_mut().with_min_len(SERVICES_A_CORE).for_each(judge);
        common
    }

    /// The baselines.
    pub(super) fn levels(&self) -> impl Iterator<Item = (&ServiceName, &Level)> {
        self.watches.iter().map(|(service, watch)| (service, &watch.level))
    }

    /// Whether it has been judged before.
    pub(super) fn knows(&self, service: &ServiceName) -> bool {
        self.watches.contains_key(service)
    }

    /// Makes the services those of the graph.
    pub(super) fn follow(&mut self, graph: &ServiceGraph, waiting: &mut Waiting) {
        self.watches.retain(|service, _| graph.node(service).is_some());
        for (service, _) in graph.nodes() {
            let is_leaf = graph.edges_from(service).next().is_none();
            match self.watches.entry(service.clone()) {
                Entry::Occupied(mut known) => known.get_mut().is_leaf = is_leaf,
                Entry::Vacant(entry) => {
                    let level = waiting.self_time(service);
                    entry.insert(ServiceWatch { level, phase: phase(service), is_leaf, ..ServiceWatch::default() });
                }
            }
        }
    }
}
