//! The mesh configuration: App Mesh documents in, one validated [`Mesh`] out, and from it what one proxy needs.
//!
//! The input is AWS App Mesh's own language, the custom resources of `appmesh.k8s.aws/v1beta2` as YAML (or JSON, which
//! is YAML), read from files without any Kubernetes, and beside it our own policies of `tripline.dev/v1`. The way of a
//! document:
//!
//! 1. `yaml`: text -> bounded trees with the line of every node. No aliases, no recursion, one broken document does not
//!    hide the others.
//! 2. `schema` + `check`: one table says for every field its shape and whether this program uses, approximates or
//!    ignores it. One walk over the tree gives every problem, every warning and the compatibility report.
//! 3. `select`, `index`: which documents are read, who is there, what references mean.
//! 4. `read`: checked trees -> [`VirtualNode`], [`VirtualService`], [`VirtualRouter`], [`VirtualGateway`], and what no single
//!    field can show.
//! 5. [`Mesh::node_config`]: the view of one proxy.
//!
//! Nothing here reads a file, a clock or the network. A configuration with one problem is refused as a whole, with all
//! its problems at once; unknown and unsupported fields are warnings, because documents of real users carry many.

mod yaml;

mod check;
mod schema;

mod cursor;
mod findings;
mod index;
mod read;
mod select;

mod document;
mod endpoint;
mod gateway;
mod mesh;
mod node_config;
mod policy;
mod problem;
mod route;
mod tls;

pub use document::{
    AccessLog, Backend, Discovery, LogFormat, Provider, RouterRoute, RouterTarget, VirtualNode, VirtualRouter,
    VirtualService,
};
pub use endpoint::{
    ConnectionPool, DiscoveryKind, Listener, ListenerProtocol, OutlierDetection, PortMapping, Timeouts,
};
pub use gateway::{GatewayRoute, HostRewrite, PathRewrite, Rewrite, VirtualGateway};
pub use mesh::{EgressFilter, Loaded, Mesh, Source};
pub use node_config::{NodeConfig, NodeError, OutboundService, WeightedTarget};
pub use policy::{
    Action, AuthorizationPolicy, AuthorizationRule, Balance, BreakerRules, FaultInjection, HashKey, Identity, Limits,
    NodePolicies, Policies, RateLimit, TrafficPolicy,
};
pub use problem::{FieldUse, Problem, Problems, Support};
pub use route::{
    GrpcRetryEvent, HeaderMatch, HttpRetryEvent, Pattern, QueryMatch, RequestHead, RetryPolicy, Route, RouteMatch,
    TcpRetryEvent, TextMatch,
};
pub use tls::{CertificateFiles, ClientPolicy, ClientTls, ListenerTls, TlsMode};
