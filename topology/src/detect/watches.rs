//! The watches of all edges, and judging a window on all of them.
//!
//! With ten thousand services that is reading and writing some fifty megabytes, in which one core mostly waits for memory. Each watch is judged by
//! itself, so all cores may take part; the result does not depend on how many there are.

use rayon::prelude::*;
use tripline_model::{EdgeKey, Timestamp};

use super::Settings;
use super::baseline::RING_BYTES;
use super::degraded::EdgeWatch;
use super::everywhere::Common;
use super::judged::LATE;
use super::keep::Waiting;
use crate::ServiceGraph;
use crate::graph::{Brief, EDGES_A_CORE, EdgeState};

/// Bytes that detection takes for each edge with full baselines of all kinds: the watch with its key, its three levels, and the last four
/// windows of both ends that the graph keeps summed for it. The texts of names and the panes that people look at are not in it.
pub const BYTES_PER_EDGE: usize = size_of::<EdgeWatch>()
    + size_of::<Option<EdgeKey>>()
    + 3 * RING_BYTES
    + 4 * 2 * size_of::<Brief>()
    + 2 * size_of::<u32>();

// The project's bar: a kibibyte and a half.
const _: () = assert!(BYTES_PER_EDGE <= 1_536);

/// The watches of all edges, by the place of the edge in the graph: what is judged together lies together.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watches: Vec<EdgeWatch>,
    keys: Vec<Option<EdgeKey>>,
    /// Places of edges that are degraded by their counts.
    degraded: Vec<usize>,
    /// How often that, or what the places stand for, has changed.
    changes: u64,
    /// Those before this place have learned from the oldest of their windows.
    learned: usize,
}

impl Watches {
    pub(super) const fn new() -> Self {
        Self { watches: Vec::new(), keys: Vec::new(), degraded: Vec::new(), changes: 0, learned: 0 }
    }

    /// That of an edge of the graph.
    pub(super) fn at(&self, state: &EdgeState) -> Option<&EdgeWatch> {
        self.at_place(state.place as usize, state.born)
    }

    /// That of the edge that came to a place when it was `born`.
    pub(super) fn at_place(&self, place: usize, born: u64) -> Option<&EdgeWatch> {
        self.watches.get(place).filter(|watch| watch.born() == Some(born))
    }

    /// Every edge that is watched with its watch, by place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&EdgeKey, &EdgeWatch)> {
        self.keys.iter().zip(&self.watches).filter_map(|(key, watch)| key.as_ref().map(|key| (key, watch)))
    }

    /// Lets the next of them learn, `1 / share` of all. `frozen` says by place since when an incident touches an edge.
    pub(super) fn learn(&mut self, settings: &Settings, share: usize, frozen: &[Option<Timestamp>]) {
        let until = self.watches.len().min(self.learned + self.watches.len().div_ceil(share));
        for place in self.learned..until {
            if let Some(watch) = self.watches.get_mut(place) {
                watch.learn_oldest(settings, frozen.get(place).copied().flatten());
            }
        }
        self.learned = until;
    }

    /// Judges the window that starts at `from` on every edge. All have learned before.
    pub(super) fn judge(&mut self, settings: &Settings, graph: &ServiceGraph, window: (Timestamp, &[Common; LATE])) {
        self.learned = 0;
        let judge = |(place, watch): (usize, &mut EdgeWatch)| {
            watch.born()?;
            watch.judge(settings, (graph, place), window);
            watch.is_degraded().then_some(place)
        };
        let places = self.watches.par_iter_mut().with_min_len(EDGES_A_CORE).enumerate();
        let degraded = places.filter_map(judge).collect();
        self.changes += u64::from(self.degraded != degraded);
        self.degraded = degraded;
    }

    /// A number that changes when other edges are degraded than before.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Every edge of the graph that is degraded by its counts, as of the last window judged.
    pub(super) fn degraded<'a>(&'a self, graph: &'a ServiceGraph) -> impl Iterator<Item = &'a EdgeKey> {
        let known = |place: &usize| graph.at(*place).filter(|(_, state)| self.at(state).is_some());
        self.degraded.iter().filter_map(known).map(|(key, _)| key)
    }

    /// Makes the watches those of the graph's edges.
    pub(super) fn follow(&mut self, settings: &Settings, graph: &ServiceGraph, waiting: &mut Waiting) {
        self.watches.resize_with(graph.places(), EdgeWatch::default);
        self.keys.resize(graph.places(), None);
        for (place, (watch, known)) in self.watches.iter_mut().zip(&mut self.keys).enumerate() {
            match graph.at(place) {
                Some((key, state)) if watch.born() != Some(state.born) => {
                    *watch = waiting.watch(key).born_at(state.born, settings);
                    *known = Some(key.clone());
                }
                Some(_) => {}
                None => (*watch, *known) = (EdgeWatch::default(), None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use tripline_model::{EdgeCounts, EdgeWindow, NodeKind, Reporter};

    use super::*;
    use crate::Limits;

    const START: u64 = 1_000_000;
    const EDGES: usize = 3 * EDGES_A_CORE;

    fn key(at: usize) -> EdgeKey {
        format!("a{at}>b{at}:http").parse().unwrap()
    }

    /// Two windows in which every seventh edge fails.
    fn graph() -> ServiceGraph {
        let mut graph = ServiceGraph::new(Limits { nodes: 2 * EDGES, edges: EDGES, ..Limits::default() });
        for (second, at) in [0, 5].into_iter().flat_map(|second| (0..EDGES).map(move |at| (second, at))) {
            let failed = if at % 7 == 3 { 9 } else { 0 };
            let window = EdgeWindow {
                key: key(at),
                reporter: Reporter::Client,
                client_kind: NodeKind::Service,
                server_kind: NodeKind::Service,
                start: Timestamp::from_secs(START + second),
                length: Duration::from_secs(1),
                counts: EdgeCounts { requests: 20, attempts: 20, failed, ..EdgeCounts::default() },
                latency: Default::default(),
                self_time: Default::default(),
                secured: false,
            };
            graph.observe(&window, Timestamp::from_secs(START + second + 1));
        }
        graph
    }

    #[test]
    fn however_many_cores_take_part_the_verdicts_are_the_same() {
        let (graph, settings) = (graph(), Settings::default());
        let judged = |cores: usize| {
            let mut watches = Watches::new();
            watches.follow(&settings, &graph, &mut Waiting::new());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(cores).build().unwrap();
            for window in [0, 5] {
                let from = Timestamp::from_secs(START + window);
                pool.install(|| watches.judge(&settings, &graph, (from, &[Common::default(); LATE])));
            }
            let onsets: Vec<_> = watches.iter().map(|(key, watch)| (key.clone(), watch.onset())).collect();
            (watches.degraded.clone(), watches.changes(), onsets)
        };
        let alone = judged(1);
        assert_eq!(alone.0.len(), (EDGES - 3).div_ceil(7));
        let failing: BTreeSet<EdgeKey> = (3..EDGES).step_by(7).map(key).collect();
        assert!(alone.0.iter().all(|place| graph.at(*place).is_some_and(|(known, _)| failing.contains(known))));
        assert!(alone == judged(2) && alone == judged(5));
    }
}
