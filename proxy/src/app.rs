//! Composition root: from a configuration to a running sidecar and back to nothing.
//!
//! Threads: one per worker, each with a single-threaded runtime that only carries traffic; and the caller's own, which
//! runs everything else (admin port, reports, export, name resolution), so that telemetry never competes with a request
//! inside one runtime.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tripline_mesh::{EgressFilter, Listener, ListenerProtocol, NodeConfig};
use tripline_model::{BreakerTransition, Sidecar};

use crate::admin::{self, Admin};
use crate::app_side::AppSide;
use crate::carrier::Carrier;
use crate::clock::Clock;
use crate::collector_link::{self, CollectorLink};
use crate::correlate::Correlator;
use crate::directory::Directory;
use crate::drain::{self, Drain, DrainStart};
use crate::events::{Dropped, Events};
use crate::export::{self, Backlog};
use crate::external::Externals;
use crate::listen;
use crate::report::Counting;
use crate::settings::{Configuration, Settings};
use crate::span_queue::SpanQueue;
use crate::tally::Shard;
use crate::target::Target;
use crate::trace_context::Sampler;
use crate::worker::{Addresses, Connections, Half, Limits, Shared, Worker};
use crate::{config_view, discover, headers};

/// Time for the last report to be acknowledged.
const FLUSH: Duration = Duration::from_secs(2);

/// Why a sidecar cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Another process listens there.
    #[error(
        "cannot listen on {address} for {what}: the port is taken; end the other process, or choose another address with {flag} or {variable}"
    )]
    PortTaken {
        /// The address.
        address: SocketAddr,
        /// What it was for.
        what: &'static str,
        /// The flag that changes it.
        flag: &'static str,
        /// The variable that changes it.
        variable: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for {what}; choose another address with {flag} or {variable}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What it was for.
        what: &'static str,
        /// The flag that changes it.
        flag: &'static str,
        /// The variable that changes it.
        variable: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Inbound would forward to itself.
    #[error(
        "the application and the inbound half would both be at {0}: say where the application listens with --app or TRIPLINE_APP"
    )]
    Loop(SocketAddr),
    /// A listener's protocol is not served.
    #[error("listener {port} of {node} speaks {protocol}, which this version does not carry; use http")]
    Protocol {
        /// The node.
        node: String,
        /// The listener's port.
        port: u16,
        /// What it speaks.
        protocol: ListenerProtocol,
    },
    /// The collector's address cannot be used.
    #[error("the collector's address \"{url}\" cannot be used ({why}); give --collector http://HOST:PORT")]
    Collector {
        /// The address.
        url: String,
        /// Why.
        why: String,
    },
    /// A thread or a runtime cannot be made.
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
}

impl StartError {
    /// Whether the configuration is at fault, not the machine.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Loop(_) | Self::Protocol { .. } | Self::Collector { .. })
    }
}

/// A sidecar whose ports are bound and that carries no traffic yet.
#[derive(Debug)]
pub struct Proxy {
    parts: Parts,
    addresses: Addresses,
    start: DrainStart,
    drain: Drain,
}

/// What the threads are made of.
#[derive(Debug)]
struct Parts {
    shared: Arc<Shared>,
    carriers: Vec<Carrier>,
    admin: StdListener,
    config: serde_json::Value,
    collector: tonic::transport::Endpoint,
    transitions: mpsc::Receiver<BreakerTransition>,
}

impl Proxy {
    /// Checks what needs no port: everything in the configuration that this version cannot do.
    ///
    /// # Errors
    /// [`StartError`] for which [`StartError::is_configuration`] holds.
    pub fn check(configuration: &Configuration, settings: &Settings) -> Result<(), StartError> {
        app_side(&configuration.node, settings)?;
        collector_endpoint(settings).map(drop)
    }

