//! Names of attributes and metrics that Tripline writes: the stable OpenTelemetry ones where they exist, else our own.
//!
//! Names that are only read, old conventions among them, stand beside the rule that reads them in [`crate::semconv`].

/// Name of the service a resource belongs to.
pub const SERVICE_NAME: &str = "service.name";
/// Namespace of that service.
pub const SERVICE_NAMESPACE: &str = "service.namespace";
/// The process of that service.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
/// Version of that service; in a sidecar's telemetry, of the sidecar.
pub const SERVICE_VERSION: &str = "service.version";
/// Environment the service runs in.
pub const DEPLOYMENT_ENVIRONMENT: &str = "deployment.environment.name";
/// Its form before 2024.
pub const DEPLOYMENT_ENVIRONMENT_OLD: &str = "deployment.environment";
/// What made the telemetry.
pub const TELEMETRY_SDK_NAME: &str = "telemetry.sdk.name";
/// The language of what made it.
pub const TELEMETRY_SDK_LANGUAGE: &str = "telemetry.sdk.language";
/// The version of what made it.
pub const TELEMETRY_SDK_VERSION: &str = "telemetry.sdk.version";

/// On a resource: what the process is in the mesh; [`ROLE_PROXY`] for a sidecar.
pub const ROLE: &str = "tripline.role";
/// The role of a sidecar.
pub const ROLE_PROXY: &str = "proxy";
/// Instrumentation scope of everything a sidecar sends.
pub const SCOPE: &str = "tripline-proxy";

/// Name of the service at the other end.
pub const SERVICE_PEER_NAME: &str = "service.peer.name";
/// Namespace of the service at the other end.
pub const SERVICE_PEER_NAMESPACE: &str = "service.peer.namespace";
/// The other end's name for readers of before 2025; deprecated, written on spans only.
pub const PEER_SERVICE: &str = "peer.service";
/// What is spoken, as in `model::Protocol`.
pub const NETWORK_PROTOCOL_NAME: &str = "network.protocol.name";

/// How a request or an attempt ended.
pub const OUTCOME: &str = "tripline.outcome";
/// Whether a failed request began to fail here (`own`) or was passed on (`propagated`).
pub const FAILURE_ORIGIN: &str = "tripline.failure.origin";
/// What the other end's node stands for; absent for a service.
pub const PEER_KIND: &str = "tripline.peer.kind";
/// What this end's node stands for; absent for a service.
pub const SELF_KIND: &str = "tripline.self.kind";
/// Name of this end, where it is not the service of the resource.
pub const SELF_NAME: &str = "tripline.self.name";
/// Namespace of this end, where it is not the service of the resource.
pub const SELF_NAMESPACE: &str = "tripline.self.namespace";
/// Whether every connection was mutually authenticated; absent when not.
pub const SECURED: &str = "tripline.secured";

/// Stable name of a breaker within its sidecar.
pub const BREAKER_ID: &str = "tripline.breaker.id";
/// The route a breaker guards; absent when it guards all.
pub const BREAKER_ROUTE: &str = "tripline.breaker.route";
/// The endpoint a breaker guards; absent when it guards the whole service.
pub const BREAKER_ENDPOINT: &str = "tripline.breaker.endpoint";

/// Gauge: a breaker's state, 0 closed, 1 half open, 2 open.
pub const METRIC_BREAKER_STATE: &str = "tripline.breaker.state";
/// Counter: how often a breaker tripped.
pub const METRIC_BREAKER_TRIPS: &str = "tripline.breaker.trips";
/// Counter: telemetry items that a sidecar had to drop.
pub const METRIC_DROPPED: &str = "tripline.telemetry.dropped";
/// Counter: reports that a sidecar has made.
pub const METRIC_SEQUENCE: &str = "tripline.report.sequence";
