//! Own excess: what of a service's excess its own dependencies do not explain, and what share of the entry points' excess goes
//! away without it.
//!
//! For failures. Of the requests that reached service `s` and failed beyond its normal share, `own(s)` started there:
//! - those its sidecar saw fail with no failed call of their own (exact, when the application passes trace context on);
//! - of those without such knowledge, and of those that its clients never got an answer to: what is left after the failed calls
//!   that `s` itself made (shed ones included).
//!
//! The rest is shared out among the called, by what `s` saw fail on each edge. Followed callee first over the condensation of
//! the graph (cycles collapsed), each service gets a *mix*: which suspects its failures come from, in shares that sum to one.
//! A suspect's score is its share in the mix of the targets: the degraded entry points, or while none is, the
//! degraded services that no other degraded one calls.
//!
//! For latency the same, with seconds of added time instead of failed requests, and self time instead of failed calls.
//!
//! Places. A request holds its place in a server while it waits for its calls, so a slow dependency fills its callers' queues: their own time grows and
//! they reject what they have no place for. Where the added time of a service's calls is at least 30 % of the time it added itself, its own part goes to
//! those calls.
//!
//! Time. A caller that gave up waiting is no failed call of the server's: such failures are divided as the added time is, between the server's
//! own time and that of its calls.
//!
//! The way. Of what a call lost, the part that the server's sidecar neither failed nor was slow about while it lived and answered others
//! belongs to the edge: packets lost, or a client that waits too short a time. Of what a call took longer, the gap that the
//! client waited beyond the server's own time does. A breaker that opened although hardly more than the normal share of what
//! reached the server failed is the edge's own fault, too.
//!
//! Edge cases. A call that a breaker shed counts on the edge, for whoever made the breaker open, never as an answer of the server: the server's mix
//! comes from what did reach it, earlier in the incident; if nothing ever failed there, the edge itself is the suspect. A
//! server that answers its other clients well, and whose sidecar does not see the lost requests, is cleared: the edge is the
//! suspect. A service that was never seen well explains nobody's failures.
//!
//! Source: `cascades.md`'s own excess; on PetShop and Nezha it beat walks and learned graphs.

use std::collections::{BTreeMap, BTreeSet};

use tripline_model::{EdgeKey, ServiceName};

use crate::share_out::{Mix, NEGLIGIBLE, Parts, mixes};

/// Share of a service's own added time that its calls must have added to explain it; the specification's 30 %.
const EXPLAINS: f64 = 0.3;
/// Seconds a request under which added time fills no queue.
const NOTICEABLE: f64 = 0.010;

/// Seconds that a caller waits at least before it gives up.
const PATIENCE: f64 = 0.1;

/// Who may have been first: a service, or the way between two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspect {
    /// The service; of an edge, its server.
    pub service: ServiceName,
    /// The edge, when it and not the service is suspected.
    pub edge: Option<EdgeKey>,
}

/// What a suspect is suspected of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspectKind {
    /// Its own failures.
    Errors,
    /// Its own time.
    Latency,
    /// The way to it.
    Network,
    /// More requests than normal, its own idea.
    Demand,
}

impl SuspectKind {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Network => "network",
            Self::Demand => "demand",
        }
    }
}

/// What one edge carried in an incident's span of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Flow {
    /// Requests the client made.
    pub(super) requests: f64,
    /// Failed ones above the edge's normal share, shed ones included.
    pub(super) failed: f64,
    /// Those of them that were not shed: they reached the server, or were lost on the way.
    pub(super) reached: f64,
    /// Requests the server's sidecar saw; none without such a sidecar.
    pub(super) seen: Option<f64>,
    /// Failures that started at the server, by its sidecar.
    pub(super) origin: f64,
    /// Failures that the server passed on, by its sidecar.
    pub(super) propagated: f64,
    /// All failures the server answered, by its sidecar.
    pub(super) answered: f64,
    /// Seconds of latency above normal, over all requests.
    pub(super) slower: f64,
    /// Those of them that the server's sidecar did not see.
    pub(super) gap: f64,
    /// Failed ones of `reached` that are the way's, not the server's.
    pub(super) lost: f64,
    /// Whether a breaker rejects although what reaches the server is as well as ever.
    pub(super) eager: bool,
    /// Whether the server ever answered on this edge as it should.
    pub(super) was_healthy: bool,
}

