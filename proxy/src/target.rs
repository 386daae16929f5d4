//! A service that this one calls: its endpoints, a breaker for each, and the budget for its retries.
//!
//! **Picking.** Of two endpoints drawn at random the one with fewer requests on their way is tried first (power of two
//! choices), then every other; the first whose breaker lets the call pass gets it. With one endpoint nothing is drawn.
//!
//! **Ejection.** An endpoint whose breaker is not closed is ejected. Of several endpoints at most a share may be ejected
//! (half, or App Mesh's `maxEjectionPercent`; one always may), and never the last: beyond that a trip is
//! suppressed and counted. A service with a single endpoint has nobody else to turn to, so there the endpoint's
//! breaker is the service's breaker and does open: failing fast is the point of it.
//!
//! Breakers are shared by all workers, so a process has one opinion of an endpoint. The lock is held for a few
//! nanoseconds, twice a request; a task in between would cost two wake-ups.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tripline_breaker::{
    Admission, Breaker, BudgetPolicy, Change, Fault, LastError, Outcome, Permit, Policy, Recorded, Rejection,
    RetryBudget, Sample, TripLeave,
};
use tripline_mesh::{DiscoveryKind, ListenerProtocol, OutlierDetection, WeightedTarget};
use tripline_model::{BreakerState, BreakerStatus, FailureOrigin, NodeKind, Protocol, ServiceName, Timestamp, TraceId};

use crate::endpoint::{Endpoint, Load};
use crate::events::Events;
use crate::message::Form;
use crate::tls::ClientSide;
use crate::transport::Transport;

/// Share of several endpoints that may be ejected at once, in percent.
const MAX_EJECTION_PERCENT: u8 = 50;

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
    policy: Policy,
    max_ejection_percent: u8,
    workers: usize,
    events: Arc<Events>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    members: Vec<Member>,
    budget: RetryBudget,
    /// Draws endpoints and seeds breakers.
    random: u64,
}

#[derive(Debug)]
struct Member {
    endpoint: Arc<Endpoint>,
    breaker_id: Arc<str>,
    breaker: Breaker,
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
            self.target.record(&self.endpoint, permit, sample, now);
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.record(Sample { outcome: Outcome::Cancelled, took: Duration::ZERO, trace: None }, self.at);
    }
}

/// Why no endpoint may be called.
#[derive(Debug, Clone)]
pub(crate) enum NoPick {
    /// The name has not been resolved.
    Unresolved,
    /// Every breaker rejects; the first one's id and reason.
    Rejected(Arc<str>, Rejection),
}

impl Target {
    /// A target whose endpoints are not known yet.
    pub(crate) fn new(number: usize, target: &WeightedTarget, workers: usize, events: Arc<Events>) -> Self {
        Self {
            number,
            server: target.node.clone(),
            kind: NodeKind::Service,
            hostname: target.hostname.as_str().into(),
            discovery: target.discovery,
            port: target.port,
            protocol: target.protocol.edge_protocol(),
            transport: Transport { form: form_of(target.protocol), tls: None },
            policy: target.outlier_detection.as_ref().map_or_else(Policy::default, policy_of),
            max_ejection_percent: target
                .outlier_detection
                .as_ref()
                .map_or(MAX_EJECTION_PERCENT, |detection| detection.max_ejection_percent),
            workers,
            events,
            state: Mutex::new(State {
                members: Vec::new(),
                budget: RetryBudget::new(BudgetPolicy::default()),
                random: rand::random(),
            }),
        }
    }

    /// Says what its node stands for.
    #[must_use]
    pub(crate) fn of_kind(self, kind: NodeKind) -> Self {
        Self { kind, ..self }
    }

    /// Says how calls to it are encrypted.
    #[must_use]
    pub(crate) fn encrypted(self, tls: Option<Arc<ClientSide>>) -> Self {
        Self { transport: Transport { tls, ..self.transport }, ..self }
    }

    /// Which HTTP it speaks.
    pub(crate) const fn form(&self) -> Form {
        self.transport.form
    }

