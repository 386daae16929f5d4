//! The numbers of an incident: flows since it started, candidates with evidence, blast radius.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rayon::prelude::*;
use tripline_model::{EdgeKey, NodeKind, Ratio, Reporter, ServiceName, Timestamp};

use super::{Blast, Candidate, EntryHurt, Evidence, EvidenceKind, Others, View, open, ways};
use crate::detect::blame::{Flow, Flows};
use crate::detect::degraded::EdgeWatch;
use crate::detect::judged::network_gap;
use crate::detect::near::{Near, NearEdge};
use crate::detect::reading::{Counts, EDGES_A_CORE};
use crate::detect::trips::{EdgeTrip, Trip, TripsAlong};
use crate::detect::{Suspect, SuspectKind};
use crate::graph::Brief;

/// Candidates kept; those beyond have next to no share.
pub(super) const MAX_CANDIDATES: usize = 5;

/// Flows and raw counts since an incident started.
pub(super) struct Measured {
    flows: Flows,
    /// In the order of the edges of `flows`.
    counts: Vec<Counted>,
    /// The services whose excess is shared out.
    targets: Vec<ServiceName>,
    entry_points: Arc<BTreeSet<ServiceName>>,
    near: Arc<Near>,
    /// What was counted.
    span: (Timestamp, Timestamp),
}

/// What people are told of one edge.
#[derive(Debug)]
pub(in crate::detect) struct Counted {
    requests: u32,
    failed: u32,
    attempts: u32,
    retries: u32,
    /// Requests with a latency.
    timed: u32,
}

impl Counted {
    fn of(best: &Brief) -> Self {
        let Brief { failed, attempts, retries, timed, .. } = *best;
        Self { requests: best.asked(), failed, attempts, retries, timed }
    }

    /// Seconds above normal, per request, of all that the edge's flow was slower.
    fn slower(&self, flow: &Flow) -> f64 {
        if self.timed > 0 { flow.slower / f64::from(self.timed) } else { 0.0 }
    }
}

impl Measured {
    /// `read` is what every edge of the affected services carried in `[since, now]`.
    pub(super) fn of(
        view: &View<'_>,
        (near, read): (&Arc<Near>, impl IndexedParallelIterator<Item = Counts>),
        (since, now): (Timestamp, Timestamp),
    ) -> Self {
        let (flows, counts) = flows(view, (near, read, &view.trips_along(near)), (since, now));
        let entry_points = view.nears.entry_points(view.graph);
        let targets = targets(view, near, &entry_points);
        Self { flows, counts, targets, entry_points, near: Arc::clone(near), span: (since, now + SECOND) }
    }

    /// Suspects by score, with their evidence. Failures are shared out when there are any worth it, else latency; while
    /// neither has been counted yet, open breakers are all there is.
    /// `others` tells apart what belongs to other incidents: their share is left out.
    pub(super) fn candidates(
        &self,
        view: &View<'_>,
        trips: &[EdgeTrip],
        degraded: &BTreeSet<EdgeKey>,
        (own, others): (&BTreeSet<Suspect>, &Others),
    ) -> Vec<Candidate> {
        let failures = self.flows.share_failures(&self.targets).without(own, others);
        let (shares, of_latency) = if failures.total >= view.settings.min_failures as f64 {
            (failures, false)
        } else {
            (self.flows.share_latency(&self.targets).without(own, others), true)
        };
        if shares.total <= 0.0 || (of_latency && !self.has_slow(view, degraded)) {
            return self.behind_breakers(view, trips, degraded);
        }
        let explains = if of_latency { EvidenceKind::ExplainsLatency } else { EvidenceKind::ExplainsFailures };
        shares
            .scores
            .into_iter()
            .take(MAX_CANDIDATES)
            .map(|(suspect, score)| {
                let evidence = self.evidence(view, &suspect, (explains, score, shares.total), trips);
                let kind = match (&suspect.edge, of_latency) {
                    (Some(_), _) => SuspectKind::Network,
                    (None, true) => SuspectKind::Latency,
                    (None, false) => SuspectKind::Errors,
                };
                Candidate { suspect, kind, score: Ratio::new(score), evidence }
            })
            .collect()
    }

