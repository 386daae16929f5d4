//! What a configuration comes to; a new configuration replaces it as a whole.
//!
//! A request takes the plan that holds when it arrives and keeps it to its end, so it never sees half of a change. What is
//! the same in the new configuration stays the same object: a target keeps its breakers, connections and budget, the
//! application its places. What is gone finishes the requests it has and closes its idle connections.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustc_hash::FxHashMap;
use thiserror::Error;
use tripline_mesh::{
    ClientTls, EgressFilter, FaultInjection, ListenerProtocol, NodeConfig, RetryPolicy, WeightedTarget,
};
use tripline_model::{ServiceName, Timestamp};

use crate::access_log::AccessLog;
use crate::app_side::AppSide;
use crate::clock::Clock;
use crate::directory::Directory;
use crate::events::Events;
use crate::gateway::Gateway;
use crate::inbound_rules::InboundRules;
use crate::message::Form;
use crate::roster::{MAX_TARGETS, Roster};
use crate::settings::Configuration;
use crate::target::Target;
use crate::tls::{ClientSide, ServerSide, TlsError, TlsFiles};

/// What one configuration comes to.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the application may call.
    pub(crate) directory: Directory,
    /// Every service that is called.
    pub(crate) targets: Vec<Arc<Target>>,
    /// The local application behind each listener of the node; none for a pure client.
    pub(crate) apps: Vec<Arc<AppSide>>,
    /// What comes in by the listeners and where it goes, if this is a gateway.
    pub(crate) gateway: Option<Gateway>,
    /// Certificates in use.
    pub(crate) tls: TlsFiles,
    /// Who may call the application, and how often.
    pub(crate) inbound: InboundRules,
    /// Whether hosts outside the mesh may be called.
    pub(crate) egress: EgressFilter,
    /// What is to go wrong on purpose with the application's calls.
    pub(crate) faults: Vec<FaultInjection>,
    /// Where a line is written for each request.
    pub(crate) access_log: Option<Arc<AccessLog>>,
    /// What the next plan does not have any more.
    gone: OnceLock<Vec<Arc<Target>>>,
}

/// The plan that holds now.
#[derive(Debug)]
pub(crate) struct CurrentPlan {
    plan: RwLock<Arc<Plan>>,
    /// Whether it writes an access log, so that a request of one that does not asks no further.
    logs: AtomicBool,
}

/// Why there is no new plan.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Too many targets in the life of this process.
    #[error("this sidecar has had {MAX_TARGETS} targets since it started; restart it to load a new configuration")]
    TooManyTargets,
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The inbound half would have to begin or end.
    #[error("the node's listeners were {before} and are {after}; restart the sidecar for that change")]
    Listeners {
        /// `none` or `some`.
        before: &'static str,
        /// The same.
        after: &'static str,
    },
}

/// What makes two targets of routes one: the node, where it is found, and how it is encrypted.
type TargetKey = (ServiceName, String, u16, Option<ClientTls>);

/// What plans are made with.
#[derive(Debug)]
pub(crate) struct Planner {
    /// Threads that carry traffic.
    pub(crate) workers: usize,
    /// Where transitions go.
    pub(crate) events: Arc<Events>,
    /// All targets.
    pub(crate) roster: Arc<Roster>,
    /// Where the application listens when it is not the listener's port on this machine.
    pub(crate) app: Option<SocketAddr>,
    /// What routes without a retry policy have, if anything.
    pub(crate) default_retry: Option<RetryPolicy>,
    /// What is spoken to `http` listeners in plain text.
    pub(crate) http: Form,
    /// The time.
    pub(crate) clock: Clock,
}

impl Planner {
    /// A plan of a configuration; what `before` has and still holds is taken over.
    pub(crate) fn plan(&self, configuration: &Configuration, before: Option<&Plan>) -> Result<Plan, PlanError> {
        let node = &*self.with_default_retry(&configuration.node);
        let apps = self.app_sides(node, before)?;
        let mut targets: Vec<Arc<Target>> = Vec::new();
        let mut known: FxHashMap<TargetKey, Arc<Target>> = FxHashMap::default();
        let mut failed = None;
        let directory = Directory::new(node, configuration.mesh_hosts.iter().cloned(), |weighted| {
            let key = (weighted.node.clone(), weighted.hostname.clone(), weighted.port, weighted.tls.clone());
            if let Some(target) = known.get(&key) {
                return Some(Arc::clone(target));
            }
            let target = match self.target(weighted, before) {
                Ok(target) => target,
                Err(error) => {
                    failed.get_or_insert(error);
                    return None;
                }
            };
            targets.push(Arc::clone(&target));
            known.insert(key, Arc::clone(&target));
            Some(target)
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let inbound = before.map(|plan| &plan.inbound).filter(|rules| rules.is_of(&node.policies)).cloned();
        let inbound = inbound.unwrap_or_else(|| InboundRules::new(&node.policies));
        let access_log = node.access_log.as_ref().map(|declared| {
            let same = before.and_then(|plan| plan.access_log.as_ref()).filter(|log| log.is_of(declared));
            same.cloned().unwrap_or_else(|| AccessLog::new(declared, self.clock))
        });
        let tls = self.tls_files(&apps, &targets, before);
        Ok(Plan {
            access_log,
            gateway: Gateway::new(node),
            directory,
            targets,
            tls,
            apps,
            inbound,
            egress: node.egress,
            faults: node.policies.faults.clone(),
            gone: OnceLock::new(),
        })
    }

    fn with_default_retry<'n>(&self, node: &'n NodeConfig) -> Cow<'n, NodeConfig> {
        let Some(retry) = &self.default_retry else { return Cow::Borrowed(node) };
        let mut node = node.clone();
        let routes = node.services.iter_mut().flat_map(|service| &mut service.routes);
        for route in routes.filter(|route| route.retry.is_none() && route.protocol != ListenerProtocol::Tcp) {
            route.retry = Some(retry.clone());
        }
        Cow::Owned(node)
    }

