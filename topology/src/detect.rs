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
mod components;
mod degraded;
mod demand;
mod everywhere;
mod incident;
mod judged;
mod keep;
mod near;
mod reading;
mod roots;
mod self_time;
mod story;
mod trips;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tripline_model::{BreakerTransition, EdgeKey, ServiceName, Timestamp};

use crate::ServiceGraph;
use blame::Flows;
use components::{Components, Hurt};
pub(crate) use degraded::{Verdicts, allowed, is_failing};
use incident::{Others, Tracked, View};
use keep::Waiting;
use near::Nears;
use roots::Part;
use self_time::ServiceWatches;
use trips::Trips;
use watches::Watches;

pub use blame::{Suspect, SuspectKind};
pub use incident::{Blast, Candidate, EntryHurt, Evidence, EvidenceKind, Incident, Level, Notice, Phase};
pub use keep::{BaselineOf, BaselineState, KEPT, LevelState, Restored};
pub use story::{Hop, HopEvent};
pub use watches::BYTES_PER_EDGE;

/// The thresholds of detection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Length of a window, in whole seconds. The graph keeps windows summed; when its windows have another length, that one counts.
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

/// Evaluations between two windows, one a second, among which learning is divided.
const BETWEEN_WINDOWS: usize = 4;

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
    watches: Watches,
    services: ServiceWatches,
    waiting: Waiting,
    trips: Trips,
    judged_to: Option<Timestamp>,
    /// The graph's generation that the watches follow.
    generation: Option<u64>,
    incidents: Vec<Tracked>,
    nears: Nears,
    components: Components,
    opened: u64,
}

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            watches: Watches::new(),
            services: ServiceWatches::new(),
            waiting: Waiting::new(),
            trips: Trips::new(),
            judged_to: None,
            generation: None,
            incidents: Vec::new(),
            nears: Nears::new(),
            components: Components::default(),
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
        self.trips.note(transition, key);
    }

    /// Judges every window that is due and brings the incidents up to date. Call once a second, and at once after a breaker opened.
    pub fn evaluate(&mut self, graph: &ServiceGraph, now: Timestamp) -> Evaluation {
        self.settings.window = Duration::from_secs(graph.window_secs().into());
        self.judge_windows(graph, now);
        let mut evaluation = Evaluation::default();
        self.incidents.iter_mut().for_each(Tracked::clear_degraded);
        let hurt = Hurt { graph, watches: &self.watches, trips: &self.trips, window: self.settings.window };
        for component in self.components.find(&hurt, now) {
            let mut parts = self.split(graph, component, now);
            parts.sort_by_key(|part| !self.is_told_of(part));
            for part in parts {
                self.assign(graph, part, now);
            }
        }
        let others = self.others();
        let view = View {
            settings: &self.settings,
            graph,
            watches: &self.watches,
            services: &self.services,
            trips: &self.trips,
            nears: &self.nears,
        };
        for (tracked, others) in self.incidents.iter_mut().zip(others) {
            let notices = tracked.advance(&view, &others, now);
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
        self.nears.tidy();
        self.waiting.tidy(now);
        evaluation
    }

    fn judge_windows(&mut self, graph: &ServiceGraph, now: Timestamp) {
        let window = self.settings.window;
        let due = (now - self.settings.lateness).window_start(window);
        // After a pause only the latest windows are judged: the graph keeps ten minutes.
        let first = self.judged_to.map_or(due, |last| last + window).max(due - Duration::from_secs(60));
        let (edges, services) = self.frozen(graph);
        if first > due {
            self.services.learn(&self.settings, &services);
            self.watches.learn(&self.settings, BETWEEN_WINDOWS, &edges);
            return;
        }
        // Evaluations were too few to have learned all.
        self.services.learn(&self.settings, &services);
        self.watches.learn(&self.settings, 1, &edges);
        if self.generation != Some(graph.generation()) {
            self.generation = Some(graph.generation());
            self.watches.follow(&self.settings, graph, &mut self.waiting);
            self.services.follow(graph, &mut self.waiting);
        }
        let mut end = first;
        while end <= due {
            let common = self.services.judge(&self.settings, graph, end);
            self.watches.judge(&self.settings, graph, (end - window, &common));
            self.judged_to = Some(end);
            end = end + window;
            if end <= due {
                self.services.learn(&self.settings, &services);
                self.watches.learn(&self.settings, 1, &edges);
            }
        }
    }

    /// Since when an incident that goes on touches an edge, by its place, and a service.
    fn frozen(&self, graph: &ServiceGraph) -> (Vec<Option<Timestamp>>, BTreeMap<ServiceName, Timestamp>) {
        let (mut edges, mut services) = (Vec::new(), BTreeMap::new());
        for tracked in self.incidents.iter().filter(|tracked| tracked.incident.resolved.is_none()) {
            let began = tracked.incident.started;
            let near = self.nears.of(graph, &tracked.touched);
            edges.resize(graph.places(), None);
            for (_, edge) in near.touched() {
                let slot: &mut Option<Timestamp> = &mut edges[edge.place];
                *slot = Some(slot.map_or(began, |known| known.min(began)));
            }
            for (_, service) in near.servers() {
                let known = services.entry(service.name.clone()).or_insert(began);
                *known = began.min(*known);
            }
        }
        (edges, services)
    }

    /// What an incident looks at.
    const fn view<'a>(&'a self, graph: &'a ServiceGraph) -> View<'a> {
        View {
            settings: &self.settings,
            graph,
            watches: &self.watches,
            services: &self.services,
            trips: &self.trips,
            nears: &self.nears,
        }
    }

    /// The independent faults in a component.
    fn split(&self, graph: &ServiceGraph, component: Arc<BTreeSet<EdgeKey>>, now: Timestamp) -> Vec<Part> {
        let view = self.view(graph);
        let known = self.incidents.iter().filter(|tracked| tracked.incident.resolved.is_none() && !tracked.merged);
        let known: BTreeSet<Suspect> = known.flat_map(|tracked| tracked.roots.iter().cloned()).collect();
        roots::split(&view, component, &known, now)
    }

    /// Whether an incident that does not know yet where it begins suspects where this part does, and so has the first right to it.
    fn is_told_of(&self, part: &Part) -> bool {
        let open =
            self.incidents.iter().filter(|tracked| tracked.incident.resolved.is_none() && tracked.roots.is_empty());
        let mut suspected = open.filter_map(|tracked| tracked.incident.origin());
        suspected.any(|suspect| part.roots.contains(suspect))
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

    /// Whether breakers that opened this moment are all there is of a part: those further down may not have been heard of, so that it looks like
    /// an old fault of their caller's that comes back. It is asked again within a second.
    fn is_half_heard(&self, part: &Part, now: Timestamp) -> bool {
        let fresh = |trip: &trips::Trip| now.since(trip.at) < incident::ALL_HEARD_OF;
        part.roots.is_empty() && part.edges.iter().all(|key| self.trips.of(key).last().is_some_and(fresh))
    }

    /// The incidents that a part may belong to, oldest first; none where it is better asked again.
    fn claimants(&self, part: &Part, now: Timestamp) -> Option<Vec<usize>> {
        let reopen = self.settings.reopen_within;
        let is = |at: usize, wanted: &dyn Fn(&Tracked) -> bool| self.incidents.get(at).is_some_and(wanted);
        let all = 0..self.incidents.len();
        let mut matching: Vec<usize> = all.filter(|at| is(*at, &|tracked| tracked.claims(part, now, reopen))).collect();
        // What goes on is not taken over by an incident that was over when it began.
        let goes_on = |at: &usize| is(*at, &|tracked| tracked.is_going_on(now));
        if matching.iter().any(goes_on) {
            matching.retain(goes_on);
        } else if !matching.is_empty() && self.is_half_heard(part, now) {
            return None;
        }
        // Where a part does not show yet where it begins, who does not know that of itself either comes before one whose origin has no share in it.
        let is_open = |at: &usize| is(*at, &|tracked| tracked.roots.is_empty());
        if part.roots.is_empty() && matching.iter().any(is_open) {
            matching.retain(is_open);
        }
        Some(matching)
    }

    /// Whether incidents, of which the first is one, may all have the same cause as that.
    fn may_be_one(&self, incidents: &[usize]) -> bool {
        let mut incidents = incidents.iter().filter_map(|at| self.incidents.get(*at));
        let first = incidents.next();
        first.is_none_or(|first| incidents.all(|other| first.may_share_roots(&other.touched, &other.roots)))
    }

    /// Gives a part to the incident it belongs to, opening one or merging two where needed.
    fn assign(&mut self, graph: &ServiceGraph, part: Part, now: Timestamp) {
        let Some(matching) = self.claimants(&part, now) else { return };
        let goes_on = |at: &usize| self.incidents.get(*at).is_some_and(|tracked| tracked.is_going_on(now));
        if !matching.iter().any(goes_on) && self.is_nobodys(graph, &part) {
            return;
        }
        let Some((first, others)) = matching.split_first() else {
            self.opened += 1;
            self.incidents.push(Tracked::open(part, now, self.opened));
            return;
        };
        if part.roots.is_empty() && !self.may_be_one(&matching) {
            // Callers that several faults have hurt, and no sign of any of these: it is the rest of all of them.
            matching.iter().for_each(|at| self.give(graph, *at, part.clone(), now));
            return;
        }
        for other in others {
            let absorbed = self.incidents.get_mut(*other).map(Tracked::merge_away);
            if let (Some(absorbed), Some(tracked)) = (absorbed, self.incidents.get_mut(*first)) {
                tracked.absorb(absorbed);
            }
        }
        self.give(graph, *first, part, now);
    }

    /// Whether a part is slow and nobody is to blame, so that nothing is opened for it, nor opened again: what each service and each way takes is
    /// within its limits, only their sums are not, as when a host has less time for all of them. Where a server does not tell its own time it may be
    /// the one.
    fn is_nobodys(&self, graph: &ServiceGraph, part: &Part) -> bool {
        let view = self.view(graph);
        let only_slow = |key: &EdgeKey| graph.edge(key).is_some_and(|state| view.is_only_slow(state));
        let is_known = |key: &EdgeKey| self.services.has_baseline(&key.server);
        part.roots.is_empty() && part.edges.iter().all(|key| only_slow(key) && is_known(key))
    }

    /// Gives an incident what of a part it explains.
    fn give(&mut self, graph: &ServiceGraph, at: usize, part: Part, now: Timestamp) {
        let view = self.view(graph);
        let part =
            self.incidents.get(at).map_or_else(Part::default, |tracked| incident::explained(&view, tracked, part));
        if let Some(tracked) = self.incidents.get_mut(at).filter(|_| !part.edges.is_empty()) {
            tracked.set_degraded(part, now);
        }
    }
}

#[cfg(test)]
mod late_tests;
#[cfg(test)]
mod tests;
