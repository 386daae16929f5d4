//! One incident: its identity, what is known of it now, and its life from opening to resolution.
//!
//! | phase | while |
//! |---|---|
//! | starting | opened less than three windows ago, or one edge only |
//! | spreading | a service joined within the last minute |
//! | contained | none joined for a minute, still degraded |
//! | recovering | nothing is degraded any more, or the origin is well and breakers close |
//! | resolved | nothing was degraded for two minutes |
//!
//! What is told of it is decided in [`telling`]. Breakers of one chain open within a moment, and their sidecars speak in any order: while the suspect calls
//! others, the opening is told half a second later, by when those behind it have spoken.

mod explain;
mod measure;
mod open;
mod telling;
mod value;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tripline_model::{EdgeKey, Ratio, ServiceName, Timestamp};

use super::degraded::EdgeWatch;
use super::demand::{self, Demand};
use super::near::{Near, Nears};
use super::reading::Readings;
use super::roots::{Part, Reach as Reached};
use super::self_time::ServiceWatches;
use super::story::{self, Reach};
use super::trips::{EdgeTrip, Trips, TripsAlong};
use super::watches::Watches;
use super::{Settings, Suspect, SuspectKind};
use crate::ServiceGraph;
use crate::graph::EdgeState;
use measure::Measured;
use telling::Telling;

pub use value::{Blast, Candidate, EntryHurt, Evidence, EvidenceKind, Incident, Level, Notice, Phase};

pub(super) use explain::explained;
pub(super) use measure::flows;

/// What an incident looks at.
pub(super) struct View<'a> {
    pub(super) settings: &'a Settings,
    pub(super) graph: &'a ServiceGraph,
    pub(super) watches: &'a Watches,
    pub(super) services: &'a ServiceWatches,
    pub(super) trips: &'a Trips,
    pub(super) nears: &'a Nears,
}

impl<'a> View<'a> {
    /// The watch of an edge.
    pub(super) fn watch(&self, key: &EdgeKey) -> Option<&'a EdgeWatch> {
        self.watches.at(self.graph.edge(key)?)
    }

    /// Whether an edge is slow and nothing else: its requests do not fail, and its breakers are closed.
    pub(super) fn is_only_slow(&self, state: &EdgeState) -> bool {
        self.watches.at(state).is_some_and(EdgeWatch::is_only_slow) && !state.is_alarmed()
    }

    /// The openings on each edge of `near`.
    pub(super) fn trips_along(&self, near: &Arc<Near>) -> Arc<TripsAlong> {
        self.nears.trips_along(near, self.trips)
    }
}

/// What belongs to the other incidents that go on.
#[derive(Debug, Default)]
pub(super) struct Others {
    pub(super) roots: BTreeSet<Suspect>,
    pub(super) edges: BTreeSet<EdgeKey>,
}

/// When an edge was first degraded in an incident.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Onset {
    pub(super) at: Timestamp,
    /// Whether it was always slow rather than failing.
    pub(super) slow: bool,
    /// Raw alerts of it before it joined.
    pub(super) alerts_before: Option<u64>,
}

/// What the story is made of, which is told again when that changes.
#[derive(Debug, Default)]
struct Story {
    /// Whether it has changed.
    is_stale: bool,
    /// Where it begins, and where it may end.
    of: Option<(Suspect, Arc<BTreeSet<ServiceName>>)>,
    reach: Reach,
}

/// The openings of breakers that belong to an incident.
#[derive(Debug, Default)]
struct OwnTrips {
    /// What they were found for: [`Trips::revision`], since when, and among how many edges.
    of: Option<(u64, Timestamp, usize)>,
    trips: Vec<EdgeTrip>,
    /// Openings, failed probes among them.
    openings: u64,
}