    fn target(&self, weighted: &WeightedTarget, before: Option<&Plan>) -> Result<Arc<Target>, PlanError> {
        let declared = WeightedTarget { weight: 1, ..weighted.clone() };
        let same = before.and_then(|plan| plan.targets.iter().find(|target| *target.declared() == declared));
        if let Some(target) = same {
            return Ok(Arc::clone(target));
        }
        let load = |policy| ClientSide::load(policy, &weighted.node, &weighted.hostname, weighted.protocol);
        let side = weighted.tls.as_ref().map(load).transpose()?.map(Arc::new);
        let make = |number| {
            let target = Target::new(number, weighted, self.workers, Arc::clone(&self.events));
            match side {
                Some(side) => target.encrypted(side),
                None => target.spoken_to(self.http),
            }
        };
        self.roster.add(make).ok_or(PlanError::TooManyTargets)
    }

    fn app_sides(&self, node: &NodeConfig, before: Option<&Plan>) -> Result<Vec<Arc<AppSide>>, PlanError> {
        let word = |none: bool| if none { "none" } else { "some" };
        let had_none = before.map_or(node.listeners.is_empty(), |plan| plan.apps.is_empty());
        if had_none != node.listeners.is_empty() {
            return Err(PlanError::Listeners { before: word(had_none), after: word(node.listeners.is_empty()) });
        }
        let mut sides = Vec::new();
        for (number, listener) in node.listeners.iter().enumerate() {
            let kept = before.and_then(|plan| plan.apps.get(number)).filter(|app| *app.listener() == *listener);
            if let Some(kept) = kept {
                sides.push(Arc::clone(kept));
                continue;
            }
            // What was given says where the first one is; the others are told apart by their ports.
            let address = crate::app::app_address(listener, self.app.filter(|_| number == 0));
            let load = |tls| ServerSide::load(tls, listener.port, listener.protocol, &node.service);
            let tls = listener.tls.as_ref().map(load).transpose()?.map(Arc::new);
            sides.push(Arc::new(AppSide::new(listener, address, self.workers).protected(tls)));
        }
        if sides.len() > 1 && before.is_none() {
            tracing::info!("connections that are not redirected are taken to be for the node's first listener");
        }
        Ok(sides)
    }

    /// All certificates of a plan; what became of changed files is counted on.
    fn tls_files(&self, apps: &[Arc<AppSide>], targets: &[Arc<Target>], before: Option<&Plan>) -> TlsFiles {
        let read = |counter: &AtomicU64| AtomicU64::new(counter.load(Ordering::Relaxed));
        TlsFiles {
            servers: apps.iter().filter_map(|app| app.tls.clone()).collect(),
            clients: targets.iter().filter_map(|target| target.client_side().cloned()).collect(),
            reloads: before.map(|plan| (read(&plan.tls.reloads.0), read(&plan.tls.reloads.1))).unwrap_or_default(),
        }
    }
}

impl Plan {
    /// Notes what `after` does not have any more; it ends with this plan, which the last request that arrived under it
    /// holds.
    pub(crate) fn retire(&self, after: &Self) {
        let is_gone = |target: &&Arc<Target>| !after.targets.iter().any(|kept| Arc::ptr_eq(kept, target));
        // A plan is replaced once.
        let _ = self.gone.set(self.targets.iter().filter(is_gone).cloned().collect());
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        for target in self.gone.get().into_iter().flatten() {
            // Answers that are still being read hold their endpoint; its connections close with the last of them.
            target.set_endpoints(&[], Timestamp::from_nanos(0));
        }
    }
}

impl CurrentPlan {
    /// Begins with a plan.
    pub(crate) fn new(plan: Plan) -> Self {
        Self { logs: AtomicBool::new(plan.access_log.is_some()), plan: RwLock::new(Arc::new(plan)) }
    }

    /// The plan for a request that arrives now.
    pub(crate) fn get(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The access log of a request that arrives now.
    pub(crate) fn access_log(&self) -> Option<Arc<AccessLog>> {
        if self.logs.load(Ordering::Relaxed) { self.get().access_log.clone() } else { None }
    }

    /// Replaces it.
    pub(crate) fn set(&self, plan: Arc<Plan>) {
        self.logs.store(plan.access_log.is_some(), Ordering::Relaxed);
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
    }
}
