//! A service that this one calls: its endpoints, a breaker for each, and the budget for its retries.
//!
//! **Picking.** One endpoint is tried first, as the balancing of [`crate::balance`] says, then every other; the first whose
//! breaker lets the call pass gets it. An endpoint that asked for less with `Retry-After` comes last while that time lasts.
//! With one endpoint nothing is drawn. The breakers of the route and of the whole service, where there are any, are asked
//! before.
//!
//! **Ejection.** An endpoint whose breaker is not closed is ejected. Of several endpoints at most a share may be ejected
//! (half, or App Mesh's `maxEjectionPercent`; one always may), and never the last: beyond that a trip is
//! suppressed, counted and told. A service with a single endpoint has nobody else to turn to, so there the endpoint's
//! breaker is the service's breaker and does open: failing fast is the point of it. What an operator forces open is
//! open, whatever is left.
//!
//! Breakers are shared by all workers, so a process has one opinion of an endpoint. The lock is held for a few
//! nanoseconds, twice a request; a task in between would cost two wake-ups.

pub(crate) mod members;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tripline_breaker::{
    Admission, Breaker, Change, Fault, Forced, LastError, Outcome, Permit, Recorded, Rejection, RetryBudget, Sample,
    TripLeave,
};
use tripline_mesh::{Balance, DiscoveryKind, HashKey, ListenerProtocol, WeightedTarget};
use tripline_model::{BreakerState, BreakerStatus, FailureOrigin, NodeKind, Protocol, ServiceName, Timestamp, TraceId};

use crate::balance::Measure;
use crate::crowd::{Crowd, Ticket};
use crate::endpoint::{Endpoint, Load};
use crate::events::{Events, Guarded};
use crate::guard::{Guard, Pass};
use crate::message::Form;
use crate::target_rules::TargetRules;
use crate::tls::ClientSide;
use crate::transport::Transport;
use members::{Member, Placed, State, next_random};

/// Longest time that a `Retry-After` keeps an endpoint last.
const LONGEST_HOLD: Duration = Duration::from_secs(30);

/// The service as called by this one.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its number in the configuration, and of its edge.
    pub(crate) number: usize,
    /// Who it is.
    pub(crate) server: ServiceName,
    /// What its node stands for.
    pub(crate) kind: NodeKind,
    /// Host name or address it is found by.
    pub(crate) hostname: Box<str>,
    /// How the addresses behind the name are to be taken.
    pub(crate) discovery: DiscoveryKind,
    /// The port its endpoints listen on.
    pub(crate) port: u16,
    /// What its exchanges are counted under.
    pub(crate) protocol: Protocol,
    transport: Transport,
    declared: WeightedTarget,
    rules: TargetRules,
    workers: usize,
    events: Arc<Events>,
    service: Option<Arc<Guard>>,
    /// One for each route that leads here, if the policy asks for it; changed by a new configuration only.
    routes: Mutex<Vec<Arc<Guard>>>,
    crowd: Option<Arc<Crowd>>,
    state: Mutex<State>,
}

/// An endpoint that may be called now. Dropped without a result, it counts as a call whose caller left, so that no
/// probe is lost with a cancelled task.
#[derive(Debug)]
pub(crate) struct Picked {
    /// It.
    pub(crate) endpoint: Arc<Endpoint>,
    target: Arc<Target>,
    /// Gone when the result is known.
    permit: Option<Permit>,
    probe: bool,
    /// Of the route and of the service.
    passes: [Option<Pass>; 2],
    at: Timestamp,
    _load: Load,
}

impl Picked {
    /// Records how the call ended.
    pub(crate) fn ends(mut self, outcome: Outcome, trace: TraceId, now: Timestamp) {
        self.record(Sample { outcome, took: now.since(self.at), trace: Some(trace) }, now);
    }

    /// Records how the call ended, which took a time of its own.
    pub(crate) fn ends_after(mut self, outcome: Outcome, trace: TraceId, (took, now): (Duration, Timestamp)) {
        self.record(Sample { outcome, took, trace: Some(trace) }, now);
    }