    /// Takes the endpoints to be exactly these; those that stay keep their breakers and connections.
    pub(crate) fn set_endpoints(&self, endpoints: &[(String, Arc<[SocketAddr]>)], now: Timestamp) {
        let mut state = self.lock();
        let state = &mut *state;
        state.members.retain(|member| endpoints.iter().any(|(label, _)| label == member.endpoint.label()));
        for (label, addresses) in endpoints {
            let known = state.members.iter().find(|member| member.endpoint.label() == label);
            if let Some(member) = known {
                member.endpoint.set_addresses(Arc::clone(addresses));
                continue;
            }
            state.members.push(Member {
                endpoint: Arc::new(
                    Endpoint::new(label, Arc::clone(addresses), self.workers).over(self.transport.clone()),
                ),
                breaker_id: format!("{}>{}@{label}", self.events.client(), self.server).into(),
                breaker: Breaker::new(self.policy, next_random(&mut state.random), now),
            });
        }
    }

    /// Chooses an endpoint for a call, another one than `avoid` if there is any.
    pub(crate) fn pick(self: &Arc<Self>, avoid: Option<&Arc<Endpoint>>, now: Timestamp) -> Result<Picked, NoPick> {
        let mut state = self.lock();
        let state = &mut *state;
        let count = state.members.len();
        let first = match count {
            0 => return Err(NoPick::Unresolved),
            1 => 0,
            _ => draw(&state.members, &mut state.random, avoid),
        };
        let mut rejection = None;
        for step in 0..count {
            let Some(member) = state.members.get_mut((first + step) % count) else { continue };
            let decision = member.breaker.admit(now);
            if let Some(change) = decision.change {
                self.publish(member, change);
            }
            match decision.admission {
                Admission::Admit(permit) | Admission::Probe(permit) => {
                    let endpoint = Arc::clone(&member.endpoint);
                    let (target, permit) = (Arc::clone(self), Some(permit));
                    let probe = matches!(decision.admission, Admission::Probe(_));
                    return Ok(Picked { _load: endpoint.load(), endpoint, target, permit, probe, at: now });
                }
                Admission::Reject(why) => {
                    rejection.get_or_insert_with(|| NoPick::Rejected(Arc::clone(&member.breaker_id), why));
                }
            }
        }
        Err(rejection.unwrap_or(NoPick::Unresolved))
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
        let leave = self.leave(&state.members);
        let found = state.members.iter_mut().find(|member| Arc::ptr_eq(&member.endpoint, endpoint));
        let Some(member) = found else { return };
        match member.breaker.record(permit, sample, now, leave) {
            Recorded::Counted => {}
            Recorded::Changed(change) => self.publish(member, change),
            Recorded::Suppressed(change) => self.events.suppressed(&member.breaker_id, &change),
        }
    }

    /// Counts a request towards the retry budget.
    pub(crate) fn count_request(&self, now: Timestamp) {
        self.lock().budget.request(now);
    }

    /// Charges a retry to the budget; false when it is exhausted.
    pub(crate) fn may_retry(&self, now: Timestamp) -> bool {
        self.lock().budget.take(now)
    }

    /// Lets open breakers whose time is over become half open, and tells the state of all.
    pub(crate) fn statuses(&self, now: Timestamp) -> Vec<BreakerStatus> {
        let mut state = self.lock();
        let tick = |member: &mut Member| {
            if let Some(change) = member.breaker.tick(now) {
                self.publish(member, change);
            }
            BreakerStatus {
                breaker: member.breaker_id.to_string(),
                server: self.server.clone(),
                route: String::new(),
                endpoint: member.endpoint.label().to_owned(),
                state: member.breaker.state(),
                since: member.breaker.since(),
                trips: member.breaker.trips(),
            }
        };
        state.members.iter_mut().map(tick).collect()
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
        let ejected = members.iter().filter(|member| member.breaker.state() != BreakerState::Closed).count();
        let share = count * usize::from(self.max_ejection_percent) / 100;
        if count == 1 || ejected < share.max(1).min(count.saturating_sub(1)) {
            TripLeave::Granted
        } else {
            TripLeave::Denied
        }
    }