impl OwnTrips {
    /// Finds them again where something has changed; answers whether it has.
    fn follow(&mut self, trips: &Trips, since: Timestamp, touched: &BTreeSet<EdgeKey>) -> bool {
        let of = Some((trips.revision(), since, touched.len()));
        if self.of == of {
            return false;
        }
        self.of = of;
        let own = |known: &&EdgeTrip| known.trip.at >= since && touched.contains(&known.key);
        self.trips = trips.iter().filter(own).cloned().collect();
        self.openings = trips.openings(since).filter(|key| touched.contains(*key)).count() as u64;
        true
    }
}

/// An incident with what its life needs.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) incident: Incident,
    /// Every edge that was ever degraded in it.
    onsets: BTreeMap<EdgeKey, Onset>,
    /// The keys of `onsets`.
    pub(super) touched: Arc<BTreeSet<EdgeKey>>,
    degraded: Arc<BTreeSet<EdgeKey>>,
    /// Services and edges with an excess of their own, ever since it opened.
    pub(super) roots: BTreeSet<Suspect>,
    /// What its edges carried since it started.
    readings: Readings,
    own_trips: OwnTrips,
    story: Story,
    /// The demand behind it, once found.
    demand: Option<Demand>,
    /// Whether the origin once did less than its normal work.
    was_limited: bool,
    last_degraded: Timestamp,
    last_joined: Timestamp,
    telling: Telling,
    /// When it was last opened again.
    reopened: Option<Timestamp>,
    /// Since when the origin shows nothing of its own while others are degraded.
    origin_well_since: Option<Timestamp>,
    /// Whether it went into another incident.
    pub(super) merged: bool,
    returned: Option<Incident>,
}

impl Tracked {
    /// A new incident of a component, the `count`-th since the detector started.
    pub(super) fn open(part: Part, now: Timestamp, count: u64) -> Self {
        let incident = Incident {
            id: identity(now, part.edges.first(), count),
            level: Level::Local,
            phase: Phase::Starting,
            started: now,
            detected: now,
            updated: now,
            resolved: None,
            candidates: Vec::new(),
            unexplained: Ratio::ONE,
            path: Arc::default(),
            blast: Blast::default(),
            attempts_per_request: 1.0,
            demand: 1.0,
            trips: 0,
            raw_alerts: 0,
            notices: 0,
        };
        Self {
            incident,
            onsets: BTreeMap::new(),
            touched: Arc::default(),
            degraded: part.edges,
            roots: part.roots,
            readings: Readings::default(),
            own_trips: OwnTrips::default(),
            story: Story::default(),
            demand: None,
            was_limited: false,
            last_degraded: now,
            last_joined: now,
            telling: Telling::default(),
            reopened: None,
            origin_well_since: None,
            merged: false,
            returned: None,
        }
    }

    /// Whether a component belongs to this incident: while it goes on, by any service it shares; once quiet for half the time to
    /// its resolution, or resolved, only when the same origin does it again, for a new fault elsewhere is a new incident.
    /// A part whose roots have nothing to do with this incident's is another fault, whatever callers they share.
    pub(super) fn claims(&self, part: &Part, now: Timestamp, reopen: std::time::Duration) -> bool {
        let component = &part.edges;
        if self.merged || !self.may_share_roots(&part.edges, &part.roots) {
            return false;
        }
        if self.is_going_on(now) {
            if component.iter().any(|key| self.touched.contains(key) || self.degraded.contains(key)) {
                return true;
            }
            let servers: BTreeSet<&ServiceName> = self.touched.iter().map(|key| &key.server).collect();
            return component.iter().any(|key| servers.contains(&key.server) || servers.contains(&key.client));
        }
        let recent = self.incident.resolved.is_none_or(|at| now.since(at) <= reopen);
        recent && self.incident.origin().is_some_and(|origin| begins_at(part, origin))
    }

    /// Whether it is not over, nor quiet for so long that a new fault is more likely.
    pub(super) fn is_going_on(&self, now: Timestamp) -> bool {
        const QUIET: std::time::Duration = std::time::Duration::from_secs(60);
        self.incident.resolved.is_none() && now.since(self.last_degraded) < QUIET
    }

