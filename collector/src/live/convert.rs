//! From the nouns of `model` and `topology` to the wire types of the HTTP API.

use std::collections::BTreeMap;

use rayon::prelude::*;
use tripline_api as api;
use tripline_model::{BreakerState, BreakerTransition, EdgeKey, NodeKind, Ratio, Reporter, ServiceName};
use tripline_topology::detect::{Candidate, Hop, HopEvent, Incident, Level, Phase};
use tripline_topology::layout::{Point, layout};
use tripline_topology::{EdgeSummary, GraphSummary, Health, Latency, NodeSummary, ServiceGraph};

use crate::clock::rfc3339;

/// Fewer nodes or edges are converted by one core.
const LEAST: usize = 1_024;

/// Positions of the current generation of the graph.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    generation: Option<u64>,
    positions: BTreeMap<ServiceName, Point>,
    /// The same in the order of the summary's nodes.
    listed: Vec<Point>,
}

impl Placed {
    /// Lays the graph out anew when nodes or edges came or went since.
    pub(crate) fn place(&mut self, summary: &GraphSummary) {
        if self.generation == Some(summary.generation) {
            return;
        }
        let nodes: Vec<ServiceName> = summary.nodes.iter().map(|node| node.name.clone()).collect();
        let edges: Vec<(ServiceName, ServiceName)> =
            summary.edges.iter().map(|edge| (edge.key.client.clone(), edge.key.server.clone())).collect();
        self.positions = layout(&nodes, &edges, &self.positions);
        self.listed = nodes.iter().map(|name| self.positions.get(name).copied().unwrap_or_default()).collect();
        self.generation = Some(summary.generation);
    }
}

/// The graph with health, positions and open incidents. `spare` is one that nobody looks at any more, with the reading of the same summary
/// after which it was made: where it has the same nodes and edges, what was read since is filled in again, for making half a million texts each second
/// would cost a large mesh more than everything else.
pub(crate) fn graph<'a>(
    summary: &GraphSummary,
    placed: &Placed,
    incidents: impl Iterator<Item = &'a api::Incident>,
    spare: Option<(u64, api::Graph)>,
) -> api::Graph {
    let mut incident_of: BTreeMap<&str, &str> = BTreeMap::new();
    for incident in incidents.filter(|incident| !incident.is_resolved()) {
        let services = incident.blast_radius.services.iter().map(String::as_str);
        for service in services.chain(incident.origin()) {
            incident_of.insert(service, &incident.id);
        }
    }
    let is_same = |(_, spare): &(u64, api::Graph)| {
        spare.generation == summary.generation
            && (spare.nodes.len(), spare.edges.len()) == (summary.nodes.len(), summary.edges.len())
    };
    let of_nodes = summary.nodes.par_iter().with_min_len(LEAST).zip(&placed.listed);
    let of_edges = summary.edges.par_iter().with_min_len(LEAST);
    let (nodes, edges) = match spare.filter(is_same) {
        Some((made, api::Graph { mut nodes, mut edges, .. })) => {
            nodes.par_iter_mut().zip(of_nodes).for_each(|(known, (of, at))| {
                *known = node(of, (*at, &incident_of), NodeNames::taken(known));
            });
            edges.par_iter_mut().zip(of_edges).filter(|(_, of)| of.read > made).for_each(|(known, of)| {
                *known = edge(of, EdgeNames::taken(known));
            });
            (nodes, edges)
        }
        None => (
            of_nodes.map(|(of, at)| node(of, (*at, &incident_of), NodeNames::of(&of.name))).collect(),
            of_edges.map(|of| edge(of, EdgeNames::of(&of.key))).collect(),
        ),
    };
    let (at, window_seconds) = (rfc3339(summary.at), summary.window.as_secs_f64());
    api::Graph { at, window_seconds, generation: summary.generation, nodes, edges }
}

/// What a node is called.
struct NodeNames {
    id: String,
    namespace: String,
    name: String,
}

impl NodeNames {
    fn of(name: &ServiceName) -> Self {
        Self { id: name.to_string(), namespace: name.namespace().into(), name: name.name().into() }
    }

    /// Out of a node that is made anew.
    fn taken(node: &mut api::Node) -> Self {
        let take = std::mem::take;
        Self { id: take(&mut node.id), namespace: take(&mut node.namespace), name: take(&mut node.name) }
    }
}

/// What an edge is called, and who counted on it.
struct EdgeNames {
    id: String,
    client: String,
    server: String,
    protocol: String,
    reporter: String,
}

