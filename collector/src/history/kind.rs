//! The five kinds of rows that history keeps, and what the files of each have in common.

use serde::{Deserialize, Serialize};

/// One kind of rows; each has a folder, a schema and a sort order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Spans.
    Spans,
    /// Log records.
    Logs,
    /// Ten-second windows of edges.
    Edges,
    /// Breaker transitions.
    BreakerEvents,
    /// Incidents, one row for each state that was seen.
    Incidents,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Spans, Self::Logs, Self::Edges, Self::BreakerEvents, Self::Incidents];

    /// Name of its folder below the data folder.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
            Self::Edges => "edges",
            Self::BreakerEvents => "breaker_events",
            Self::Incidents => "incidents",
        }
    }

    /// The columns that hold the earliest and the latest time a row is about.
    pub(super) const fn time_columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Spans | Self::Edges => ("start", "start"),
            Self::Logs | Self::BreakerEvents => ("time", "time"),
            Self::Incidents => ("started_at", "updated_at"),
        }
    }

    /// The columns that hold node ids by which files are chosen.
    pub(super) const fn service_columns(self) -> &'static [&'static str] {
        match self {
            Self::Spans | Self::Logs => &["service"],
            Self::Edges | Self::BreakerEvents => &["client", "server"],
            Self::Incidents => &[],
        }
    }

    /// Whether files carry a filter of the trace ids in them.
    pub(super) const fn has_traces(self) -> bool {
        matches!(self, Self::Spans | Self::Logs)
    }

    /// The order of rows within a file: what is read together lies together.
    pub(super) const fn sort_columns(self) -> &'static [&'static str] {
        match self {
            Self::Spans => &["service", "name", "start"],
            Self::Logs => &["service", "time"],
            Self::Edges => &["client", "server", "start"],
            Self::BreakerEvents => &["time"],
            Self::Incidents => &["id", "updated_at"],
        }
    }

    /// Small and dear: when the disk budget is short, these go last.
    pub(super) const fn is_small(self) -> bool {
        matches!(self, Self::BreakerEvents | Self::Incidents)
    }
}
