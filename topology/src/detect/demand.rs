//! Who asks for more than before? Errors and latency blame the server, demand blames the client.
//!
//! The requests since the onset, five to fifty seconds of them, are compared with those of the minute before. (Requests are counted when they end:
//! a few seconds would take the burst after a stall for demand.) Where a service gets at least 30 % more
//! (and by a Poisson z above 6), the client whose requests grew most is looked at: if its own demand grew as much, it only passes it
//! on, and the question is asked again there; if not, it is the one that asks for more. Retries do not count: a client that
//! repeats what failed is part of the harm, not where it began. Callers from outside are where the question ends.
//!
//! Where nothing grew, a client that calls twice as often for each request that it gets is the one that asks for more. That is asked of the
//! seconds around the onset and of those from the onset on: where breakers above the client open within a moment, it gets a handful of
//! requests afterwards, and three good seconds before would hide what it makes of them. The latter waits for a whole window, in which whoever
//! waits for an answer has given up: requests are counted when they end, their calls before.
//!
//! Where breakers nearer to the users kept a good part of the requests away in the minute before, what is more now is only what is usual.

use std::collections::BTreeSet;
use std::time::Duration;

use tripline_model::{EdgeKey, NodeKind, Reporter, ServiceName, Timestamp};

use super::Suspect;
use super::incident::View;
use crate::graph::{Brief, EdgeState, FINE_SECS};

/// Growth that counts as demand above its baseline; the specification's.
const GROWTH: f64 = 1.3;
/// Poisson z of the growth: whether requests grew is asked of many services many times.
const Z: f64 = 6.0;
/// With what the seconds around the onset are compared: so many seconds, of which at least so many must have been seen. They shrink as time goes
/// on: of what is older than [`FINE_SECS`] no second is known by itself, and where breakers open and close each second is another.
const BEFORE: u64 = 60;
const SEEN: u64 = 20;
/// An onset is dated to a window or a second; demand grew shortly before.
const SHORTLY: Duration = Duration::from_secs(3);
/// Less than this says nothing: callers whose requests failed at once come back sooner, and users with them.
const LEAST: Duration = Duration::from_secs(5);
/// For so long after the onset demand is measured; later too few of the seconds before it are known.
pub(super) const AFTER: Duration = Duration::from_secs(FINE_SECS as u64 - SEEN - 5);
/// Multiple of the calls a request from which they count as demand: requests that wait, and calls that are no longer made, move it, too.
const REPEATED: f64 = 2.0;
/// Calls that the question is passed on over at most.
const DEEPEST: usize = 16;
/// Share of what there is more now that breakers must have kept away before to explain it.
const KEPT_AWAY: f64 = 0.5;
/// Callers of callers that are asked whether they were kept away.
const MOST_CALLERS: usize = 1_000;

/// A growing demand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Demand {
    /// Who asks for more.
    pub(super) client: ServiceName,
    /// How many times as much reaches the service that was asked about.
    pub(super) growth: f64,
}

/// The demand that may be behind a root now.
pub(super) fn behind(view: &View<'_>, root: &Suspect, now: Timestamp) -> Option<ServiceName> {
    let onset = now - view.settings.window * 2;
    root.edge.is_none().then(|| of(view, &root.service, (onset, now)))?.map(|demand| demand.client)
}

/// The seconds around an onset, once they are enough: what comes sooner because others failed is no demand. The one that goes on is not whole.
fn around((onset, now): (Timestamp, Timestamp)) -> Option<(Timestamp, Timestamp)> {
    let span = (onset - SHORTLY, now.min(onset + AFTER).window_start(Duration::from_secs(1)));
    (span.1 >= span.0 + LEAST).then_some(span)
}

/// Whose demand on `service` grew at `onset`.
pub(super) fn of(view: &View<'_>, service: &ServiceName, (onset, now): (Timestamp, Timestamp)) -> Option<Demand> {
    let span = around((onset, now))?;
    grown(view, service, span).or_else(|| repeating(view, service, span))
}

