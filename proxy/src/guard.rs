//! A breaker that guards more than one endpoint: a route to a service, or the service as a whole.
//!
//! An endpoint's breaker takes one endpoint out of the rotation. These two stop calls altogether: that of a route when one
//! kind of request fails everywhere, that of a service when most of it does. Neither exists unless a TrafficPolicy asks for
//! it, because with several endpoints the failures of one of them would otherwise stop the calls to all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tripline_breaker::{
    Admission, Breaker, Change, Forced, Outcome, Permit, Policy, Recorded, Rejection, Sample, TripLeave,
};
use tripline_model::{BreakerStatus, ServiceName, Timestamp};

use crate::events::{Events, Guarded};

/// The breaker of a route or a service.
#[derive(Debug)]
pub(crate) struct Guard {
    id: Arc<str>,
    server: ServiceName,
    route: Box<str>,
    /// Shared by all workers; held for a few nanoseconds, twice a call.
    breaker: Mutex<Breaker>,
    events: Arc<Events>,
}

/// A call that a guard let pass. Dropped without a result it counts as a call whose caller left.
#[derive(Debug)]
pub(crate) struct Pass {
    guard: Arc<Guard>,
    permit: Option<Permit>,
    at: Timestamp,
}

impl Guard {
    /// A closed breaker; `route` is empty for a whole service.
    pub(crate) fn new(events: &Arc<Events>, server: &ServiceName, route: &str, policy: Policy) -> Arc<Self> {
        let slash = if route.is_empty() { "" } else { "/" };
        Arc::new(Self {
            id: format!("{}>{server}{slash}{route}", events.client()).into(),
            server: server.clone(),
            route: route.into(),
            breaker: Mutex::new(Breaker::new(policy, rand::random(), Timestamp::from_nanos(0))),
            events: Arc::clone(events),
        })
    }

    /// The route it guards; empty for a whole service.
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    /// Asks for one call.
    pub(crate) fn admit(self: &Arc<Self>, now: Timestamp) -> Result<Pass, (Arc<str>, Rejection)> {
        let decision = self.lock().admit(now);
        self.publish(decision.change);
        match decision.admission {
            Admission::Admit(permit) | Admission::Probe(permit) => {
                Ok(Pass { guard: Arc::clone(self), permit: Some(permit), at: now })
            }
            Admission::Reject(rejection) => Err((Arc::clone(&self.id), rejection)),
        }
    }

    /// Holds it, if the id is its own.
    pub(crate) fn force(&self, id: &str, forced: Option<Forced>, now: Timestamp) -> bool {
        if *self.id != *id {
            return false;
        }
        let change = self.lock().force(forced, now);
        self.publish(change);
        true
    }

    /// Its state now.
    pub(crate) fn status(&self, now: Timestamp) -> (BreakerStatus, Option<Forced>) {
        let (change, status, forced) = {
            let mut breaker = self.lock();
            let change = breaker.tick(now);
            let status = BreakerStatus {
                breaker: self.id.to_string(),
                server: self.server.clone(),
                route: self.route.to_string(),
                endpoint: String::new(),
                state: breaker.state(),
                since: breaker.since(),
                trips: breaker.trips(),
            };
            (change, status, breaker.forced())
        };
        self.publish(change);
        (status, forced)
    }

    fn record(&self, permit: Permit, sample: Sample, now: Timestamp) {
        let recorded = self.lock().record(permit, sample, now, TripLeave::Granted);
        if let Recorded::Changed(change) = recorded {
            self.publish(Some(change));
        }
    }

    fn publish(&self, change: Option<Change>) {
        if let Some(change) = change {
            let what = Guarded { breaker: &self.id, server: &self.server, route: &self.route, endpoint: "" };
            self.events.transition(what, change);
        }
    }

    /// A breaker is changed by one call at a time and has no half-changed state that a panic could leave.
    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Records how the call ended.
    pub(crate) fn ends(mut self, sample: Sample, now: Timestamp) {
        if let Some(permit) = self.permit.take() {
            self.guard.record(permit, sample, now);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let sample = Sample { outcome: Outcome::Cancelled, took: Duration::ZERO, trace: None };
            self.guard.record(permit, sample, self.at);
        }
    }
}
