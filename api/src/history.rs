//! Answers about ranges and moments of the past: operations of a service, and what changed between two graphs.

use crate::graph::{Edge, Latency, Node};
use crate::{wire, words};

words! {
    /// What became of a node or an edge between two times.
    ChangeKind {
        /// It was not there before.
        Added = "added",
        /// It is there no more.
        Removed = "removed",
        /// It does differently, by more than traffic does from minute to minute.
        Changed = "changed",
    }
}

wire! {
    /// Answer of `GET /api/v1/operations`.
    pub struct OperationList {
        /// The slowest by p99 first.
        pub operations: Vec<Operation>,
        /// Always `null`.
        pub next: Option<String>,
    }

    /// One operation of a service over a range of time, counted from its spans.
    pub struct Operation {
        /// Name of its spans.
        pub name: String,
        /// Spans that were stored.
        pub spans: u64,
        /// What they stand for: sampled spans count as many times as their sampling tells.
        pub requests: u64,
        /// Share of those that failed.
        pub error_ratio: f64,
        /// Mean length in milliseconds.
        pub mean_ms: f64,
        /// Quantiles of their lengths.
        pub latency_ms: Latency,
    }

    /// Answer of `GET /api/v1/graph/difference`.
    pub struct GraphDifference {
        /// The time that is compared with.
        pub before: Moment,
        /// The time that is looked at.
        pub after: Moment,
        /// Nodes that differ, ordered by id.
        pub nodes: Vec<NodeChange>,
        /// Edges that differ, ordered by id.
        pub edges: Vec<EdgeChange>,
        /// Nodes that do not.
        pub same_nodes: u64,
        /// Edges that do not.
        pub same_edges: u64,
    }

    /// The window of time that a graph stands for.
    pub struct Moment {
        /// Its end.
        pub at: String,
        /// Its length in seconds; longer than asked for where only minutes or hours are stored.
        pub window_seconds: f64,
    }

    /// A node that differs.
    pub struct NodeChange {
        /// Its id.
        pub id: String,
        /// What became of it.
        pub change: ChangeKind,
        /// What differs of a changed node: `health`, `error_ratio`, `latency_p99`, `requests_per_second`, `entry_point`.
        pub what: Vec<String>,
        /// As it was; none when it was added.
        pub before: Option<Node>,
        /// As it is; none when it was removed.
        pub after: Option<Node>,
    }

    /// An edge that differs.
    pub struct EdgeChange {
        /// Its id.
        pub id: String,
        /// What became of it.
        pub change: ChangeKind,
        /// What differs of a changed edge: `health`, `error_ratio`, `latency_p99`, `requests_per_second`, `breaker`, `attempts`, `secured`.
        pub what: Vec<String>,
        /// As it was; none when it was added.
        pub before: Option<Edge>,
        /// As it is; none when it was removed.
        pub after: Option<Edge>,
    }
}