    /// Whether what began at other roots may have to do with this incident: unless one cannot reach the other over calls of either.
    pub(super) fn may_share_roots(&self, edges: &BTreeSet<EdgeKey>, roots: &BTreeSet<Suspect>) -> bool {
        if self.roots.is_empty() || roots.is_empty() || !self.roots.is_disjoint(roots) {
            return true;
        }
        let roots: Vec<Suspect> = self.roots.iter().chain(roots).cloned().collect();
        let reach = Reached::of(self.touched.union(edges), &roots);
        let own = self.roots.len();
        (0..own).any(|one| (own..roots.len()).any(|other| reach.related(one, other)))
    }

    /// Nothing is known to be degraded until [`Self::set_degraded`] says so.
    pub(super) fn clear_degraded(&mut self) {
        self.degraded = Arc::default();
    }

    pub(super) fn set_degraded(&mut self, part: Part, now: Timestamp) {
        if self.degraded.is_empty() {
            self.degraded = part.edges;
        } else {
            Arc::make_mut(&mut self.degraded).extend(part.edges.iter().cloned());
        }
        self.roots.extend(part.roots);
        self.last_degraded = now;
        if self.incident.resolved.take().is_some() {
            self.incident.phase = Phase::Spreading;
            self.reopened = Some(now);
            self.origin_well_since = None;
            // What it asked of others, and whether they kept up, was told of its first time.
            self.demand = None;
            self.was_limited = false;
            // People were told that it is over.
            self.telling.begin_again();
        }
    }

    /// Ends this incident in favour of another and hands over what it was about.
    pub(super) fn merge_away(&mut self) -> (BTreeMap<EdgeKey, Onset>, BTreeSet<Suspect>) {
        self.merged = true;
        (std::mem::take(&mut self.onsets), std::mem::take(&mut self.roots))
    }

    pub(super) fn absorb(&mut self, (onsets, roots): (BTreeMap<EdgeKey, Onset>, BTreeSet<Suspect>)) {
        self.roots.extend(roots);
        let touched = Arc::make_mut(&mut self.touched);
        for (key, onset) in onsets {
            touched.insert(key.clone());
            // What it alerted before it joined this one is not known.
            self.onsets.entry(key).or_insert(Onset { alerts_before: None, ..onset });
        }
        self.story.is_stale = true;
    }

    /// The incident when it differs from what was last taken.
    pub(super) fn take_changed(&mut self) -> Option<Incident> {
        if self.returned.as_ref() == Some(&self.incident) {
            return None;
        }
        self.returned = Some(self.incident.clone());
        self.returned.clone()
    }

    /// Brings everything up to date and answers what is worth telling.
    pub(super) fn advance(&mut self, view: &View<'_>, others: &Others, now: Timestamp) -> Vec<Notice> {
        if self.merged {
            // Whoever was told of its opening must hear of its end.
            (self.incident.phase, self.incident.resolved) = (Phase::Resolved, Some(now));
            let told = self.telling.has_begun();
            self.incident.notices += u64::from(told);
            return if told { vec![Notice::Resolved] } else { Vec::new() };
        }
        if self.incident.resolved.is_some() {
            return Vec::new();
        }
        let before = self.incident.clone();
        if self.degraded.is_empty() {
            self.incident.phase = Phase::Recovering;
            if now.since(self.last_degraded) >= view.settings.resolve_after {
                (self.incident.phase, self.incident.resolved) = (Phase::Resolved, Some(now));
            }
        } else {
            self.note_onsets(view, others, now);
            self.measure(view, others, now);
            self.judge_phase(view, now);
        }
        let notices = self.notices(view, now);
        self.incident.notices += notices.len() as u64;
        if self.incident != before {
            self.incident.updated = now;
        }
        notices
    }

