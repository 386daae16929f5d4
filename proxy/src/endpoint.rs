//! One place to connect to: its addresses, its load, its idle connections.
//!
//! An endpoint is either one address, or a name that stands for several of them behind a load balancer (App Mesh's
//! `LOADBALANCER`); then connections are spread over the addresses and the name has one breaker. Idle connections belong
//! to the worker that opened them, because a connection's task lives on that worker's runtime.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tripline_model::Timestamp;

use crate::http1::Http1Connection;
use crate::multiplex::Multiplex;
use crate::pool::Pool;
use crate::transport::Transport;

/// One endpoint, shared by all workers.
#[derive(Debug)]
pub(crate) struct Endpoint {
    label: Box<str>,
    /// Written by the resolver once in a while, read when a connection is opened.
    addresses: RwLock<Arc<[SocketAddr]>>,
    turn: AtomicUsize,
    in_flight: AtomicU32,
    /// One per worker; locked to take or give back one connection.
    pools: Box<[Mutex<Pool>]>,
    /// The same for HTTP/2.
    lines: Box<[Multiplex]>,
    transport: Transport,
    /// Milliseconds since 1970 until when a server that chose HTTP/1.1 is not asked again.
    http1_until: AtomicU64,
}

/// Time for which a server's choice of HTTP/1.1 holds; another sidecar may have come to stand before it.
const CHOICE: Duration = Duration::from_secs(600);

impl Endpoint {
    /// An endpoint without connections; `label` is its name in events, `address:port`.
    pub(crate) fn new(label: &str, addresses: Arc<[SocketAddr]>, workers: usize) -> Self {
        Self {
            label: label.into(),
            addresses: RwLock::new(addresses),
            turn: AtomicUsize::new(0),
            in_flight: AtomicU32::new(0),
            pools: (0..workers).map(|_| Mutex::default()).collect(),
            lines: (0..workers).map(|_| Multiplex::default()).collect(),
            transport: Transport::default(),
            http1_until: AtomicU64::new(0),
        }
    }

    /// Says how it is connected to.
    #[must_use]
    pub(crate) fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// How it is connected to.
    pub(crate) const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Whether its server may choose HTTP/2 in the handshake, and is not known to choose HTTP/1.1.
    pub(crate) fn may_choose_http2(&self, now: impl FnOnce() -> Timestamp) -> bool {
        self.transport.is_negotiated() && now().as_millis() >= self.http1_until.load(Ordering::Relaxed)
    }

    /// The server has chosen HTTP/1.1 for a new connection, which waits for its first request.
    pub(crate) fn has_chosen_http1(&self, worker: usize, connection: Box<Http1Connection>, now: Timestamp) {
        self.http1_until.store((now + CHOICE).as_millis(), Ordering::Relaxed);
        self.give_back(worker, connection);
    }

    /// The HTTP/2 connections of a worker.
    pub(crate) fn lines(&self, worker: usize) -> Option<&Multiplex> {
        self.lines.get(worker)
    }

    /// Its name in events.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Requests on their way to it.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request on its way until the guard is dropped.
    pub(crate) fn load(self: &Arc<Self>) -> Load {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Load(Arc::clone(self))
    }

    /// The address for the next connection, in turn; none when the name has not been resolved.
    pub(crate) fn next_address(&self) -> Option<SocketAddr> {
        let addresses = Arc::clone(&self.addresses.read().unwrap_or_else(PoisonError::into_inner));
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        addresses.get(turn.checked_rem(addresses.len())?).copied()
    }

    /// Whether an address is one of its own.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }

    /// Replaces the addresses; open connections stay until they end.
    pub(crate) fn set_addresses(&self, addresses: Arc<[SocketAddr]>) {
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// The most recently used idle connection of a worker.
    pub(crate) fn take_idle(&self, worker: usize) -> Option<Box<Http1Connection>> {
        self.with_pool(worker, Pool::take).flatten()
    }

    /// Keeps a connection for the next request.
    pub(crate) fn give_back(&self, worker: usize, connection: Box<Http1Connection>) {
        self.with_pool(worker, |pool| pool.put(connection));
    }

    /// Closes connections that have been idle too long or were closed by the server.
    pub(crate) fn prune(&self, worker: usize, now: Timestamp, idle: Duration) {
        self.with_pool(worker, |pool| pool.prune(now, idle));
        if let Some(lines) = self.lines.get(worker) {
            lines.prune(now, idle);
        }
    }

    fn with_pool<T>(&self, worker: usize, act: impl FnOnce(&mut Pool) -> T) -> Option<T> {
        let pool = self.pools.get(worker)?;
        Some(act(&mut pool.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A request on its way to an endpoint.
#[derive(Debug)]
pub(crate) struct Load(Arc<Endpoint>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_turns() {
        let addresses: Arc<[SocketAddr]> = ["127.0.0.1:1", "127.0.0.1:2"].map(|a| a.parse().unwrap()).into();
        let endpoint = Endpoint::new("a:1", addresses, 1);
        let ports: Vec<u16> = (0..4).filter_map(|_| endpoint.next_address()).map(|a| a.port()).collect();
        assert_eq!(ports, [1, 2, 1, 2]);
        endpoint.set_addresses(Arc::new([]));
        assert_eq!(endpoint.next_address(), None);
    }

    #[test]
    fn load_is_counted_while_the_guard_lives() {
        let endpoint = Arc::new(Endpoint::new("a:1", Arc::new([]), 1));
        let loads = [endpoint.load(), endpoint.load()];
        assert_eq!(endpoint.in_flight(), 2);
        drop(loads);
        assert_eq!(endpoint.in_flight(), 0);
    }
}
