//! An edge of the service graph and what one second of it counted.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Histogram, ServiceName, Timestamp};

/// What is spoken on an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2 alike: the edge is one.
    #[default]
    Http,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
    /// A database's own protocol.
    Database,
    /// Messages through a broker.
    Messaging,
}

impl Protocol {
    /// Its written form: `http`, `grpc`, `tcp`, `database`, `messaging`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
            Self::Database => "database",
            Self::Messaging => "messaging",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names none of the kinds known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} \"{text}\"")]
pub struct UnknownWord {
    /// What was to be read.
    pub what: &'static str,
    /// The text that was given.
    pub text: String,
}

impl FromStr for Protocol {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Ok(match text {
            "http" | "http2" => Self::Http,
            "grpc" => Self::Grpc,
            "tcp" => Self::Tcp,
            "database" => Self::Database,
            "messaging" => Self::Messaging,
            _ => return Err(UnknownWord { what: "protocol", text: text.into() }),
        })
    }
}

/// What a node of the graph stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum NodeKind {
    /// A service of the mesh.
    #[default]
    Service,
    /// A proxy at the mesh's edge without an application of its own.
    Gateway,
    /// A host outside the mesh.
    External,
    /// A database that reports nothing itself.
    Database,
    /// A message broker or queue.
    Queue,
    /// Callers from outside that no one can name.
    User,
}

impl NodeKind {
    /// Its written form, as the HTTP API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Gateway => "gateway",
            Self::External => "external",
            Self::Database => "database",
            Self::Queue => "queue",
            Self::User => "user",
        }
    }
}

/// The identity of an edge: who calls whom, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeKey {
    /// Who calls.
    pub client: ServiceName,
    /// Who answers.
    pub server: ServiceName,
    /// What they speak.
    pub protocol: Protocol,
}

/// `shop/web>shop/checkout:http`, the identifier that the HTTP API uses.
impl fmt::Display for EdgeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}:{}", self.client, self.server, self.protocol)
    }
}

impl FromStr for EdgeKey {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let bad = || UnknownWord { what: "edge", text: text.into() };
        let (client, rest) = text.split_once('>').ok_or_else(bad)?;
        let (server, protocol) = rest.rsplit_once(':').ok_or_else(bad)?;
        Ok(Self { client: client.into(), server: server.into(), protocol: protocol.parse()? })
    }
}

/// Who counted a window. Counts of different reporters describe the same traffic and are never added; the best
/// one wins, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reporter {
    /// The client's sidecar: every request, also those that never left.
    Client,
    /// The server's sidecar: every request that arrived.
    Server,
    /// Paired spans of applications without a sidecar, weighted by their sampling.
    Spans,
}

/// What one window of an edge counted. All zero where the reporter cannot know.
///
/// A *request* is what the application asked for, an *attempt* one try to serve it: `attempts = first tries + retries`,
/// and a request that was shed has no attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EdgeCounts {
    /// Requests that ended in this window, whatever their outcome.
    pub requests: u64,
    /// Requests whose final outcome was a failure: a failing answer, no answer, or shed.
    pub failed: u64,
    /// Requests whose caller left before the end; in `requests`, not in `failed`.
    pub cancelled: u64,
    /// Requests that a breaker or a limit refused before any attempt; in `failed`.
    pub shed: u64,
    /// Tries that were sent to an endpoint, first ones and retries.
    pub attempts: u64,
    /// Tries beyond the first of their request; in `attempts`.
    pub retries: u64,
    /// Tries that the server answered with a failure (5xx, failing gRPC status).
    pub answered_failures: u64,
    /// Tries without an answer: refused, reset, timed out.
    pub transport_failures: u64,
    /// Tries whose failing answer the server marked as caused by an open breaker further on; in `answered_failures`.
    pub induced: u64,
    /// Failed requests that started at the server: none of its own calls failed. Counted by the server's side.
    pub origin_failures: u64,
    /// Failed requests that the server passed on from a failed call of its own. Counted by the server's side.
    pub propagated_failures: u64,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of response bodies.
    pub response_bytes: u64,
}

impl EdgeCounts {
    /// Adds the counts of another window.
    pub fn merge(&mut self, other: &Self) {
        for (sum, part) in self.fields_mut().into_iter().zip(other.fields()) {
            *sum = sum.saturating_add(part);
        }
    }

    /// Whether the numbers can be true together; a hostile or broken sender's cannot.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        self.failed <= self.requests
            && self.cancelled <= self.requests
            && self.shed <= self.failed
            && self.retries <= self.attempts
            && self.answered_failures.saturating_add(self.transport_failures) <= self.attempts
            && self.induced <= self.answered_failures
            && self.origin_failures.saturating_add(self.propagated_failures) <= self.failed
    }

    const fn fields(&self) -> [u64; 13] {
        [
            self.requests,
            self.failed,
            self.cancelled,
            self.shed,
            self.attempts,
            self.retries,
            self.answered_failures,
            self.transport_failures,
            self.induced,
            self.origin_failures,
            self.propagated_failures,
            self.request_bytes,
            self.response_bytes,
        ]
    }

    const fn fields_mut(&mut self) -> [&mut u64; 13] {
        [
            &mut self.requests,
            &mut self.failed,
            &mut self.cancelled,
            &mut self.shed,
            &mut self.attempts,
            &mut self.retries,
            &mut self.answered_failures,
            &mut self.transport_failures,
            &mut self.induced,
            &mut self.origin_failures,
            &mut self.propagated_failures,
            &mut self.request_bytes,
            &mut self.response_bytes,
        ]
    }
}

/// What one reporter saw of one edge from `start` for `length`.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeWindow {
    /// Which edge.
    pub key: EdgeKey,
    /// Who counted.
    pub reporter: Reporter,
    /// What the client's node stands for.
    pub client_kind: NodeKind,
    /// What the server's node stands for.
    pub server_kind: NodeKind,
    /// Start of the window, by the reporter's clock.
    pub start: Timestamp,
    /// Its length; one second from sidecars.
    pub length: Duration,
    /// The counts.
    pub counts: EdgeCounts,
    /// Time from a request to the end of its answer as the reporter saw it; shed requests are not in it.
    pub latency: Histogram,
    /// Time the server spent outside its own calls; from the server's side, and only for requests whose calls are known.
    pub self_time: Histogram,
    /// Whether every connection of the window was mutually authenticated.
    pub secured: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_id_reads_back() {
        let id = "shop/web>shop/checkout:http";
        assert_eq!(id.parse::<EdgeKey>().unwrap().to_string(), id);
        assert!("shop/web".parse::<EdgeKey>().is_err());
        assert!("a>b:smtp".parse::<EdgeKey>().is_err());
    }

    #[test]
    fn impossible_counts_are_recognised() {
        let good =
            EdgeCounts { requests: 10, failed: 3, shed: 1, attempts: 9, answered_failures: 2, ..EdgeCounts::default() };
        assert!(good.is_plausible());
        assert!(!EdgeCounts { failed: 11, ..good }.is_plausible());
        assert!(!EdgeCounts { retries: 10, ..good }.is_plausible());
        assert!(!EdgeCounts { origin_failures: u64::MAX, propagated_failures: 1, ..good }.is_plausible());
    }

    #[test]
    fn merging_adds_every_field() {
        let one = EdgeCounts { requests: 1, response_bytes: 7, ..EdgeCounts::default() };
        let mut sum = one;
        sum.merge(&one);
        assert_eq!((sum.requests, sum.response_bytes), (2, 14));
    }
}