impl EdgeNames {
    fn of(key: &EdgeKey) -> Self {
        let (client, server, protocol) = (key.client.to_string(), key.server.to_string(), key.protocol.to_string());
        Self { id: key.to_string(), client, server, protocol, reporter: String::new() }
    }

    /// Out of an edge that is made anew.
    fn taken(edge: &mut api::Edge) -> Self {
        let [id, client, server, protocol, reporter] =
            [&mut edge.id, &mut edge.client, &mut edge.server, &mut edge.protocol, &mut edge.reporter]
                .map(std::mem::take);
        Self { id, client, server, protocol, reporter }
    }
}

fn node(
    summary: &NodeSummary,
    (at, incident_of): (Point, &BTreeMap<&str, &str>),
    NodeNames { id, namespace, name }: NodeNames,
) -> api::Node {
    let figures = &summary.figures;
    api::Node {
        namespace,
        name,
        kind: node_kind(summary.kind),
        health: health(figures.health),
        requests: figures.requests,
        requests_per_second: figures.requests_per_second,
        error_ratio: Ratio::of(figures.failed, figures.requests).get(),
        latency_ms: latency(figures.latency),
        entry_point: summary.entry_point,
        incident: incident_of.get(id.as_str()).map(|id| (*id).into()),
        position: api::Position { x: at.x, y: at.y },
        id,
    }
}

fn edge(summary: &EdgeSummary, names: EdgeNames) -> api::Edge {
    let EdgeNames { id, client, server, protocol, reporter } = names;
    let figures = &summary.figures;
    let counted_by = match figures.reporter {
        Reporter::Client => "client",
        Reporter::Server => "server",
        Reporter::Spans => "spans",
    };
    api::Edge {
        id,
        client,
        server,
        protocol,
        reporter: if reporter == counted_by { reporter } else { counted_by.into() },
        health: health(figures.health),
        requests: figures.requests,
        requests_per_second: figures.requests_per_second,
        failed: figures.failed,
        shed: figures.shed,
        error_ratio: Ratio::of(figures.failed, figures.requests).get(),
        latency_ms: latency(figures.latency),
        attempts_per_request: figures.attempts_per_request,
        breaker: figures.breaker.map_or(api::BreakerState::None, breaker_state),
        secured: figures.secured,
    }
}

/// Every breaker of the graph: open ones first, then by client, server and id.
pub(super) fn breakers(graph: &ServiceGraph) -> Vec<api::Breaker> {
    let mut breakers: Vec<api::Breaker> = graph
        .guarded()
        .flat_map(|(key, state)| {
            state.breakers().map(|breaker| api::Breaker {
                id: breaker.breaker.clone(),
                client: key.client.to_string(),
                client_instance: breaker.client_instance.clone(),
                server: key.server.to_string(),
                route: breaker.route.clone(),
                endpoint: breaker.endpoint.clone(),
                state: breaker_state(breaker.state),
                since: rfc3339(breaker.since),
                trips: breaker.trips,
                last_reason: breaker.last_reason.map(|reason| reason.to_string()),
            })
        })
        .collect();
    breakers.sort_by(|a, b| (b.state, &a.client, &a.server, &a.id).cmp(&(a.state, &b.client, &b.server, &b.id)));
    breakers
}

/// One transition.
pub(crate) fn transition(transition: &BreakerTransition) -> api::Transition {
    api::Transition {
        at: rfc3339(transition.at),
        breaker: transition.breaker.clone(),
        client: transition.client.to_string(),
        client_instance: transition.client_instance.clone(),
        server: transition.server.to_string(),
        route: transition.route.clone(),
        endpoint: transition.endpoint.clone(),
        from: breaker_state(transition.from),
        to: breaker_state(transition.to),
        reason: transition.reason.to_string(),
        origin: transition.origin.to_string(),
        window_total: transition.window_total,
        window_failed: transition.window_failed,
        window_slow: transition.window_slow,
        threshold: transition.threshold,
        last_error: transition.last_error.clone(),
        time_in_from_ms: u64::try_from(transition.time_in_from.as_millis()).unwrap_or(u64::MAX),
        sequence: transition.sequence,
        traces: transition.traces.iter().map(ToString::to_string).collect(),
    }
}