/// Flows by edge, and self time above normal by service, in seconds; absent where no sidecar knows it.
#[derive(Debug, Default)]
pub(super) struct Flows {
    pub(super) edges: BTreeMap<EdgeKey, Flow>,
    pub(super) self_time: BTreeMap<ServiceName, f64>,
}

/// A share-out of excess: suspects by score, best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shares {
    pub(super) scores: Vec<(Suspect, f64)>,
    /// What was shared out: failed requests or seconds at the targets.
    pub(super) total: f64,
}

impl Shares {
    /// What is left when the shares of others' suspects are taken away: those of `own`, while there are `foreign` ones.
    pub(super) fn without(mut self, own: &BTreeSet<Suspect>, foreign: &BTreeSet<Suspect>) -> Self {
        if foreign.is_empty() {
            return self;
        }
        let known = self.scores.iter().any(|(suspect, _)| own.contains(suspect));
        self.scores.retain(|(suspect, _)| if known { own.contains(suspect) } else { !foreign.contains(suspect) });
        let left: f64 = self.scores.iter().map(|(_, score)| score).sum();
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
    /// Calls with their weight, and whether the edge itself is to blame rather than its server.
    calls: Vec<(EdgeKey, f64, bool)>,
}

impl Flows {
    /// Failures that reached `service` beyond normal, over all clients.
    pub(super) fn reached(&self, service: &ServiceName) -> f64 {
        self.calling(service).map(|(_, flow)| flow.reached).sum()
    }

    /// Failed requests of `service` that started there.
    pub(super) fn own_failures(&self, service: &ServiceName) -> f64 {
        self.own_and_waited(service).0
    }

    /// Those, and those of which a caller gave up while the service waited for its own calls.
    fn own_and_waited(&self, service: &ServiceName) -> (f64, f64) {
        let reached = self.reached(service);
        let (mut origin, mut propagated, mut answered, mut lost) = (0.0, 0.0, 0.0, 0.0);
        for (_, flow) in self.calling(service) {
            origin += flow.origin;
            propagated += flow.propagated;
            answered += flow.answered;
            lost += flow.lost;
        }
        let reached = (reached - lost).max(0.0);
        let unanswered = (reached - answered).max(0.0);
        let unknown = (answered - origin - propagated).max(0.0) + unanswered;
        let calls: f64 =
            self.called_by(service).filter(|(_, flow)| flow.was_healthy).map(|(_, flow)| flow.failed).sum();
        let unexplained = (unknown - (calls - propagated).max(0.0)).max(0.0);
        let waiting: f64 = self.called_by(service).map(|(_, flow)| flow.slower).sum();
        let own_time = self.self_time.get(service).copied().unwrap_or(0.0);
        // Nobody gives up after no time: what was refused at once did not wait.
        let given_up = unexplained.min(unanswered).min(waiting / PATIENCE);
        let waited = if waiting > NEGLIGIBLE { given_up * waiting / (waiting + own_time) } else { 0.0 };
        ((origin + unexplained - waited).min(reached), waited.min(reached))
    }

    /// Whether a service's own part came from waiting for slow calls with its places taken.
    fn is_crowded(&self, service: &ServiceName) -> bool {
        let added = self.self_time.get(service).copied().unwrap_or(0.0);
        let requests: f64 = self.calling(service).map(|(_, flow)| flow.requests).sum();
        let waited: f64 =
            self.called_by(service).filter(|(_, flow)| flow.was_healthy).map(|(_, flow)| flow.slower).sum();
        added > NOTICEABLE * requests && waited > NOTICEABLE * requests && waited >= EXPLAINS * added
    }

