//! Composition root: from a configuration to a running sidecar and back to nothing.
//!
//! Threads: one per worker, each with a single-threaded runtime that only carries traffic; and the caller's own, which
//! runs everything else (admin port, reports, export, name resolution), so that telemetry never competes with a request
//! inside one runtime.

use std::collections::hash_map::Entry;
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
use tripline_mesh::{ClientTls, EgressFilter, Listener, NodeConfig, WeightedTarget};
use tripline_model::{BreakerTransition, ServiceName, Sidecar};

use crate::admin::{self, Admin};
use crate::app_side::AppSide;
use crate::carrier::Carrier;
use crate::clock::Clock;
use crate::collector_link::{self, CollectorAddress, CollectorLink};
use crate::correlate::Correlator;
use crate::directory::{Directory, Lookup};
use crate::drain::{self, Drain, DrainStart};
use crate::events::{Dropped, Events};
use crate::export::{self, Backlog};
use crate::external::Externals;
use crate::listen;
use crate::report::Counting;
use crate::settings::{Configuration, Forward, Settings};
use crate::span_queue::SpanQueue;
use crate::tally::Shard;
use crate::target::Target;
use crate::tls::{ClientSide, ServerSide, TlsError, TlsFiles};
use crate::trace_context::Sampler;
use crate::worker::{Addresses, Connections, Half, Limits, Shared, Worker};
use crate::{config_view, discover, headers};

/// Time for the last report to be acknowledged.
const FLUSH: Duration = Duration::from_secs(2);

/// Time between two looks at the certificate files.
const CERTIFICATES: Duration = Duration::from_secs(2);

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
    /// Certificates cannot be used.
    #[error("calls or listeners cannot be encrypted as the documents ask")]
    Tls(#[from] TlsError),
    /// What a forwarded port leads to is not there.
    #[error("--forward {listen}={service}: {why}")]
    Forward {
        /// Where it listens.
        listen: SocketAddr,
        /// The service that was named.
        service: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The collector's address cannot be used.
    #[error(
        "the collector's address \"{url}\" cannot be used ({why}); give --collector http://HOST:PORT or https://HOST:PORT"
    )]
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
        matches!(self, Self::Loop(_) | Self::Tls(_) | Self::Forward { .. } | Self::Collector { .. })
    }
}

/// A sidecar whose ports are bound and that carries no traffic yet.
#[derive(Debug)]
pub struct Proxy {
    parts: Parts,
    addresses: Addresses,
    forwards: Vec<SocketAddr>,
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
    collector: CollectorAddress,
    attributes: Vec<(String, String)>,
    transitions: mpsc::Receiver<BreakerTransition>,
}

impl Proxy {
    /// Checks what needs no port: everything in the configuration that this version cannot do.
    ///
    /// # Errors
    /// [`StartError`] for which [`StartError::is_configuration`] holds.
    pub fn check(configuration: &Configuration, settings: &Settings) -> Result<(), StartError> {
        app_sides(&configuration.node, settings)?;
        let (shared, _) = share(configuration, settings, Vec::new())?;
        for forward in &settings.forwards {
            check_forward(&shared, forward)?;
        }
        collector_address(settings).map(drop)
    }

    /// Binds all ports.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left bound.
    pub fn bind(configuration: &Configuration, settings: &Settings) -> Result<Self, StartError> {
        let node = &configuration.node;
        let workers = settings.workers.max(1);
        let apps = app_sides(node, settings)?;
        let collector = collector_address(settings)?;
        let outbound = bind(settings.outbound, workers, OUTBOUND)?;
        let inbound = (!apps.is_empty()).then(|| bind(settings.inbound, workers, INBOUND)).transpose()?;
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
        let (shared, transitions) = share(configuration, settings, apps)?;
        let mut forwards = Vec::new();
        for (number, forward) in settings.forwards.iter().enumerate() {
            check_forward(&shared, forward)?;
            let (address, listeners) = bind(forward.listen, workers, FORWARD)?;
            forwards.push(address);
            for (listeners, listener) in halves.iter_mut().zip(listeners) {
                listeners.push((Half::Forward(number), listener));
            }
        }
        if let Some(externals) = &shared.externals {
            externals.set_own(addresses.outbound);
        }
        let carriers = halves.into_iter().enumerate().map(|(index, listeners)| {
            let worker = Arc::new(Worker { index, shard: Shard::new(), shared: Arc::clone(&shared) });
            Carrier { worker, listeners }
        });
        let parts = Parts {
            carriers: carriers.collect(),
            shared,
            admin,
            config,
            collector,
            attributes: settings.resource_attributes.clone(),
            transitions,
        };
        let (start, drain) = drain::channel();
        Ok(Self { parts, addresses, forwards, start, drain })
    }