/// One incident.
pub(super) fn incident(incident: &Incident) -> api::Incident {
    let blast = &incident.blast;
    api::Incident {
        id: incident.id.clone(),
        level: match incident.level {
            Level::Local => api::Level::Local,
            Level::Propagating => api::Level::Propagating,
            Level::Cascade => api::Level::Cascade,
            Level::Amplifying => api::Level::Amplifying,
            Level::SelfSustaining => api::Level::SelfSustaining,
        },
        phase: match incident.phase {
            Phase::Starting => api::Phase::Starting,
            Phase::Spreading => api::Phase::Spreading,
            Phase::Contained => api::Phase::Contained,
            Phase::Recovering => api::Phase::Recovering,
            Phase::Resolved => api::Phase::Resolved,
        },
        started_at: rfc3339(incident.started),
        detected_at: rfc3339(incident.detected),
        updated_at: rfc3339(incident.updated),
        resolved_at: incident.resolved.map(rfc3339),
        suspected_origins: incident.candidates.iter().map(candidate).collect(),
        unexplained: incident.unexplained.get(),
        path: path(&incident.path),
        blast_radius: api::BlastRadius {
            services: blast.services.iter().map(ToString::to_string).collect(),
            edges: blast.edges.iter().map(ToString::to_string).collect(),
            entry_points: blast.entries.iter().map(|entry| entry.service.to_string()).collect(),
            entries: blast
                .entries
                .iter()
                .map(|entry| api::AffectedEntry {
                    service: entry.service.to_string(),
                    failed_ratio: Ratio::of(entry.failed, entry.requests).get(),
                    added_latency_ms: entry.slower * 1e3,
                })
                .collect(),
            affected_request_ratio: Ratio::of(blast.failed, blast.requests).get(),
            requests_failed: blast.failed,
            requests_total: blast.requests,
        },
        amplification: api::Amplification {
            attempts_per_request: incident.attempts_per_request,
            demand: incident.demand,
        },
        trips: incident.trips,
        raw_alerts: incident.raw_alerts,
        alerts_sent: incident.notices,
        folded: Vec::new(),
    }
}

fn candidate(candidate: &Candidate) -> api::Candidate {
    api::Candidate {
        service: candidate.suspect.service.to_string(),
        edge: candidate.suspect.edge.as_ref().map(ToString::to_string),
        kind: candidate.kind.as_str().into(),
        score: candidate.score.get(),
        evidence: candidate
            .evidence
            .iter()
            .map(|evidence| api::Evidence {
                kind: evidence.kind.as_str().into(),
                text: evidence.text.clone(),
                value: evidence.value,
            })
            .collect(),
        traces: Vec::new(),
        logs: Vec::new(),
    }
}

fn path(hops: &[Hop]) -> Vec<api::PathStep> {
    let first = hops.iter().map(|hop| hop.at).min().unwrap_or_default();
    hops.iter()
        .map(|hop| {
            let (event, reason) = match hop.event {
                HopEvent::Tripped(reason) => (api::PathEvent::Tripped, reason.as_str()),
                HopEvent::Failing => (api::PathEvent::Degraded, "errors"),
                HopEvent::Slow => (api::PathEvent::Degraded, "latency"),
            };
            api::PathStep {
                at: rfc3339(hop.at),
                client: hop.key.client.to_string(),
                server: hop.key.server.to_string(),
                event,
                reason: reason.into(),
                lag_ms: u64::try_from(hop.at.since(first).as_millis()).unwrap_or(u64::MAX),
            }
        })
        .collect()
}

fn latency(latency: Latency) -> api::Latency {
    let [p50, p90, p99] = [latency.p50, latency.p90, latency.p99].map(|quantile| quantile.as_secs_f64() * 1e3);
    api::Latency { p50, p90, p99 }
}

const fn health(health: Health) -> api::Health {
    match health {
        Health::Idle => api::Health::Idle,
        Health::Healthy => api::Health::Healthy,
        Health::Degraded => api::Health::Degraded,
        Health::Failing => api::Health::Failing,
    }
}

const fn breaker_state(state: BreakerState) -> api::BreakerState {
    match state {
        BreakerState::Closed => api::BreakerState::Closed,
        BreakerState::HalfOpen => api::BreakerState::HalfOpen,
        BreakerState::Open => api::BreakerState::Open,
    }
}

const fn node_kind(kind: NodeKind) -> api::NodeKind {
    match kind {
        NodeKind::Service => api::NodeKind::Service,
        NodeKind::Gateway => api::NodeKind::Gateway,
        NodeKind::External => api::NodeKind::External,
        NodeKind::Database => api::NodeKind::Database,
        NodeKind::Queue => api::NodeKind::Queue,
        NodeKind::User => api::NodeKind::User,
    }
}