    fn note_onsets(&mut self, view: &View<'_>, others: &Others, now: Timestamp) {
        let near = view.nears.of(view.graph, &self.touched);
        let degraded = Arc::clone(&self.degraded);
        let touched = Arc::clone(&self.touched);
        let mut onsets = self.onsets.iter_mut().peekable();
        for (_, edge, ()) in near.among(degraded.iter().map(|key| (key, ()))) {
            let key = &edge.key;
            // Both are in the order of keys.
            while onsets.next_if(|(known, _)| *known < key).is_some() {}
            let Some((_, known)) = onsets.next_if(|(known, _)| *known == key) else { continue };
            let watch = view.watches.at_place(edge.place, edge.born);
            let slow = known.slow && watch.is_some_and(EdgeWatch::is_only_slow);
            // What came late may show that it began earlier.
            let began = watch.and_then(EdgeWatch::onset).filter(|_| !others.edges.contains(key));
            let at = began.map_or(known.at, |began| known.at.min(began));
            if (at, slow) != (known.at, known.slow) {
                (known.at, known.slow, self.story.is_stale) = (at, slow, true);
                self.incident.started = self.incident.started.min(at);
            }
        }
        let mut joining = Vec::new();
        for key in degraded.difference(&touched) {
            let watch = view.watch(key);
            let window = view.settings.window * 3;
            let trip = view.trips.of(key).iter().rev().find(|trip| now.since(trip.at) <= window);
            let onset = watch.and_then(EdgeWatch::onset).into_iter().chain(trip.map(|trip| trip.at)).min();
            // An edge that another incident has already was hurt by that one first.
            let at = onset.filter(|_| !others.edges.contains(key)).unwrap_or(now);
            let slow = watch.is_some_and(EdgeWatch::is_only_slow);
            let alerts_before = Some(watch.map_or(0, |watch| watch.alerts().1));
            joining.push((key.clone(), Onset { at, slow, alerts_before }));
            (self.last_joined, self.story.is_stale) = (now, true);
            self.incident.started = self.incident.started.min(at);
        }
        if self.touched.is_empty() {
            self.touched = degraded;
            self.onsets = joining.into_iter().collect();
        } else if !joining.is_empty() {
            Arc::make_mut(&mut self.touched).extend(joining.iter().map(|(key, _)| key.clone()));
            self.onsets.extend(joining);
        }
    }

