//! The kinds of rows that history keeps, and what the files of each have in common.

use std::time::Duration;

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
    /// The same windows, added up by the minute.
    EdgesMinute,
    /// And by the hour.
    EdgesHour,
    /// Breaker transitions.
    BreakerEvents,
    /// Incidents, one row for each state that was seen.
    Incidents,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Spans,
        Self::Logs,
        Self::Edges,
        Self::EdgesMinute,
        Self::EdgesHour,
        Self::BreakerEvents,
        Self::Incidents,
    ];

    /// Name of its folder below the data folder.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
            Self::Edges => "edges",
            Self::EdgesMinute => "edges_1m",
            Self::EdgesHour => "edges_1h",
            Self::BreakerEvents => "breaker_events",
            Self::Incidents => "incidents",
        }
    }

    /// The columns that hold the earliest and the latest time a row is about.
    pub(super) const fn time_columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Spans | Self::Edges | Self::EdgesMinute | Self::EdgesHour => ("start", "start"),
            Self::Logs | Self::BreakerEvents => ("time", "time"),
            Self::Incidents => ("started_at", "updated_at"),
        }
    }

    /// The columns that hold node ids by which files are chosen.
    pub(super) const fn service_columns(self) -> &'static [&'static str] {
        match self {
            Self::Spans | Self::Logs => &["service"],
            Self::Edges | Self::EdgesMinute | Self::EdgesHour | Self::BreakerEvents => &["client", "server"],
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
            // Asked for by time, all edges at once.
            Self::Edges | Self::EdgesMinute | Self::EdgesHour => &["start", "client", "server"],
            Self::BreakerEvents => &["time"],
            Self::Incidents => &["id", "updated_at"],
        }
    }

    /// How dear it is: when the disk budget for everything is short, the least goes first, and the small and dear last.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Spans | Self::Logs | Self::Edges => 0,
            Self::EdgesMinute => 1,
            Self::EdgesHour => 2,
            Self::BreakerEvents | Self::Incidents => 3,
        }
    }

    /// Length of its windows, when it holds windows of edges.
    pub(super) const fn pane(self) -> Option<Duration> {
        match self {
            Self::Edges => Some(super::PANE),
            Self::EdgesMinute => Some(Duration::from_secs(60)),
            Self::EdgesHour => Some(Duration::from_secs(3_600)),
            _ => None,
        }
    }
}
