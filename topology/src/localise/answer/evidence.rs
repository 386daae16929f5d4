//! The numbers that speak for a candidate, each with what it was computed from, and the list of what was degraded.

use tripline_model::Timestamp;

use crate::localise::Signal;
use crate::localise::facts::{Edge, Facts, Failed, Service};
use crate::localise::missing::{Early, Missing};
use crate::localise::series::Shift;
use crate::recording::Name;

/// Pieces of one kind given for a candidate; the weightiest stay.
const MOST: usize = 5;

/// One piece of evidence, with the numbers it was computed from. Means are over the requests of the incident.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// Its own time is above its baseline.
    SelfTime {
        /// In which operation; none for all.
        operation: Option<Name>,
        /// Requests in the incident.
        requests: f64,
        /// Baseline median, in milliseconds.
        normal_ms: f64,
        /// By how much it may be exceeded: 3 MAD or 20 %.
        allowed_ms: f64,
        /// Mean in the incident.
        seen_ms: f64,
        /// Seconds above the median, over all requests.
        added_seconds: f64,
    },
    /// Its latency is above its baseline; its own time is not known.
    AnswerTime {
        /// In which operation; none for all.
        operation: Option<Name>,
        /// Requests in the incident.
        requests: f64,
        /// Baseline median, in milliseconds.
        normal_ms: f64,
        /// By how much it may be exceeded: 3 MAD or 20 %.
        allowed_ms: f64,
        /// Mean in the incident.
        seen_ms: f64,
        /// Seconds above the median, over all requests.
        added_seconds: f64,
    },
    /// Between client and server time is lost that neither used.
    NetworkGap {
        /// Who called.
        client: Name,
        /// Who was called.
        server: Name,
        /// Requests in the incident.
        requests: f64,
        /// Baseline median, in milliseconds.
        normal_ms: f64,
        /// By how much it may be exceeded: 3 MAD or 20 %.
        allowed_ms: f64,
        /// Mean in the incident.
        seen_ms: f64,
        /// Seconds above the median, over all requests.
        added_seconds: f64,
    },
    /// Requests to it failed more often than normal.
    Failures {
        /// Requests in the incident.
        requests: f64,
        /// Failed ones.
        failures: f64,
        /// Share of the baseline's requests that failed.
        normal_share: f64,
        /// Failures above that share.
        excess: f64,
        /// Those that had no failed call of their own, where that is known.
        own: Option<f64>,
    },
    /// Requests ended early, without calls that they used to make.
    MissingCalls {
        /// Whose requests.
        client: Name,
        /// Requests in the incident.
        requests: f64,
        /// Calls a request, by the baseline's medians.
        normal_calls: f64,
        /// Calls a request in the incident.
        seen_calls: f64,
        /// Requests taken to have ended early.
        ended_early: f64,
    },
    /// Calls to it were tried several times.
    Retries {
        /// Who called.
        client: Name,
        /// Requests in the incident.
        requests: f64,
        /// Attempts made for them.
        attempts: f64,
    },
    /// Calls were rejected in front of it.
    Shed {
        /// Who called.
        client: Name,
        /// Calls rejected above normal.
        calls: f64,
    },
    /// A breaker in front of it opened.
    BreakerOpened {
        /// Whose.
        client: Name,
        /// When first in the incident.
        at: Timestamp,
    },
}

impl Evidence {
    /// The kind's written form.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SelfTime { .. } => "self_time",
            Self::AnswerTime { .. } => "answer_time",
            Self::NetworkGap { .. } => "network_gap",
            Self::Failures { .. } => "failures",
            Self::MissingCalls { .. } => "missing_calls",
            Self::Retries { .. } => "retries",
            Self::Shed { .. } => "shed",
            Self::BreakerOpened { .. } => "breaker_opened",
        }
    }
}

/// Why something is degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DegradedReason {
    /// More failures than chance explains.
    Failures,
    /// More of its own time than allowed.
    SelfTime,
    /// More latency than allowed, where its own time is not known.
    AnswerTime,
    /// More time lost between client and server than allowed.
    NetworkGap,
    /// A breaker on it opened.
    Breaker,
    /// Too many attempts a request.
    Retries,
}