    fn measure(&mut self, view: &View<'_>, others: &Others, now: Timestamp) {
        let window = view.settings.window;
        let started = self.incident.started.window_start(window) - window;
        if self.own_trips.follow(view.trips, started, &self.touched) {
            self.story.is_stale = true;
        }
        // What was before, and between, says nothing about who is behind what goes on now: other faults may have come and gone.
        let since = self.reopened.map_or(started, |at| started.max((at - window * 3).window_start(window)));
        let near = view.nears.of(view.graph, &self.touched);
        let read = self.readings.read(view.graph, &near, (since, now));
        let measured = Measured::of(view, (&near, read), (since, now));
        let own = &self.own_trips.trips;
        let own = own.get(own.partition_point(|known| known.trip.at < since)..).unwrap_or_default();
        let mut fresh = measured.candidates(view, own, &self.degraded, (&self.roots, others));
        if now.since(self.incident.started) < ALL_COUNTED
            && fresh.first().is_some_and(|first| self.calls_degraded(first))
        {
            let behind = measured.behind_breakers(view, own, &self.degraded);
            fresh = if behind.is_empty() { fresh } else { behind };
        }
        self.look_for_demand(view, &fresh, measured.doors(), now);
        let incident = &mut self.incident;
        if !fresh.is_empty() {
            (incident.candidates, incident.unexplained) = keep_leader(fresh, self.telling.origin(), view.settings.lead);
            if let Some(demand) = &self.demand {
                put_demand_first(&mut incident.candidates, demand, (since, now));
            }
        }
        let Some(origin) = incident.candidates.first().map(|candidate| candidate.suspect.clone()) else { return };
        incident.trips = self.own_trips.trips.len() as u64;
        incident.demand = self.demand.as_ref().map_or(1.0, |demand| demand.growth);
        let turned = near.among(self.onsets.iter()).filter_map(|(_, edge, onset)| {
            // A breaker alone is an alert, too, but is counted below.
            let alerts = view.watches.at_place(edge.place, edge.born).map_or(0, |watch| watch.alerts().0);
            Some(alerts.saturating_sub(onset.alerts_before?))
        });
        incident.raw_alerts = incident.raw_alerts.max(turned.sum::<u64>() + self.own_trips.openings);
        // Of demand, the harm begins where it cannot be served.
        let place = match self.demand.as_ref().and_then(|_| incident.candidates.get(1)) {
            Some(suffering) => suffering.suspect.clone(),
            None => origin.clone(),
        };
        incident.attempts_per_request = measured.attempts_into(&place.service);
        incident.blast = measured.blast(&origin, &self.touched);
        let entry_points = view.nears.entry_points(view.graph);
        let of = Some((place.clone(), Arc::clone(&entry_points)));
        if self.story.is_stale || self.story.of != of {
            let (path, reach) = story::of(&place, &self.onsets, &self.own_trips.trips, &entry_points);
            incident.path = Arc::new(path);
            self.story = Story { is_stale: false, of, reach };
        }
        let mut level = self.story.reach.level(incident.attempts_per_request);
        let work = measured.work(view, &place.service, (incident.started, now));
        self.was_limited |= work.is_some_and(|work| work < LIMITED);
        let worked_off = self.was_limited && work.is_some_and(|work| work > MORE_THAN_NORMAL);
        let amplified = incident.attempts_per_request >= AMPLIFIED;
        let well = measured.is_well(view, &place, now) || (worked_off && amplified);
        self.origin_well_since = if well { self.origin_well_since.or(Some(now)) } else { None };
        let lasting = self.origin_well_since.is_some_and(|since| now.since(since) >= view.settings.spreading_for);
        if lasting && level >= Level::Propagating && incident.attempts_per_request > 1.1 {
            level = Level::SelfSustaining;
        }
        incident.level = incident.level.max(level);
    }

    /// Whether a suspected service calls others that are hurt as well.
    fn calls_degraded(&self, Candidate { suspect, .. }: &Candidate) -> bool {
        suspect.edge.is_none() && self.degraded.iter().any(|key| key.client == suspect.service)
    }

    /// In the first minute: whether demand grew where the first candidate is, since the onset.
    fn look_for_demand(&mut self, view: &View<'_>, fresh: &[Candidate], doors: &[ServiceName], now: Timestamp) {
        let young = now.since(self.incident.detected) <= view.settings.spreading_for
            && now.since(self.incident.started) <= demand::AFTER;
        let Some(first) = fresh.first().filter(|first| first.suspect.edge.is_none()) else { return };
        if young {
            self.demand = demand::behind_harm(view, &first.suspect.service, doors, (self.incident.started, now));
        }
    }

    fn judge_phase(&mut self, view: &View<'_>, now: Timestamp) {
        let young = now.since(self.incident.detected) < view.settings.window * 3;
        self.incident.phase = if young || self.touched.len() == 1 {
            Phase::Starting
        } else if self.origin_well_since.is_some() && self.incident.level != Level::SelfSustaining {
            Phase::Recovering
        } else if now.since(self.last_joined) < view.settings.spreading_for {
            Phase::Spreading
        } else {
            Phase::Contained
        };
    }

    /// Whether the suspect may only be the first that was heard of.
    fn is_hasty(&self, view: &View<'_>, now: Timestamp) -> bool {
        let calls = |origin: &Suspect| view.graph.edges_from(&origin.service).next().is_some();
        now.since(self.incident.detected) < ALL_HEARD_OF && self.incident.origin().is_some_and(calls)
    }