/// Who asks for more of `service`, of which more is asked.
fn grown(view: &View<'_>, service: &ServiceName, span: (Timestamp, Timestamp)) -> Option<Demand> {
    let growth = growth(view, service, span).filter(|growth| !comes_back(view, service, *growth, span))?;
    Some(Demand { client: client(view, service, span, &mut BTreeSet::new())?, growth })
}

/// Who calls `service` so many times more often for each request of its own. Where breakers keep requests away from that client, the sum of
/// its calls does not grow, but its calls a request do.
fn repeating(view: &View<'_>, service: &ServiceName, span: (Timestamp, Timestamp)) -> Option<Demand> {
    let length = span.1.since(span.0).as_secs_f64();
    let of_client = |call: &Asked<'_>| {
        let own = reached(view, &call.key.client, span);
        // What a breaker kept away from it made it call nobody.
        let [before, during] = [0, 1].map(|at| own.iter().map(|edge| edge.passed[at]).sum::<f64>());
        let expected = call.before / before * during * length;
        let calls = (call.during - call.retries.max(0.0)) * length;
        let z = (calls - expected) / (call.weight * expected + 1.0).sqrt();
        let growth = calls / expected;
        (before > 0.0 && call.before > 0.0 && expected >= 1.0 && growth >= REPEATED && z > Z)
            .then(|| Demand { client: call.key.client.clone(), growth })
    };
    let calls = asked(view, service, span);
    let found =
        calls.iter().filter(|call| view.graph.kind(&call.key.client) == NodeKind::Service).filter_map(of_client);
    found.max_by(|a, b| a.growth.total_cmp(&b.growth))
}

/// The demand behind harm that begins at `service`: there, or where a breaker let through no more than before, at the users' door.
pub(super) fn behind_harm(
    view: &View<'_>,
    service: &ServiceName,
    doors: &[ServiceName],
    onset: (Timestamp, Timestamp),
) -> Option<Demand> {
    let at_door = || {
        let outside = |demand: &Demand| matches!(view.graph.kind(&demand.client), NodeKind::User | NodeKind::External);
        let span = around(onset)?;
        doors.iter().find_map(|door| grown(view, door, span).filter(outside))
    };
    of(view, service, onset).or_else(|| repeating_since(view, service, onset)).or_else(at_door)
}

/// Whether requests to `service`, or to whoever calls it over however many calls, were kept away before `span`, as many as explain that it gets
/// `growth` times as many now.
fn comes_back(view: &View<'_>, service: &ServiceName, growth: f64, span: (Timestamp, Timestamp)) -> bool {
    let least = KEPT_AWAY * (1.0 - 1.0 / growth);
    let (mut seen, mut front) = (BTreeSet::from([service]), vec![service]);
    while let Some(callee) = front.pop() {
        let calls = asked(view, callee, span);
        let before: f64 = calls.iter().map(|call| call.before).sum();
        let passed: f64 = calls.iter().map(|call| call.passed[0]).sum();
        if passed < before && before - passed >= least * before {
            return true;
        }
        for client in calls.into_iter().map(|call| &call.key.client) {
            if seen.len() < MOST_CALLERS && seen.insert(client) {
                front.push(client);
            }
        }
    }
    false
}

/// Who has called `service` so many times more often for each request of its own since the onset itself.
fn repeating_since(view: &View<'_>, service: &ServiceName, (onset, now): (Timestamp, Timestamp)) -> Option<Demand> {
    let second = Duration::from_secs(1);
    let span = (onset.window_start(second), now.min(onset + AFTER).window_start(second));
    (span.1 >= span.0 + view.settings.window).then(|| repeating(view, service, span))?
}

/// What one edge asked for before and during a span, per second: its requests, shed ones included, and retries.
struct Asked<'a> {
    key: &'a EdgeKey,
    before: f64,
    during: f64,
    /// Of those, per second, what no breaker of the client's rejected.
    passed: [f64; 2],
    /// Growth of its retries, in requests a second.
    retries: f64,
    /// Requests that each of those stands for which were really seen.
    weight: f64,
}

fn asked<'a>(view: &View<'a>, service: &'a ServiceName, span: (Timestamp, Timestamp)) -> Vec<Asked<'a>> {
    asked_by(view, service, span, [Reporter::Client, Reporter::Server, Reporter::Spans])
}

