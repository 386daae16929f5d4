//! The live service graph: who calls whom, counted second by second for the last ten minutes.
//!
//! Edges come from [`EdgeWindow`]s. Each reporter of an edge (client's sidecar, server's sidecar, spans) is tallied on its own,
//! because they describe the same traffic; a question is answered by the best one that counted anything in the asked
//! window. A window is refused, by reason, when its numbers cannot be true together or its time lies outside what is
//! kept; it is folded into `__overflow__` when the graph is full, so that strangers inventing names never push
//! a known service out. Services and edges that were silent for [`Limits::forget_after`] go.

mod block;
mod brief;
mod edge;
mod packed;
mod recent;
mod tally;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use brief::narrow;
use rayon::prelude::*;
use recent::Recent;
use tripline_model::{EdgeKey, EdgeWindow, NodeKind, Protocol, Reporter, ServiceName, Timestamp};

pub(crate) use brief::Brief;
use edge::Noted;
pub use edge::{BreakerInfo, EdgeState};
pub(crate) use packed::Dense;
pub use tally::Sum;
pub(crate) use tally::{FINE_SECS, KEPT};

/// Edges that are worth a core of their own: fewer are gone through by one.
pub(crate) const EDGES_A_CORE: usize = 8_192;

/// How often all edges are looked through for silent ones.
const LOOK_THROUGH: Duration = Duration::from_secs(8);
/// Finished windows are handed out for one in so many edges each second.
const SHARES: usize = 10;

/// What the graph may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Distinct services and peers; more fold into `__overflow__`.
    pub nodes: usize,
    /// Distinct edges; more fold into one edge between overflow nodes.
    pub edges: usize,
    /// Breakers of one edge; more are ignored and counted.
    pub breakers_per_edge: usize,
    /// How old a window may be when it arrives.
    pub late: Duration,
    /// How far in the future a window may end: clocks differ a little.
    pub early: Duration,
    /// Silence after which a node or an edge goes.
    pub forget_after: Duration,
    /// Length of the windows that are kept summed for a detector, in whole seconds.
    pub window: Duration,
}

impl Default for Limits {
    /// 10,000 services and 100,000 edges, the size the project promises; two minutes late, ten seconds early, windows of
    /// five seconds.
    fn default() -> Self {
        Self {
            nodes: 10_000,
            edges: 100_000,
            breakers_per_edge: 1_000,
            late: Duration::from_secs(120),
            early: Duration::from_secs(10),
            forget_after: Duration::from_secs(15 * 60),
            window: Duration::from_secs(5),
        }
    }
}

/// What became of an observed window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Counted.
    Counted,
    /// Counted, but under `__overflow__`.
    Folded,
    /// Refused: its numbers cannot be true together.
    Implausible,
    /// Refused: older than the graph reaches back, or from the future.
    OutOfTime,
}

/// What is known of a node beside its edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// What it stands for.
    pub kind: NodeKind,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// Whether a sidecar of it has reported.
    pub has_sidecar: bool,
    /// Start, requests and microseconds of self time of the detector's last windows, by number modulo four.
    self_times: [(u32, u32, u64); 4],
}

impl NodeState {
    /// Requests and microseconds of self time in the detector's window that starts at `start`.
    pub(crate) fn self_time(&self, start: Timestamp, length: u32) -> (u32, u64) {
        let start = narrow(start.as_secs());
        let (known, count, micros) = self.self_times[(start / length) as usize % 4];
        if known == start { (count, micros) } else { (0, 0) }
    }

    fn count_self_time(&mut self, window: &EdgeWindow, length: u32) {
        let start = narrow(window.start.as_secs());
        let start = start - start % length;
        let slot = &mut self.self_times[(start / length) as usize % 4];
        if slot.0 < start {
            *slot = (start, 0, 0);
        }
        if slot.0 == start {
            let micros = u64::try_from(window.self_time.sum().as_micros()).unwrap_or(u64::MAX);
            slot.1 = slot.1.saturating_add(narrow(window.self_time.count()));
            slot.2 = slot.2.saturating_add(micros);
        }
    }
}