    fn notices(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Notice> {
        if self.incident.resolved.is_some() {
            return vec![Notice::Resolved];
        }
        if !self.telling.has_begun() && self.is_hasty(view, now) {
            return Vec::new();
        }
        self.telling.next(&self.incident, view.settings, now)
    }
}

/// So long after the first breaker those of the same chain have been heard of: a quarter of what a notification may take.
pub(super) const ALL_HEARD_OF: std::time::Duration = std::time::Duration::from_millis(500);

/// So long after it began all sidecars have told what they counted, which they do once a second. Before, callers whose counts came first would be blamed
/// for what those behind them have not told yet; breakers are told of at once.
const ALL_COUNTED: std::time::Duration = std::time::Duration::from_millis(1_500);

/// Whether a part begins where an incident did: that is among the roots, or while none shows yet it is hurt and calls nobody who is.
fn begins_at(part: &Part, origin: &Suspect) -> bool {
    if !part.roots.is_empty() {
        return part.roots.contains(origin);
    }
    let hurt = |key: &EdgeKey| origin.edge.as_ref().map_or(key.server == origin.service, |edge| edge == key);
    part.edges.iter().any(hurt) && part.edges.iter().all(|key| key.client != origin.service)
}

/// The origin did less than this share of its normal work: it was limited.
const LIMITED: f64 = 0.9;
/// It does more than this multiple of its normal work: whatever limited it is gone.
const MORE_THAN_NORMAL: f64 = 1.1;
/// Attempts per request with which a mesh can keep itself down.
const AMPLIFIED: f64 = 1.5;

/// Who asks for more comes before who cannot cope with it; the score is divided as the demand is.
fn put_demand_first(fresh: &mut Vec<Candidate>, demand: &Demand, span: (Timestamp, Timestamp)) {
    let Some(first) = fresh.first_mut() else { return };
    let usual = first.score.get() / demand.growth;
    let text =
        format!("{} gets {:.1} times as many requests as in the minute before", first.suspect.service, demand.growth);
    let asking = Candidate {
        suspect: Suspect { service: demand.client.clone(), edge: None },
        kind: SuspectKind::Demand,
        score: Ratio::new(first.score.get() - usual),
        evidence: vec![Evidence { kind: EvidenceKind::Demand, text, value: demand.growth, span }],
    };
    first.score = Ratio::new(usual);
    fresh.retain(|candidate| candidate.suspect != asking.suspect);
    fresh.insert(0, asking);
}

/// Keeps the told first candidate in its place until another leads by more than `lead`.
fn keep_leader(mut fresh: Vec<Candidate>, told: Option<&Suspect>, lead: f64) -> (Vec<Candidate>, Ratio) {
    let unexplained = Ratio::new(1.0 - fresh.iter().map(|candidate| candidate.score.get()).sum::<f64>());
    let best = fresh.first().map_or(0.0, |candidate| candidate.score.get());
    let held = told.and_then(|told| fresh.iter().position(|candidate| candidate.suspect == *told));
    if let Some(at) = held.filter(|at| fresh.get(*at).is_some_and(|candidate| best - candidate.score.get() <= lead)) {
        let leader = fresh.remove(at);
        fresh.insert(0, leader);
    }
    (fresh, unexplained)
}

/// A ULID: 48 bits of milliseconds, then 80 bits mixed (FNV-1a) from the first edge and a running number.
fn identity(at: Timestamp, key: Option<&EdgeKey>, count: u64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let text = format!("{count} {}", key.map(ToString::to_string).unwrap_or_default());
    let hash = text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    let bits = u128::from(at.as_millis() & 0xffff_ffff_ffff) << 80 | (hash & ((1 << 80) - 1));
    (0..26).rev().map(|digit| char::from(DIGITS[(bits >> (digit * 5) & 31) as usize])).collect()
}