    /// Whether all failures on `key` are the way's fault: its breaker is too eager, or the server's sidecar is alive and never saw them, or
    /// all it did see went well while others are answered as ever.
    fn blames_edge(&self, key: &EdgeKey, flow: &Flow) -> bool {
        if flow.eager {
            return true;
        }
        let unseen = flow.seen.is_some_and(|seen| seen < 0.5 * (flow.requests - (flow.failed - flow.reached)));
        let others_well = self.calling(&key.server).any(|(other, flow)| {
            other.client != key.client && flow.requests > 0.0 && flow.reached < 0.05 * flow.requests
        });
        let nothing_reached = self.reached(&key.server) <= NEGLIGIBLE;
        nothing_reached || (unseen && others_well && flow.answered <= NEGLIGIBLE)
    }

    fn calling<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = (&'a EdgeKey, &'a Flow)> {
        self.edges.iter().filter(move |(key, _)| key.server == *service)
    }

    fn called_by<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = (&'a EdgeKey, &'a Flow)> {
        self.edges.iter().filter(move |(key, _)| key.client == *service)
    }

    /// Shares out the failures of `targets`.
    pub(super) fn share_failures(&self, targets: &[ServiceName]) -> Shares {
        let way = |key: &EdgeKey, flow: &Flow| {
            let share = if self.blames_edge(key, flow) { 1.0 } else { flow.lost / flow.reached.max(NEGLIGIBLE) };
            (flow.failed, share.min(1.0))
        };
        self.share(targets, way, |service| {
            let (mut own, mut waited) = self.own_and_waited(service);
            if self.is_crowded(service) {
                (own, waited) = (0.0, own + waited);
            }
            let rest = (self.reached(service) - own - waited).max(0.0);
            let failed: Vec<(&EdgeKey, &Flow)> =
                self.called_by(service).filter(|(_, flow)| flow.failed > NEGLIGIBLE && flow.was_healthy).collect();
            let total: f64 = failed.iter().map(|(_, flow)| flow.failed).sum();
            let mut calls = Vec::with_capacity(failed.len());
            for (key, flow) in failed {
                let weight = rest * flow.failed / total;
                let (_, way) = way(key, flow);
                calls.push((key.clone(), weight * way, true));
                calls.push((key.clone(), weight * (1.0 - way), false));
            }
            let slow: f64 = self.called_by(service).map(|(_, flow)| flow.slower).sum();
            for (key, flow) in self.called_by(service).filter(|(_, flow)| waited > 0.0 && flow.slower > NEGLIGIBLE) {
                let (weight, gap) = (waited * flow.slower / slow, flow.gap.min(flow.slower) / flow.slower);
                calls.push((key.clone(), weight * gap, true));
                calls.push((key.clone(), weight * (1.0 - gap), false));
            }
            // Whatever no call explains stays with the service.
            Blamed { own: if total > NEGLIGIBLE { own } else { own + rest }, calls }
        })
    }

    /// Shares out the added latency of `targets`.
    pub(super) fn share_latency(&self, targets: &[ServiceName]) -> Shares {
        let way = |_: &EdgeKey, flow: &Flow| (flow.slower, flow.gap.min(flow.slower) / flow.slower.max(NEGLIGIBLE));
        self.share(targets, way, |service| {
            let calls: Vec<(EdgeKey, f64, bool)> = self
                .called_by(service)
                .filter(|(_, flow)| flow.slower > NEGLIGIBLE && flow.was_healthy)
                .flat_map(|(key, flow)| {
                    let gap = flow.gap.min(flow.slower);
                    [(key.clone(), gap, true), (key.clone(), flow.slower - gap, false)]
                })
                .collect();
            let called: f64 = calls.iter().map(|(_, weight, _)| weight).sum();
            let all: f64 = self.calling(service).map(|(_, flow)| flow.slower).sum();
            let own = self.self_time.get(service).copied().unwrap_or((all - called).max(0.0));
            let own = if self.is_crowded(service) { 0.0 } else { own };
            Blamed { own, calls }
        })
    }

