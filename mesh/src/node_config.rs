//! What one proxy needs to know: its own listeners and the services its application may call.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tripline_model::ServiceName;

use crate::{
    AccessLog, ClientPolicy, ClientTls, ConnectionPool, DiscoveryKind, EgressFilter, GatewayRoute, Listener,
    ListenerProtocol, Mesh, NodePolicies, OutlierDetection, PortMapping, Provider, Route, RouteMatch, RouterRoute,
    TrafficPolicy, VirtualNode, VirtualService,
};

/// The configuration of one proxy, complete: nothing in it refers to anything outside it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    /// The virtual node it stands before, or the virtual gateway it is.
    pub service: ServiceName,
    /// Name of the mesh.
    pub mesh: String,
    /// What happens to calls to hosts that are no service of this node.
    pub egress: EgressFilter,
    /// Ports it serves; none for a pure client.
    pub listeners: Vec<Listener>,
    /// What comes in by its listeners and where that goes, if it is a gateway: in the order in which they are tried.
    pub entries: Option<Vec<GatewayRoute>>,
    /// Services its application may call: the node's backends, in order.
    pub services: Vec<OutboundService>,
    /// What our own policies ask of it.
    pub policies: NodePolicies,
    /// Where it writes a line for each request.
    pub access_log: Option<AccessLog>,
}

/// A service as a client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundService {
    /// The virtual service, `namespace/name`; not a node of the graph, these are the targets' `node`.
    pub id: ServiceName,
    /// Host names it answers to, lower case, without port: `awsName`, `name.namespace`, `name.namespace.svc`,
    /// `name.namespace.svc.cluster.local` and `name`. No host belongs to two services of one proxy.
    pub hosts: Vec<String>,
    /// Ports that clients address: the router's listeners, or the providing node's.
    pub ports: Vec<PortMapping>,
    /// Tried in order, the first that matches wins; empty when nobody provides the service.
    pub routes: Vec<Route>,
}

/// A node that a route sends requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedTarget {
    /// The node: the server of the edge.
    pub node: ServiceName,
    /// Relative to the other targets' of the route, 0..=100; 0 gets no request.
    pub weight: u32,
    /// Host name or address to connect to.
    pub hostname: String,
    /// Port to connect to.
    pub port: u16,
    /// How the addresses behind the host name are to be taken.
    pub discovery: DiscoveryKind,
    /// What its listener speaks.
    pub protocol: ListenerProtocol,
    /// When to eject an endpoint, as the server's listener asks its clients.
    pub outlier_detection: Option<OutlierDetection>,
    /// How calls to it are encrypted; not at all when none.
    pub tls: Option<ClientTls>,
    /// The server's own limits; App Mesh enforces them at the server, not at the client.
    pub connection_pool: Option<ConnectionPool>,
    /// The time that the server's own listener gives a request.
    pub per_request: Option<Duration>,
    /// How it asks to be called beyond that.
    pub policy: Option<Arc<TrafficPolicy>>,
}

/// Why there is no configuration for a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No such node.
    #[error("virtual node or gateway \"{wanted}\" is not in the mesh; it has {known}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// The nodes there are, in words.
        known: String,
    },
    /// The name fits several.
    #[error("virtual node or gateway \"{wanted}\" is ambiguous: {candidates}; write NAMESPACE/NAME")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// Nodes that fit, in words.
        candidates: String,
    },
}

/// Names listed in an error before the rest is only counted.
const NAMES_LISTED: usize = 20;

impl NodeError {
    pub(crate) fn unknown(mesh: &Mesh, wanted: &str) -> Self {
        let known: Vec<&ServiceName> = mesh.nodes.keys().chain(mesh.gateways.keys()).collect();
        Self::Unknown { wanted: wanted.to_owned(), known: Self::list(&known) }
    }

    /// Some of the names, and how many more there are.
    pub(crate) fn list(names: &[&ServiceName]) -> String {
        let listed: Vec<String> = names.iter().take(NAMES_LISTED).map(ToString::to_string).collect();
        match names.len() {
            0 => "none".to_owned(),
            all if all > NAMES_LISTED => format!("{} and {} more", listed.join(", "), all - NAMES_LISTED),
            _ => listed.join(", "),
        }
    }
}

impl Mesh {
    /// What the proxy of one virtual node or virtual gateway needs.
    ///
    /// # Errors
    /// [`NodeError::Unknown`] when the mesh has neither of that name.
    pub fn node_config(&self, name: &ServiceName) -> Result<NodeConfig, NodeError> {
        let (listeners, backends, access_log) = match (self.nodes.get(name), self.gateways.get(name)) {
            (Some(node), _) => (&node.listeners, &node.backends, &node.access_log),
            (None, Some(gateway)) => (&gateway.listeners, &gateway.backends, &gateway.access_log),
            (None, None) => return Err(NodeError::unknown(self, &name.to_string())),
        };
        let entries = self.gateways.get(name).filter(|_| !self.nodes.contains_key(name));
        let backends: Vec<_> = backends
            .iter()
            .filter_map(|backend| Some((self.services.get(&backend.service)?, backend.policy.as_ref())))
            .collect();
        let called: Vec<&VirtualService> = backends.iter().map(|(service, _)| *service).collect();
        let mut services: Vec<OutboundService> = backends
            .iter()
            .map(|(service, policy)| {
                let mut outbound = self.outbound(service);
                self.encrypt(&mut outbound, *policy);
                outbound
            })
            .collect();
        name_hosts(&called, name.namespace(), &mut services);
        Ok(NodeConfig {
            service: name.clone(),
            mesh: self.name.clone(),
            egress: self.egress,
            listeners: listeners.clone(),
            entries: entries.map(|gateway| gateway.routes.clone()),
            services,
            policies: self.policies.of_node(name),
            access_log: access_log.clone(),
        })
    }

