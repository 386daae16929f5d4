//! Traces, spans and logs from history.

use std::collections::BTreeMap;

use crate::wire;

wire! {
    /// Answer of `GET /api/v1/traces`.
    pub struct TraceList {
        /// Newest first.
        pub traces: Vec<TraceSummary>,
        /// Cursor of the next page.
        pub next: Option<String>,
    }

    /// One line about a trace.
    pub struct TraceSummary {
        /// 32 hexadecimal digits.
        pub trace_id: String,
        /// Start of its first span.
        pub started_at: String,
        /// From its first start to its last end.
        pub duration_ms: f64,
        /// Node id of its first span's service.
        pub root_service: String,
        /// Name of its first span.
        pub root_name: String,
        /// Spans that were stored.
        pub spans: u64,
        /// Spans with an error.
        pub errors: u64,
        /// Node ids of all services in it, ordered.
        pub services: Vec<String>,
    }

    /// Answer of `GET /api/v1/traces/ID`.
    pub struct Trace {
        /// 32 hexadecimal digits.
        pub trace_id: String,
        /// Ordered by start.
        pub spans: Vec<Span>,
    }

    /// One span.
    pub struct Span {
        /// 32 hexadecimal digits.
        pub trace_id: String,
        /// 16 hexadecimal digits.
        pub span_id: String,
        /// Empty for a root.
        pub parent_span_id: String,
        /// Node id of the service that made it.
        pub service: String,
        /// Its process.
        pub instance: String,
        /// Operation.
        pub name: String,
        /// `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
        pub kind: String,
        /// Start.
        pub started_at: String,
        /// Length.
        pub duration_ms: f64,
        /// `unset`, `ok` or `error`.
        pub status: String,
        /// What the status says.
        pub status_message: String,
        /// Span attributes, values as text.
        pub attributes: BTreeMap<String, String>,
        /// Events within it.
        pub events: Vec<SpanEvent>,
    }

    /// An event within a span.
    pub struct SpanEvent {
        /// When.
        pub at: String,
        /// What.
        pub name: String,
    }

    /// Answer of `GET /api/v1/logs`.
    pub struct LogList {
        /// Newest first.
        pub logs: Vec<Log>,
        /// Cursor of the next page.
        pub next: Option<String>,
    }

    /// One log record.
    pub struct Log {
        /// When.
        pub at: String,
        /// Node id of the service.
        pub service: String,
        /// `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR`, `FATAL`, or empty.
        pub severity: String,
        /// The text.
        pub body: String,
        /// Event name, or empty.
        pub event: String,
        /// Trace it belongs to, or empty.
        pub trace_id: String,
        /// Span it belongs to, or empty.
        pub span_id: String,
        /// Attributes, values as text.
        pub attributes: BTreeMap<String, String>,
    }
}
