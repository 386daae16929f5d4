//! The resources of a mesh as written, references resolved to identities.

use tripline_model::ServiceName;

use crate::{DiscoveryKind, Listener, PortMapping, RetryPolicy, RouteMatch, Timeouts};

/// A workload: where it listens, how it is found, which services it may call.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualNode {
    /// `metadata.namespace/metadata.name`.
    pub id: ServiceName,
    /// Its name in App Mesh's own namespace, by default `name_namespace`.
    pub aws_name: String,
    /// Ports it serves; none for a pure client.
    pub listeners: Vec<Listener>,
    /// How its endpoints are found.
    pub discovery: Option<Discovery>,
    /// Services it may call, in order.
    pub backends: Vec<Backend>,
    /// Where its proxy writes a line for each request.
    pub access_log: Option<AccessLog>,
}

/// An access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// A file, or `/dev/stdout`.
    pub path: String,
    /// What a line looks like.
    pub format: LogFormat,
}

/// What a line of an access log looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// App Mesh's line where no format is written.
    Default,
    /// A text with operators such as `%RESPONSE_CODE%`.
    Text(String),
    /// Keys and the texts of their values.
    Json(Vec<(String, String)>),
}

/// How the endpoints of a node are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Host name or address to resolve.
    pub hostname: String,
    /// How its addresses are to be taken.
    pub kind: DiscoveryKind,
}

/// A service that a node may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The virtual service.
    pub service: ServiceName,
    /// How calls to it are encrypted: its own policy, else the node's default.
    pub policy: Option<crate::ClientPolicy>,
}

/// A name that clients call, and who answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualService {
    /// `metadata.namespace/metadata.name`.
    pub id: ServiceName,
    /// The name clients call, by default `name.namespace`.
    pub aws_name: String,
    /// Who answers; nobody when absent.
    pub provider: Option<Provider>,
}

/// Who answers a virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// One node, all requests.
    Node(ServiceName),
    /// A router decides.
    Router(ServiceName),
}

/// Routes shared by the services that name it.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualRouter {
    /// `metadata.namespace/metadata.name`.
    pub id: ServiceName,
    /// Its name in App Mesh's own namespace, by default `name_namespace`.
    pub aws_name: String,
    /// Ports that clients address.
    pub listeners: Vec<PortMapping>,
    /// In the order in which they are tried.
    pub routes: Vec<RouterRoute>,
}

/// A route as the router has it; [`crate::Route`] is the same with its targets looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterRoute {
    /// Unique in its router.
    pub name: String,
    /// 0 first; 1001 when absent, so after all that have one.
    pub priority: u16,
    /// What it carries.
    pub protocol: crate::ListenerProtocol,
    /// Which requests it takes.
    pub matches: RouteMatch,
    /// Where they go.
    pub targets: Vec<RouterTarget>,
    /// Limits in time.
    pub timeouts: Timeouts,
    /// Retries, if any.
    pub retry: Option<RetryPolicy>,
}

/// One target of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterTarget {
    /// The node.
    pub node: ServiceName,
    /// Relative to the other targets', 0..=100.
    pub weight: u32,
    /// Which of its listeners, when it has several.
    pub port: Option<u16>,
}
