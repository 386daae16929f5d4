//! One fault or several? Splits degraded edges that hang together into parts that have nothing to do with each other.
//!
//! Two faults that hurt one common caller make one component. What tells them apart is where they begin: a *root* is a service or an edge
//! with an excess of its own in the last three windows and the one that goes on (failures that started there, self time or network gap above its baseline, a
//! breaker that opened for nothing). A breaker may go dark after fewer failures than a window needs, so one that opened for failures which mostly
//! started at its server makes that a root as well. Two roots of which one reaches the other over degraded calls may be cause and effect and
//! stay together, and so do those that the same demand explains. Roots that do not are independent faults, also when somebody who shows failures
//! of its own calls both: counts of those called may only not be there yet. Each gets the edges that reach it, and an edge that reaches both,
//! such as that of the users, belongs to both.
//!
//! A root stays one while a call to it is degraded, so that a quiet window does not glue two faults together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use petgraph::unionfind::UnionFind;
use tripline_model::{EdgeKey, ServiceName, Timestamp};

use super::degraded::EdgeWatch;
use super::demand;
use super::incident::{View, flows};
use super::near::Near;
use super::reading::latest;
use super::trips::TripsAlong;
use super::{Flows, Suspect};

/// Windows in which a root must show.
const WINDOWS: u32 = 3;
/// Share of what failed at a service that must have started there: below it the rest explains it.
const OWN_SHARE: f64 = 0.1;
/// The same where a breaker that opened is the evidence, and few failures made it open.
const MOSTLY_OWN: f64 = 0.5;

/// Edges that belong together, with the roots that explain them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Part {
    pub(super) edges: Arc<BTreeSet<EdgeKey>>,
    pub(super) roots: BTreeSet<Suspect>,
}

/// Splits a component. `known` are the roots of incidents that go on.
pub(super) fn split(
    view: &View<'_>,
    component: Arc<BTreeSet<EdgeKey>>,
    known: &BTreeSet<Suspect>,
    now: Timestamp,
) -> Vec<Part> {
    let since = now.window_start(view.settings.window) - view.settings.window * WINDOWS;
    let near = view.nears.of(view.graph, &component);
    let trips = view.trips_along(&near);
    let (flows, _) = flows(view, (&near, latest(view.graph, &near, (since, now)), &trips), (since, now));
    let mut roots = roots(view, (&near, &trips), (&flows, since));
    roots.extend(known.iter().filter(|root| is_degraded(&component, root)).cloned());
    if roots.len() < 2 {
        return vec![Part { edges: component, roots }];
    }
    let roots: Vec<Suspect> = roots.into_iter().collect();
    let reach = Reach::of(component.iter(), &roots);
    let demands: Vec<Option<ServiceName>> = roots.iter().map(|root| demand::behind(view, root, now)).collect();
    let groups = groups(&reach, &demands);
    let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
    for (root, group) in roots.iter().zip(&groups) {
        if let Some(group) = group {
            parts.entry(*group).or_default().roots.insert(root.clone());
        }
    }
    if parts.len() < 2 {
        let roots = parts.into_values().next().unwrap_or_default().roots;
        return vec![Part { edges: component, roots }];
    }
    for key in component.iter() {
        let explained: BTreeSet<usize> =
            (0..roots.len()).filter(|at| reach.is_hurt_by(key, *at)).filter_map(|at| groups[at]).collect();
        for (group, part) in &mut parts {
            // What no root explains goes wherever it may belong.
            if explained.is_empty() || explained.contains(group) {
                Arc::make_mut(&mut part.edges).insert(key.clone());
            }
        }
    }
    parts.into_values().filter(|part| !part.edges.is_empty()).collect()
}

/// Roots that are one fault, for each root the number of its group. Who calls several groups is hurt by one of them and does not make them one:
/// it has no group of its own.
fn groups(reach: &Reach<'_>, demands: &[Option<ServiceName>]) -> Vec<Option<usize>> {
    let all = 0..demands.len();
    let deepest: Vec<bool> = all.clone().map(|one| !all.clone().any(|other| reach.is_above(one, other))).collect();
    let mut joined = UnionFind::<usize>::new(demands.len());
    for one in all.clone() {
        for other in one + 1..demands.len() {
            let demanded = demands[one].is_some() && demands[one] == demands[other];
            if demanded || (deepest[one] && deepest[other] && reach.related(one, other)) {
                joined.union(one, other);
            }
        }
    }
    let group = |one: usize| {
        let below = all.clone().filter(|at| deepest[*at] && (*at == one || reach.is_above(one, *at)));
        let below: BTreeSet<usize> = below.map(|at| joined.find(at)).collect();
        below.first().copied().filter(|_| below.len() == 1)
    };
    all.clone().map(group).collect()
}

