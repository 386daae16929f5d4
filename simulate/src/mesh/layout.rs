//! A plan in numbers: services and edges by index, times in nanoseconds, streams of arrivals.

use std::collections::BTreeMap;
use std::time::Duration;

use tripline_breaker::Policy;
use tripline_model::{EdgeKey, NodeKind, Protocol, ServiceName};

use super::effect::Effects;
use crate::plan::{CallPlan, EntryPlan, FaultKind, Makes, Plan, ServicePlan};

/// The whole plan.
pub(super) struct Layout {
    pub(super) services: Vec<Service>,
    pub(super) edges: Vec<Edge>,
    pub(super) streams: Vec<Stream>,
    pub(super) switches: Vec<Switch>,
    pub(super) effects: Effects,
    /// Share of the traces that is kept.
    pub(super) sampled: f64,
    pub(super) end: u64,
}

/// One service.
pub(super) struct Service {
    pub(super) replicas: usize,
    pub(super) concurrency: u32,
    pub(super) queue: usize,
    pub(super) median: f64,
    pub(super) spread: f64,
    pub(super) failing: f64,
    pub(super) sidecar: bool,
    pub(super) traced: bool,
    pub(super) clock_ahead: i64,
    pub(super) makes: Makes,
    /// Its edges, by stage.
    pub(super) stages: Vec<Vec<usize>>,
}

/// One kind of call, or of visit by users.
pub(super) struct Edge {
    /// None for users.
    pub(super) client: Option<usize>,
    pub(super) server: usize,
    pub(super) key: EdgeKey,
    pub(super) client_kind: NodeKind,
    /// Whether the client's sidecar sees it.
    pub(super) guarded: bool,
    pub(super) breaker: bool,
    /// Whose span tells of it, where no sidecar does.
    pub(super) told_by: Option<Half>,
    pub(super) share: f64,
    pub(super) required: bool,
    pub(super) timeout: u64,
    pub(super) per_try: u64,
    pub(super) retries: u32,
    pub(super) budget: bool,
    pub(super) network: u64,
    pub(super) policy: Policy,
}

/// One end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Client,
    Server,
}

/// Users of one entry, or those that a surge adds.
pub(super) struct Stream {
    pub(super) edge: usize,
    pub(super) asks_again: u32,
    pub(super) from: u64,
    pub(super) to: u64,
    /// Highest rate, per second.
    pub(super) highest: f64,
    shape: Shape,
}

struct Shape {
    mean: f64,
    swing: f64,
    swing_seconds: f64,
    ramp: f64,
    seconds: f64,
}

/// Something that changes at one moment.
pub(super) struct Switch {
    pub(super) at: u64,
    pub(super) what: Turn,
}

/// What changes.
#[derive(Clone, Copy)]
pub(super) enum Turn {
    /// Every process of a service dies.
    Down { service: usize },
    /// The breakers of an edge get other rules.
    Policy { edge: usize, policy: Policy },
}

pub(super) const fn nanos(ms: f64) -> u64 {
    (ms * 1e6) as u64
}

impl Stream {
    /// Arrivals per second at a time.
    pub(super) fn rate(&self, now: u64) -> f64 {
        let at = now as f64 / 1e9;
        let shape = &self.shape;
        let swing = 1.0 + shape.swing * (std::f64::consts::TAU * at / shape.swing_seconds).sin();
        shape.mean * swing * (1.0 + (shape.ramp - 1.0) * at / shape.seconds)
    }
}

impl Layout {
    pub(super) fn of(plan: &Plan) -> Self {
        let index: BTreeMap<&str, usize> =
            plan.services.iter().enumerate().map(|(at, service)| (service.name.as_str(), at)).collect();
        let mut edges = Vec::new();
        let mut services = Vec::new();
        for (client, service) in plan.services.iter().enumerate() {
            let mut stages: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
            for call in &service.calls {
                stages.entry(call.stage).or_default().push(edges.len());
                let server = index[call.server.as_str()];
                edges.push(Edge::between((client, service), call, (server, &plan.services[server])));
            }
            services.push(Service::of(service, stages.into_values().collect()));
        }
        let mut streams = Vec::new();
        let end = plan.seconds * super::SECOND;
        for entry in &plan.entries {
            let edge = edges.len();
            let server = index[entry.server.as_str()];
            edges.push(Edge::from_users(entry, (server, &plan.services[server])));
            streams.push(Stream::of(entry, edge, plan.seconds, (0, end)));
            // A surge has a stream of its own, so that everyone else arrives as without it.
            for fault in plan.faults.iter().filter(|f| f.kind == FaultKind::DemandSurge && f.service == entry.server) {
                let more = (fault.times.unwrap_or(1.0) - 1.0).max(0.001);
                let entry = EntryPlan { per_second: entry.per_second * more, ..entry.clone() };
                let span = (nanos(fault.from_s * 1e3), nanos(fault.to_s * 1e3).min(end));
                streams.push(Stream::of(&entry, edge, plan.seconds, span));
            }
        }
        let effects = Effects::of(plan, &index, &edges);
        let switches = switches(plan, &index, &edges);
        Self { services, edges, streams, switches, effects, sampled: plan.sampled, end }
    }
}