    /// Where it listens; differs from the settings where these say port 0.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Where the ports that lead to one service each listen, in the order of the settings.
    #[must_use]
    pub fn forwards(&self) -> &[SocketAddr] {
        &self.forwards
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
            let link = CollectorLink::new(&parts.collector, &parts.attributes);
            let (counting, totals) = Counting::new(Arc::clone(&shared), workers);
            let counting = Arc::new(tokio::sync::Mutex::new(counting));
            let backlog = Arc::new(Backlog::default());
            let mut tasks = JoinSet::new();
            discover::keep_resolving(discover::names(&shared.targets), shared.clock, &mut tasks);
            if !shared.tls.is_empty() {
                tasks.spawn(keep_certificates_fresh(Arc::clone(&shared)));
            }
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
const FORWARD: Port = Port { what: "forwarded traffic", flag: "--forward", variable: "TRIPLINE_FORWARD" };
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

fn collector_address(settings: &Settings) -> Result<CollectorAddress, StartError> {
    let url = &settings.collector;
    collector_link::address(url, settings.collector_ca.as_deref())
        .map_err(|why| StartError::Collector { url: url.clone(), why })
}

/// The application behind each listener; none for a pure client.
fn app_sides(node: &NodeConfig, settings: &Settings) -> Result<Vec<AppSide>, StartError> {
    let mut sides = Vec::new();
    for (number, listener) in node.listeners.iter().enumerate() {
        // `--app` says where the first one is; the others are told apart by their ports.
        let app = if number == 0 { app_address(listener, settings) } else { local(listener.port) };
        if app == settings.inbound && app.port() != 0 {
            return Err(StartError::Loop(app));
        }
        let load = |tls| ServerSide::load(tls, listener.port, listener.protocol, &node.service);
        let tls = listener.tls.as_ref().map(load).transpose()?.map(Arc::new);
        sides.push(AppSide::new(listener, app, settings.workers.max(1)).protected(tls));
    }
    if sides.len() > 1 {
        tracing::info!("connections that are not redirected are taken to be for the node's first listener");
    }
    Ok(sides)
}

fn check_forward(shared: &Shared, forward: &Forward) -> Result<(), StartError> {
    let error = |why| StartError::Forward { listen: forward.listen, service: forward.service.clone(), why };
    match shared.directory.find(&forward.service) {
        Lookup::Service(service) if service.tcp_route(forward.port).is_some() => Ok(()),
        Lookup::Service(_) => Err(error("the service has no route for tcp there")),
        Lookup::NotABackend => Err(error("the service is no backend of this node")),
        Lookup::Unknown => Err(error("no such service")),
    }
}

/// Reads certificates again when they have changed.
async fn keep_certificates_fresh(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(CERTIFICATES).await;
        shared.tls.refresh();
    }
}

/// Where the application listens.
pub(crate) fn app_address(listener: &Listener, settings: &Settings) -> SocketAddr {
    settings.app.unwrap_or_else(|| local(listener.port))
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn share(
    configuration: &Configuration,
    settings: &Settings,
    apps: Vec<AppSide>,
) -> Result<(Arc<Shared>, mpsc::Receiver<BreakerTransition>), StartError> {
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
    let mut tls = client_sides(node)?;
    let directory = Directory::new(node, configuration.mesh_hosts.iter().cloned(), |weighted| {
        let key = target_key(weighted);
        let number = *known.entry(key.clone()).or_insert_with(|| {
            let target = Target::new(targets.len(), weighted, workers, Arc::clone(&events));
            targets.push(Arc::new(target.encrypted(tls.get(&key).cloned())));
            targets.len() - 1
        });
        Arc::clone(&targets[number])
    });
    let tls = TlsFiles {
        servers: apps.iter().filter_map(|app| app.tls.clone()).collect(),
        clients: tls.drain().map(|(_, side)| side).collect(),
        ..TlsFiles::default()
    };
    let limits = Limits::default();
    let shared = Shared {
        clock: Clock::start(),
        client_header: headers::value(&node.service.to_string()),
        sidecar,
        directory,
        externals: (node.egress == EgressFilter::AllowAll)
            .then(|| Externals::new(targets.len(), workers, Arc::clone(&events))),
        targets,
        correlator: (!apps.is_empty()).then(Correlator::new),
        apps,
        tls,
        forwards: settings.forwards.clone(),
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
    Ok((Arc::new(shared), transitions))
}

/// What makes two targets of routes one: the node, where it is found, and how it is encrypted.
type TargetKey = (ServiceName, String, u16, Option<ClientTls>);

fn target_key(weighted: &WeightedTarget) -> TargetKey {
    (weighted.node.clone(), weighted.hostname.clone(), weighted.port, weighted.tls.clone())
}

/// Reads the files of every policy towards a target.
fn client_sides(node: &NodeConfig) -> Result<FxHashMap<TargetKey, Arc<ClientSide>>, TlsError> {
    let routes = node.services.iter().flat_map(|service| &service.routes);
    let mut sides = FxHashMap::default();
    for weighted in routes.flat_map(|route| &route.targets) {
        let Some(policy) = &weighted.tls else { continue };
        if let Entry::Vacant(place) = sides.entry(target_key(weighted)) {
            let side = ClientSide::load(policy, &weighted.node, &weighted.hostname, weighted.protocol)?;
            place.insert(Arc::new(side));
        }
    }
    Ok(sides)
}
