//! What hangs together: degraded edges that share a service.
//!
//! Breakers of one chain trip within a moment, in any order, and before any count has come in. Where the server of one that tripped reaches the
//! client of another over at most [`SILENT_HOPS`] calls, the two belong together, too.
//!
//! In a cascade the same thousands of edges stay degraded for minutes. What was found is kept until something that it was made of changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use petgraph::unionfind::UnionFind;
use tripline_model::{EdgeKey, NodeKind, ServiceName, Timestamp};

use super::trips::{EdgeTrip, Trips};
use super::watches::Watches;
use crate::ServiceGraph;

/// Calls between two tripped breakers that may be silent.
const SILENT_HOPS: usize = 3;
/// Trips of one moment that are bridged; of more the latest.
const MAX_BRIDGED: usize = 64;
/// Calls looked at in search of bridges; beyond them the counts of the next window join what belongs together.
const MAX_LOOKED_AT: usize = 10_000;

/// Some edges that hang together.
pub(super) type Component = Arc<BTreeSet<EdgeKey>>;

/// The components as they were last found.
#[derive(Debug, Default)]
pub(super) struct Components {
    /// What they were found for.
    of: Option<Versions>,
    found: Vec<Component>,
}

/// Numbers that change with whatever components are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Versions {
    /// Of the graph's edges and kinds of services, of its alarms, and of what counts say.
    hurt: (u64, u64, u64),
    /// Of all openings, and how many of them are one and two windows old at most.
    trips: (u64, usize, usize),
}

impl Components {
    /// The components of what is degraded now.
    pub(super) fn find(&mut self, hurt: &Hurt<'_>, now: Timestamp) -> Vec<Component> {
        let of = Some(hurt.versions(now));
        if of != self.of {
            (self.of, self.found) = (of, hurt.components(now));
        }
        // Each test of the detector tells of a change that the numbers do not.
        #[cfg(test)]
        assert_eq!(self.found, hurt.components(now), "components changed, and their versions did not");
        self.found.clone()
    }
}

/// What tells which edges are degraded.
#[derive(Debug)]
pub(super) struct Hurt<'a> {
    pub(super) graph: &'a ServiceGraph,
    pub(super) watches: &'a Watches,
    pub(super) trips: &'a Trips,
    /// The length of a window.
    pub(super) window: Duration,
}

impl<'a> Hurt<'a> {
    fn versions(&self, now: Timestamp) -> Versions {
        let recent = |windows| self.recent_trips(now, windows).count();
        Versions {
            hurt: (self.graph.generation(), self.graph.alarms(), self.watches.changes()),
            trips: (self.trips.revision(), recent(1), recent(2)),
        }
    }

    /// Openings within the last windows, latest first.
    fn recent_trips(&self, now: Timestamp, windows: u32) -> impl Iterator<Item = &'a EdgeTrip> {
        let since = now - self.window * windows;
        self.trips.iter().rev().take_while(move |known| known.trip.at >= since)
    }

    fn components(&self, now: Timestamp) -> Vec<Component> {
        let degraded = self.degraded(now);
        let whole = self.grouped(&degraded, &BTreeSet::new());
        let recent = self.recent_trips(now, 2).take(MAX_BRIDGED);
        let tripped: BTreeSet<&EdgeKey> = recent.map(|known| &known.key).collect();
        let has_tripped = |part: &&Component| tripped.iter().any(|key| part.contains(*key));
        if whole.iter().filter(has_tripped).count() < 2 {
            return whole;
        }
        let (degraded, bridges) = self.bridged(degraded, &tripped);
        self.grouped(&degraded, &bridges)
    }

    /// Every edge that is degraded now.
    fn degraded(&self, now: Timestamp) -> BTreeSet<EdgeKey> {
        let tripped = self.recent_trips(now, 1).map(|known| &known.key);
        // What names beyond the limit fold into is no service: whoever invents enough of them would speak for all.
        let overflow = ServiceName::overflow();
        let known = |key: &&EdgeKey| key.client != overflow && key.server != overflow;
        self.watches.degraded(self.graph).chain(self.graph.alarmed()).chain(tripped).filter(known).cloned().collect()
    }

    /// `degraded` with the silent hops between breakers that tripped together; a single call between them belongs to the story. Answers what is
    /// degraded so, and the longer bridges.
    fn bridged(
        &self,
        degraded: BTreeSet<EdgeKey>,
        tripped: &BTreeSet<&EdgeKey>,
    ) -> (BTreeSet<EdgeKey>, BTreeSet<EdgeKey>) {
        let clients: BTreeSet<_> = tripped.iter().map(|key| &key.client).collect();
        let (mut bridged, mut bridges) = (degraded, BTreeSet::new());
        let mut looked_at = 0;
        for start in tripped.iter().map(|key| &key.server).collect::<BTreeSet<_>>() {
            // Ways from here, shortest first; a way that has arrived is taken whole and not followed further.
            let mut ways: VecDeque<Vec<&EdgeKey>> = VecDeque::from([Vec::new()]);
            let mut seen = BTreeSet::from([start]);
            while let Some(way) = ways.pop_front().filter(|_| looked_at < MAX_LOOKED_AT) {
                let here = way.last().map_or(start, |key| &key.server);
                for (key, _) in self.graph.edges_from(here) {
                    looked_at += 1;
                    let mut further = way.clone();
                    further.push(key);
                    if clients.contains(&key.server) {
                        let whole = if further.len() == 1 { &mut bridged } else { &mut bridges };
                        whole.extend(further.into_iter().cloned());
                    } else if further.len() < SILENT_HOPS && seen.insert(&key.server) {
                        ways.push_back(further);
                    }
                }
            }
        }
        (bridged, bridges)
    }

    /// Groups degraded edges that share a service, or that bridges join. Callers from outside do not join what they call: one user would
    /// tie unrelated entry points together.
    fn grouped(&self, degraded: &BTreeSet<EdgeKey>, bridges: &BTreeSet<EdgeKey>) -> Vec<Component> {
        let keys: Vec<&EdgeKey> = degraded.union(bridges).collect();
        let mut joined = UnionFind::<usize>::new(keys.len());
        // The first edge of each service; none of callers from outside.
        let mut first_at: HashMap<&ServiceName, Option<usize>> = HashMap::new();
        for (at, key) in keys.iter().enumerate() {
            for end in [&key.client, &key.server] {
                let is_outside = || matches!(self.graph.kind(end), NodeKind::User | NodeKind::External);
                if let Some(other) = first_at.entry(end).or_insert_with(|| (!is_outside()).then_some(at)) {
                    joined.union(*other, at);
                }
            }
        }
        let mut groups: BTreeMap<usize, Vec<EdgeKey>> = BTreeMap::new();
        let is_degraded = |key: &EdgeKey| bridges.is_empty() || degraded.contains(key);
        for (at, key) in keys.into_iter().enumerate().filter(|(_, key)| is_degraded(key)) {
            groups.entry(joined.find(at)).or_default().push(key.clone());
        }
        groups.into_values().map(|keys| Arc::new(keys.into_iter().collect())).collect()
    }
}
