//! Wire types of the collector's HTTP API, version 1, as JSON.
//!
//! The collector answers with them, the command line and the web UI read them, and the OpenAPI document is generated
//! from them (feature `openapi`). Conventions: snake_case, RFC 3339 times in UTC as text, ratios in 0..=1, latencies in
//! milliseconds, identifiers as written by the model (`shop/web`, `shop/web>shop/checkout:http`). Lists are one object
//! with one list named after the path and `next`, a cursor, `null` at the end. No logic beyond small look-ups.

pub mod breaker;
pub mod demo;
pub mod error;
pub mod explain;
pub mod graph;
pub mod history;
pub mod incident;
pub mod mesh;
pub mod proxy;
pub mod recording;
pub mod service;
pub mod stream;
pub mod trace;

pub use breaker::{Breaker, BreakerList, Transition};
pub use demo::{DemoFault, DemoFaultKind, DemoFaultList, DemoFaultRequest};
pub use error::{ApiError, ErrorBody};
pub use explain::{ExplainedCount, Explanation};
pub use graph::{BreakerState, Edge, EdgeList, Graph, Health, Latency, Node, NodeKind, Position};
pub use history::{ChangeKind, EdgeChange, GraphDifference, Moment, NodeChange, Operation, OperationList};
pub use incident::{
    AffectedEntry, Amplification, BlastRadius, Candidate, Evidence, ExampleTrace, FoldedAlert, Incident, IncidentList,
    Level, PathEvent, PathStep, Phase,
};
pub use mesh::{AppliedMesh, DeclaredEdge, MeshFinding, MeshRequest, MeshSource};
pub use proxy::{Proxy, ProxyList};
pub use recording::{RecordedCounts, RecordedHistogram, RecordedRange, RecordedWindow};
pub use service::{Service, ServiceList};
pub use stream::{Changes, Snapshot};
pub use trace::{Log, LogList, Span, SpanEvent, Trace, TraceList, TraceSummary};

/// Derives what every wire type has.
macro_rules! wire {
    ($($(#[$meta:meta])* $vis:vis $kind:ident $name:ident $body:tt)*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
            #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
            $vis $kind $name $body
        )*
    };
}

/// Like `wire!`, for enums of plain words: also `Copy`, ordered, and written by `as_str` as in JSON.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its written form, as in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

pub(crate) use {wire, words};
