//! The watches of all edges, and judging a window on all of them.
//!
//! With ten thousand services that is reading and writing some fifty megabytes, in which one core mostly waits for memory. Each watch is judged by
//! itself, so that parts of them may be judged at the same time: whoever is free takes the next part, and the result does not depend on how many
//! there are.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

use tripline_model::{EdgeKey, Timestamp};

use super::Settings;
use super::baseline::RING_BYTES;
use super::degraded::EdgeWatch;
use super::everywhere::Common;
use super::judged::LATE;
use super::keep::Waiting;
use crate::ServiceGraph;
use crate::graph::{Brief, EdgeState};

/// Places that are judged in one go: about a millisecond.
const PART: usize = 4_096;
/// A thread costs a tenth of what it saves by so many parts.
const PARTS: usize = 2;
/// More do not help: memory is what they wait for.
const WORKERS: usize = 4;

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
        let parts = self.watches.len() / (PARTS * PART);
        let workers = thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS).min(parts);
        self.judge_with(workers, PART, (settings, graph, window));
    }

    /// Judges it with so many threads at most, in parts of so many places.
    fn judge_with(
        &mut self,
        workers: usize,
        part: usize,
        (settings, graph, window): (&Settings, &ServiceGraph, (Timestamp, &[Common; LATE])),
    ) {
        let before = std::mem::take(&mut self.degraded);
        self.learned = 0;
        let parts = Mutex::new(self.watches.chunks_mut(part).enumerate());
        let work = || {
            let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
            let mut degraded = Vec::new();
            while let Some((number, watches)) = next() {
                for (place, watch) in (number * part..).zip(watches).filter(|(_, watch)| watch.born().is_some()) {
                    watch.judge(settings, (graph, place), window);
                    if watch.is_degraded() {
                        degraded.push(place);
                    }
                }
            }
            degraded
        };
        self.degraded = thread::scope(|scope| {
            // Where no thread is to be had, there are fewer.
            let helpers = (1..workers).filter_map(|_| Builder::new().spawn_scoped(scope, work).ok());
            let helpers: Vec<_> = helpers.collect();
            let own = work();
            let join =
                |helper: thread::ScopedJoinHandle<'_, _>| helper.join().unwrap_or_else(|panic| resume_unwind(panic));
            helpers.into_iter().flat_map(join).chain(own).collect()
        });
        self.degraded.sort_unstable();
        self.changes += u64::from(self.degraded != before);
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
    pub(super) fn follow(&mut self, graph: &ServiceGraph, waiting: &mut Waiting) {
        self.changes += 1;
        self.watches.resize_with(graph.places(), EdgeWatch::default);
        self.keys.resize(graph.places(), None);
        for (place, (watch, known)) in self.watches.iter_mut().zip(&mut self.keys).enumerate() {
            match graph.at(place) {
                Some((key, state)) if watch.born() != Some(state.born) => {
                    *watch = waiting.watch(key).born_at(state.born);
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
    use std::time::Duration;

    use tripline_model::{EdgeCounts, EdgeWindow, NodeKind, Reporter};

    use super::*;
    use crate::Limits;

    const START: u64 = 1_000_000;
    const EDGES: usize = 50;

    fn key(at: usize) -> EdgeKey {
        format!("a{at}>b{at}:http").parse().unwrap()
    }

    /// Three windows in which every seventh edge fails.
    fn graph() -> ServiceGraph {
        let mut graph = ServiceGraph::new(Limits::default());
        for second in 0..15 {
            for at in 0..EDGES {
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
        }
        graph
    }

    #[test]
    fn however_many_threads_judge_the_verdicts_are_the_same() {
        let (graph, settings) = (graph(), Settings::default());
        let judged = |workers: usize, part: usize| {
            let mut watches = Watches::new();
            watches.follow(&graph, &mut Waiting::new());
            for window in [0, 5, 10] {
                let from = Timestamp::from_secs(START + window);
                watches.judge_with(workers, part, (&settings, &graph, (from, &[Common::default(); LATE])));
            }
            let onsets: Vec<_> = watches.iter().map(|(key, watch)| (key.clone(), watch.onset())).collect();
            (watches.degraded.clone(), watches.changes(), onsets)
        };
        let alone = judged(1, EDGES);
        assert_eq!(
            alone.0,
            (0..EDGES)
                .filter(|at| graph.at(*at).is_some_and(|(known, _)| (3..EDGES).step_by(7).any(|at| key(at) == *known)))
                .collect::<Vec<_>>()
        );
        assert_eq!(alone.0.len(), 7);
        for (workers, part) in [(0, 8), (2, 8), (3, 1), (4, 7), (9, 50)] {
            assert_eq!(judged(workers, part), alone, "{workers} threads, parts of {part}");
        }
    }
}
