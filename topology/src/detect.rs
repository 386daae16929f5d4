//! Recognises cascades: from degraded edges over incidents to the suspected origin and the few things worth telling.
//!
//! Every window of [`Settings::window`] each edge is measured against its own baseline ([`degraded`]); a breaker that is not closed
//! counts at once. Degraded edges that share a service form one component, which is split where independent faults meet at a common
//! caller ([`roots`]); a part is one incident for as long as it lives ([`incident`]). Within it, failures and added latency are followed from the entry points to where they started
//! ([`blame`]): a service is suspected for what its own dependencies do not explain, and a client for what it asks beyond the usual ([`demand`]). [`story`] puts hops in causal order
//! and reads the level off them.
//!
//! Cold start: without a baseline no latency is too high, and failures are measured against none at all, so that an incident that is under way when
//! the collector starts is seen. Recovery: an edge leaves when two of its last three windows were well and its breakers are closed; an incident is
//! resolved when nothing in it was degraded for [`Settings::resolve_after`]. Baselines of edges that an incident touches are
//! frozen, so that a fault never becomes the normal.
//!
//! Thresholds are those of the project's specification (binomial z above 5, 3 MAD or 20 %, two of three windows), which takes them
//! from published work where there is some: robust median and MAD beat mean and deviation when the onset is known only
//! roughly (BARO, ASE'24 comparison). The floor of 10 ms under the latency test is ours: below it schedulers are heard.
//!
//! Known limit: two faults of which one service calls the other, over whatever many hops, are one incident with two candidates.

mod baseline;
mod blame;
mod degraded;
mod demand;
mod incident;
mod keep;
mod roots;
mod story;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tripline_model::{BreakerState, BreakerTransition, EdgeKey, Timestamp};

use crate::ServiceGraph;
use blame::Flows;
use degraded::{EdgeWatch, ServiceWatches};
pub(crate) use degraded::{Verdicts, allowed, is_failing};
use incident::{Others, Tracked, View};
use keep::Waiting;
use roots::Part;

pub use blame::{Suspect, SuspectKind};
pub use incident::{Blast, Candidate, EntryHurt, Evidence, EvidenceKind, Incident, Level, Notice, Phase};
pub use keep::{BaselineOf, BaselineState, KEPT, LevelState, Restored};
pub use story::{Hop, HopEvent};

/// The thresholds of detection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Length of a window, in whole seconds.
    pub window: Duration,
    /// How long after its end a window is judged: reports take a moment to arrive.
    pub lateness: Duration,
    /// Binomial z of failures above which a window is degraded.
    pub z: f64,
    /// Failures that a degraded window has at least.
    pub min_failures: u64,
    /// Below this many requests a window is judged by its breakers only.
    pub min_requests: u64,
    /// Latency excess in units of the baseline's MAD.
    pub mads: f64,
    /// Latency excess as a share of the baseline's median.
    pub slower: f64,
    /// Latency excess in seconds under which nothing is slow.
    pub slower_floor: f64,
    /// Attempts per request above which an edge is degraded.
    pub attempts: f64,
    /// A service that joined this recently makes the phase spreading.
    pub spreading_for: Duration,
    /// An incident ends when nothing in it was degraded for so long.
    pub resolve_after: Duration,
    /// An incident that comes back within this time keeps its identity.
    pub reopen_within: Duration,
    /// A new level, or a new first candidate, must hold this long before it is told.
    pub settle: Duration,
    /// By how much another candidate must lead to take the first place.
    pub lead: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(5),
            lateness: Duration::from_secs(1),
            z: 5.0,
            min_failures: 5,
            min_requests: 20,
            mads: 3.0,
            slower: 0.2,
            slower_floor: 0.010,
            attempts: 1.5,
            spreading_for: Duration::from_secs(60),
            resolve_after: Duration::from_secs(120),
            reopen_within: Duration::from_secs(600),
            settle: Duration::from_secs(10),
            lead: 0.15,
        }
    }
}