    /// Suspects by open breakers alone.
    pub(super) fn behind_breakers(
        &self,
        view: &View<'_>,
        trips: &[EdgeTrip],
        degraded: &BTreeSet<EdgeKey>,
    ) -> Vec<Candidate> {
        open::deepest(view, degraded, (trips, self.span), &self.flows)
    }

    /// The entry points that are hurt, or whoever is nearest to them.
    pub(super) fn doors(&self) -> &[ServiceName] {
        &self.targets
    }

    fn has_slow(&self, view: &View<'_>, degraded: &BTreeSet<EdgeKey>) -> bool {
        degraded.iter().any(|key| view.watch(key).is_some_and(EdgeWatch::is_only_slow))
    }

    fn evidence(
        &self,
        view: &View<'_>,
        suspect: &Suspect,
        (explains, score, total): (EvidenceKind, f64, f64),
        trips: &[EdgeTrip],
    ) -> Vec<Evidence> {
        let service = &suspect.service;
        let at = self.targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let share = Ratio::new(score);
        let text = match explains {
            EvidenceKind::ExplainsLatency => format!("{share} of the latency added at {at} was added by {service}"),
            _ => format!("{:.0} of {total:.0} failed requests at {at} failed first in {service}", score * total),
        };
        let mut evidence = vec![self.found(explains, text, score)];
        let own = self.flows.own_failures(service);
        if own >= 1.0 {
            let text = format!("{own:.0} failed requests started at {service}: no call of its own explains them");
            evidence.push(self.found(EvidenceKind::OwnErrors, text, own));
        }
        let unanswered: f64 = self
            .flows
            .calls_to(service)
            .map(|(_, flow)| if flow.seen.is_none_or(|seen| seen == 0.0) { flow.reached } else { 0.0 })
            .sum();
        if unanswered >= 1.0 {
            let text = format!("{unanswered:.0} requests to {service} failed without its sidecar reporting them");
            evidence.push(self.found(EvidenceKind::NoAnswer, text, unanswered));
        }
        if view.services.is_slow(service)
            && let Some(slower) = self.flows.self_time(service)
        {
            let requests: f64 = self.flows.calls_to(service).map(|(_, flow)| flow.requests).sum();
            let value = slower / requests.max(1.0);
            let text = format!("{service} needs {:.0} ms more of its own time a request than normal", value * 1e3);
            evidence.push(self.found(EvidenceKind::OwnLatency, text, value));
        }
        if let Some((at, EdgeTrip { key, trip })) =
            trips.iter().enumerate().find(|(_, known)| known.key.server == *service)
        {
            let order = if at == 0 { "the first to open" } else { "among the breakers that opened" };
            let text = format!("the breaker {} > {service} was {order} ({})", key.client, trip.reason);
            let lag = trip.at.since(trips.first().map_or(trip.at, |first| first.trip.at)).as_secs_f64();
            evidence.push(self.found(EvidenceKind::BreakerOpen, text, lag));
        }
        if let Some(flow) = suspect.edge.as_ref().and_then(|key| self.flows.edge(key))
            && flow.gap > 0.0
        {
            let value = flow.gap / flow.requests.max(1.0);
            let text = format!("clients wait {:.0} ms a request beyond the time that {service} takes", value * 1e3);
            evidence.push(self.found(EvidenceKind::NetworkGap, text, value));
        }
        let attempts = self.attempts_into(service);
        if attempts > 1.1 {
            let text = format!("clients of {service} made {attempts:.1} attempts a request");
            evidence.push(self.found(EvidenceKind::Retries, text, attempts));
        }
        evidence
    }

    fn found(&self, kind: EvidenceKind, text: String, value: f64) -> Evidence {
        Evidence { kind, text, value, span: self.span }
    }

    /// Attempts per request on the worst edge into `service`; 1 without retries.
    pub(super) fn attempts_into(&self, service: &ServiceName) -> f64 {
        self.flows
            .calls_to(service)
            .filter_map(|(at, _)| self.counts.get(at))
            .map(|c| f64::from(c.attempts) / f64::from(c.attempts.saturating_sub(c.retries).max(1)))
            .fold(1.0, f64::max)
    }

