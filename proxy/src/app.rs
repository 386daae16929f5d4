//! Composition root: from a configuration to a running sidecar and back to nothing.
//!
//! Threads: one per worker, each with a single-threaded runtime that only carries traffic; and the caller's own, which
//! runs everything else (admin port, reports, export, name resolution), so that telemetry never competes with a request
//! inside one runtime.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tripline_mesh::{Listener, NodeConfig, RetryPolicy};
use tripline_model::{BreakerTransition, Sidecar};

use crate::admin::{self, Admin};
use crate::carrier::Carrier;
use crate::clock::Clock;
use crate::collector_link::{self, CollectorAddress, CollectorLink};
use crate::correlate::Correlator;
use crate::directory::Lookup;
use crate::drain::{self, Drain, DrainStart};
use crate::events::{Dropped, Events};
use crate::export::{self, Backlog};
use crate::external::Externals;
use crate::faults::Injected;
use crate::listen;
use crate::message::Form;
use crate::plan::{CurrentPlan, PlanError, Planner};
use crate::reload::{self, Ask, Reloader, Reloads};
use crate::report::Counting;
use crate::roster::Roster;
use crate::settings::{Configuration, Forward, Origin, Settings};
use crate::span_queue::SpanQueue;
use crate::tally::Shard;
use crate::tls::TlsError;
use crate::trace_context::Sampler;
use crate::worker::{Addresses, Connections, Half, Shared, Worker};
use crate::{access_log, config_view, discover, gateway, headers, priority};

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
        "the collector's address \"{url}\" cannot be used ({why}); give --collector http://HOST:PORT or https://HOST:PORT, or none"
    )]
    Collector {
        /// The address.
        url: String,
        /// Why.
        why: String,
    },
    /// There are too many services to call.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A thread or a runtime cannot be made.
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
}

impl StartError {
    /// Whether the configuration is at fault, not the machine.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Loop(_) | Self::Tls(_) | Self::Forward { .. } | Self::Collector { .. } | Self::Plan(_))
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
    again: Again,
}

/// What it takes to load the configuration again.
#[derive(Debug)]
struct Again {
    planner: Planner,
    origin: Origin,
    period: Option<Duration>,
    dns: Option<SocketAddr>,
}

