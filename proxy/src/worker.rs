//! What the parts of a running sidecar share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Semaphore;
use tripline_model::{NodeKind, ServiceName, Sidecar};

use crate::app_side::AppSide;
use crate::arrival::Arrival;
use crate::clock::Clock;
use crate::correlate::Correlator;
use crate::events::{Dropped, Events};
use crate::external::Externals;
use crate::faults::Injected;
use crate::guarded_io::Silence;
use crate::hits::Hits;
use crate::plan::CurrentPlan;
use crate::reload::Reloads;
use crate::roster::Roster;
use crate::settings::Forward;
use crate::span_queue::SpanQueue;
use crate::tally::Shard;
use crate::target::Target;
use crate::trace_context::Sampler;
use crate::transport::Http2Limits;

/// Everything that all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The time.
    pub(crate) clock: Clock,
    /// Who this is.
    pub(crate) sidecar: Sidecar,
    /// What it is in the graph.
    pub(crate) kind: NodeKind,
    /// The same, as the outbound half tells it to others.
    pub(crate) client_header: HeaderValue,
    /// Ports that the redirect rules are said to leave alone.
    pub(crate) bypassed: Box<[u16]>,
    /// What the configuration comes to.
    pub(crate) plan: CurrentPlan,
    /// Every target there ever was, by number.
    pub(crate) roster: Arc<Roster>,
    /// Hosts outside the mesh, called when the plan allows it.
    pub(crate) externals: Externals,
    /// Ports whose connections are passed to a service as bytes.
    pub(crate) forwards: Vec<Forward>,
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
    /// What was made to go wrong on purpose.
    pub(crate) injected: Injected,
    /// What became of new configurations.
    pub(crate) reloads: Reloads,
}

impl Shared {
    /// The service this sidecar stands beside.
    pub(crate) const fn service(&self) -> &ServiceName {
        &self.sidecar.service
    }

    /// The application behind a listener, by its number.
    pub(crate) fn app(&self, listener: usize) -> Option<Arc<AppSide>> {
        self.plan.get().apps.get(listener).cloned()
    }

    /// Whether a redirected connection was going to a service that is declared to be no HTTP.
    pub(crate) fn is_for_bytes(&self, arrival: &Arrival) -> bool {
        arrival.original.is_some_and(|original| self.plan.get().directory.tcp_route_to(original).is_some())
    }

    /// Every target that is called now.
    pub(crate) fn all_targets(&self) -> Vec<Arc<Target>> {
        let mut all = self.plan.get().targets.clone();
        all.extend(self.externals.targets());
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
    /// Closed in the middle because the time to drain was over.
    pub(crate) cut: AtomicU64,
    /// Which limits were hit how often.
    pub(crate) hits: Hits,
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

/// Limits of time and number that no document sets; [`crate::limit_args`] has the defaults.
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
    /// Header fields of a request.
    pub(crate) headers: usize,
    /// Bytes of a request's body.
    pub(crate) request_bytes: Option<u64>,
    /// Time after which an accepted connection is ended with its next answer.
    pub(crate) connection_age: Option<Duration>,
    /// Bytes of a request body that are kept for another try.
    pub(crate) replay: u64,
    /// Time that requests under way get to finish when the sidecar stops.
    pub(crate) drain: Duration,
}

impl Limits {
    /// How long an idle connection stays open while the sidecar drains.
    pub(crate) fn drain_grace(&self) -> Duration {
        (self.drain / 2).min(Duration::from_secs(1))
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
