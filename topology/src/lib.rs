//! The live service graph, its health, its layout, and the recognition of cascades. Pure: every method is given `now`.
//!
//! [`graph`] counts what sidecars and paired spans report. [`summary`] reads one window of it for people, [`layout`] places it
//! on a plane. [`detect`] watches it window by window and keeps the life of each incident. [`recording`] is what was recorded elsewhere, and
//! [`localise`] finds the suspected origin of an incident in it. petgraph does the graph
//! algorithms inside and never shows in the public API. No clock, no IO, no randomness: the same events give the
//! same incidents.

mod cores;
pub mod detect;
pub mod graph;
pub mod layout;
pub mod localise;
pub mod recording;
pub mod replay;
mod robust;
mod share_out;
pub mod summary;

pub use cores::with_helpers;
pub use graph::{BreakerInfo, Limits, NodeState, Observed, ServiceGraph, Sum};
pub use summary::{EdgeSummary, GraphSummary, Health, Latency, NodeSummary};
