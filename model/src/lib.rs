//! The nouns of Tripline, shared by the sidecar, the collector and the simulator.
//!
//! Values only: no clock, no IO, no async, no serialisation. Whoever needs the time is given it as a [`Timestamp`];
//! whoever needs a wire form finds it in the `otlp` or `api` crate.

pub mod breaker;
pub mod edge;
pub mod histogram;
pub mod ids;
pub mod report;
pub mod service;
pub mod time;

pub use breaker::{BreakerState, BreakerStatus, BreakerTransition, FailureOrigin, TransitionReason};
pub use edge::{EdgeCounts, EdgeKey, EdgeWindow, NodeKind, Protocol, Reporter};
pub use histogram::Histogram;
pub use ids::{ParseIdError, SpanId, TraceId};
pub use report::{Sidecar, SidecarReport};
pub use service::ServiceName;
pub use time::{Ratio, Timestamp};