impl Proxy {
    /// Checks what needs no port: everything in the configuration that this version cannot do.
    ///
    /// # Errors
    /// [`StartError`] for which [`StartError::is_configuration`] holds.
    pub fn check(configuration: &Configuration, settings: &Settings) -> Result<(), StartError> {
        check_loop(&configuration.node, settings)?;
        let (shared, ..) = share(configuration, settings)?;
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
        check_loop(node, settings)?;
        let (shared, planner, transitions) = share(configuration, settings)?;
        let collector = collector_address(settings)?;
        let outbound = bind(settings.outbound, workers, OUTBOUND)?;
        let inbound = node.listeners.first().map(|_| bind(settings.inbound, workers, INBOUND)).transpose()?;
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
        if node.entries.is_some() {
            // What comes by another listener than the first comes to that listener's own port.
            for listener in node.listeners.iter().skip(1) {
                let (_, sockets) = bind(SocketAddr::new(settings.inbound.ip(), listener.port), workers, INBOUND)?;
                for (listeners, socket) in halves.iter_mut().zip(sockets) {
                    listeners.push((Half::Inbound, socket));
                }
            }
        }
        let Some(admin) = admin_at.1.into_iter().next() else {
            return Err(ADMIN.error(settings.admin, io::Error::from(io::ErrorKind::NotFound)));
        };
        let config = config_view::of(node, settings, &addresses);
        let mut forwards = Vec::new();
        for (number, forward) in settings.forwards.iter().enumerate() {
            check_forward(&shared, forward)?;
            let (address, listeners) = bind(forward.listen, workers, FORWARD)?;
            forwards.push(address);
            for (listeners, listener) in halves.iter_mut().zip(listeners) {
                listeners.push((Half::Forward(number), listener));
            }
        }
        shared.externals.set_own(addresses.outbound);
        let origin = configuration.origin.clone();
        let again = Again { planner, origin, period: settings.reload, dns: settings.dns };
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
            again,
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
        // The workers' threads are there: they inherit what their starter had.
        priority::step_back();
        let shared = parts.shared;
        runtime.block_on(async {
            let link = CollectorLink::new(&parts.collector, &parts.attributes);
            let (counting, totals) = Counting::new(Arc::clone(&shared), workers);
            let counting = Arc::new(tokio::sync::Mutex::new(counting));
            let backlog = Arc::new(Backlog::default());
            let mut tasks = JoinSet::new();
            tasks.spawn(keep_certificates_fresh(Arc::clone(&shared)));
            let (view, config) = watch::channel(Arc::new(parts.config));
            let Again { planner, origin, period, dns } = parts.again;
            let (reloader, reload) = Reloader::new(reload::Parts {
                shared: Arc::clone(&shared),
                planner,
                origin,
                period,
                dns: discover::dns::resolver(dns),
                view,
            });
            tasks.spawn(reloader.run());
            tasks.spawn(access_log::keep_writing(Arc::clone(&shared)));
            tasks.spawn(reload_on_signal(reload.clone()));
            tasks.spawn(export::count(Arc::clone(&counting), Arc::clone(&backlog), Arc::clone(&shared)));
            tasks.spawn(export::send_reports(link.clone(), Arc::clone(&backlog), Arc::clone(&shared)));
            tasks.spawn(export::send_transitions(link.clone(), parts.transitions, Arc::clone(&shared)));
            tasks.spawn(export::send_spans(link.clone(), Arc::clone(&shared)));
            let running = Arc::clone(&shared);
            let shows = Admin { shared: running, totals, start: start.clone(), drain: drain.clone(), config, reload };
            match TcpListener::from_std(parts.admin) {
                Ok(listener) => drop(tasks.spawn(admin::serve(shows, listener))),
                Err(error) => tracing::error!(%error, "no admin port"),
            }
            until_asked(stop, drain, &start, &mut tasks).await;
            let begun = shared.clock.now();
            let open = shared.connections.open.load(Ordering::Relaxed);
            tracing::info!(connections = open, "draining: no new connections, finishing requests under way");
            for worker in ended {
                // A worker that panicked has dropped its end; its counts are still in its shard.
                let _ = worker.await;
            }
            let (cut, took) = (shared.connections.cut.load(Ordering::Relaxed), shared.clock.now().since(begun));
            tracing::info!(connections = open, cut, ?took, "drained");
            if let Some(log) = shared.plan.get().access_log.clone() {
                access_log::write_now(log).await;
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

fn check_forward(shared: &Shared, forward: &Forward) -> Result<(), StartError> {
    let error = |why| StartError::Forward { listen: forward.listen, service: forward.service.clone(), why };
    match shared.plan.get().directory.find(&forward.service) {
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
        shared.plan.get().tls.refresh();
    }
}

fn check_loop(node: &NodeConfig, settings: &Settings) -> Result<(), StartError> {
    let app = node.listeners.first().map(|listener| app_address(listener, settings.app));
    // A gateway calls no application.
    match app.filter(|_| node.entries.is_none()) {
        Some(app) if app == settings.inbound && app.port() != 0 => Err(StartError::Loop(app)),
        _ => Ok(()),
    }
}

/// Where the application listens.
pub(crate) fn app_address(listener: &Listener, given: Option<SocketAddr>) -> SocketAddr {
    given.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listener.port))
}

/// SIGHUP asks for the configuration to be read again, as of old.
async fn reload_on_signal(reload: mpsc::Sender<Ask>) {
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    while hang_up.recv().await.is_some() {
        let (answer, answered) = oneshot::channel();
        if reload.send(answer).await.is_ok() {
            // The reloader logs what came of it.
            let _ = answered.await;
        }
    }
}

/// What all threads share, what makes further plans, and the queue of transitions.
type Shares = (Arc<Shared>, Planner, mpsc::Receiver<BreakerTransition>);

fn share(configuration: &Configuration, settings: &Settings) -> Result<Shares, StartError> {
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
    let roster = Arc::new(Roster::default());
    let clock = Clock::start();
    let (own_events, own_roster) = (Arc::clone(&events), Arc::clone(&roster));
    let default_retry = settings.app_mesh_retries.then(RetryPolicy::hidden_in_app_mesh);
    let http = if settings.http2_to_sidecars { Form::Http2 } else { Form::Http1 };
    let planner =
        Planner { workers, events: own_events, roster: own_roster, app: settings.app, default_retry, http, clock };
    let plan = planner.plan(configuration, None).map_err(|error| match error {
        PlanError::Tls(error) => StartError::Tls(error),
        error => StartError::Plan(error),
    })?;
    // Literal addresses need no resolver, so the first request finds them.
    discover::take_known(&plan.targets, clock);
    let limits = settings.limits.limits();
    let shared = Shared {
        clock,
        kind: gateway::kind_of(node),
        client_header: headers::value(&node.service.to_string()),
        sidecar,
        bypassed: settings.bypassed_ports.as_slice().into(),
        forwards: settings.forwards.clone(),
        externals: Externals::new(Arc::clone(&roster), workers, Arc::clone(&events)),
        roster,
        correlator: (!plan.apps.is_empty()).then(Correlator::new),
        plan: CurrentPlan::new(plan),
        // Nobody would read the spans.
        sampler: Sampler::new(if collector_link::is_none(&settings.collector) { 0.0 } else { settings.sample_ratio }),
        spans: SpanQueue::default(),
        dropped,
        events,
        limits,
        accepts: Arc::new(Semaphore::new(limits.connections)),
        connections: Connections::default(),
        injected: Injected::default(),
        reloads: Reloads::default(),
    };
    Ok((Arc::new(shared), planner, transitions))
}