    /// Time since it was picked.
    pub(crate) fn since(&self, now: Timestamp) -> Duration {
        now.since(self.at)
    }

    /// Whether the breaker waits for the result to decide whether it closes.
    pub(crate) const fn is_probe(&self) -> bool {
        self.probe
    }

    fn record(&mut self, sample: Sample, now: Timestamp) {
        if let Some(permit) = self.permit.take() {
            for pass in self.passes.iter_mut().filter_map(Option::take) {
                pass.ends(sample, now);
            }
            self.target.record(&self.endpoint, permit, sample, now);
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.record(Sample { outcome: Outcome::Cancelled, took: Duration::ZERO, trace: None }, self.at);
    }
}

/// What a call wants of its endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish<'a> {
    /// Another one than this, if there is any.
    pub(crate) avoid: Option<&'a Arc<Endpoint>>,
    /// The key it belongs to, for a ring hash.
    pub(crate) key: Option<u64>,
    /// The breaker of its route.
    pub(crate) route: Option<&'a Arc<Guard>>,
}

/// Why no endpoint may be called.
#[derive(Debug, Clone)]
pub(crate) enum NoPick {
    /// The name has not been resolved.
    Unresolved,
    /// No place was free in time.
    Late,
    /// Every breaker rejects; the first one's id and reason.
    Rejected(Arc<str>, Rejection),
}

impl From<(Arc<str>, Rejection)> for NoPick {
    fn from((id, rejection): (Arc<str>, Rejection)) -> Self {
        Self::Rejected(id, rejection)
    }
}

impl Target {
    /// A target whose endpoints are not known yet.
    pub(crate) fn new(number: usize, target: &WeightedTarget, workers: usize, events: Arc<Events>) -> Self {
        let rules = TargetRules::of(target);
        let service = rules.service.map(|policy| Guard::new(&events, &target.node, "", policy));
        Self {
            number,
            server: target.node.clone(),
            kind: NodeKind::Service,
            hostname: target.hostname.as_str().into(),
            discovery: target.discovery,
            port: target.port,
            protocol: target.protocol.edge_protocol(),
            transport: Transport { form: form_of(target.protocol), tls: None },
            declared: WeightedTarget { weight: 1, ..target.clone() },
            service,
            routes: Mutex::default(),
            crowd: Crowd::new(&events, &target.node, &rules.limits),
            workers,
            events,
            state: Mutex::new(State::new(RetryBudget::new(rules.budget))),
            rules,
        }
    }

    /// Says what its node stands for.
    #[must_use]
    pub(crate) fn of_kind(self, kind: NodeKind) -> Self {
        Self { kind, ..self }
    }

    /// Says how calls to it are encrypted.
    #[must_use]
    pub(crate) fn encrypted(self, tls: Arc<ClientSide>) -> Self {
        Self { transport: Transport { tls: Some(tls), ..self.transport }, ..self }
    }

    /// Says what is spoken to it if its listener is `http`.
    #[must_use]
    pub(crate) fn spoken_to(self, http: Form) -> Self {
        let form = if self.declared.protocol == ListenerProtocol::Http { http } else { self.transport.form };
        Self { transport: Transport { form, ..self.transport }, ..self }
    }

    /// Which HTTP it speaks.
    pub(crate) const fn form(&self) -> Form {
        self.transport.form
    }

    /// How calls to it are encrypted.
    pub(crate) const fn client_side(&self) -> Option<&Arc<ClientSide>> {
        self.transport.tls.as_ref()
    }

    /// As the configuration has it, with weight 1: equal ones may go on being the same.
    pub(crate) const fn declared(&self) -> &WeightedTarget {
        &self.declared
    }

    /// Endpoints that the configuration lists instead of a name.
    pub(crate) fn listed_endpoints(&self) -> &[SocketAddr] {
        self.declared.policy.as_ref().map_or(&[], |policy| policy.endpoints.as_slice())
    }

