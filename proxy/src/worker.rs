//! What the parts of a running sidecar share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Semaphore;
use tripline_model::{ServiceName, Sidecar};

use crate::app_side::AppSide;
use crate::arrival::Arrival;
use crate::clock::Clock;
use crate::correlate::Correlator;
use crate::directory::Directory;
use crate::events::{Dropped, Events};
use crate::external::Externals;
use crate::guarded_io::Silence;
use crate::settings::Forward;
use crate::span_queue::SpanQueue;
use crate::tally::Shard;
use crate::target::Target;
use crate::tls::TlsFiles;
use crate::trace_context::Sampler;
use crate::transport::Http2Limits;

/// Everything that all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The time.
    pub(crate) clock: Clock,
    /// Who this is.
    pub(crate) sidecar: Sidecar,
    /// The same, as the outbound half tells it to others.
    pub(crate) client_header: HeaderValue,
    /// Where the application may call.
    pub(crate) directory: Directory,
    /// Every service that is called, by number.
    pub(crate) targets: Vec<Arc<Target>>,
    /// Hosts outside the mesh, when they may be called.
    pub(crate) externals: Option<Externals>,
    /// The local application behind each listener of the node; none for a pure client.
    pub(crate) apps: Vec<AppSide>,
    /// Ports whose connections are passed to a service as bytes.
    pub(crate) forwards: Vec<Forward>,
    /// Certificates in use.
    pub(crate) tls: TlsFiles,
    /// Joins the halves; without an inbound half there is nothing to join.
    pub(crate) correlator: Option<Correlator>,
    /// Which new traces are sampled.
    pub(crate) sampler: Sampler,
    /// Sampled spans on their way out.
    pub(crate) spans: SpanQueue,
    /// Telemetry that was dropped.
    pub(crate) dropped: Arc<Dropped>,
    /// Breaker transitions on their way out.
    pub(crate) events: Arc<Events>,
    /// Limits of time and number.
    pub(crate) limits: Limits,
    /// Connections that may still be accepted.
    pub(crate) accepts: Arc<Semaphore>,
    /// What listeners counted.
    pub(crate) connections: Connections,
}

impl Shared {
    /// The service this sidecar stands beside.
    pub(crate) const fn service(&self) -> &ServiceName {
        &self.sidecar.service
    }

    /// The application behind a listener, by its number.
    pub(crate) fn app(&self, listener: usize) -> Option<&AppSide> {
        self.apps.get(listener)
    }

    /// Whether a redirected connection was going to a service that is declared to be no HTTP.
    pub(crate) fn is_for_bytes(&self, arrival: &Arrival) -> bool {
        arrival.original.is_some_and(|original| self.directory.tcp_route_to(original).is_some())
    }

    /// Every target there is now.
    pub(crate) fn all_targets(&self) -> Vec<Arc<Target>> {
        let mut all = self.targets.clone();
        all.extend(self.externals.iter().flat_map(Externals::targets));
        all.sort_by_key(|target| target.number);
        all
    }
}

/// What listeners count.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Open now, accepted ones.
    pub(crate) open: AtomicI64,
    /// Accepted since the start.
    pub(crate) accepted: AtomicU64,
    /// Could not be accepted.
    pub(crate) failed: AtomicU64,
    /// Were refused because of their certificates, or because they did not speak TLS.
    pub(crate) tls_refused: AtomicU64,
}

/// One thread that carries traffic.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its number, from 0.
    pub(crate) index: usize,
    /// Its counts.
    pub(crate) shard: Shard,
    /// What it shares with the others.
    pub(crate) shared: Arc<Shared>,
}

/// Limits of time and number that no document sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Silence on accepted connections.
    pub(crate) silence: Silence,
    /// Silence within a body.
    pub(crate) body_silence: Duration,
    /// Opening a connection.
    pub(crate) connect: Duration,
    /// Securing a connection, either end.
    pub(crate) handshake: Duration,
    /// Waiting for the first byte where it decides what is spoken.
    pub(crate) detect: Duration,
    /// Limits of HTTP/2 connections.
    pub(crate) http2: Http2Limits,
    /// Idle time after which a connection to a server is closed.
    pub(crate) pool_idle: Duration,
    /// Accepted connections open at once.
    pub(crate) connections: usize,
    /// Bytes that one connection buffers, and so the longest head.
    pub(crate) buffer: usize,
    /// Bytes of a request body that are kept for another try.
    pub(crate) replay: u64,
    /// Time that requests under way get to finish when the sidecar stops.
    pub(crate) drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: Silence { head: Duration::from_secs(10), idle: Duration::from_secs(300) },
            body_silence: Duration::from_secs(60),
            connect: Duration::from_secs(1),
            handshake: Duration::from_secs(5),
            detect: Duration::from_secs(1),
            http2: Http2Limits::default(),
            pool_idle: Duration::from_secs(60),
            connections: 10_000,
            buffer: 64 * 1024,
            replay: 64 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

/// Which half of the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// From outside to the application.
    Inbound,
    /// From the application to other services.
    Outbound,
    /// From the application to the one service that a port of its own leads to, by number.
    Forward(usize),
}

impl Half {
    /// Its written form.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Forward(_) => "forward",
        }
    }
}

/// Where the sidecar listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// For other services; none for a pure client.
    pub inbound: Option<SocketAddr>,
    /// For the local application.
    pub outbound: SocketAddr,
    /// For operators.
    pub admin: SocketAddr,
}
