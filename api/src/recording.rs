//! What history keeps of a range of time, without loss: windows of edges with their histograms, and breaker transitions.

use crate::{NodeKind, Transition, wire};

wire! {
    /// Answer of `GET /api/v1/recording`: everything that starts in `[from, to)`.
    pub struct RecordedRange {
        /// Start of what this page covers.
        pub from: String,
        /// End of what this page covers.
        pub to: String,
        /// By start, edge and reporter. Reporters of one edge describe the same traffic and are never added.
        pub windows: Vec<RecordedWindow>,
        /// Oldest first.
        pub transitions: Vec<Transition>,
        /// Cursor of the next page.
        pub next: Option<String>,
    }

    /// What one reporter counted on one edge in one window.
    pub struct RecordedWindow {
        /// Start of the window.
        pub start: String,
        /// Its length in seconds; ten, as history keeps them.
        pub seconds: f64,
        /// Node id of who calls.
        pub client: String,
        /// Node id of who is called.
        pub server: String,
        /// `http`, `grpc`, `tcp`, `database`, `messaging`.
        pub protocol: String,
        /// `client`, `server` (their sidecars) or `spans`.
        pub reporter: String,
        /// What the client stands for.
        pub client_kind: NodeKind,
        /// What the server stands for.
        pub server_kind: NodeKind,
        /// Whether every connection was mutually authenticated.
        pub secured: bool,
        /// The counts.
        pub counts: RecordedCounts,
        /// Latency as the reporter saw it.
        pub latency: RecordedHistogram,
        /// Time that the server spent outside its own calls.
        pub self_time: RecordedHistogram,
    }

    /// Counts of one window; requests are what applications asked for, attempts the tries to serve them.
    #[derive(Copy, Default)]
    pub struct RecordedCounts {
        /// Requests that ended in the window.
        pub requests: u64,
        /// Failed ones, shed ones included.
        pub failed: u64,
        /// Requests whose caller left.
        pub cancelled: u64,
        /// Requests that an open breaker or a limit refused to send.
        pub shed: u64,
        /// Tries that were sent.
        pub attempts: u64,
        /// Tries beyond the first.
        pub retries: u64,
        /// Tries that the server answered with a failure.
        pub answered_failures: u64,
        /// Tries without an answer.
        pub transport_failures: u64,
        /// Failed tries that were marked as caused by a breaker further on.
        pub induced: u64,
        /// Failures that began at the server.
        pub origin_failures: u64,
        /// Failures that the server passed on.
        pub propagated_failures: u64,
        /// Bytes of request bodies.
        pub request_bytes: u64,
        /// Bytes of response bodies.
        pub response_bytes: u64,
    }

    /// OTLP's exponential histogram of scale 3 in microseconds: `counts[i]` counts durations in
    /// `(2^((offset+i)/8), 2^((offset+i+1)/8)]`.
    #[derive(Default)]
    pub struct RecordedHistogram {
        /// Index of the first bucket.
        pub offset: i32,
        /// Buckets from there on.
        pub counts: Vec<u64>,
        /// Sum of all durations in microseconds.
        pub sum_us: u64,
    }
}
