//! Why there is an edge between two services, or none.

use crate::wire;

wire! {
    /// Answer of `GET /api/v1/explain`.
    pub struct Explanation {
        /// The client's node id.
        pub client: String,
        /// The server's node id.
        pub server: String,
        /// Why in one sentence.
        pub verdict: String,
        /// What counted on this edge, the most frequent first; empty when there is none.
        pub evidence: Vec<ExplainedCount>,
        /// Spans of the client that made no edge at all, by reason.
        pub client_without_edge: Vec<ExplainedCount>,
        /// Spans of the server that made no edge at all, by reason.
        pub server_without_edge: Vec<ExplainedCount>,
    }

    /// One reason and how often it applied since the collector started.
    pub struct ExplainedCount {
        /// A word for programs.
        pub reason: String,
        /// The same for people.
        pub text: String,
        /// How often: calls, windows of a sidecar, or spans.
        pub count: u64,
        /// When it last did.
        pub last: String,
    }
}