    /// Lets the client's policy decide how each target is called.
    fn encrypt(&self, service: &mut OutboundService, policy: Option<&ClientPolicy>) {
        let Some(policy) = policy else { return };
        for target in service.routes.iter_mut().flat_map(|route| &mut route.targets) {
            let listeners = self.nodes.get(&target.node).map(|node| node.listeners.as_slice()).unwrap_or_default();
            let listener = listeners.iter().find(|listener| listener.port == target.port);
            target.tls = policy.towards(target.port, listener.and_then(|listener| listener.tls.as_ref()));
        }
    }

    /// A service without its host names.
    fn outbound(&self, service: &VirtualService) -> OutboundService {
        let mut outbound =
            OutboundService { id: service.id.clone(), hosts: Vec::new(), ports: Vec::new(), routes: Vec::new() };
        match &service.provider {
            None => {}
            Some(Provider::Node(node)) => {
                if let Some(node) = self.nodes.get(node) {
                    let port = |listener: &Listener| PortMapping { port: listener.port, protocol: listener.protocol };
                    outbound.ports = node.listeners.iter().map(port).collect();
                    outbound.routes = self.routes_to_node(node);
                }
            }
            Some(Provider::Router(router)) => {
                if let Some(router) = self.routers.get(router) {
                    outbound.ports.clone_from(&router.listeners);
                    outbound.routes = router.routes.iter().map(|route| self.complete(route)).collect();
                }
            }
        }
        outbound
    }

    /// A router's route with its targets looked up.
    fn complete(&self, route: &RouterRoute) -> Route {
        let targets = route.targets.iter().filter_map(|target| {
            let node = self.nodes.get(&target.node)?;
            let listener = match target.port {
                Some(port) => node.listeners.iter().find(|listener| listener.port == port),
                None => node.listeners.first(),
            };
            self.weighted(node, listener?, target.weight)
        });
        Route {
            name: route.name.clone(),
            protocol: route.protocol,
            matches: route.matches.clone(),
            targets: targets.collect(),
            timeouts: route.timeouts,
            retry: route.retry.clone(),
        }
    }

    /// A node as provider of a service: one route a listener, told apart by the port when there are several. With no route
    /// written, the listener's own timeouts hold on both sides.
    fn routes_to_node(&self, node: &VirtualNode) -> Vec<Route> {
        let several = node.listeners.len() > 1;
        let route = |listener: &Listener| {
            let mut matches = RouteMatch::prefix("/");
            matches.port = several.then_some(listener.port);
            Some(Route {
                name: if several { format!("default-{}", listener.port) } else { "default".to_owned() },
                protocol: listener.protocol,
                matches,
                targets: vec![self.weighted(node, listener, 1)?],
                timeouts: listener.timeouts,
                retry: None,
            })
        };
        node.listeners.iter().filter_map(route).collect()
    }

    fn weighted(&self, node: &VirtualNode, listener: &Listener, weight: u32) -> Option<WeightedTarget> {
        let discovery = node.discovery.as_ref()?;
        Some(WeightedTarget {
            node: node.id.clone(),
            weight,
            hostname: discovery.hostname.clone(),
            port: listener.port,
            discovery: discovery.kind,
            protocol: listener.protocol,
            outlier_detection: listener.outlier_detection,
            tls: None,
            connection_pool: listener.connection_pool,
            per_request: listener.timeouts.per_request,
            policy: self.policies.traffic.get(&node.id).cloned(),
        })
    }
}

/// A form of a service's name as a host.
type HostForm = fn(&VirtualService) -> String;

/// The surest first.
const HOST_FORMS: [HostForm; 5] = [
    |service| service.aws_name.clone(),
    |service| format!("{}.{}", service.id.name(), service.id.namespace()),
    |service| format!("{}.{}.svc", service.id.name(), service.id.namespace()),
    |service| format!("{}.{}.svc.cluster.local", service.id.name(), service.id.namespace()),
    |service| service.id.name().to_owned(),
];

/// Hands out host names, each to one service only: where two services have the same, the one of the client's own
/// namespace gets it, else the first backend.
fn name_hosts(called: &[&VirtualService], namespace: &str, services: &mut [OutboundService]) {
    let mut taken = BTreeSet::new();
    let mut pairs: Vec<_> = called.iter().zip(services).collect();
    pairs.sort_by_key(|(service, _)| service.id.namespace() != namespace);
    for form in HOST_FORMS {
        for (service, outbound) in &mut pairs {
            let host = form(service).to_ascii_lowercase();
            if taken.insert(host.clone()) {
                outbound.hosts.push(host);
            }
        }
    }
}