/// One opening of a breaker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trip {
    pub(crate) at: Timestamp,
    pub(crate) key: EdgeKey,
    pub(crate) reason: tripline_model::TransitionReason,
    pub(crate) induced: bool,
    /// Attempts in the breaker's window, failed ones among them, and the limit that was reached.
    pub(crate) numbers: (u64, u64, f64),
}

/// Openings remembered; more than any incident has, and a bound on what a hostile sidecar can fill.
const MAX_TRIPS: usize = 10_000;

/// Calls between two tripped breakers that may be silent.
const SILENT_HOPS: usize = 3;
/// Trips of one moment that are bridged; of more the latest.
const MAX_BRIDGED: usize = 64;

/// What an evaluation brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// Incidents that are new or differ from what was last returned.
    pub changed: Vec<Incident>,
    /// What is worth telling people, with the id of the incident; in order.
    pub notices: Vec<(Notice, String)>,
    /// Ids of incidents that went into another one and are no more.
    pub merged: Vec<String>,
}

/// Watches one graph. One task owns it.
#[derive(Debug)]
pub struct Detector {
    settings: Settings,
    watches: BTreeMap<EdgeKey, EdgeWatch>,
    services: ServiceWatches,
    waiting: Waiting,
    trips: VecDeque<Trip>,
    /// Every opening, also of a breaker whose probe failed: each would have been an alert.
    openings: VecDeque<(Timestamp, EdgeKey)>,
    judged_to: Option<Timestamp>,
    incidents: Vec<Tracked>,
    opened: u64,
}

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            watches: BTreeMap::new(),
            services: ServiceWatches::new(),
            waiting: Waiting::new(),
            trips: VecDeque::new(),
            openings: VecDeque::new(),
            judged_to: None,
            incidents: Vec::new(),
            opened: 0,
        }
    }

    /// Unresolved incidents and those that may still reopen, oldest first.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter().map(|tracked| &tracked.incident)
    }

    /// Notes a breaker's transition; `key` is the edge it is on. Only openings from closed matter here: a failed probe
    /// is the same trip going on.
    pub fn observe(&mut self, transition: &BreakerTransition, key: EdgeKey) {
        if transition.to != BreakerState::Open {
            return;
        }
        if self.openings.len() == MAX_TRIPS {
            self.openings.pop_front();
        }
        self.openings.push_back((transition.at, key.clone()));
        if transition.from != BreakerState::Closed {
            return;
        }
        if self.trips.len() == MAX_TRIPS {
            self.trips.pop_front();
        }
        let trip = Trip {
            at: transition.at,
            key,
            reason: transition.reason,
            induced: transition.origin == tripline_model::FailureOrigin::Induced,
            numbers: (transition.window_total, transition.window_failed, transition.threshold),
        };
        // Sidecars' events arrive slightly out of order; the list is kept in the order of their times.
        let at = self.trips.partition_point(|known| known.at <= trip.at);
        self.trips.insert(at, trip);
    }

    /// Judges every window that is due and brings the incidents up to date. Call once a second, and at once after a breaker opened.
    pub fn evaluate(&mut self, graph: &ServiceGraph, now: Timestamp) -> Evaluation {
        self.judge_windows(graph, now);
        let degraded = self.degraded(graph, now);
        let mut evaluation = Evaluation::default();
        self.incidents.iter_mut().for_each(Tracked::clear_degraded);
        let (degraded, bridges) = self.bridged(graph, degraded, now);
        for component in components(graph, &degraded, &bridges) {
            for part in self.split(graph, component, now) {
                self.assign(part, now);
            }
        }
        let others = self.others();
        let view = View {
            settings: &self.settings,
            graph,
            watches: &self.watches,
            services: &self.services,
            trips: &self.trips,
        };
        for (tracked, others) in self.incidents.iter_mut().zip(others) {
            let notices = tracked.advance(&view, &self.openings, &others, now);
            let id = &tracked.incident.id;
            if tracked.merged {
                evaluation.merged.push(id.clone());
            }
            evaluation.notices.extend(notices.into_iter().map(|notice| (notice, id.clone())));
            if let Some(changed) = tracked.take_changed() {
                evaluation.changed.push(changed);
            }
        }
        let keep = self.settings.reopen_within;
        self.incidents
            .retain(|tracked| tracked.incident.resolved.is_none_or(|at| now.since(at) <= keep) && !tracked.merged);
        self.watches.retain(|key, _| graph.edge(key).is_some());
        self.services.retain(graph);
        self.waiting.tidy(now);
        evaluation
    }

    fn judge_windows(&mut self, graph: &ServiceGraph, now: Timestamp) {
        let window = self.settings.window;
        let due = (now - self.settings.lateness).window_start(window);
        // After a pause only the latest windows are judged: the graph keeps ten minutes.
        let mut end = self.judged_to.map_or(due, |last| last + window).max(due - Duration::from_secs(60));
        let frozen: BTreeSet<EdgeKey> = self
            .incidents
            .iter()
            .filter(|tracked| tracked.incident.resolved.is_none())
            .flat_map(|tracked| tracked.touched.iter().cloned())
            .collect();
        while end <= due {
            for (key, state) in graph.edges() {
                let known = self.watches.entry(key.clone());
                let watch = known.or_insert_with_key(|key| self.waiting.watch(key));
                watch.judge(&self.settings, state, (end - window, end), frozen.contains(key));
            }
            self.services.judge(&self.settings, graph, (end - window, end), (&frozen, &mut self.waiting));
            self.judged_to = Some(end);
            end = end + window;
        }
    }

    /// Every edge that is degraded now.
    fn degraded(&self, graph: &ServiceGraph, now: Timestamp) -> BTreeSet<EdgeKey> {
        let just_now = now - self.settings.window;
        let tripped = self.trips.iter().rev().take_while(|trip| trip.at >= just_now).map(|trip| trip.key.clone());
        graph
            .edges()
            .filter(|(key, state)| {
                let breaker = state.worst_breaker().is_some_and(|worst| worst != BreakerState::Closed);
                breaker || self.watches.get(*key).is_some_and(EdgeWatch::is_degraded)
            })
            .map(|(key, _)| key.clone())
            .chain(tripped)
            .collect()
    }

    /// `degraded` with the silent hops between breakers that tripped together: breakers of one chain trip within a moment, in any order,
    /// and before any count has come in. Where the server of one that tripped reaches the client of another over at most
    /// [`SILENT_HOPS`] calls, the two belong together; a single call between them belongs to the story. Answers what is degraded so, and
    /// the longer bridges.
    fn bridged(
        &self,
        graph: &ServiceGraph,
        degraded: BTreeSet<EdgeKey>,
        now: Timestamp,
    ) -> (BTreeSet<EdgeKey>, BTreeSet<EdgeKey>) {
        let since = now - self.settings.window * 2;
        let recent = self.trips.iter().rev().take_while(|trip| trip.at >= since).take(MAX_BRIDGED);
        let tripped: BTreeSet<&EdgeKey> = recent.map(|trip| &trip.key).collect();
        let clients: BTreeSet<_> = tripped.iter().map(|key| &key.client).collect();
        let mut bridged = degraded;
        let mut bridges = BTreeSet::new();
        if tripped.len() < 2 {
            return (bridged, bridges);
        }
        let mut calls: BTreeMap<_, Vec<&EdgeKey>> = BTreeMap::new();
        for (key, _) in graph.edges() {
            calls.entry(&key.client).or_default().push(key);
        }
        for start in tripped.iter().map(|key| &key.server).collect::<BTreeSet<_>>() {
            // Ways from here, shortest first; a way that has arrived is taken whole and not followed further.
            let mut ways: VecDeque<Vec<&EdgeKey>> = VecDeque::from([Vec::new()]);
            let mut seen = BTreeSet::from([start]);
            while let Some(way) = ways.pop_front() {
                let here = way.last().map_or(start, |key| &key.server);
                for key in calls.get(here).into_iter().flatten() {
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

    /// The independent faults in a component.
    fn split(&self, graph: &ServiceGraph, component: BTreeSet<EdgeKey>, now: Timestamp) -> Vec<Part> {
        let view = View {
            settings: &self.settings,
            graph,
            watches: &self.watches,
            services: &self.services,
            trips: &self.trips,
        };
        let known = self.incidents.iter().filter(|tracked| tracked.incident.resolved.is_none() && !tracked.merged);
        let known: BTreeSet<Suspect> = known.flat_map(|tracked| tracked.roots.iter().cloned()).collect();
        roots::split(&view, component, &known, now)
    }

    /// For each incident what belongs to the others that go on: it explains nothing here.
    fn others(&self) -> Vec<Others> {
        let live = |tracked: &&Tracked| tracked.incident.resolved.is_none() && !tracked.merged;
        if self.incidents.iter().filter(live).count() < 2 {
            return self.incidents.iter().map(|_| Others::default()).collect();
        }
        let of = |own: &Tracked| {
            let mut others = Others::default();
            for tracked in self.incidents.iter().filter(live).filter(|other| other.incident.id != own.incident.id) {
                others.roots.extend(tracked.roots.difference(&own.roots).cloned());
                others.edges.extend(tracked.touched.iter().cloned());
            }
            others
        };
        self.incidents.iter().map(of).collect()
    }

    /// Gives a part to the incident it belongs to, opening one or merging two where needed.
    fn assign(&mut self, part: Part, now: Timestamp) {
        let reopen = self.settings.reopen_within;
        let mut matching: Vec<usize> = (0..self.incidents.len())
            .filter(|at| self.incidents.get(*at).is_some_and(|tracked| tracked.claims(&part, now, reopen)))
            .collect();
        let Some(first) = (!matching.is_empty()).then(|| matching.remove(0)) else {
            self.opened += 1;
            self.incidents.push(Tracked::open(part, now, self.opened));
            return;
        };
        for other in matching {
            let absorbed = self.incidents.get_mut(other).map(Tracked::merge_away);
            if let (Some(absorbed), Some(tracked)) = (absorbed, self.incidents.get_mut(first)) {
                tracked.absorb(absorbed);
            }
        }
        if let Some(tracked) = self.incidents.get_mut(first) {
            tracked.set_degraded(part, now);
        }
    }
}

/// Groups degraded edges that share a service, or that bridges join. Callers from outside do not join what they call: one user would
/// tie unrelated entry points together.
fn components(
    graph: &ServiceGraph,
    degraded: &BTreeSet<EdgeKey>,
    bridges: &BTreeSet<EdgeKey>,
) -> Vec<BTreeSet<EdgeKey>> {
    use petgraph::unionfind::UnionFind;
    use tripline_model::NodeKind;

    let keys: Vec<&EdgeKey> = degraded.union(bridges).collect();
    let mut joined = UnionFind::<usize>::new(keys.len());
    let mut first_at = BTreeMap::new();
    for (at, key) in keys.iter().enumerate() {
        for end in [&key.client, &key.server] {
            if matches!(graph.kind(end), NodeKind::User | NodeKind::External) {
                continue;
            }
            let other = *first_at.entry(end.clone()).or_insert(at);
            joined.union(other, at);
        }
    }
    let mut groups: BTreeMap<usize, BTreeSet<EdgeKey>> = BTreeMap::new();
    for (at, key) in keys.into_iter().enumerate() {
        if degraded.contains(key) {
            groups.entry(joined.find(at)).or_default().insert(key.clone());
        }
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests;