    /// Binds all ports.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left bound.
    pub fn bind(configuration: &Configuration, settings: &Settings) -> Result<Self, StartError> {
        let node = &configuration.node;
        let workers = settings.workers.max(1);
        let app = app_side(node, settings)?;
        let collector = collector_endpoint(settings)?;
        let outbound = bind(settings.outbound, workers, OUTBOUND)?;
        let inbound = app.as_ref().map(|_| bind(settings.inbound, workers, INBOUND)).transpose()?;
        let admin_at = bind(settings.admin, 1, ADMIN)?;
        let addresses = Addresses {
            inbound: inbound.as_ref().map(|(address, _)| *address),
            outbound: outbound.0,
            admin: admin_at.0,
        };
        let mut halves: Vec<Vec<(Half, StdListener)>> =
            outbound.1.into_iter().map(|l| vec![(Half::Outbound, l)]).collect();
        for (listeners, listener) in halves.iter_mut().zip(inbound.map(|(_, listeners)| listeners).unwrap_or_default())
        {
            listeners.push((Half::Inbound, listener));
        }
        let Some(admin) = admin_at.1.into_iter().next() else {
            return Err(ADMIN.error(settings.admin, io::Error::from(io::ErrorKind::NotFound)));
        };
        let config = config_view::of(node, settings, &addresses);
        let (shared, transitions) = share(configuration, settings, app);
        if let Some(externals) = &shared.externals {
            externals.set_own(addresses.outbound);
        }
        let carriers = halves.into_iter().enumerate().map(|(index, listeners)| {
            let worker = Arc::new(Worker { index, shard: Shard::new(), shared: Arc::clone(&shared) });
            Carrier { worker, listeners }
        });
        let parts = Parts { carriers: carriers.collect(), shared, admin, config, collector, transitions };
        let (start, drain) = drain::channel();
        Ok(Self { parts, addresses, start, drain })
    }

    /// Where it listens; differs from the settings where these say port 0.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Carries traffic until `stop` is ready or somebody asks for a drain, then finishes what is under way.
    ///
    /// # Errors
    /// [`StartError::Runtime`] when a thread or runtime cannot be made.
    pub fn run(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let Self { parts, start, drain, .. } = self;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
        let mut ended = Vec::new();
        let mut workers = Vec::new();
        for carrier in parts.carriers {
            workers.push(Arc::clone(&carrier.worker));
            ended.push(carrier.start(drain.clone()).map_err(StartError::Runtime)?);
        }
        let shared = parts.shared;
        runtime.block_on(async {
            let link = CollectorLink::new(&parts.collector);
            let (counting, totals) = Counting::new(Arc::clone(&shared), workers);
            let counting = Arc::new(tokio::sync::Mutex::new(counting));
            let backlog = Arc::new(Backlog::default());
            let mut tasks = JoinSet::new();
            discover::keep_resolving(discover::names(&shared.targets), shared.clock, &mut tasks);
            tasks.spawn(export::count(Arc::clone(&counting), Arc::clone(&backlog), Arc::clone(&shared)));
            tasks.spawn(export::send_reports(link.clone(), Arc::clone(&backlog), Arc::clone(&shared)));
            tasks.spawn(export::send_transitions(link.clone(), parts.transitions, Arc::clone(&shared)));
            tasks.spawn(export::send_spans(link.clone(), Arc::clone(&shared)));
            let config = Arc::new(parts.config);
            let shows =
                Admin { shared: Arc::clone(&shared), totals, start: start.clone(), drain: drain.clone(), config };
            match TcpListener::from_std(parts.admin) {
                Ok(listener) => drop(tasks.spawn(admin::serve(shows, listener))),
                Err(error) => tracing::error!(%error, "no admin port"),
            }
            until_asked(stop, drain, &start, &mut tasks).await;
            tracing::info!("draining: no new connections, finishing requests under way");
            for worker in ended {
                // A worker that panicked has dropped its end; its counts are still in its shard.
                let _ = worker.await;
            }
            export::flush(&counting, &backlog, (&link, &shared), FLUSH).await;
        });
        tracing::info!("stopped");
        Ok(())
    }
}

/// Waits until the sidecar is to stop. A task that ends before is a defect; traffic goes on without it.
async fn until_asked(stop: impl Future<Output = ()>, mut drain: Drain, start: &DrainStart, tasks: &mut JoinSet<()>) {
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return start.begin(),
            () = drain.begun() => return,
            Some(ended) = tasks.join_next() => tracing::error!(?ended, "a task of the sidecar has ended; restart it"),
        }
    }
}

/// One of the sidecar's ports and how it is changed.
#[derive(Clone, Copy)]
struct Port {
    what: &'static str,
    flag: &'static str,
    variable: &'static str,
}

