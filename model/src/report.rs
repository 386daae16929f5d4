//! What a sidecar sends about itself and its traffic once a second.

use std::time::Duration;

use crate::{BreakerStatus, EdgeWindow, ServiceName, Timestamp};

/// One sidecar process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sidecar {
    /// The service it stands beside.
    pub service: ServiceName,
    /// The process, unique and new at each start.
    pub instance: String,
    /// Its version.
    pub version: String,
}

/// Everything that one sidecar counted from `start` for `length`.
///
/// A report that got no acknowledgement is sent again with the same `sequence`; whoever has seen that
/// (instance, sequence) before must ignore the repeat.
#[derive(Debug, Clone, PartialEq)]
pub struct SidecarReport {
    /// Who reports.
    pub sidecar: Sidecar,
    /// Counts the reports of this process from 1.
    pub sequence: u64,
    /// Start of the window, by the sidecar's clock.
    pub start: Timestamp,
    /// Its length.
    pub length: Duration,
    /// The edges on which something ended in this window.
    pub edges: Vec<EdgeWindow>,
    /// Every breaker that exists.
    pub breakers: Vec<BreakerStatus>,
    /// Telemetry items (spans, events, reports) this process had to drop since it started.
    pub dropped: u64,
}
