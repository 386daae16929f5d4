//! One fault or several? Splits degraded edges that hang together into parts that have nothing to do with each other.
//!
//! Two faults that hurt one common caller make one component. What tells them apart is where they begin: a *root* is a service or an edge
//! with an excess of its own in the last three windows (failures that started there, self time or network gap above its baseline, a
//! breaker that opened for nothing). Two roots of which one reaches the other over degraded calls may be cause and effect and
//! stay together, and so do those that the same demand explains. Roots that do not are independent faults: each gets the
//! edges that reach it, and an edge that reaches both, such as that of the users, belongs to both.
//!
//! A root stays one while a call to it is degraded, so that a quiet window does not glue two faults together.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::unionfind::UnionFind;
use tripline_model::{EdgeKey, ServiceName, Timestamp};

use super::degraded::EdgeWatch;
use super::demand;
use super::incident::{View, flows};
use super::{Flows, Suspect};

/// Windows in which a root must show.
const WINDOWS: u32 = 3;
/// Share of what failed at a service that must have started there: below it the rest explains it.
const OWN_SHARE: f64 = 0.1;

/// Edges that belong together, with the roots that explain them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Part {
    pub(super) edges: BTreeSet<EdgeKey>,
    pub(super) roots: BTreeSet<Suspect>,
}

/// Splits a component. `known` are the roots of incidents that go on.
pub(super) fn split(
    view: &View<'_>,
    component: BTreeSet<EdgeKey>,
    known: &BTreeSet<Suspect>,
    now: Timestamp,
) -> Vec<Part> {
    let since = now - view.settings.window * WINDOWS;
    let (flows, _) = flows(view, &component, (since, now));
    let mut roots = roots(view, &component, &flows);
    roots.extend(known.iter().filter(|root| is_degraded(&component, root)).cloned());
    let roots: Vec<Suspect> = roots.into_iter().collect();
    let reach = Reach::of(&component);
    let mut joined = UnionFind::<usize>::new(roots.len());
    let demands: Vec<Option<ServiceName>> = roots.iter().map(|root| demand::behind(view, root, now)).collect();
    for (one, a) in roots.iter().enumerate() {
        for (other, b) in roots.iter().enumerate().skip(one + 1) {
            let demanded = demands[one].is_some() && demands[one] == demands[other];
            if demanded || reach.reaches(a, b) || reach.reaches(b, a) {
                joined.union(one, other);
            }
        }
    }
    let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
    for (at, root) in roots.iter().enumerate() {
        parts.entry(joined.find(at)).or_default().roots.insert(root.clone());
    }
    if parts.len() < 2 {
        let roots = parts.into_values().next().unwrap_or_default().roots;
        return vec![Part { edges: component, roots }];
    }
    for key in &component {
        let explained: BTreeSet<usize> =
            (0..roots.len()).filter(|at| reach.is_hurt_by(key, &roots[*at])).map(|at| joined.find(at)).collect();
        for (group, part) in &mut parts {
            // What no root explains goes wherever it may belong.
            if explained.is_empty() || explained.contains(group) {
                part.edges.insert(key.clone());
            }
        }
    }
    parts.into_values().filter(|part| !part.edges.is_empty()).collect()
}

/// Whether a call to the root is degraded.
fn is_degraded(component: &BTreeSet<EdgeKey>, root: &Suspect) -> bool {
    component.iter().any(|key| root.edge.as_ref().map_or(key.server == root.service, |edge| edge == key))
}

fn roots(view: &View<'_>, component: &BTreeSet<EdgeKey>, flows: &Flows) -> BTreeSet<Suspect> {
    let least = view.settings.min_failures as f64;
    let mut roots = BTreeSet::new();
    let servers: BTreeSet<&ServiceName> = component.iter().map(|key| &key.server).collect();
    for service in servers {
        let own = flows.own_failures(service);
        let failing = own >= least && own >= OWN_SHARE * flows.reached(service);
        if failing || view.services.is_slow(service) {
            roots.insert(Suspect { service: service.clone(), edge: None });
        }
    }
    for key in component {
        let far = view.watches.get(key).is_some_and(EdgeWatch::is_far);
        let lost = flows.edges.get(key).is_some_and(|flow| flow.eager || flow.lost >= least);
        if far || lost {
            roots.insert(Suspect { service: key.server.clone(), edge: Some(key.clone()) });
        }
    }
    roots
}

/// Who is reached over degraded calls.
pub(super) struct Reach<'a> {
    reached: BTreeMap<&'a ServiceName, BTreeSet<&'a ServiceName>>,
}

impl<'a> Reach<'a> {
    /// Of every service that an edge begins or ends at.
    pub(super) fn of(edges: &'a BTreeSet<EdgeKey>) -> Self {
        let mut servers: BTreeMap<&ServiceName, Vec<&ServiceName>> = BTreeMap::new();
        for key in edges {
            servers.entry(&key.client).or_default().push(&key.server);
        }
        let mut reached = BTreeMap::new();
        for start in edges.iter().flat_map(|key| [&key.client, &key.server]) {
            if reached.contains_key(start) {
                continue;
            }
            let mut seen = BTreeSet::from([start]);
            let mut front = vec![start];
            while let Some(service) = front.pop() {
                for server in servers.get(service).into_iter().flatten() {
                    if seen.insert(*server) {
                        front.push(server);
                    }
                }
            }
            reached.insert(start, seen);
        }
        Self { reached }
    }

    fn service(&self, from: &ServiceName, to: &ServiceName) -> bool {
        from == to || self.reached.get(from).is_some_and(|seen| seen.contains(to))
    }

    /// Whether `a` reaches `b`, so that `b` may be behind what `a` shows. An edge is reached with its client, and reaches its server.
    pub(super) fn reaches(&self, a: &Suspect, b: &Suspect) -> bool {
        self.service(&a.service, b.edge.as_ref().map_or(&b.service, |edge| &edge.client))
    }

    fn is_hurt_by(&self, key: &EdgeKey, root: &Suspect) -> bool {
        match &root.edge {
            Some(edge) => key == edge || self.service(&key.server, &edge.client),
            None => self.service(&key.server, &root.service),
        }
    }
}
