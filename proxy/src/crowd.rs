//! At most so many calls of this proxy to one service at once.
//!
//! `maxRequests` limits all of them; `maxConnections` those that are on a connection (HTTP/1.1 carries one request a
//! connection), the others wait; `maxPendingRequests` limits how many wait. What goes beyond is rejected at once, as by an
//! open breaker, because a queue that nobody can see the end of is an outage that has not been noticed yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tripline_breaker::{Change, Gate, Rejection};
use tripline_mesh::Limits;
use tripline_model::{BreakerStatus, ServiceName, Timestamp};

use crate::events::{Events, Guarded};

/// The calls to one service.
#[derive(Debug)]
pub(crate) struct Crowd {
    id: Arc<str>,
    server: ServiceName,
    /// Shared by all workers; held to count one call.
    gate: Mutex<Gate>,
    places: Option<Arc<Semaphore>>,
    events: Arc<Events>,
}

/// A call that may be made; leaves when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    crowd: Arc<Crowd>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Crowd {
    /// With these limits; none if nothing is limited.
    pub(crate) fn new(events: &Arc<Events>, server: &ServiceName, limits: &Limits) -> Option<Arc<Self>> {
        let waiting = |most: u32| limits.max_pending_requests.map(|pending| most.saturating_add(pending));
        let all = [limits.max_requests, limits.max_connections.and_then(waiting)].into_iter().flatten().min();
        if all.is_none() && limits.max_connections.is_none() {
            return None;
        }
        let places = limits.max_connections.map(|most| (most as usize).min(Semaphore::MAX_PERMITS));
        Some(Arc::new(Self {
            id: format!("{}>{server}#requests", events.client()).into(),
            server: server.clone(),
            gate: Mutex::new(Gate::new(all.unwrap_or(u32::MAX), Timestamp::from_nanos(0))),
            places: places.map(|places| Arc::new(Semaphore::new(places))),
            events: Arc::clone(events),
        }))
    }

    /// Takes a place among the calls, waiting for a connection's if need be.
    pub(crate) async fn enter(self: &Arc<Self>, now: Timestamp) -> Result<Ticket, (Arc<str>, Rejection)> {
        let entry = self.lock().enter(now);
        self.publish(entry.change);
        if let Err(rejection) = entry.admitted {
            return Err((Arc::clone(&self.id), rejection));
        }
        let mut ticket = Ticket { crowd: Arc::clone(self), _place: None };
        if let Some(places) = &self.places {
            // The semaphore is never closed.
            ticket._place = Arc::clone(places).acquire_owned().await.ok();
        }
        Ok(ticket)
    }

    /// Its state now: open while it rejects.
    pub(crate) fn status(&self, now: Timestamp) -> BreakerStatus {
        let (change, status) = {
            let mut gate = self.lock();
            let change = gate.tick(now);
            let status = BreakerStatus {
                breaker: self.id.to_string(),
                server: self.server.clone(),
                route: String::new(),
                endpoint: String::new(),
                state: gate.state(),
                since: gate.since(),
                trips: gate.trips(),
            };
            (change, status)
        };
        self.publish(change);
        status
    }

    fn publish(&self, change: Option<Change>) {
        if let Some(change) = change {
            let what = Guarded { breaker: &self.id, server: &self.server, route: "", endpoint: "" };
            self.events.transition(what, change);
        }
    }

    /// Plain counters, which no panic can leave half-changed.
    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.crowd.lock().leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(limits: Limits) -> Arc<Crowd> {
        Crowd::new(&Events::for_test(), &ServiceName::new("shop", "b"), &limits).unwrap()
    }

    #[tokio::test]
    async fn one_calls_one_waits_and_the_third_is_rejected() {
        let now = Timestamp::from_secs(1);
        let crowd = crowd(Limits { max_connections: Some(1), max_pending_requests: Some(1), max_requests: None });
        let first = crowd.enter(now).await.unwrap();
        let second = tokio::spawn({
            let crowd = Arc::clone(&crowd);
            async move { crowd.enter(now).await.is_ok() }
        });
        tokio::task::yield_now().await;
        let (id, rejection) = crowd.enter(now).await.unwrap_err();
        assert_eq!((&*id, rejection.reason.as_str()), ("shop/test>shop/b#requests", "concurrency"));
        assert_eq!(crowd.status(now).state.as_str(), "open");
        drop(first);
        assert!(second.await.unwrap());
    }

    #[tokio::test]
    async fn a_cancelled_wait_gives_its_place_back() {
        let now = Timestamp::from_secs(1);
        let crowd = crowd(Limits { max_connections: Some(1), max_pending_requests: None, max_requests: Some(2) });
        let first = crowd.enter(now).await.unwrap();
        let waits = tokio::time::timeout(std::time::Duration::ZERO, crowd.enter(now)).await;
        assert!(waits.is_err());
        drop(first);
        assert!(crowd.enter(now).await.is_ok());
        assert_eq!(crowd.lock().held(), 0);
    }

    #[test]
    fn without_limits_there_is_none() {
        assert!(Crowd::new(&Events::for_test(), &ServiceName::new("shop", "b"), &Limits::default()).is_none());
    }
}