    fn publish(&self, member: &Member, change: Change) {
        self.events.transition(&member.breaker_id, &self.server, member.endpoint.label(), change);
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

/// App Mesh's outlier detection as a breaker's policy; see [`tripline_breaker::policy`].
fn policy_of(detection: &OutlierDetection) -> Policy {
    let default = Policy::default();
    Policy {
        consecutive_failures: detection.max_server_errors,
        failures: None,
        window: detection.interval,
        open_first: detection.base_ejection,
        open_longest: default.open_longest.max(detection.base_ejection),
        jitter: tripline_breaker::Jitter::None,
        ..default
    }
}

fn draw(members: &[Member], random: &mut u64, avoid: Option<&Arc<Endpoint>>) -> usize {
    let count = members.len();
    let number = next_random(random);
    let one = (number % count as u64) as usize;
    let other = (one + 1 + ((number >> 32) % (count as u64 - 1)) as usize) % count;
    let burden = |place: usize| {
        members.get(place).map_or((true, u32::MAX), |member| {
            let avoided = avoid.is_some_and(|avoid| Arc::ptr_eq(avoid, &member.endpoint));
            (avoided, member.endpoint.in_flight())
        })
    };
    if burden(other) < burden(one) { other } else { one }
}

/// Xorshift; good enough to spread load and seeds.
const fn next_random(state: &mut u64) -> u64 {
    let mut x = *state | 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    x
}

#[cfg(test)]
mod tests {
    use tripline_model::Ratio;

    use super::*;

    fn target(endpoints: usize) -> Arc<Target> {
        let weighted = WeightedTarget {
            node: ServiceName::new("shop", "payments"),
            weight: 1,
            hostname: "payments".into(),
            port: 80,
            discovery: DiscoveryKind::Endpoints,
            protocol: ListenerProtocol::Http,
            outlier_detection: None,
            tls: None,
            connection_pool: None,
        };
        let target = Arc::new(Target::new(0, &weighted, 1, Events::for_test()));
        let endpoints: Vec<_> = (0..endpoints)
            .map(|n| (format!("10.0.0.{n}:80"), Arc::from([SocketAddr::from(([10, 0, 0, n as u8], 80))])))
            .collect();
        target.set_endpoints(&endpoints, at(0));
        target
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    fn ejected_share(target: &Target) -> f64 {
        let statuses = target.statuses(at(0));
        let ejected = statuses.iter().filter(|status| status.state != BreakerState::Closed).count();
        Ratio::of(ejected as u64, statuses.len() as u64).get()
    }

    fn fail(target: &Arc<Target>, times: usize) {
        for _ in 0..times {
            if let Ok(picked) = target.pick(None, at(0)) {
                let fault = Fault { origin: FailureOrigin::Remote, error: LastError::Status(500) };
                picked.ends(Outcome::Failure(fault), TraceId::from_bytes([1; 16]).unwrap(), at(0));
            }
        }
    }

    #[test]
    fn the_only_endpoint_does_open() {
        let target = target(1);
        fail(&target, 5);
        let Err(NoPick::Rejected(id, _)) = target.pick(None, at(0)) else { panic!("still admits") };
        assert_eq!(&*id, "shop/test>shop/payments@10.0.0.0:80");
    }

    #[test]
    fn of_several_at_most_half_are_ejected_and_never_the_last() {
        for (endpoints, ejected) in [(2, 0.5), (3, 1.0 / 3.0), (4, 0.5), (10, 0.5)] {
            let target = target(endpoints);
            fail(&target, 500);
            assert_eq!(ejected_share(&target), ejected, "of {endpoints}");
            assert!(target.pick(None, at(0)).is_ok());
        }
    }

    #[test]
    fn the_less_loaded_of_two_is_picked_and_a_retry_goes_elsewhere() {
        let target = target(2);
        let first = target.pick(None, at(0)).unwrap();
        let second = target.pick(None, at(0)).unwrap();
        assert_ne!(first.endpoint.label(), second.endpoint.label());
        for _ in 0..20 {
            let again = target.pick(Some(&first.endpoint), at(0)).unwrap();
            assert_ne!(again.endpoint.label(), first.endpoint.label());
        }
    }

    #[test]
    fn endpoints_that_stay_keep_their_breakers() {
        let target = target(1);
        fail(&target, 5);
        let stays = ("10.0.0.0:80".to_owned(), Arc::from([SocketAddr::from(([10, 0, 0, 0], 80))]));
        target.set_endpoints(std::slice::from_ref(&stays), at(1));
        assert!(target.pick(None, at(1)).is_err());
        target.set_endpoints(&[], at(1));
        assert!(matches!(target.pick(None, at(1)), Err(NoPick::Unresolved)));
    }
}
