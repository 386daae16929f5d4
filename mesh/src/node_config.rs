//! What one proxy needs to know: its own listeners and the services its application may call.

use tripline_model::ServiceName;

use crate::{
    ConnectionPool, DiscoveryKind, EgressFilter, Listener, ListenerProtocol, OutlierDetection, PortMapping, Route,
};

/// The configuration of one proxy, complete: nothing in it refers to anything outside it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    /// The virtual node it stands before.
    pub service: ServiceName,
    /// Name of the mesh.
    pub mesh: String,
    /// What happens to calls to hosts that are no service of this node.
    pub egress: EgressFilter,
    /// Ports it serves; none for a pure client.
    pub listeners: Vec<Listener>,
    /// Services its application may call: the node's backends, in order.
    pub services: Vec<OutboundService>,
}

/// A service as a client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundService {
    /// The virtual service, `namespace/name`; not a node of the graph, these are the targets' `node`.
    pub id: ServiceName,
    /// Host names it answers to, lower case, without port: first `awsName`, then `name`, `name.namespace`,
    /// `name.namespace.svc` and `name.namespace.svc.cluster.local`. No host belongs to two services of one proxy.
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
    /// The server's own limits; App Mesh enforces them at the server, not at the client.
    pub connection_pool: Option<ConnectionPool>,
}

/// Why there is no configuration for a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No such node.
    #[error("virtual node \"{wanted}\" is not in the mesh; it has {known}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// The nodes there are, in words.
        known: String,
    },
    /// The name fits several.
    #[error("virtual node \"{wanted}\" is ambiguous: {candidates}; write NAMESPACE/NAME")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// Nodes that fit, in words.
        candidates: String,
    },
}