impl Service {
    fn of(plan: &ServicePlan, stages: Vec<Vec<usize>>) -> Self {
        Self {
            replicas: usize::from(plan.replicas),
            concurrency: plan.concurrency,
            queue: plan.queue as usize,
            median: plan.median_ms * 1e6,
            spread: plan.spread,
            failing: plan.failing,
            sidecar: plan.sidecar,
            traced: plan.traced,
            clock_ahead: plan.clock_ahead_ms * 1_000_000,
            makes: plan.makes,
            stages,
        }
    }
}

impl Edge {
    fn between(
        (client, service): (usize, &ServicePlan),
        call: &CallPlan,
        (server, called): (usize, &ServicePlan),
    ) -> Self {
        // Without a sidecar only its trace context can tell who calls.
        let named = service.sidecar || service.traced;
        let name = if named { ServiceName::from(service.name.as_str()) } else { ServiceName::user() };
        let default = Policy::default();
        let consecutive = call.consecutive_failures.unwrap_or(default.consecutive_failures);
        Self {
            client: Some(client),
            server,
            key: EdgeKey { client: name, server: call.server.as_str().into(), protocol: Protocol::Http },
            client_kind: if named { NodeKind::Service } else { NodeKind::User },
            guarded: service.sidecar,
            breaker: service.sidecar && call.breaker,
            told_by: (!service.sidecar && !called.sidecar && called.traced).then_some(if named {
                Half::Client
            } else {
                Half::Server
            }),
            share: call.share,
            required: call.required,
            timeout: nanos(call.timeout_ms),
            per_try: nanos(call.per_try_ms.unwrap_or(call.timeout_ms)),
            retries: if service.sidecar { call.retries } else { 0 },
            budget: call.budget,
            network: nanos(call.network_ms),
            policy: Policy { consecutive_failures: consecutive, ..default },
        }
    }

    fn from_users(entry: &EntryPlan, (server, called): (usize, &ServicePlan)) -> Self {
        Self {
            client: None,
            server,
            key: EdgeKey {
                client: ServiceName::user(),
                server: entry.server.as_str().into(),
                protocol: Protocol::Http,
            },
            client_kind: NodeKind::User,
            guarded: false,
            breaker: false,
            told_by: (!called.sidecar && called.traced).then_some(Half::Server),
            share: 1.0,
            required: true,
            timeout: nanos(entry.patience_ms),
            per_try: nanos(entry.patience_ms),
            retries: 0,
            budget: false,
            network: nanos(1.0),
            policy: Policy::default(),
        }
    }
}

impl Stream {
    fn of(entry: &EntryPlan, edge: usize, seconds: u64, (from, to): (u64, u64)) -> Self {
        Self {
            edge,
            asks_again: entry.asks_again,
            from,
            to,
            highest: entry.per_second * (1.0 + entry.swing) * entry.ramp.max(1.0),
            shape: Shape {
                mean: entry.per_second,
                swing: entry.swing,
                swing_seconds: entry.swing_s,
                ramp: entry.ramp,
                seconds: seconds as f64,
            },
        }
    }
}

fn switches(plan: &Plan, index: &BTreeMap<&str, usize>, edges: &[Edge]) -> Vec<Switch> {
    let mut switches = Vec::new();
    for fault in &plan.faults {
        let (from, to) = (nanos(fault.from_s * 1e3), nanos(fault.to_s * 1e3));
        match fault.kind {
            FaultKind::Crash => {
                let service = index[fault.service.as_str()];
                switches.push(Switch { at: from, what: Turn::Down { service } });
            }
            FaultKind::LowThreshold => {
                let client = fault.client.as_deref().map(|client| index[client]);
                let server = index[fault.service.as_str()];
                let found = edges.iter().position(|edge| edge.client == client && edge.server == server);
                let Some(edge) = found else { continue };
                let usual = edges[edge].policy;
                let consecutive_failures = fault.times.unwrap_or(1.0) as u32;
                // Too eager a breaker is also slow to forgive.
                let open_first = Duration::from_secs(10);
                let eager = Policy { consecutive_failures, open_first, ..usual };
                switches.push(Switch { at: from, what: Turn::Policy { edge, policy: eager } });
                switches.push(Switch { at: to, what: Turn::Policy { edge, policy: usual } });
            }
            _ => {}
        }
    }
    switches
}
