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

mod shares;

use std::sync::Arc;

use tripline_model::{EdgeKey, ServiceName};

use super::near::Near;
use crate::share_out::NEGLIGIBLE;

/// Share of a service's own added time that its calls must have added to explain it, and of an excess that what is left of it must make up
/// to be another fault's; the specification's 30 %.
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
    /// Requests the server's sidecar saw, also when it saw none; none without such a sidecar.
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

impl Flow {
    /// Whether requests flow and hardly any fails, or is rejected.
    fn is_well(&self) -> bool {
        self.requests > 0.0 && self.failed < 0.05 * self.requests
    }
}

/// Flows by edge, and what they make of each service.
#[derive(Debug)]
pub(super) struct Flows {
    near: Arc<Near>,
    /// In the order of its edges.
    edges: Vec<Flow>,
    /// In the order of its services.
    services: Vec<Sums>,
}

/// What the edges into a service make of it.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Seconds of self time above normal; none where no sidecar knows it.
    self_time: Option<f64>,
    /// Failures that reached it beyond normal, over all clients.
    reached: f64,
    /// Edges into it on which hardly anything failed.
    well: usize,
}

/// One edge with its number and the number of its server.
#[derive(Debug, Clone, Copy)]
struct Along<'a> {
    at: usize,
    server: usize,
    flow: &'a Flow,
}

/// One service with the numbers of its edges.
#[derive(Debug, Clone, Copy)]
struct Node<'a> {
    sums: Sums,
    into: &'a [usize],
    from: &'a [usize],
}

impl Flows {
    /// Of the edges of `near`; `self_time` above normal, in seconds, by the number of the service.
    pub(super) fn new(near: Arc<Near>, edges: Vec<Flow>, self_time: &[Option<f64>]) -> Self {
        let mut services = vec![Sums::default(); near.services.len()];
        services.iter_mut().zip(self_time).for_each(|(sums, self_time)| sums.self_time = *self_time);
        for (edge, flow) in near.edges.iter().zip(&edges) {
            let sums = &mut services[edge.server];
            sums.reached += flow.reached;
            sums.well += usize::from(flow.is_well());
        }
        Self { near, edges, services }
    }

    /// One edge.
    pub(super) fn edge(&self, key: &EdgeKey) -> Option<&Flow> {
        self.edges.get(self.near.edge(key)?)
    }

    /// One edge, by its number.
    pub(super) fn at(&self, number: usize) -> Option<&Flow> {
        self.edges.get(number)
    }

    /// The calls to a service, by client, each with its place in the order of all edges.
    pub(super) fn calls_to<'a>(&'a self, service: &ServiceName) -> impl Iterator<Item = (usize, &'a Flow)> {
        let node = self.near.service(service).and_then(|at| self.node(at));
        node.into_iter().flat_map(|node| self.calling(node)).map(|edge| (edge.at, edge.flow))
    }

    /// Seconds of self time above normal, where a sidecar knows it.
    pub(super) fn self_time(&self, service: &ServiceName) -> Option<f64> {
        self.services.get(self.near.service(service)?)?.self_time
    }

    /// Failures that reached a service beyond normal, over all clients.
    pub(super) fn reached_at(&self, number: usize) -> f64 {
        self.services.get(number).map_or(0.0, |sums| sums.reached)
    }

    /// Failed requests of a service that started there.
    pub(super) fn own_failures_at(&self, number: usize) -> f64 {
        self.node(number).map_or(0.0, |node| self.own_and_waited(node).0)
    }

    /// The same by name.
    pub(super) fn own_failures(&self, service: &ServiceName) -> f64 {
        self.near.service(service).map_or(0.0, |at| self.own_failures_at(at))
    }

    fn node(&self, at: usize) -> Option<Node<'_>> {
        let service = self.near.services.get(at)?;
        Some(Node { sums: *self.services.get(at)?, into: &service.into, from: &service.from })
    }

    fn along(&self, at: usize) -> Option<Along<'_>> {
        Some(Along { at, server: self.near.edges.get(at)?.server, flow: self.edges.get(at)? })
    }

    /// Those, and those of which a caller gave up while the service waited for its own calls.
    fn own_and_waited(&self, node: Node<'_>) -> (f64, f64) {
        let (mut origin, mut propagated, mut answered, mut lost) = (0.0, 0.0, 0.0, 0.0);
        for flow in self.calling(node).map(|edge| edge.flow) {
            origin += flow.origin;
            propagated += flow.propagated;
            answered += flow.answered;
            lost += flow.lost;
        }
        let reached = (node.sums.reached - lost).max(0.0);
        let unanswered = (reached - answered).max(0.0);
        let unknown = (answered - origin - propagated).max(0.0) + unanswered;
        let healthy = self.called_by(node).map(|edge| edge.flow).filter(|flow| flow.was_healthy);
        let calls: f64 = healthy.map(|flow| flow.failed).sum();
        let unexplained = (unknown - (calls - propagated).max(0.0)).max(0.0);
        let waiting: f64 = self.called_by(node).map(|edge| edge.flow.slower).sum();
        let own_time = node.sums.self_time.unwrap_or(0.0);
        // Nobody gives up after no time: what was refused at once did not wait.
        let given_up = unexplained.min(unanswered).min(waiting / PATIENCE);
        let waited = if waiting > NEGLIGIBLE { given_up * waiting / (waiting + own_time) } else { 0.0 };
        ((origin + unexplained - waited).min(reached), waited.min(reached))
    }

    /// Whether a service's own part came from waiting for slow calls with its places taken.
    fn is_crowded(&self, node: Node<'_>) -> bool {
        let added = node.sums.self_time.unwrap_or(0.0);
        let requests: f64 = self.calling(node).map(|edge| edge.flow.requests).sum();
        let healthy = self.called_by(node).map(|edge| edge.flow).filter(|flow| flow.was_healthy);
        let waited: f64 = healthy.map(|flow| flow.slower).sum();
        added > NOTICEABLE * requests && waited > NOTICEABLE * requests && waited >= EXPLAINS * added
    }

    /// Whether all failures on an edge are the way's fault: its breaker is too eager, or the server's sidecar is alive and never saw them, or
    /// all it did see went well while others are answered as ever.
    fn blames_edge(&self, edge: Along<'_>) -> bool {
        let flow = edge.flow;
        if flow.eager {
            return true;
        }
        let Some(server) = self.services.get(edge.server) else { return false };
        let unseen = flow.seen.is_some_and(|seen| seen < 0.5 * (flow.requests - (flow.failed - flow.reached)));
        let others_well = server.well > usize::from(flow.is_well());
        let nothing_reached = server.reached <= NEGLIGIBLE;
        nothing_reached || (unseen && others_well && flow.answered <= NEGLIGIBLE)
    }

    fn calling<'a>(&'a self, node: Node<'a>) -> impl Iterator<Item = Along<'a>> {
        node.into.iter().filter_map(|at| self.along(*at))
    }

    fn called_by<'a>(&'a self, node: Node<'a>) -> impl Iterator<Item = Along<'a>> {
        node.from.iter().filter_map(|at| self.along(*at))
    }
}
