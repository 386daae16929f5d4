//! The share-out: from what started at each service and what came with its calls to suspects with scores.

use std::collections::BTreeSet;

use rayon::prelude::*;
use tripline_model::{EdgeKey, ServiceName};

use super::{Along, EXPLAINS, Flows, Node, Suspect};
use crate::detect::incident::Others;
use crate::share_out::{Mix, NEGLIGIBLE, Parts, mixes};

/// Services as many steps behind the targets that are worth a core of their own.
const SERVICES_A_CORE: usize = 128;

/// A share-out of excess: suspects by score, best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::detect) struct Shares {
    pub(in crate::detect) scores: Vec<(Suspect, f64)>,
    /// What was shared out: failed requests or seconds at the targets.
    pub(in crate::detect) total: f64,
}

impl Shares {
    /// What is left when the shares of other incidents are taken away: those of `own`, while there are others. When none of `own` is there,
    /// whoever is on their ways stands for what is behind, and their leavings count only as far as they explain something: what a second
    /// fault does not explain to the last bit is no reason to suspect somebody else of the first.
    pub(in crate::detect) fn without(mut self, own: &BTreeSet<Suspect>, others: &Others) -> Self {
        if others.roots.is_empty() {
            return self;
        }
        let theirs = |suspect: &Suspect| {
            let on_their_way =
                |key: &EdgeKey| suspect.edge.as_ref().map_or(key.server == suspect.service, |own| own == key);
            others.roots.contains(suspect) || others.edges.iter().any(on_their_way)
        };
        let known = self.scores.iter().any(|(suspect, _)| own.contains(suspect));
        self.scores.retain(|(suspect, _)| if known { own.contains(suspect) } else { !theirs(suspect) });
        let left: f64 = self.scores.iter().map(|(_, score)| score).sum();
        if !known && !own.is_empty() && left < EXPLAINS {
            return Self::default();
        }
        if left > NEGLIGIBLE {
            self.scores.iter_mut().for_each(|(_, score)| *score /= left);
        }
        self.total *= left.min(1.0);
        self
    }
}

/// Where one service's excess comes from, before cycles and shares are worked out.
struct Blamed {
    own: f64,
    /// Calls by the number of the edge, with their weight, and whether the edge itself is to blame rather than its server.
    calls: Vec<(usize, f64, bool)>,
}

/// What is behind some services: theirs, and that of all they reach.
struct Behind {
    /// Numbers of services, ascending.
    services: Vec<usize>,
    /// In the same order, in which the called are numbered as well.
    parts: Vec<Parts<usize>>,
}