    /// Whom it hurts, the origin not included.
    pub(super) fn blast(&self, origin: &Suspect, touched: &Arc<BTreeSet<EdgeKey>>) -> Blast {
        let servers = self.near.servers().map(|(_, service)| service.name.clone());
        let services: BTreeSet<ServiceName> = servers.filter(|service| *service != origin.service).collect();
        let mut blast = Blast { edges: Arc::clone(touched), ..Blast::default() };
        for service in self.entry_points.iter() {
            let with_flow = |(at, flow)| Some((self.counts.get(at)?, flow));
            let into: Vec<(&Counted, &Flow)> = self.flows.calls_to(service).filter_map(with_flow).collect();
            let requests: u64 = into.iter().map(|(counted, _)| u64::from(counted.requests)).sum();
            let failed: u64 = into.iter().map(|(counted, _)| u64::from(counted.failed)).sum();
            blast.requests += requests;
            blast.failed += failed;
            if services.contains(service) || *service == origin.service {
                let slower = into.iter().map(|(counted, flow)| counted.slower(flow)).fold(0.0, f64::max);
                blast.entries.push(EntryHurt { service: service.clone(), requests, failed, slower });
            }
        }
        blast.services = services;
        blast
    }

    /// What `service` works off in the last two windows, failures of its own left out, as a multiple of what it was asked in the minute before
    /// the incident started; none without its sidecar.
    pub(super) fn work(
        &self,
        view: &View<'_>,
        service: &ServiceName,
        (started, now): (Timestamp, Timestamp),
    ) -> Option<f64> {
        let minute = SECOND * 60;
        let span = view.settings.window * 2;
        let (mut before, mut done) = (0.0, 0.0);
        for (_, state) in view.graph.edges_into(service) {
            before += f64::from(state.brief_by(Reporter::Server, started - minute, started).requests);
            let counts = state.brief_by(Reporter::Server, now - span, now);
            done += f64::from(counts.requests.saturating_sub(counts.origin_failures));
        }
        (before > 0.0).then(|| done / span.as_secs_f64() / (before / minute.as_secs_f64()))
    }

    /// Whether the origin shows nothing of its own in the last two windows: no own failures, not slow, and no breaker into
    /// it keeps it dark.
    pub(super) fn is_well(&self, view: &View<'_>, origin: &Suspect, now: Timestamp) -> bool {
        let recent = Self::recent_failures(view, origin, now);
        let dark = view.graph.edges_into(&origin.service).any(|(_, state)| state.is_alarmed());
        recent < view.settings.min_failures && !dark && !view.services.is_slow(&origin.service)
    }

    fn recent_failures(view: &View<'_>, origin: &Suspect, now: Timestamp) -> u64 {
        let since = now - view.settings.window * 2;
        view.graph
            .edges_into(&origin.service)
            .map(|(_, state)| {
                let server = state.brief_by(Reporter::Server, since, now);
                let client = state.brief_by(Reporter::Client, since, now);
                let unseen = client.failed.saturating_sub(client.shed).saturating_sub(server.failed);
                u64::from(server.origin_failures.max(unseen))
            })
            .sum()
    }
}

/// What one edge has carried.
struct Carried {
    flow: Flow,
    counted: Counted,
    /// Requests with a self time of its server, and their seconds.
    own: (f64, f64),
}

/// What the edges have carried in `[since, now]`, as it was read: above normal, and as people are told.
pub(in crate::detect) fn flows(
    view: &View<'_>,
    (near, read, trips): (&Arc<Near>, impl IndexedParallelIterator<Item = Counts>, &TripsAlong),
    (since, now): (Timestamp, Timestamp),
) -> (Flows, Vec<Counted>) {
    let carried = |(at, (edge, read)): (usize, (&NearEdge, Counts))| {
        let served = read.served();
        Carried {
            flow: flow(view, edge, (&read, trips.of(at)), since),
            counted: Counted::of(&read.best()),
            own: (f64::from(served.self_timed), served.self_micros as f64 * 1e-6),
        }
    };
    let carried: Vec<Carried> =
        near.edges.par_iter().zip(read).with_min_len(EDGES_A_CORE).enumerate().map(carried).collect();
    let mut lives = ways::Lives::new(view, (since, now));
    let (mut flows, mut counts) = (Vec::with_capacity(carried.len()), Vec::with_capacity(carried.len()));
    // By service.
    let mut own = vec![(0.0, 0.0); near.services.len()];
    for (edge, carried) in near.edges.iter().zip(carried) {
        let sum: &mut (f64, f64) = &mut own[edge.server];
        *sum = (sum.0 + carried.own.0, sum.1 + carried.own.1);
        flows.push(Flow { lost: lives.lost(edge, &carried.flow), ..carried.flow });
        counts.push(carried.counted);
    }
    // Seconds of self time above normal, where a sidecar knows it.
    let normal = view.services.normal_self_times(near.services.iter().map(|service| &service.name));
    let above = |(normal, (count, seconds)): (Option<f64>, &(f64, f64))| {
        let normal = normal.unwrap_or(seconds / count);
        (*count > 0.0).then(|| (seconds - normal * count).max(0.0))
    };
    let self_time: Vec<Option<f64>> = normal.zip(&own).map(above).collect();
    (Flows::new(Arc::clone(near), flows, &self_time), counts)
}

