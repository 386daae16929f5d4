//! The service graph: nodes with their health, edges with what flows on them.

use crate::{wire, words};

words! {
    /// What a node stands for.
    NodeKind {
        /// A service of the mesh.
        Service = "service",
        /// A proxy at the mesh's edge without an application of its own.
        Gateway = "gateway",
        /// A host outside the mesh.
        External = "external",
        /// A database that reports nothing itself.
        Database = "database",
        /// A message broker or queue.
        Queue = "queue",
        /// Callers from outside that no one can name.
        User = "user",
    }
}

words! {
    /// How well a node or an edge does in the window.
    Health {
        /// Traffic, and nothing wrong with it.
        Healthy = "healthy",
        /// Some requests fail or are slow.
        Degraded = "degraded",
        /// At least a tenth of the requests fail, or a breaker in front of it is open.
        Failing = "failing",
        /// No traffic in the window.
        Idle = "idle",
    }
}

words! {
    /// The worst state of the breakers on an edge.
    BreakerState {
        /// No breaker is known.
        None = "none",
        /// Traffic flows.
        Closed = "closed",
        /// A few probes pass.
        HalfOpen = "half_open",
        /// Calls are rejected.
        Open = "open",
    }
}

wire! {
    /// The graph over one window of time.
    pub struct Graph {
        /// End of the window.
        pub at: String,
        /// Its length in seconds.
        pub window_seconds: f64,
        /// Changes whenever a node or an edge comes or goes; positions are stable while it stays.
        #[serde(default)]
        pub generation: u64,
        /// Ordered by id.
        pub nodes: Vec<Node>,
        /// Ordered by id.
        pub edges: Vec<Edge>,
    }

    /// Latency quantiles in milliseconds, within 5 % of the true ones; all zero without traffic.
    #[derive(Copy, Default)]
    pub struct Latency {
        /// Median.
        pub p50: f64,
        /// 90th percentile.
        pub p90: f64,
        /// 99th percentile.
        pub p99: f64,
    }

    /// Where the collector's layout places a node's centre, in the units of a 1:1 drawing; y grows downwards.
    #[derive(Copy, Default)]
    pub struct Position {
        /// Left to right: from callers to called.
        pub x: f64,
        /// Top to bottom.
        pub y: f64,
    }

    /// A service or a peer of one.
    pub struct Node {
        /// `namespace/name`, or `name` for peers outside any namespace.
        pub id: String,
        /// Empty for peers outside any.
        pub namespace: String,
        /// Name within its namespace.
        pub name: String,
        /// What it stands for.
        pub kind: NodeKind,
        /// How well it answers.
        pub health: Health,
        /// Requests it received in the window (for a node that nobody calls: requests it sent).
        pub requests: u64,
        /// The same per second of the window, or of the collector's life where that is shorter.
        pub requests_per_second: f64,
        /// Share of those that failed.
        pub error_ratio: f64,
        /// As its clients saw it, or as it saw itself where no client reports.
        pub latency_ms: Latency,
        /// Whether something outside the mesh calls it.
        #[serde(default)]
        pub entry_point: bool,
        /// Identifier of the unresolved incident it is degraded in.
        #[serde(default)]
        pub incident: Option<String>,
        /// Where to draw it.
        #[serde(default)]
        pub position: Position,
    }

    /// What flows from a client to a server over one protocol.
    pub struct Edge {
        /// `client>server:protocol`.
        pub id: String,
        /// Node id of the caller.
        pub client: String,
        /// Node id of the called.
        pub server: String,
        /// `http`, `grpc`, `tcp`, `database`, `messaging`.
        pub protocol: String,
        /// Who counted: `client` (its sidecar), `server` (its sidecar) or `spans`.
        #[serde(default)]
        pub reporter: String,
        /// How well it does.
        pub health: Health,
        /// Requests in the window, whatever their outcome.
        pub requests: u64,
        /// The same per second of the window, or of the collector's life where that is shorter.
        pub requests_per_second: f64,
        /// Requests that failed, shed ones included.
        pub failed: u64,
        /// Requests that an open breaker or a limit refused to send.
        pub shed: u64,
        /// Share of requests that failed.
        pub error_ratio: f64,
        /// As the reporter saw it; shed requests not included.
        pub latency_ms: Latency,
        /// Attempts over requests that were attempted; 1 without retries.
        pub attempts_per_request: f64,
        /// Worst state of its breakers.
        pub breaker: BreakerState,
        /// Whether every connection was mutually authenticated.
        pub secured: bool,
    }

    /// Answer of `GET /api/v1/edges`.
    pub struct EdgeList {
        /// Ordered by id.
        pub edges: Vec<Edge>,
        /// Cursor of the next page.
        pub next: Option<String>,
    }
}