    /// The file that its endpoints are read from instead.
    pub(crate) fn endpoints_file(&self) -> Option<&str> {
        self.declared.policy.as_ref()?.endpoints_file.as_deref()
    }

    /// The time that the server's own listener gives a request.
    pub(crate) const fn server_limit(&self) -> Option<Duration> {
        self.declared.per_request
    }

    /// What a ring hash looks at, if that is how its endpoints are chosen.
    pub(crate) const fn hash_key(&self) -> Option<&HashKey> {
        match &self.rules.balance {
            Balance::RingHash(key) => Some(key),
            _ => None,
        }
    }

    /// The breaker of a route that leads here, if there is to be one.
    pub(crate) fn route_guard(&self, route: &str) -> Option<Arc<Guard>> {
        let policy = self.rules.route?;
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guard) = routes.iter().find(|guard| guard.route() == route) {
            return Some(Arc::clone(guard));
        }
        let guard = Guard::new(&self.events, &self.server, route, policy);
        routes.push(Arc::clone(&guard));
        Some(guard)
    }

    /// Takes the endpoints to be exactly these; those that stay keep their breakers and connections. Requests on their way
    /// to one that leaves are finished: they hold it.
    pub(crate) fn set_endpoints(&self, endpoints: &[Placed], now: Timestamp) {
        let mut state = self.lock();
        let state = &mut *state;
        let joins_others = !state.members.is_empty();
        state.members.retain(|member| endpoints.iter().any(|placed| placed.label == member.endpoint.label()));
        for Placed { label, addresses, weight, tier } in endpoints {
            let weight = (*weight).max(1);
            let known = state.members.iter_mut().find(|member| member.endpoint.label() == label);
            if let Some(member) = known {
                member.endpoint.set_addresses(Arc::clone(addresses));
                (member.weight, member.tier) = (weight, *tier);
                continue;
            }
            state.members.push(Member {
                endpoint: Arc::new(
                    Endpoint::new(label, Arc::clone(addresses), self.workers).over(self.transport.clone()),
                ),
                breaker_id: format!("{}>{}@{label}", self.events.client(), self.server).into(),
                breaker: Breaker::new(self.rules.endpoint, next_random(&mut state.random), now),
                measure: Measure::new(now, joins_others.then_some(now)),
                held_until: Timestamp::from_nanos(0),
                weight,
                tier: *tier,
            });
        }
        state.arrange(self.hash_key().is_some());
    }

    /// Whether calls to it are limited in number.
    pub(crate) const fn is_limited(&self) -> bool {
        self.crowd.is_some()
    }

    /// Takes a place among the calls to this service, if these are limited.
    pub(crate) async fn enter(&self, now: Timestamp) -> Result<Option<Ticket>, NoPick> {
        match &self.crowd {
            None => Ok(None),
            Some(crowd) => Ok(Some(crowd.enter(now).await?)),
        }
    }

    /// Chooses an endpoint for a call.
    pub(crate) fn pick(self: &Arc<Self>, wish: Wish<'_>, now: Timestamp) -> Result<Picked, NoPick> {
        let passes = match (wish.route, &self.service) {
            (None, None) => [None, None],
            (route, service) => {
                let route = route.map(|guard| guard.admit(now)).transpose()?;
                [route, service.as_ref().map(|guard| guard.admit(now)).transpose()?]
            }
        };
        let mut state = self.lock();
        let state = &mut *state;
        if state.members.is_empty() {
            return Err(NoPick::Unresolved);
        }
        let spread = state.order(&self.rules, wish.avoid, now);
        let walk = wish.key.filter(|_| wish.avoid.is_none() && state.members.len() > 1 && self.hash_key().is_some());
        let Some(key) = walk else { return self.first_admitted(&mut state.members, spread, passes, now) };
        // A few steps along the ring find an endpoint unless nearly all are ejected; then any will do.
        let ring = std::mem::take(&mut state.ring);
        let order = ring.walk(key).take(64).chain(spread);
        let picked = self.first_admitted(&mut state.members, order, passes, now);
        state.ring = ring;
        picked
    }

    fn first_admitted(
        self: &Arc<Self>,
        members: &mut [Member],
        order: impl Iterator<Item = usize>,
        passes: [Option<Pass>; 2],
        now: Timestamp,
    ) -> Result<Picked, NoPick> {
        let mut rejection = None;
        for place in order {
            let Some(member) = members.get_mut(place) else { continue };
            let decision = member.breaker.admit(now);
            if let Some(change) = decision.change {
                self.publish(member, change);
            }
            match decision.admission {
                Admission::Admit(permit) | Admission::Probe(permit) => {
                    let endpoint = Arc::clone(&member.endpoint);
                    let (target, permit) = (Arc::clone(self), Some(permit));
                    let probe = matches!(decision.admission, Admission::Probe(_));
                    return Ok(Picked { _load: endpoint.load(), endpoint, target, permit, passes, probe, at: now });
                }
                Admission::Reject(why) => {
                    rejection.get_or_insert_with(|| NoPick::Rejected(Arc::clone(&member.breaker_id), why));
                }
            }
        }
        Err(rejection.unwrap_or(NoPick::Unresolved))
    }

    /// Notes that an endpoint asked not to be called for a while; how long it will be left alone.
    pub(crate) fn hold(&self, endpoint: &Arc<Endpoint>, time: Duration, now: Timestamp) -> Duration {
        let time = time.min(LONGEST_HOLD);
        let mut state = self.lock();
        let until = now + time;
        if let Some(member) = state.members.iter_mut().find(|member| Arc::ptr_eq(&member.endpoint, endpoint)) {
            member.held_until = until;
            state.holds_until = state.holds_until.max(until);
        }
        time
    }

    /// Whether there is an endpoint that is neither this one nor held.
    pub(crate) fn has_other(&self, endpoint: &Arc<Endpoint>, now: Timestamp) -> bool {
        let state = self.lock();
        state.members.iter().any(|member| !Arc::ptr_eq(&member.endpoint, endpoint) && member.held_until <= now)
    }

    /// Notes that an answer broke off after its head had counted as a success.
    pub(crate) fn note_broken_answer(&self, endpoint: &Arc<Endpoint>, trace: TraceId, now: Timestamp) {
        let sample = Sample {
            outcome: Outcome::Failure(Fault { origin: FailureOrigin::Local, error: LastError::Word("broken_answer") }),
            took: Duration::ZERO,
            trace: Some(trace),
        };
        let permit = {
            let mut state = self.lock();
            let member = state.members.iter_mut().find(|member| Arc::ptr_eq(&member.endpoint, endpoint));
            // Only a closed breaker still listens; a probe has been judged by its head.
            let Some(member) = member.filter(|member| member.breaker.state() == BreakerState::Closed) else { return };
            match member.breaker.admit(now).admission {
                Admission::Admit(permit) => permit,
                Admission::Probe(_) | Admission::Reject(_) => return,
            }
        };
        self.record(endpoint, permit, sample, now);
    }

    fn record(&self, endpoint: &Arc<Endpoint>, permit: Permit, sample: Sample, now: Timestamp) {
        let mut state = self.lock();
        // Nothing else can trip, and looking at all members takes time when there are many.
        let slow = self.rules.endpoint.slow.is_some_and(|rule| sample.took > rule.longer_than);
        let may_trip = slow || !matches!(sample.outcome, Outcome::Success | Outcome::Cancelled);
        let leave = if may_trip { self.leave(&state.members) } else { TripLeave::Granted };
        let several = state.members.len() > 1;
        let found = state.members.iter_mut().find(|member| Arc::ptr_eq(&member.endpoint, endpoint));
        let Some(member) = found else { return };
        if several {
            match sample.outcome {
                Outcome::Success | Outcome::Soft(_) => member.measure.answered(sample.took, now),
                Outcome::Failure(_) => member.measure.failed(sample.took, now),
                Outcome::Cancelled => {}
            }
        }
        match member.breaker.record(permit, sample, now, leave) {
            Recorded::Counted => {}
            Recorded::Changed(change) => {
                if several && change.to == BreakerState::Closed {
                    member.measure.rejoin(now);
                }
                self.publish(member, change);
            }
            Recorded::Suppressed(change) => self.events.suppressed(self.guarded(member), Some(change)),
            Recorded::SuppressedAgain => self.events.suppressed(self.guarded(member), None),
        }
    }

    /// Counts a request towards the retry budget.
    pub(crate) fn count_request(&self, now: Timestamp) {
        self.lock().budget.request(now);
    }

    /// Charges a retry to the budget; false when it is exhausted.
    pub(crate) fn may_retry(&self, now: Timestamp) -> bool {
        let granted = self.lock().budget.take(now);
        if !granted {
            self.events.retry_denied();
        }
        granted
    }

    /// Lets time pass for all breakers and tells their states, and what holds them.
    pub(crate) fn statuses(&self, now: Timestamp) -> Vec<(BreakerStatus, Option<Forced>)> {
        let mut all: Vec<_> = {
            let mut state = self.lock();
            let tick = |member: &mut Member| {
                if let Some(change) = member.breaker.tick(now) {
                    self.publish(member, change);
                }
                let status = BreakerStatus {
                    breaker: member.breaker_id.to_string(),
                    server: self.server.clone(),
                    route: String::new(),
                    endpoint: member.endpoint.label().to_owned(),
                    state: member.breaker.state(),
                    since: member.breaker.since(),
                    trips: member.breaker.trips(),
                };
                (status, member.breaker.forced())
            };
            state.members.iter_mut().map(tick).collect()
        };
        all.extend(self.guards().iter().map(|guard| guard.status(now)));
        all.extend(self.crowd.iter().map(|crowd| (crowd.status(now), None)));
        all
    }

    /// Holds the breaker of this id open or closed, or lets it go; false when there is none.
    pub(crate) fn force(&self, id: &str, forced: Option<Forced>, now: Timestamp) -> bool {
        {
            let mut state = self.lock();
            if let Some(member) = state.members.iter_mut().find(|member| *member.breaker_id == *id) {
                if let Some(change) = member.breaker.force(forced, now) {
                    self.publish(member, change);
                }
                return true;
            }
        }
        self.guards().iter().any(|guard| guard.force(id, forced, now))
    }

    /// The breakers of its routes and its own. Those of routes that are gone with an old configuration go here.
    fn guards(&self) -> Vec<Arc<Guard>> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|guard| Arc::strong_count(guard) > 1);
        self.service.iter().chain(routes.iter()).map(Arc::clone).collect()
    }

    /// Whether one of its endpoints is at an address.
    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        self.port == address.port() && self.lock().members.iter().any(|member| member.endpoint.has(address))
    }

    /// Its endpoints now.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.lock().members.iter().map(|member| Arc::clone(&member.endpoint)).collect()
    }

    fn leave(&self, members: &[Member]) -> TripLeave {
        let count = members.len();
        if count == 1 {
            return TripLeave::Granted;
        }
        let ejected = members.iter().filter(|member| member.breaker.state() != BreakerState::Closed).count();
        let share = count * usize::from(self.rules.max_ejection_percent) / 100;
        if ejected < share.max(1).min(count.saturating_sub(1)) { TripLeave::Granted } else { TripLeave::Denied }
    }

    fn guarded<'a>(&'a self, member: &'a Member) -> Guarded<'a> {
        Guarded { breaker: &member.breaker_id, server: &self.server, route: "", endpoint: member.endpoint.label() }
    }

    fn publish(&self, member: &Member, change: Change) {
        self.events.transition(self.guarded(member), change);
    }

    /// A breaker is changed by one call at a time and has no half-changed state that a panic could leave.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is spoken to a listener.
pub(crate) const fn form_of(protocol: ListenerProtocol) -> Form {
    match protocol {
        ListenerProtocol::Http | ListenerProtocol::Tcp => Form::Http1,
        ListenerProtocol::Http2 | ListenerProtocol::Grpc => Form::Http2,
    }
}

#[cfg(test)]
mod tests;
