//! Listeners and what is set on them: protocol, timeouts, limits, outlier detection.
//!
//! Defaults are App Mesh's: 15 s for a request, 300 s for an idle connection, both as its API reference gives them
//! for `HttpTimeout` and `GrpcTimeout`; a value of 0 turns a timeout off. Without `connectionPool` nothing is limited,
//! without `outlierDetection` nothing is ejected.

use std::fmt;
use std::time::Duration;

/// What a listener or a route speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenerProtocol {
    /// HTTP/1.1 (and WebSocket).
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
}

impl ListenerProtocol {
    /// Its written form: `http`, `http2`, `grpc`, `tcp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }

    /// The protocol that its exchanges are counted under; HTTP/1.1 and HTTP/2 are one edge.
    #[must_use]
    pub const fn edge_protocol(self) -> tripline_model::Protocol {
        match self {
            Self::Http | Self::Http2 => tripline_model::Protocol::Http,
            Self::Grpc => tripline_model::Protocol::Grpc,
            Self::Tcp => tripline_model::Protocol::Tcp,
        }
    }
}

impl fmt::Display for ListenerProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A port and what is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMapping {
    /// 1..=65535.
    pub port: u16,
    /// What is spoken there.
    pub protocol: ListenerProtocol,
}

/// How long a request may take and a connection may be silent. `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's arrival to the end of its answer, all attempts together; never set for TCP.
    pub per_request: Option<Duration>,
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
}

impl Timeouts {
    /// What App Mesh applies where nothing is written.
    #[must_use]
    pub const fn default_for(protocol: ListenerProtocol) -> Self {
        let per_request = match protocol {
            ListenerProtocol::Tcp => None,
            _ => Some(Duration::from_secs(15)),
        };
        Self { per_request, idle: Some(Duration::from_secs(300)) }
    }
}

/// Limits of a listener. `None` means no limit. Which are set depends on the protocol: connections and pending requests
/// for `http`, requests for `http2` and `grpc`, connections for `tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionPool {
    /// Connections open at once.
    pub max_connections: Option<u32>,
    /// Requests waiting for a connection.
    pub max_pending_requests: Option<u32>,
    /// Requests in flight at once.
    pub max_requests: Option<u32>,
}

/// When a client takes an endpoint out of its rotation. Written on the server's listener, carried out by its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Consecutive 5xx (or transport failures) that eject; at least 1.
    pub max_server_errors: u32,
    /// Time between two sweeps for ejections; more than 0.
    pub interval: Duration,
    /// Time out of rotation, multiplied by the number of ejections so far; more than 0.
    pub base_ejection: Duration,
    /// Share of the endpoints that may be ejected at once, 0..=100; one endpoint may always be.
    pub max_ejection_percent: u8,
}

/// How the addresses behind a host name are to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscoveryKind {
    /// The name is one endpoint, whatever it resolves to (`responseType: LOADBALANCER`, the default).
    LoadBalancer,
    /// Each address is an endpoint of its own (`responseType: ENDPOINTS`).
    Endpoints,
}

/// A port that a virtual node serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where clients connect.
    pub port: u16,
    /// What is spoken there.
    pub protocol: ListenerProtocol,
    /// Limits in time, the server's side.
    pub timeouts: Timeouts,
    /// Limits in number that protect the application.
    pub connection_pool: Option<ConnectionPool>,
    /// What the clients of this listener carry out.
    pub outlier_detection: Option<OutlierDetection>,
    /// How it is encrypted; none when it is not.
    pub tls: Option<crate::ListenerTls>,
}