const INBOUND: Port = Port { what: "inbound traffic", flag: "--inbound", variable: "TRIPLINE_INBOUND" };
const OUTBOUND: Port = Port { what: "outbound traffic", flag: "--outbound", variable: "TRIPLINE_OUTBOUND" };
const ADMIN: Port = Port { what: "the admin port", flag: "--admin", variable: "TRIPLINE_ADMIN" };

impl Port {
    fn error(self, address: SocketAddr, source: io::Error) -> StartError {
        let Self { what, flag, variable } = self;
        if source.kind() == io::ErrorKind::AddrInUse {
            StartError::PortTaken { address, what, flag, variable }
        } else {
            StartError::Listen { address, what, flag, variable, source }
        }
    }
}

fn bind(address: SocketAddr, workers: usize, port: Port) -> Result<(SocketAddr, Vec<StdListener>), StartError> {
    let listeners = listen::bind(address, workers).map_err(|error| port.error(address, error))?;
    let bound = listeners.first().map_or(Ok(address), StdListener::local_addr);
    Ok((bound.map_err(|error| port.error(address, error))?, listeners))
}

fn collector_endpoint(settings: &Settings) -> Result<tonic::transport::Endpoint, StartError> {
    let url = &settings.collector;
    collector_link::endpoint(url).map_err(|why| StartError::Collector { url: url.clone(), why })
}

/// The application behind the first listener; none for a pure client.
fn app_side(node: &NodeConfig, settings: &Settings) -> Result<Option<AppSide>, StartError> {
    let Some(listener) = node.listeners.first() else { return Ok(None) };
    if listener.protocol != ListenerProtocol::Http {
        let (node, port, protocol) = (node.service.to_string(), listener.port, listener.protocol);
        return Err(StartError::Protocol { node, port, protocol });
    }
    let app = app_address(listener, settings);
    if app == settings.inbound && app.port() != 0 {
        return Err(StartError::Loop(app));
    }
    if node.listeners.len() > 1 {
        tracing::warn!(port = listener.port, "only the node's first listener is served");
    }
    Ok(Some(AppSide::new(listener, app, settings.workers.max(1))))
}

/// Where the application listens.
pub(crate) fn app_address(listener: &Listener, settings: &Settings) -> SocketAddr {
    settings.app.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listener.port))
}

fn share(
    configuration: &Configuration,
    settings: &Settings,
    app: Option<AppSide>,
) -> (Arc<Shared>, mpsc::Receiver<BreakerTransition>) {
    let node = &configuration.node;
    let workers = settings.workers.max(1);
    let sidecar = Sidecar {
        service: node.service.clone(),
        // New at each start, because the sequence of reports begins anew.
        instance: format!("{}-{:08x}", std::process::id(), rand::random::<u32>()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let dropped = Arc::new(Dropped::default());
    let (events, transitions) = Events::new(sidecar.clone(), Arc::clone(&dropped));
    let mut targets: Vec<Arc<Target>> = Vec::new();
    let mut known = FxHashMap::default();
    let directory = Directory::new(node, configuration.mesh_hosts.iter().cloned(), |weighted| {
        let key = (weighted.node.clone(), weighted.hostname.clone(), weighted.port);
        let number = *known.entry(key).or_insert_with(|| {
            targets.push(Arc::new(Target::new(targets.len(), weighted, workers, Arc::clone(&events))));
            targets.len() - 1
        });
        Arc::clone(&targets[number])
    });
    let limits = Limits::default();
    let shared = Shared {
        clock: Clock::start(),
        client_header: headers::value(&node.service.to_string()),
        sidecar,
        directory,
        externals: (node.egress == EgressFilter::AllowAll)
            .then(|| Externals::new(targets.len(), workers, Arc::clone(&events))),
        targets,
        correlator: app.as_ref().map(|_| Correlator::new()),
        app,
        sampler: Sampler::new(settings.sample_ratio),
        spans: SpanQueue::default(),
        dropped,
        events,
        limits,
        accepts: Arc::new(Semaphore::new(limits.connections)),
        connections: Connections::default(),
    };
    // Literal addresses need no resolver, so the first request finds them.
    discover::take_literals(&shared.targets, shared.clock);
    (Arc::new(shared), transitions)
}