impl DegradedReason {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::SelfTime => "self_time",
            Self::AnswerTime => "answer_time",
            Self::NetworkGap => "network_gap",
            Self::Breaker => "breaker",
            Self::Retries => "retries",
        }
    }
}

/// A service or an edge that was degraded in two of three windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// The service; of an edge, its server.
    pub service: Name,
    /// The client, of an edge.
    pub client: Option<Name>,
    /// Why.
    pub reasons: Vec<DegradedReason>,
}

/// Everything that was degraded: services first, then edges, each by name.
pub(super) fn degraded(facts: &Facts) -> Vec<Degraded> {
    let services = facts.names.iter().zip(&facts.services).map(|(name, service)| Degraded {
        service: name.clone(),
        client: None,
        reasons: of_service(service),
    });
    let edges = facts.ends.iter().zip(&facts.edges).filter_map(|((client, server), edge)| {
        let (client, server) = (facts.names.get(*client)?.clone(), facts.names.get(*server)?.clone());
        Some(Degraded { service: server, client: Some(client), reasons: of_edge(facts, edge) })
    });
    services.chain(edges).filter(|degraded| !degraded.reasons.is_empty()).collect()
}

fn holds(shift: Option<Shift>) -> bool {
    shift.is_some_and(|shift| shift.holds)
}

fn of_service(service: &Service) -> Vec<DegradedReason> {
    let any = |of: fn(&crate::localise::facts::Operation) -> bool| service.operations.iter().any(of);
    let conditions = [
        (DegradedReason::Failures, service.failed.is_some_and(|failed| failed.holds)),
        (DegradedReason::SelfTime, any(|operation| holds(operation.self_time))),
        (DegradedReason::AnswerTime, any(|operation| operation.self_time.is_none() && holds(operation.latency))),
    ];
    conditions.into_iter().filter(|(_, holds)| *holds).map(|(reason, _)| reason).collect()
}

fn of_edge(facts: &Facts, edge: &Edge) -> Vec<DegradedReason> {
    let conditions = [
        (DegradedReason::Failures, edge.failed.is_some_and(|failed| failed.holds)),
        (DegradedReason::NetworkGap, holds(edge.gap)),
        (DegradedReason::Breaker, edge.opened.is_some()),
        (DegradedReason::Retries, retries(facts, edge)),
    ];
    conditions.into_iter().filter(|(_, holds)| *holds).map(|(reason, _)| reason).collect()
}

fn retries(facts: &Facts, edge: &Edge) -> bool {
    edge.requests >= facts.min_requests && edge.attempts > facts.attempts * edge.requests
}

/// What speaks for a node, or for the edge to it from `edge_from`.
pub(super) fn of(
    facts: &Facts,
    missing: &Missing,
    (node, edge_from): (usize, Option<usize>),
    signal: Signal,
) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    if edge_from.is_none() {
        evidence.extend(facts.services.get(node).and_then(|service| failures(service, signal)));
        evidence.extend(times(facts, node));
        evidence.extend(early(facts, missing, node));
    }
    let name = |at: usize| facts.names.get(at).cloned();
    let callers = facts.callers_of(node).filter(|(_, client, _)| edge_from.is_none_or(|from| from == *client));
    let into: Vec<(usize, usize, &Edge)> = callers.collect();
    let mut gaps: Vec<(f64, Evidence)> = Vec::new();
    for (_, client, edge) in &into {
        gaps.extend(name(*client).zip(name(node)).and_then(|ends| gap(edge, ends)));
    }
    for (_, server, edge) in facts.calls_of(node).filter(|_| edge_from.is_none()) {
        gaps.extend(name(node).zip(name(server)).and_then(|ends| gap(edge, ends)));
    }
    evidence.extend(weightiest(gaps));
    let retried = into.iter().filter(|(_, _, edge)| retries(facts, edge)).filter_map(|(_, client, edge)| {
        Some(Evidence::Retries { client: name(*client)?, requests: edge.requests, attempts: edge.attempts })
    });
    evidence.extend(retried.take(MOST));
    let shed = into.iter().filter(|(_, _, edge)| edge.shed > 0.0);
    evidence.extend(
        shed.filter_map(|(_, client, edge)| Some(Evidence::Shed { client: name(*client)?, calls: edge.shed }))
            .take(MOST),
    );
    let opened = into
        .iter()
        .filter_map(|(_, client, edge)| Some(Evidence::BreakerOpened { client: name(*client)?, at: edge.opened? }));
    evidence.extend(opened.take(MOST));
    evidence
}