/// The live graph. One task owns it; everything that needs the time is given it.
#[derive(Debug, Clone)]
pub struct ServiceGraph {
    limits: Limits,
    nodes: BTreeMap<ServiceName, NodeState>,
    /// The edges by place, and the places that are free.
    edges: Vec<Option<(EdgeKey, EdgeState)>>,
    free: Vec<u32>,
    /// Their places, by key and by server and client.
    places: BTreeMap<EdgeKey, u32>,
    callers: BTreeMap<(ServiceName, ServiceName, Protocol), u32>,
    /// Edges with a breaker, with their places, and those of them of which one is not closed.
    guarded: BTreeMap<EdgeKey, u32>,
    alarmed: BTreeSet<EdgeKey>,
    /// How often that has changed while no edge did.
    alarms: u64,
    /// How often anything that is known of a breaker has changed.
    breaker_changes: u64,
    /// The detector's windows, by place of the edge.
    recent: Recent,
    generation: u64,
    began: Option<Timestamp>,
    /// Up to when windows were handed out, by share of the edges.
    drained_to: [Option<Timestamp>; SHARES],
    /// When it was last looked through for silent edges.
    looked_through: Option<Timestamp>,
}

impl ServiceGraph {
    /// An empty graph.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            nodes: BTreeMap::new(),
            edges: Vec::new(),
            free: Vec::new(),
            places: BTreeMap::new(),
            callers: BTreeMap::new(),
            guarded: BTreeMap::new(),
            alarmed: BTreeSet::new(),
            alarms: 0,
            breaker_changes: 0,
            recent: Recent::default(),
            generation: 0,
            began: None,
            drained_to: [None; SHARES],
            looked_through: None,
        }
    }

    /// Grows by one whenever a node or an edge comes or goes, or a node turns out to be of another kind.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How much of a window of time that ends at `at` has passed since the first counted request: all of it, but for a graph that is
    /// younger. At least a second.
    #[must_use]
    pub fn covered(&self, window: Duration, at: Timestamp) -> Duration {
        let age = self.began.map_or(window, |began| at.since(began));
        age.min(window).max(Duration::from_secs(1))
    }

    /// Every node, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&ServiceName, &NodeState)> {
        self.nodes.iter()
    }

    /// Every edge, by key.
    pub fn edges(&self) -> impl Iterator<Item = (&EdgeKey, &EdgeState)> {
        self.places.values().filter_map(|place| self.at(*place as usize))
    }

    /// One edge.
    #[must_use]
    pub fn edge(&self, key: &EdgeKey) -> Option<&EdgeState> {
        self.at(*self.places.get(key)? as usize).map(|(_, state)| state)
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &ServiceName) -> Option<&NodeState> {
        self.nodes.get(name)
    }

    /// The services that something outside the mesh, or a gateway, calls.
    #[must_use]
    pub fn entry_points(&self) -> BTreeSet<ServiceName> {
        let outside = |node: &NodeState| matches!(node.kind, NodeKind::User | NodeKind::Gateway | NodeKind::External);
        let clients = self.nodes.iter().filter(|(_, node)| outside(node));
        clients.flat_map(|(name, _)| self.edges_from(name)).map(|(key, _)| key.server.clone()).collect()
    }

    /// The calls that a service makes, by key.
    pub fn edges_from<'a>(
        &'a self,
        client: &ServiceName,
    ) -> impl Iterator<Item = (&'a EdgeKey, &'a EdgeState)> + use<'a> {
        let client = client.clone();
        let first = EdgeKey { client: client.clone(), server: ServiceName::new("", ""), protocol: Protocol::Http };
        let places = self.places.range(first..).take_while(move |(key, _)| key.client == client);
        places.filter_map(|(_, place)| self.at(*place as usize))
    }

    /// The calls to a service, by client.
    pub fn edges_into<'a>(
        &'a self,
        server: &ServiceName,
    ) -> impl Iterator<Item = (&'a EdgeKey, &'a EdgeState)> + use<'a> {
        let server = server.clone();
        let first = (server.clone(), ServiceName::new("", ""), Protocol::Http);
        let callers = self.callers.range(first..).take_while(move |((name, ..), _)| *name == server);
        callers.filter_map(|(_, place)| self.at(*place as usize))
    }

    /// The places of all edges, by server and client, each with its server.
    pub(crate) fn called(&self) -> impl Iterator<Item = (&ServiceName, usize)> {
        self.callers.iter().map(|((server, ..), place)| (server, *place as usize))
    }

    /// The edges that have a breaker, by key.
    pub fn guarded(&self) -> impl Iterator<Item = (&EdgeKey, &EdgeState)> {
        self.guarded.values().filter_map(|place| self.at(*place as usize))
    }

    /// The calls to a service from clients that `wanted` wants: others are not even looked up.
    pub(crate) fn edges_into_from<'a>(
        &'a self,
        server: &'a ServiceName,
        wanted: impl Fn(&ServiceName) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a EdgeKey, &'a EdgeState)> + 'a {
        let first = (server.clone(), ServiceName::new("", ""), Protocol::Http);
        let callers = self.callers.range(first..).take_while(move |((name, ..), _)| name == server);
        callers.filter(move |((_, client, _), _)| wanted(client)).filter_map(|(_, place)| self.at(*place as usize))
    }

    /// The edges of which a breaker is not closed, by key.
    pub fn alarmed(&self) -> impl Iterator<Item = &EdgeKey> {
        self.alarmed.iter()
    }

    /// A number that changes with [`Self::alarmed`], unless [`Self::generation`] does.
    pub(crate) const fn alarms(&self) -> u64 {
        self.alarms
    }

    /// A number that changes whenever anything changes that is known of a breaker.
    #[must_use]
    pub const fn breaker_changes(&self) -> u64 {
        self.breaker_changes
    }

    /// A number that changes whenever a window comes late on the edge at a place.
    pub(crate) fn late_at(&self, place: usize) -> u32 {
        self.recent.late(place)
    }

    /// The second up to which an edge's counts are as they were, as of `now`, as long as [`Self::old_at`] does not change.
    pub(crate) fn settled_at(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_secs(Recent::settled_at(narrow(now.as_secs()), self.window_secs()).into())
    }

    /// A number that changes whenever something older than [`Self::settled_at`] comes on the edge at a place.
    pub(crate) fn old_at(&self, place: usize) -> u32 {
        self.recent.old(place)
    }

    /// Which edge is at a place.
    pub(crate) fn at(&self, place: usize) -> Option<(&EdgeKey, &EdgeState)> {
        self.edges.get(place)?.as_ref().map(|(key, state)| (key, state))
    }

    /// One more than the largest place.
    pub(crate) fn places(&self) -> usize {
        self.edges.len()
    }

    /// What one reporter counted in the detector's window that starts at `from`, on the edge at `place`.
    pub(crate) fn window(&self, place: usize, reporter: Reporter, from: Timestamp) -> Brief {
        let (start, length) = (narrow(from.as_secs()), self.window_secs());
        let older = || {
            let (_, state) = self.at(place)?;
            Some(state.brief_by(reporter, from, from + self.limits.window))
        };
        self.recent.window(place, reporter, (start, length)).or_else(older).unwrap_or_default()
    }

    /// Length of the windows that are kept summed, in whole seconds, at least one.
    pub(crate) fn window_secs(&self) -> u32 {
        u32::try_from(self.limits.window.as_secs()).unwrap_or(u32::MAX).max(1)
    }

    /// Counts one window.
    pub fn observe(&mut self, window: &EdgeWindow, now: Timestamp) -> Observed {
        if !window.counts.is_plausible() {
            return Observed::Implausible;
        }
        let end = window.start + window.length;
        if now.since(window.start) > self.limits.late || end.since(now) > self.limits.early {
            return Observed::OutOfTime;
        }
        self.began = Some(self.began.map_or(window.start, |began| began.min(window.start)));
        let client = self.admit(&window.key.client, window.client_kind, now);
        let server = self.admit(&window.key.server, window.server_kind, now);
        let (key, place) = self.admit_edge(EdgeKey { client, server, protocol: window.key.protocol }, now);
        let folded = key != window.key;
        let length = self.window_secs();
        if let Some(Some((_, edge))) = self.edges.get_mut(place) {
            edge.count(window, now);
            self.recent.count(place, window, (length, narrow(now.as_secs())));
        }
        if window.reporter == Reporter::Server
            && let Some(node) = self.nodes.get_mut(&key.server)
        {
            node.has_sidecar = true;
            node.count_self_time(window, length);
        }
        if folded { Observed::Folded } else { Observed::Counted }
    }

    /// Notes that a sidecar of `service` is alive, also when nothing flows.
    pub fn observe_sidecar(&mut self, service: &ServiceName, now: Timestamp) {
        let name = self.admit(service, NodeKind::Service, now);
        if let Some(node) = self.nodes.get_mut(&name) {
            node.has_sidecar = true;
            node.last_seen = now;
        }
    }

    /// Notes a breaker's state. Answers whether there was room for it.
    pub fn observe_breaker(&mut self, key: &EdgeKey, breaker: BreakerInfo, now: Timestamp) -> bool {
        let client = self.admit(&key.client, NodeKind::Service, now);
        let server = self.admit(&key.server, NodeKind::Service, now);
        let (key, place) = self.admit_edge(EdgeKey { client, server, protocol: key.protocol }, now);
        let room = self.limits.breakers_per_edge;
        let Some(Some((_, edge))) = self.edges.get_mut(place) else { return false };
        let noted = edge.note_breaker(breaker, room, now);
        self.breaker_changes += u64::from(noted == Noted::Changed);
        let is_alarmed = edge.is_alarmed();
        if is_alarmed != self.alarmed.contains(&key) {
            if is_alarmed {
                self.alarmed.insert(key.clone())
            } else {
                self.alarmed.remove(&key)
            };
            self.alarms += 1;
        }
        self.guarded.entry(key).or_insert(place as u32);
        noted != Noted::Refused
    }

    /// Takes back an edge that only spans told of and that turned out to lead elsewhere; with it the node at its end, when nothing
    /// else leads there. Answers whether there was one.
    pub fn forget_guess(&mut self, key: &EdgeKey) -> bool {
        let Some(place) = self.edge(key).filter(|edge| edge.is_only_from_spans()).map(|edge| edge.place) else {
            return false;
        };
        self.forget(place);
        let is_guess = self.nodes.get(&key.server).is_some_and(|node| !node.has_sidecar);
        if is_guess && self.edges_from(&key.server).chain(self.edges_into(&key.server)).next().is_none() {
            self.nodes.remove(&key.server);
        }
        self.generation += 1;
        true
    }

    /// Forgets what was silent for long and thins out what is old. Call about once a second.
    pub fn tidy(&mut self, now: Timestamp) {
        let before = (self.nodes.len(), self.places.len());
        self.tidy_breakers(now);
        if self.looked_through.is_none_or(|at| now.since(at) >= LOOK_THROUGH) {
            self.looked_through = Some(now);
            self.forget_silent(now);
        }
        if before != (self.nodes.len(), self.places.len()) {
            self.generation += 1;
        }
        // A share of them each second: panes are merged a little later than they might be.
        const SHARE: usize = 8;
        let drained_to = self.drained_to.map(Option::unwrap_or_default);
        let turn = now.as_secs() as usize % SHARE;
        let slots = self.edges.par_iter_mut().skip(turn).step_by(SHARE).with_min_len(EDGES_A_CORE / SHARE);
        slots.for_each_init(Vec::new, |room, slot| {
            if let Some((_, edge)) = slot {
                edge.thin_out(now, drained_to[edge.place as usize % SHARES], room);
            }
        });
    }

    /// Forgets breakers whose sidecar has gone silent.
    fn tidy_breakers(&mut self, now: Timestamp) {
        let places: Vec<u32> = self.guarded.values().copied().collect();
        let places = places.into_par_iter().with_min_len(EDGES_A_CORE);
        let is_silent = |place: &u32| self.at(*place as usize).is_some_and(|(_, edge)| edge.has_silent_breaker(now));
        let silent: Vec<u32> = places.filter(is_silent).collect();
        for place in silent {
            let Some(Some((key, edge))) = self.edges.get_mut(place as usize) else { continue };
            edge.tidy_breakers(now);
            self.breaker_changes += 1;
            if !edge.is_alarmed() {
                self.alarms += u64::from(self.alarmed.remove(key));
            }
            if edge.breakers().next().is_none() {
                self.guarded.remove(key);
            }
        }
    }

    fn forget_silent(&mut self, now: Timestamp) {
        let silent = self.limits.forget_after;
        let is_silent = |(_, edge): &&(EdgeKey, EdgeState)| now.since(edge.last_seen) > silent;
        let all = self.edges.par_iter().with_min_len(EDGES_A_CORE).flatten_iter();
        let gone: Vec<u32> = all.filter(is_silent).map(|(_, edge)| edge.place).collect();
        gone.into_iter().for_each(|place| self.forget(place));
        let Self { callers, nodes, places, .. } = self;
        nodes.retain(|name, node| now.since(node.last_seen) <= silent || is_an_end(places, callers, name));
    }

    fn forget(&mut self, place: u32) {
        let Some((key, _)) = self.edges.get_mut(place as usize).and_then(Option::take) else { return };
        self.free.push(place);
        self.places.remove(&key);
        self.breaker_changes += u64::from(self.guarded.remove(&key).is_some());
        self.alarmed.remove(&key);
        self.callers.remove(&(key.server, key.client, key.protocol));
    }

    /// The finished ten-second windows of edges and reporters that were not drained before; of each edge oldest first. Call about once a second.
    ///
    /// A window is finished 15 s after its end; what arrives later is in the live graph but not in these. Edges take turns, a tenth of them each second:
    /// nobody waits for a hundred thousand windows at once.
    pub fn drain_windows(&mut self, now: Timestamp) -> Vec<EdgeWindow> {
        const LENGTH: Duration = Duration::from_secs(10);
        const SLACK: Duration = Duration::from_secs(15);
        let mut windows = Vec::new();
        for share in 0..SHARES {
            let until = (now - SLACK - Duration::from_secs(share as u64)).window_start(LENGTH);
            let drained_to = self.drained_to[share];
            let mut from = drained_to.unwrap_or(until - LENGTH).max(until - KEPT);
            while from < until {
                windows.par_extend(self.finished(share, (from, LENGTH)));
                from = from + LENGTH;
            }
            self.drained_to[share] = Some(until.max(drained_to.unwrap_or_default()));
        }
        windows
    }

    /// The windows `[from, from + length)` of a share of the edges.
    fn finished(
        &self,
        share: usize,
        (from, length): (Timestamp, Duration),
    ) -> impl ParallelIterator<Item = EdgeWindow> + '_ {
        // Looking each name up among all nodes would take longer than all the rest.
        let others = self.nodes.iter().filter(|(_, node)| node.kind != NodeKind::Service);
        let others: HashMap<&ServiceName, NodeKind> = others.map(|(name, node)| (name, node.kind)).collect();
        let kind = move |name| others.get(name).copied().unwrap_or(NodeKind::Service);
        let places = (share..self.edges.len()).into_par_iter().step_by(SHARES).with_min_len(EDGES_A_CORE / SHARES);
        places.filter_map(|place| self.at(place)).flat_map_iter(move |(key, edge)| {
            let kinds = (kind(&key.client), kind(&key.server));
            edge.windows(key, kinds, from, length)
        })
    }

    /// What a node stands for.
    #[must_use]
    pub fn kind(&self, name: &ServiceName) -> NodeKind {
        self.nodes.get(name).map_or(NodeKind::Service, |node| node.kind)
    }

    /// The name under which a service is kept: its own, or the overflow's when the graph is full.
    fn admit(&mut self, name: &ServiceName, kind: NodeKind, now: Timestamp) -> ServiceName {
        if let Some(node) = self.nodes.get_mut(name) {
            node.last_seen = node.last_seen.max(now);
            // A peer that was only guessed from spans turns out to be a service once it reports itself.
            // Only a gateway itself knows that it is one.
            let knows = kind == NodeKind::Gateway || (kind == NodeKind::Service && node.kind != NodeKind::Gateway);
            if knows && node.kind != kind {
                node.kind = kind;
                self.generation += 1;
            }
            return name.clone();
        }
        let (name, kind) = if self.nodes.len() < self.limits.nodes {
            (name.clone(), kind)
        } else {
            (ServiceName::overflow(), NodeKind::External)
        };
        if let std::collections::btree_map::Entry::Vacant(entry) = self.nodes.entry(name.clone()) {
            let self_times = [(0, 0, 0); 4];
            entry.insert(NodeState { kind, last_seen: now, has_sidecar: false, self_times });
            self.generation += 1;
        }
        name
    }

    /// The key under which an edge is kept, and its place.
    fn admit_edge(&mut self, key: EdgeKey, now: Timestamp) -> (EdgeKey, usize) {
        if let Some(place) = self.places.get(&key) {
            return (key, *place as usize);
        }
        let key = if self.places.len() < self.limits.edges {
            key
        } else {
            let overflow = self.admit(&ServiceName::overflow(), NodeKind::External, now);
            EdgeKey { client: overflow.clone(), server: overflow, protocol: key.protocol }
        };
        if let Some(place) = self.places.get(&key) {
            return (key, *place as usize);
        }
        self.generation += 1;
        let place = self.free.pop().unwrap_or(self.edges.len() as u32);
        self.edges.resize_with(self.edges.len().max(place as usize + 1), || None);
        self.recent.clear(place as usize);
        // With the names of the nodes, so that a name is in memory once.
        let name = |name: &ServiceName| self.nodes.get_key_value(name).map_or(name, |(known, _)| known).clone();
        let (client, server) = (name(&key.client), name(&key.server));
        let key = EdgeKey { client, server, protocol: key.protocol };
        self.callers.insert((key.server.clone(), key.client.clone(), key.protocol), place);
        self.places.insert(key.clone(), place);
        self.edges[place as usize] = Some((key.clone(), EdgeState::new((place, self.generation), now)));
        (key, place as usize)
    }
}

/// Whether an edge begins or ends at a node.
fn is_an_end(
    places: &BTreeMap<EdgeKey, u32>,
    callers: &BTreeMap<(ServiceName, ServiceName, Protocol), u32>,
    name: &ServiceName,
) -> bool {
    let lowest = || ServiceName::new("", "");
    let first = EdgeKey { client: name.clone(), server: lowest(), protocol: Protocol::Http };
    places.range(first..).next().is_some_and(|(key, _)| key.client == *name)
        || callers
            .range((name.clone(), lowest(), Protocol::Http)..)
            .next()
            .is_some_and(|((server, ..), _)| server == name)
}

#[cfg(test)]
mod tests;