/// Whether a call to the root is degraded.
fn is_degraded(component: &BTreeSet<EdgeKey>, root: &Suspect) -> bool {
    component.iter().any(|key| root.edge.as_ref().map_or(key.server == root.service, |edge| edge == key))
}

fn roots(
    view: &View<'_>,
    (near, trips): (&Near, &TripsAlong),
    (flows, since): (&Flows, Timestamp),
) -> BTreeSet<Suspect> {
    let least = view.settings.min_failures as f64;
    let mut roots = BTreeSet::new();
    let mut opened = vec![false; near.services.len()];
    for (at, edge) in near.touched() {
        opened[edge.server] |= trips.of(at).iter().any(|trip| trip.at >= since && !trip.induced);
        let far = view.watches.at_place(edge.place, edge.born).is_some_and(EdgeWatch::is_far);
        if far || flows.at(at).is_some_and(|flow| flow.eager || flow.lost >= least) {
            roots.insert(Suspect { service: edge.key.server.clone(), edge: Some(edge.key.clone()) });
        }
    }
    for (at, service) in near.servers() {
        let (own, reached) = (flows.own_failures_at(at), flows.reached_at(at));
        let failing = own >= least && own >= OWN_SHARE * reached;
        let failing = failing || (opened[at] && own >= 1.0 && own >= MOSTLY_OWN * reached);
        if failing || view.services.is_slow(&service.name) {
            roots.insert(Suspect { service: service.name.clone(), edge: None });
        }
    }
    roots
}

/// Who reaches some roots over degraded calls.
pub(super) struct Reach<'a> {
    roots: &'a [Suspect],
    /// By root: who reaches where it begins, itself included.
    reaching: Vec<BTreeSet<&'a ServiceName>>,
}

impl<'a> Reach<'a> {
    /// Of some edges and roots.
    pub(super) fn of(edges: impl Iterator<Item = &'a EdgeKey>, roots: &'a [Suspect]) -> Self {
        let mut numbers: BTreeMap<&'a ServiceName, usize> = BTreeMap::new();
        let mut names: Vec<&'a ServiceName> = Vec::new();
        let mut clients: Vec<Vec<usize>> = Vec::new();
        let mut number = |name: &'a ServiceName| {
            *numbers.entry(name).or_insert_with(|| {
                names.push(name);
                names.len() - 1
            })
        };
        for key in edges {
            let (client, server) = (number(&key.client), number(&key.server));
            clients.resize_with(clients.len().max(client + 1).max(server + 1), Vec::new);
            clients[server].push(client);
        }
        let mut reaching = Vec::with_capacity(roots.len());
        for root in roots {
            let start = begin(root);
            let mut seen = vec![false; names.len()];
            let mut front: Vec<usize> = numbers.get(start).copied().into_iter().collect();
            front.iter().for_each(|at| seen[*at] = true);
            let mut reached = BTreeSet::from([start]);
            while let Some(at) = front.pop() {
                reached.insert(names[at]);
                for client in &clients[at] {
                    if !std::mem::replace(&mut seen[*client], true) {
                        front.push(*client);
                    }
                }
            }
            reaching.push(reached);
        }
        Self { roots, reaching }
    }

    /// Whether one of two roots reaches the other, so that it may be behind what that one shows.
    pub(super) fn related(&self, one: usize, other: usize) -> bool {
        self.reaches(one, other) || self.reaches(other, one)
    }

    /// Whether one of two roots reaches the other, and that one not it.
    fn is_above(&self, one: usize, other: usize) -> bool {
        one != other && self.reaches(one, other) && !self.reaches(other, one)
    }

    /// An edge is reached with its client, and reaches its server.
    fn reaches(&self, one: usize, other: usize) -> bool {
        let from = self.roots.get(one).map(|root| &root.service);
        from.zip(self.reaching.get(other)).is_some_and(|(from, reaching)| reaching.contains(from))
    }

    fn is_hurt_by(&self, key: &EdgeKey, root: usize) -> bool {
        let itself = self.roots.get(root).is_some_and(|root| root.edge.as_ref() == Some(key));
        itself || self.reaching.get(root).is_some_and(|reaching| reaching.contains(&key.server))
    }
}

/// Where one must get to, to be hurt by a root.
fn begin(root: &Suspect) -> &ServiceName {
    root.edge.as_ref().map_or(&root.service, |edge| &edge.client)
}
