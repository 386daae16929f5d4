//! The local application as the inbound half sees it: one endpoint, and the limits its listener declares.
//!
//! App Mesh enforces `connectionPool` at the server: at most so many connections to the application, at most so many
//! requests waiting for one. HTTP/1.1 carries one request a connection, so requests in flight are what is limited. HTTP/2 and
//! gRPC have a limit of requests, TCP one of connections, and nothing waits: what exceeds them is refused. There is no breaker
//! towards the own application; its clients have theirs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tripline_mesh::{Listener, ListenerProtocol};

use crate::endpoint::Endpoint;
use crate::target::form_of;
use crate::tls::ServerSide;
use crate::transport::Transport;

/// The application.
#[derive(Debug)]
pub(crate) struct AppSide {
    listener: Listener,
    /// Where it listens.
    pub(crate) endpoint: Arc<Endpoint>,
    /// The listener's port, where clients believe to connect.
    pub(crate) port: u16,
    /// What the listener declares to be spoken.
    pub(crate) protocol: ListenerProtocol,
    /// How the listener is protected.
    pub(crate) tls: Option<Arc<ServerSide>>,
    /// Limit of the whole exchange.
    pub(crate) per_request: Option<Duration>,
    /// Longest silence within the answer.
    pub(crate) idle: Option<Duration>,
    gate: Option<Gate>,
}

#[derive(Debug)]
struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// A place among the requests in flight.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl AppSide {
    /// The application behind a listener.
    pub(crate) fn new(listener: &Listener, address: SocketAddr, workers: usize) -> Self {
        let pool = listener.connection_pool;
        let most = pool.and_then(|pool| pool.max_connections.or(pool.max_requests));
        let gate = most.map(|most| Gate {
            places: Arc::new(Semaphore::new((most as usize).min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            most_waiting: match listener.protocol {
                ListenerProtocol::Http => {
                    pool.and_then(|pool| pool.max_pending_requests).map_or(usize::MAX, |most| most as usize)
                }
                ListenerProtocol::Http2 | ListenerProtocol::Grpc | ListenerProtocol::Tcp => 0,
            },
        });
        Self {
            listener: listener.clone(),
            endpoint: Arc::new(
                Endpoint::new(&address.to_string(), Arc::new([address]), workers)
                    .over(Transport { form: form_of(listener.protocol), tls: None }),
            ),
            port: listener.port,
            protocol: listener.protocol,
            tls: None,
            per_request: listener.timeouts.per_request,
            idle: listener.timeouts.idle,
            gate,
        }
    }

    /// Says how its listener is protected.
    #[must_use]
    pub(crate) fn protected(self, tls: Option<Arc<ServerSide>>) -> Self {
        Self { tls, ..self }
    }

    /// The listener it was made of.
    pub(crate) const fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Waits for a place; none when too many wait already.
    pub(crate) async fn enter(&self) -> Option<Place> {
        let Some(gate) = &self.gate else { return Some(Place { _permit: None }) };
        if let Ok(permit) = Arc::clone(&gate.places).try_acquire_owned() {
            return Some(Place { _permit: Some(permit) });
        }
        let waiting = Waiting::begin(&gate.waiting);
        if waiting.others >= gate.most_waiting {
            return None;
        }
        let permit = Arc::clone(&gate.places).acquire_owned().await.ok()?;
        Some(Place { _permit: Some(permit) })
    }
}

/// Counts a waiting request, also when its task is cancelled.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    others: usize,
}

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        Self { count, others: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tripline_mesh::{ConnectionPool, Timeouts};

    use super::*;

    #[tokio::test]
    async fn where_the_protocol_knows_no_waiting_what_exceeds_is_refused() {
        for protocol in [ListenerProtocol::Http2, ListenerProtocol::Grpc, ListenerProtocol::Tcp] {
            let pool = ConnectionPool { max_requests: Some(1), ..ConnectionPool::default() };
            let listener = Listener {
                port: 80,
                protocol,
                timeouts: Timeouts::default_for(protocol),
                connection_pool: Some(pool),
                outlier_detection: None,
                tls: None,
            };
            let app = AppSide::new(&listener, SocketAddr::from(([127, 0, 0, 1], 80)), 1);
            let first = app.enter().await;
            assert!(first.is_some() && app.enter().await.is_none(), "{protocol}");
        }
    }

    #[tokio::test]
    async fn past_the_limits_requests_wait_and_then_are_refused() {
        let listener = Listener {
            port: 80,
            protocol: ListenerProtocol::Http,
            timeouts: Timeouts::default_for(ListenerProtocol::Http),
            connection_pool: Some(ConnectionPool {
                max_connections: Some(1),
                max_pending_requests: Some(1),
                max_requests: None,
            }),
            outlier_detection: None,
            tls: None,
        };
        let app = Arc::new(AppSide::new(&listener, SocketAddr::from(([127, 0, 0, 1], 80)), 1));
        let first = app.enter().await.unwrap();
        let waits = tokio::spawn({
            let app = Arc::clone(&app);
            async move { app.enter().await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(app.enter().await.is_none());
        drop(first);
        assert!(waits.await.unwrap());
    }
}