/// The same, rather as the service's own sidecar has it. A report of one second is counted with the second in which it began: what came in and what
/// went out compare only within the reports of one sidecar.
fn reached<'a>(view: &View<'a>, service: &'a ServiceName, span: (Timestamp, Timestamp)) -> Vec<Asked<'a>> {
    asked_by(view, service, span, [Reporter::Server, Reporter::Client, Reporter::Spans])
}

fn asked_by<'a>(
    view: &View<'a>,
    service: &'a ServiceName,
    (from, to): (Timestamp, Timestamp),
    reporters: [Reporter; 3],
) -> Vec<Asked<'a>> {
    let edges: Vec<(&'a EdgeKey, &'a EdgeState)> = view.graph.edges_into(service).collect();
    // A young graph has not seen the whole minute; its first seconds may not be whole.
    let second = Duration::from_secs(1);
    let known = u64::from(FINE_SECS).saturating_sub(1 + to.since(from).as_secs());
    let earliest = edges.iter().filter_map(|(_, state)| state.first_counted(from - second * BEFORE as u32, from)).min();
    let seen = earliest.map_or(0, |first| from.as_secs().saturating_sub(first)).saturating_sub(1).min(known);
    if seen < SEEN {
        return Vec::new();
    }
    let start = from - second * seen as u32;
    let (usual, length) = (seen as f64, to.since(from).as_secs_f64());
    let read = |(key, state): (&'a EdgeKey, &'a EdgeState)| {
        let by = |reporter| (reporter, state.brief_by(reporter, start, from), state.brief_by(reporter, from, to));
        let counted = |(_, earlier, now): &(Reporter, Brief, Brief)| earlier.requests > 0 || now.requests > 0;
        let mut all = reporters.into_iter().map(by);
        let nobody = (Reporter::Client, Brief::default(), Brief::default());
        let (reporter, earlier, now) = all.find(counted).unwrap_or(nobody);
        let asked = |brief: &Brief| f64::from(brief.requests) + f64::from(brief.retries);
        let passed = |brief: &Brief| asked(brief) - f64::from(brief.shed);
        Asked {
            key,
            before: asked(&earlier) / usual,
            during: asked(&now) / length,
            passed: [passed(&earlier) / usual, passed(&now) / length],
            retries: f64::from(now.retries) / length - f64::from(earlier.retries) / usual,
            weight: earlier.weight(reporter).max(now.weight(reporter)),
        }
    };
    edges.into_iter().map(read).collect()
}

fn growth(view: &View<'_>, service: &ServiceName, span: (Timestamp, Timestamp)) -> Option<f64> {
    let asked = asked(view, service, span);
    let before: f64 = asked.iter().map(|edge| edge.before).sum();
    let during: f64 = asked.iter().map(|edge| edge.during).sum();
    let length = span.1.since(span.0).as_secs_f64();
    // A request that stands for ten moves the sum by ten.
    let spread: f64 = asked.iter().map(|edge| edge.weight * edge.before).sum();
    let z = (during - before) * length / (spread * length + 1.0).sqrt();
    (before > 0.0 && during >= GROWTH * before && z > Z).then_some(during / before)
}

fn client(
    view: &View<'_>,
    service: &ServiceName,
    span: (Timestamp, Timestamp),
    seen: &mut BTreeSet<ServiceName>,
) -> Option<ServiceName> {
    if seen.len() >= DEEPEST || !seen.insert(service.clone()) {
        return None;
    }
    let asked = asked(view, service, span);
    let grown = asked.iter().max_by(|a, b| (a.during - a.before).total_cmp(&(b.during - b.before)))?;
    let more = grown.during - grown.before;
    let from = &grown.key.client;
    if grown.retries > 0.5 * more {
        return None;
    }
    if matches!(view.graph.kind(from), NodeKind::User | NodeKind::External) {
        return Some(from.clone());
    }
    let times = grown.during / grown.before.max(f64::MIN_POSITIVE);
    match growth(view, from, span) {
        // It passes on what it got itself, give or take.
        Some(own) if own - 1.0 >= 0.5 * (times - 1.0) => client(view, from, span, seen),
        _ => Some(from.clone()),
    }
}