    /// Shares out what `parts` says of each service. `way` says how much came in over an edge, and what share of it the way itself is to
    /// blame for.
    fn share(
        &self,
        targets: &[ServiceName],
        way: impl Fn(&EdgeKey, &Flow) -> (f64, f64),
        parts: impl Fn(&ServiceName) -> Blamed,
    ) -> Shares {
        let mut services: Vec<&ServiceName> = self.edges.keys().flat_map(|key| [&key.client, &key.server]).collect();
        services.sort_unstable();
        services.dedup();
        let parts: Vec<Parts<Suspect>> =
            services.iter().map(|service| parts(service).into_parts(service, &services)).collect();
        // Nothing failed that anyone saw: a cycle of calls without an own part, or a service that is well.
        let mixes = mixes(&parts, |members| {
            let share = 1.0 / members.len().max(1) as f64;
            let suspect = |at: &usize| services.get(*at).map(|service| (Suspect::service(service), share));
            members.iter().filter_map(suspect).collect()
        });
        let mut shares: Mix<Suspect> = Mix::new();
        let mut total = 0.0;
        for target in targets {
            let Ok(at) = services.binary_search(&target) else { continue };
            let (Some(parts), Some(mix)) = (parts.get(at), mixes.get(at)) else { continue };
            let into: Vec<(&EdgeKey, (f64, f64))> =
                self.calling(target).map(|(key, flow)| (key, way(key, flow))).collect();
            let came: f64 = into.iter().map(|(_, (weight, _))| weight).sum();
            let own: f64 = parts.own.iter().map(|(_, amount)| amount).sum();
            let inside = own + parts.calls.iter().map(|(_, amount)| amount).sum::<f64>();
            let excess = if inside > NEGLIGIBLE { inside } else { came };
            total += excess;
            let mut within = 1.0;
            for (key, (weight, share)) in into.into_iter().filter(|(_, (weight, share))| weight * share > NEGLIGIBLE) {
                let suspect = Suspect { service: key.server.clone(), edge: Some(key.clone()) };
                *shares.entry(suspect).or_default() += excess * weight / came * share;
                within -= weight / came * share;
            }
            for (suspect, share) in mix {
                *shares.entry(suspect.clone()).or_default() += excess * within.max(0.0) * share;
            }
        }
        let mut scores: Vec<(Suspect, f64)> = shares
            .into_iter()
            .map(|(suspect, part)| (suspect, if total > NEGLIGIBLE { part / total } else { 0.0 }))
            .filter(|(_, score)| *score > 0.01)
            .collect();
        scores.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Shares { scores, total }
    }
}

impl Suspect {
    fn service(service: &ServiceName) -> Self {
        Self { service: service.clone(), edge: None }
    }
}

impl Blamed {
    /// With indices into `services`, which are sorted, instead of names.
    fn into_parts(self, service: &ServiceName, services: &[&ServiceName]) -> Parts<Suspect> {
        let mut parts = Parts { own: vec![(Suspect::service(service), self.own)], ..Parts::default() };
        for (key, weight, edge_to_blame) in self.calls {
            if edge_to_blame {
                parts.own.push((Suspect { service: key.server.clone(), edge: Some(key) }, weight));
            } else if let Some(to) = services.binary_search(&&key.server).ok().filter(|_| weight > NEGLIGIBLE) {
                parts.calls.push((to, weight));
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flows of edges given as (client, server, requests, failed, shed).
    fn flows(edges: &[(&str, &str, f64, f64, f64)]) -> Flows {
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
        Flows { edges: edges.iter().map(flow).collect(), self_time: BTreeMap::new() }
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
        assert_eq!(top(&flows.share_failures(&["gateway".into()])), ("db".into(), 1.0));
    }

    #[test]
    fn a_dark_server_is_still_explained_by_what_reached_it_before() {
        let flows = flows(&[
            ("user", "web", 1000.0, 400.0, 0.0),
            ("web", "payments", 400.0, 400.0, 390.0),
            ("payments", "db", 10.0, 10.0, 5.0),
        ]);
        assert_eq!(top(&flows.share_failures(&["web".into()])).0, "db");
    }

    #[test]
    fn a_breaker_that_opened_for_no_failure_makes_the_edge_the_suspect() {
        let flows = flows(&[("user", "web", 100.0, 100.0, 0.0), ("web", "db", 100.0, 100.0, 100.0)]);
        let shares = flows.share_failures(&["web".into()]);
        assert!(shares.scores[0].0.edge.is_some(), "{shares:?}");
    }

    #[test]
    fn what_sidecars_saw_start_here_beats_the_shares() {
        let mut flows = flows(&[("user", "web", 100.0, 50.0, 0.0), ("web", "ads", 100.0, 80.0, 0.0)]);
        for (key, flow) in &mut flows.edges {
            (flow.answered, flow.seen) = (flow.reached, Some(flow.requests));
            // The advertisements fail, but web does not need them: its own failures have no failed call.
            flow.origin = if key.server == ServiceName::from("web") { 50.0 } else { 80.0 };
        }
        assert_eq!(top(&flows.share_failures(&["web".into()])), ("web".into(), 1.0));
    }

    #[test]
    fn a_cycle_ends_and_blames_the_member_with_its_own_failures() {
        let mut flows =
            flows(&[("user", "a", 100.0, 60.0, 0.0), ("a", "b", 100.0, 60.0, 0.0), ("b", "a", 100.0, 60.0, 0.0)]);
        for (key, flow) in &mut flows.edges {
            flow.answered = flow.reached;
            (flow.origin, flow.propagated) =
                if key.server == ServiceName::from("b") { (flow.reached, 0.0) } else { (0.0, flow.reached) };
        }
        assert_eq!(top(&flows.share_failures(&["a".into()])), ("b".into(), 1.0));
    }

    #[test]
    fn who_was_never_well_explains_nobody() {
        let mut flows = flows(&[("user", "web", 100.0, 50.0, 0.0), ("web", "broken", 100.0, 100.0, 0.0)]);
        flows.edges.values_mut().filter(|flow| flow.failed == 100.0).for_each(|flow| flow.was_healthy = false);
        assert_eq!(top(&flows.share_failures(&["web".into()])).0, "web");
    }

    #[test]
    fn a_caller_whose_places_are_taken_by_a_slow_call_is_crowded_not_guilty() {
        let mut flows = flows(&[("user", "web", 100.0, 40.0, 0.0), ("web", "db", 60.0, 0.0, 0.0)]);
        for (key, flow) in &mut flows.edges {
            let entry = key.server == ServiceName::from("web");
            (flow.slower, flow.origin, flow.answered) = if entry { (90.0, 40.0, 40.0) } else { (30.0, 0.0, 0.0) };
        }
        flows.self_time = [("web".into(), 60.0), ("db".into(), 30.0)].into();
        assert_eq!(top(&flows.share_failures(&["web".into()])), ("db".into(), 1.0));
        flows.edges.values_mut().for_each(|flow| flow.slower = 3.0);
        assert_eq!(top(&flows.share_failures(&["web".into()])).0, "web");
    }

    #[test]
    fn added_latency_is_charged_to_self_time() {
        let mut flows = flows(&[("user", "web", 100.0, 0.0, 0.0), ("web", "db", 100.0, 0.0, 0.0)]);
        flows.edges.values_mut().for_each(|flow| flow.slower = 30.0);
        flows.self_time = [("web".into(), 1.0), ("db".into(), 29.0)].into();
        let (service, score) = top(&flows.share_latency(&["web".into()]));
        assert!(service == "db" && score > 0.9, "{service} {score}");
    }
}