const SECOND: Duration = Duration::from_secs(1);

fn has_sidecar(view: &View<'_>, key: &EdgeKey) -> bool {
    view.graph.node(&key.server).is_some_and(|node| node.has_sidecar)
}

fn flow(view: &View<'_>, edge: &NearEdge, (read, trips): (&Counts, &[Trip]), since: Timestamp) -> Flow {
    let watch = view.watches.at_place(edge.place, edge.born);
    let (best, served) = (read.best(), read.served());
    let above =
        |now: Option<f64>, usual: Option<f64>| now.zip(usual).map_or(0.0, |(now, usual)| (now - usual).max(0.0));
    let slower = above(best.mean(), watch.and_then(EdgeWatch::normal_latency));
    let gap = above(network_gap(&best, served), watch.and_then(EdgeWatch::normal_gap));
    let [asked, all_failed, shed] = [best.asked(), best.failed, best.shed].map(f64::from);
    let share = watch.map_or(0.0, EdgeWatch::normal_failures);
    let failed = (all_failed - share * asked).max(0.0);
    // What reached the server, or was lost on the way.
    let arrived = (asked - shed).max(0.0);
    let eager = ways::is_eager(view, (edge, trips), since, (all_failed - shed, arrived, share));
    let reached = if best.failed == 0 || eager { 0.0 } else { failed * (all_failed - shed) / all_failed };
    let [seen, own_failed] = [served.requests, served.failed].map(f64::from);
    // Of what the server failed, what is beyond its normal share.
    let unusual = (1.0 - share * seen / own_failed.max(1.0)).max(0.0);
    let timed = f64::from(best.timed);
    Flow {
        requests: asked,
        failed,
        reached,
        seen: (served.requests > 0 || (best.requests > 0 && has_sidecar(view, &edge.key))).then_some(seen),
        origin: f64::from(served.origin_failures) * unusual,
        propagated: f64::from(served.propagated_failures) * unusual,
        answered: own_failed * unusual,
        slower: slower * timed,
        gap: gap * timed,
        lost: 0.0,
        eager,
        // An edge that nobody has judged yet gets the benefit of the doubt.
        was_healthy: watch.is_none_or(EdgeWatch::was_healthy) || all_failed * 2.0 < asked,
    }
}

/// The degraded entry points; while none is, the degraded services that no other degraded one calls.
fn targets(view: &View<'_>, near: &Near, entry_points: &BTreeSet<ServiceName>) -> Vec<ServiceName> {
    let servers: Vec<&ServiceName> = near.servers().map(|(_, service)| &service.name).collect();
    let names = |of: Vec<&ServiceName>| of.into_iter().cloned().collect::<Vec<_>>();
    let entries: Vec<&ServiceName> = servers.iter().copied().filter(|server| entry_points.contains(*server)).collect();
    if !entries.is_empty() {
        return names(entries);
    }
    let outside = |name: &ServiceName| matches!(view.graph.kind(name), NodeKind::User | NodeKind::External);
    let keys = near.touched().map(|(_, edge)| &edge.key);
    let top: BTreeSet<&ServiceName> = keys
        .filter(|key| outside(&key.client) || servers.binary_search(&&key.client).is_err())
        .map(|key| &key.server)
        .collect();
    names(if top.is_empty() { servers } else { top.into_iter().collect() })
}