fn failures(service: &Service, signal: Signal) -> Option<Evidence> {
    let Failed { requests, failures, normal, excess, .. } = service.failed.filter(|failed| failed.excess > 0.0)?;
    let own = service.failed_own.map(|own| own.excess);
    (signal == Signal::Failures).then_some(Evidence::Failures { requests, failures, normal_share: normal, excess, own })
}

fn times(facts: &Facts, node: usize) -> Vec<Evidence> {
    let mut found = Vec::new();
    for operation in facts.services.get(node).into_iter().flat_map(|service| &service.operations) {
        let name = operation.name.clone();
        if let Some(Shift { requests, normal, allowed, seen, raw, believed, .. }) = operation.self_time {
            found.push((
                believed,
                Evidence::SelfTime {
                    operation: name,
                    requests,
                    normal_ms: normal,
                    allowed_ms: allowed,
                    seen_ms: seen,
                    added_seconds: raw / 1e3,
                },
            ));
        } else if let Some(Shift { requests, normal, allowed, seen, raw, believed, .. }) = operation.latency {
            found.push((
                believed,
                Evidence::AnswerTime {
                    operation: name,
                    requests,
                    normal_ms: normal,
                    allowed_ms: allowed,
                    seen_ms: seen,
                    added_seconds: raw / 1e3,
                },
            ));
        }
    }
    weightiest(found)
}

fn gap(edge: &Edge, (client, server): (Name, Name)) -> Option<(f64, Evidence)> {
    let Shift { requests, normal, allowed, seen, raw, believed, .. } = edge.gap?;
    let evidence = Evidence::NetworkGap {
        client,
        server,
        requests,
        normal_ms: normal,
        allowed_ms: allowed,
        seen_ms: seen,
        added_seconds: raw / 1e3,
    };
    Some((believed, evidence))
}

/// Early ends of its own requests, and of its clients' when it is suspected for them.
fn early(facts: &Facts, missing: &Missing, node: usize) -> Vec<Evidence> {
    if missing.shares.get(node).is_none_or(|share| *share <= 0.0) {
        return Vec::new();
    }
    let clients = facts.callers_of(node).map(|(_, client, _)| client);
    let of_client = |client: usize| {
        let (service, Early { requests: ended_early, .. }) = (facts.services.get(client)?, missing.early.get(client)?);
        let shifts: Vec<Shift> = service.operations.iter().filter_map(|operation| operation.calls_out).collect();
        let requests: f64 = shifts.iter().map(|shift| shift.requests).sum();
        let mean =
            |of: fn(&Shift) -> f64| shifts.iter().map(|shift| of(shift) * shift.requests / requests).sum::<f64>();
        let evidence = Evidence::MissingCalls {
            client: facts.names.get(client)?.clone(),
            requests,
            normal_calls: mean(|shift| shift.normal),
            seen_calls: mean(|shift| shift.seen),
            ended_early: *ended_early,
        };
        Some((*ended_early, evidence))
    };
    weightiest(std::iter::once(node).chain(clients).filter_map(of_client).collect())
}

/// The weightiest few of those with any weight.
fn weightiest(mut found: Vec<(f64, Evidence)>) -> Vec<Evidence> {
    found.retain(|(weight, _)| *weight > 0.0);
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().take(MOST).map(|(_, evidence)| evidence).collect()
}