impl Flows {
    /// Shares out the failures of `targets`.
    pub(in crate::detect) fn share_failures(&self, targets: &[ServiceName]) -> Shares {
        let way = |edge: Along<'_>| {
            let flow = edge.flow;
            let share = if self.blames_edge(edge) { 1.0 } else { flow.lost / flow.reached.max(NEGLIGIBLE) };
            (flow.failed, share.min(1.0))
        };
        self.share(targets, way, |node| {
            let (mut own, mut waited) = self.own_and_waited(node);
            if self.is_crowded(node) {
                (own, waited) = (0.0, own + waited);
            }
            let rest = (node.sums.reached - own - waited).max(0.0);
            let failed = || {
                let failed = self.called_by(node).filter(|edge| edge.flow.failed > NEGLIGIBLE);
                failed.filter(|edge| edge.flow.was_healthy)
            };
            let total: f64 = failed().map(|edge| edge.flow.failed).sum();
            let mut calls = Vec::new();
            for edge in failed() {
                let weight = rest * edge.flow.failed / total;
                let (_, way) = way(edge);
                calls.push((edge.at, weight * way, true));
                calls.push((edge.at, weight * (1.0 - way), false));
            }
            let slow: f64 = self.called_by(node).map(|edge| edge.flow.slower).sum();
            for edge in self.called_by(node).filter(|edge| waited > 0.0 && edge.flow.slower > NEGLIGIBLE) {
                let (at, flow) = (edge.at, edge.flow);
                let (weight, gap) = (waited * flow.slower / slow, flow.gap.min(flow.slower) / flow.slower);
                calls.push((at, weight * gap, true));
                calls.push((at, weight * (1.0 - gap), false));
            }
            // Whatever no call explains stays with the service.
            Blamed { own: if total > NEGLIGIBLE { own } else { own + rest }, calls }
        })
    }

    /// Shares out the added latency of `targets`.
    pub(in crate::detect) fn share_latency(&self, targets: &[ServiceName]) -> Shares {
        let way = |edge: Along<'_>| {
            let flow = edge.flow;
            (flow.slower, flow.gap.min(flow.slower) / flow.slower.max(NEGLIGIBLE))
        };
        self.share(targets, way, |node| {
            let calls: Vec<(usize, f64, bool)> = self
                .called_by(node)
                .filter(|edge| edge.flow.slower > NEGLIGIBLE && edge.flow.was_healthy)
                .flat_map(|edge| {
                    let gap = edge.flow.gap.min(edge.flow.slower);
                    [(edge.at, gap, true), (edge.at, edge.flow.slower - gap, false)]
                })
                .collect();
            let called: f64 = calls.iter().map(|(_, weight, _)| weight).sum();
            let all: f64 = self.calling(node).map(|edge| edge.flow.slower).sum();
            let own = node.sums.self_time.unwrap_or((all - called).max(0.0));
            let own = if self.is_crowded(node) { 0.0 } else { own };
            Blamed { own, calls }
        })
    }

    /// Shares out what `parts` says of each service. `way` says how much came in over an edge, and what share of it the way itself is to
    /// blame for. Suspects are numbered: services first, then edges.
    fn share(
        &self,
        targets: &[ServiceName],
        way: impl Fn(Along<'_>) -> (f64, f64),
        parts: impl Fn(Node<'_>) -> Blamed + Sync,
    ) -> Shares {
        let behind = self.behind(targets, parts);
        // Nothing failed that anyone saw: a cycle of calls without an own part, or a service that is well.
        let mixes = mixes(&behind.parts, |members| {
            let share = 1.0 / members.len().max(1) as f64;
            members.iter().map(|at| (behind.services[*at], share)).collect()
        });
        let mut shares: Mix<usize> = Mix::new();
        let mut total = 0.0;
        for target in targets {
            let Some(at) = self.near.service(target) else { continue };
            let Ok(number) = behind.services.binary_search(&at) else { continue };
            let (parts, mix) = (&behind.parts[number], &mixes[number]);
            let Some(node) = self.node(at) else { continue };
            let into: Vec<(usize, (f64, f64))> = self.calling(node).map(|edge| (edge.at, way(edge))).collect();
            let came: f64 = into.iter().map(|(_, (weight, _))| weight).sum();
            let own: f64 = parts.own.iter().map(|(_, amount)| amount).sum();
            let inside = own + parts.calls.iter().map(|(_, amount)| amount).sum::<f64>();
            let excess = if inside > NEGLIGIBLE { inside } else { came };
            total += excess;
            let mut within = 1.0;
            for (edge, (weight, share)) in into.into_iter().filter(|(_, (weight, share))| weight * share > NEGLIGIBLE) {
                *shares.entry(self.services.len() + edge).or_default() += excess * weight / came * share;
                within -= weight / came * share;
            }
            for (suspect, share) in mix {
                *shares.entry(*suspect).or_default() += excess * within.max(0.0) * share;
            }
        }
        let mut scores: Vec<(Suspect, f64)> = shares
            .into_iter()
            .map(|(suspect, part)| (suspect, if total > NEGLIGIBLE { part / total } else { 0.0 }))
            .filter(|(_, score)| *score > 0.01)
            .filter_map(|(suspect, score)| Some((self.suspect(suspect)?, score)))
            .collect();
        scores.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Shares { scores, total }
    }

    /// What `of` says of every service that the targets reach over calls with a part in their excess; of others nothing is asked.
    fn behind(&self, targets: &[ServiceName], of: impl Fn(Node<'_>) -> Blamed + Sync) -> Behind {
        let mut found: Vec<(usize, Parts<usize>)> = Vec::new();
        let mut seen = vec![false; self.services.len()];
        let mut front: Vec<usize> = targets.iter().filter_map(|target| self.near.service(target)).collect();
        while !front.is_empty() {
            front.retain(|at| !std::mem::replace(&mut seen[*at], true));
            let parts = |at: &usize| self.node(*at).map(|node| (*at, self.numbered_parts(*at, of(node))));
            let next: Vec<_> = front.par_iter().with_min_len(SERVICES_A_CORE).filter_map(parts).collect();
            front = next.iter().flat_map(|(_, parts)| &parts.calls).map(|(to, _)| *to).collect();
            found.extend(next);
        }
        found.sort_unstable_by_key(|(at, _)| *at);
        let (services, mut parts): (Vec<usize>, Vec<Parts<usize>>) = found.into_iter().unzip();
        let mut number = vec![0; self.services.len()];
        services.iter().enumerate().for_each(|(at, service)| number[*service] = at);
        parts.iter_mut().flat_map(|parts| &mut parts.calls).for_each(|(to, _)| *to = number[*to]);
        Behind { services, parts }
    }

    fn suspect(&self, number: usize) -> Option<Suspect> {
        match self.near.services.get(number) {
            Some(service) => Some(Suspect { service: service.name.clone(), edge: None }),
            None => {
                let key = &self.near.edges.get(number - self.services.len())?.key;
                Some(Suspect { service: key.server.clone(), edge: Some(key.clone()) })
            }
        }
    }

    /// With numbers of suspects instead of edges.
    fn numbered_parts(&self, at: usize, blamed: Blamed) -> Parts<usize> {
        let mut parts = Parts { own: vec![(at, blamed.own)], ..Parts::default() };
        for (edge, weight, edge_to_blame) in blamed.calls {
            if edge_to_blame {
                parts.own.push((self.services.len() + edge, weight));
            } else if let Some(along) = self.along(edge).filter(|_| weight > NEGLIGIBLE) {
                parts.calls.push((along.server, weight));
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::Flow;
    use super::*;
    use crate::detect::near::{Near, NearEdge};

    /// Flows of edges given as (client, server, requests, failed, shed).
    fn flows(edges: &[(&str, &str, f64, f64, f64)]) -> BTreeMap<EdgeKey, Flow> {
        let flow = |(client, server, requests, failed, shed): &(&str, &str, f64, f64, f64)| {
            let key = EdgeKey { client: (*client).into(), server: (*server).into(), protocol: Default::default() };
            let flow = Flow {
                requests: *requests,
                failed: *failed,
                reached: failed - shed,
                was_healthy: true,
                ..Flow::default()
            };
            (key, flow)
        };
        edges.iter().map(flow).collect()
    }

    /// With self time above normal of some services, in seconds.
    fn measured(edges: BTreeMap<EdgeKey, Flow>, self_time: &[(&str, f64)]) -> Flows {
        let (keys, flows): (Vec<EdgeKey>, Vec<Flow>) = edges.into_iter().unzip();
        let near = Near::numbered(keys.into_iter().map(|key| NearEdge::new(key, (0, 0))).collect());
        let of = |name: &ServiceName| self_time.iter().find(|(known, _)| name == &ServiceName::from(*known));
        let self_time: Vec<_> = near.services.iter().map(|service| of(&service.name).map(|known| known.1)).collect();
        Flows::new(Arc::new(near), flows, &self_time)
    }

    fn failures(edges: BTreeMap<EdgeKey, Flow>, target: &str) -> Shares {
        measured(edges, &[]).share_failures(&[target.into()])
    }

    fn top(shares: &Shares) -> (String, f64) {
        shares.scores.first().map(|(suspect, score)| (suspect.service.to_string(), *score)).unwrap()
    }

    #[test]
    fn failures_are_followed_to_the_last_that_no_call_explains() {
        let flows = flows(&[
            ("user", "gateway", 1000.0, 400.0, 0.0),
            ("gateway", "web", 1000.0, 400.0, 0.0),
            ("web", "checkout", 400.0, 400.0, 0.0),
            ("checkout", "payments", 400.0, 400.0, 0.0),
            ("payments", "db", 400.0, 400.0, 0.0),
        ]);
        assert_eq!(top(&failures(flows, "gateway")), ("db".into(), 1.0));
    }

    #[test]
    fn a_dark_server_is_still_explained_by_what_reached_it_before() {
        let flows = flows(&[
            ("user", "web", 1000.0, 400.0, 0.0),
            ("web", "payments", 400.0, 400.0, 390.0),
            ("payments", "db", 10.0, 10.0, 5.0),
        ]);
        assert_eq!(top(&failures(flows, "web")).0, "db");
    }

    #[test]
    fn a_breaker_that_opened_for_no_failure_makes_the_edge_the_suspect() {
        let flows = flows(&[("user", "web", 100.0, 100.0, 0.0), ("web", "db", 100.0, 100.0, 100.0)]);
        let shares = failures(flows, "web");
        assert!(shares.scores[0].0.edge.is_some(), "{shares:?}");
    }

    #[test]
    fn what_sidecars_saw_start_here_beats_the_shares() {
        let mut flows = flows(&[("user", "web", 100.0, 50.0, 0.0), ("web", "ads", 100.0, 80.0, 0.0)]);
        for (key, flow) in &mut flows {
            (flow.answered, flow.seen) = (flow.reached, Some(flow.requests));
            // The advertisements fail, but web does not need them: its own failures have no failed call.
            flow.origin = if key.server == ServiceName::from("web") { 50.0 } else { 80.0 };
        }
        assert_eq!(top(&failures(flows, "web")), ("web".into(), 1.0));
    }

    #[test]
    fn a_cycle_ends_and_blames_the_member_with_its_own_failures() {
        let mut flows =
            flows(&[("user", "a", 100.0, 60.0, 0.0), ("a", "b", 100.0, 60.0, 0.0), ("b", "a", 100.0, 60.0, 0.0)]);
        for (key, flow) in &mut flows {
            flow.answered = flow.reached;
            (flow.origin, flow.propagated) =
                if key.server == ServiceName::from("b") { (flow.reached, 0.0) } else { (0.0, flow.reached) };
        }
        assert_eq!(top(&failures(flows, "a")), ("b".into(), 1.0));
    }

    #[test]
    fn what_another_fault_leaves_is_no_reason_to_suspect_somebody_else() {
        let suspect = |service: &str| Suspect { service: service.into(), edge: None };
        let shares =
            |cart: f64| Shares { scores: vec![(suspect("pricing"), 1.0 - cart), (suspect("cart"), cart)], total: 9.0 };
        let own = [suspect("mail")].into();
        let mut others = Others { roots: [suspect("pricing")].into(), ..Others::default() };
        assert_eq!(shares(0.1).without(&own, &others), Shares::default());
        let left = shares(0.5).without(&own, &others);
        assert_eq!((top(&left), left.total), (("cart".into(), 1.0), 4.5));
        others.edges.insert("web>cart:http".parse().unwrap());
        assert_eq!(shares(0.5).without(&own, &others), Shares::default(), "it is on the way to the other");
    }

    #[test]
    fn who_was_never_well_explains_nobody() {
        let mut flows = flows(&[("user", "web", 100.0, 50.0, 0.0), ("web", "broken", 100.0, 100.0, 0.0)]);
        flows.values_mut().filter(|flow| flow.failed == 100.0).for_each(|flow| flow.was_healthy = false);
        assert_eq!(top(&failures(flows, "web")).0, "web");
    }

    #[test]
    fn a_caller_whose_places_are_taken_by_a_slow_call_is_crowded_not_guilty() {
        let mut flows = flows(&[("user", "web", 100.0, 40.0, 0.0), ("web", "db", 60.0, 0.0, 0.0)]);
        for (key, flow) in &mut flows {
            let entry = key.server == ServiceName::from("web");
            (flow.slower, flow.origin, flow.answered) = if entry { (90.0, 40.0, 40.0) } else { (30.0, 0.0, 0.0) };
        }
        let self_time = [("web", 60.0), ("db", 30.0)];
        let crowded = measured(flows.clone(), &self_time);
        assert_eq!(top(&crowded.share_failures(&["web".into()])), ("db".into(), 1.0));
        flows.values_mut().for_each(|flow| flow.slower = 3.0);
        let guilty = measured(flows, &self_time);
        assert_eq!(top(&guilty.share_failures(&["web".into()])).0, "web");
    }

    #[test]
    fn added_latency_is_charged_to_self_time() {
        let mut flows = flows(&[("user", "web", 100.0, 0.0, 0.0), ("web", "db", 100.0, 0.0, 0.0)]);
        flows.values_mut().for_each(|flow| flow.slower = 30.0);
        let flows = measured(flows, &[("web", 1.0), ("db", 29.0)]);
        let (service, score) = top(&flows.share_latency(&["web".into()]));
        assert!(service == "db" && score > 0.9, "{service} {score}");
    }
}
