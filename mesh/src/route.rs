//! Routes: which requests they match, where these go, how often they are tried.

use std::borrow::Cow;
use std::time::Duration;

use crate::{ListenerProtocol, Timeouts, WeightedTarget};

/// One route of a service. Routes are tried in the order of their list; the first that matches wins.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name in the virtual router; `default` for a service whose provider is a virtual node.
    pub name: String,
    /// What it carries.
    pub protocol: ListenerProtocol,
    /// Which requests it takes.
    pub matches: RouteMatch,
    /// Where they go; at least one, and at least one with a weight above 0.
    pub targets: Vec<WeightedTarget>,
    /// Limits in time, the client's side.
    pub timeouts: Timeouts,
    /// Retries; without a policy there are none.
    pub retry: Option<RetryPolicy>,
}

/// Conditions of a route; all that are given must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteMatch {
    /// The path without its query; a prefix route without further conditions has `TextMatch::Prefix("/")`.
    pub path: TextMatch,
    /// Method, upper case.
    pub method: Option<String>,
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Headers, or gRPC metadata.
    pub headers: Vec<HeaderMatch>,
    /// Query parameters.
    pub query: Vec<QueryMatch>,
    /// Port of the virtual router's listener that the request came for.
    pub port: Option<u16>,
}

/// A condition on one header.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderMatch {
    /// Header name, lower case.
    pub name: String,
    /// Whether the condition must not hold; a condition on a value does not hold either way where the header is missing.
    pub invert: bool,
    /// Condition on its value; without one the header must be there.
    pub value: Option<TextMatch>,
}

/// A condition on one query parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    /// Parameter name, case-sensitive.
    pub name: String,
    /// Its whole value; without one the parameter must be there.
    pub exact: Option<String>,
}

/// A condition on a text.
#[derive(Debug, Clone, PartialEq)]
pub enum TextMatch {
    /// The whole text.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// A regular expression over the whole text.
    Regex(Pattern),
    /// An integer from `start` up to, not including, `end`.
    Range {
        /// First number that matches.
        start: i64,
        /// First number beyond.
        end: i64,
    },
}

/// A compiled regular expression that must match a whole text. Matching takes linear time.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    compiled: regex_lite::Regex,
}

/// A regular expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable regular expression: {0}")]
pub(crate) struct PatternError(String);

impl Pattern {
    /// Largest compiled size, in bytes.
    const MAX_BYTES: usize = 256 * 1024;

    pub(crate) fn new(text: &str) -> Result<Self, PatternError> {
        let compiled = regex_lite::RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(Self::MAX_BYTES)
            .build()
            .map_err(|error| PatternError(error.to_string()))?;
        Ok(Self { text: text.to_owned(), compiled })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TextMatch {
    /// Whether a text fulfils the condition.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::Regex(pattern) => pattern.compiled.is_match(text),
            Self::Range { start, end } => text.parse::<i64>().is_ok_and(|number| (*start..*end).contains(&number)),
        }
    }
}

/// The beginning of a request, as far as routes look at it.
pub trait RequestHead {
    /// Method, upper case as HTTP has it.
    fn method(&self) -> &str;
    /// Path without query.
    fn path(&self) -> &str;
    /// Query without `?`; empty when there is none.
    fn query(&self) -> &str;
    /// The value of a header (name given in lower case), if it is there and a text; several values are joined by commas, as Envoy
    /// joins them.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// `http` or `https`.
    fn scheme(&self) -> &str;
    /// The port the request came for, if the Host header or the original destination tells.
    fn port(&self) -> Option<u16>;
}

impl RouteMatch {
    /// Takes every request whose path begins so.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        Self {
            path: TextMatch::Prefix(prefix.to_owned()),
            method: None,
            scheme: None,
            headers: Vec::new(),
            query: Vec::new(),
            port: None,
        }
    }

    /// Whether a request fulfils all conditions. A port condition holds for a request whose port is not known.
    #[must_use]
    pub fn matches(&self, head: &impl RequestHead) -> bool {
        self.path.matches(head.path())
            && self.method.as_deref().is_none_or(|method| method == head.method())
            && self.scheme.as_deref().is_none_or(|scheme| scheme == head.scheme())
            && self.port.is_none_or(|port| head.port().is_none_or(|given| given == port))
            && self.headers.iter().all(|header| header.matches(head))
            && self.query.iter().all(|query| query.matches(head.query()))
    }
}

impl HeaderMatch {
    fn matches(&self, head: &impl RequestHead) -> bool {
        match (head.header(&self.name), &self.value) {
            (Some(value), Some(condition)) => condition.matches(&value) != self.invert,
            // As in Envoy: a condition on a value never holds where there is none, inverted or not.
            (None, Some(_)) => false,
            (found, None) => found.is_some() != self.invert,
        }
    }
}

impl QueryMatch {
    fn matches(&self, query: &str) -> bool {
        query.split('&').any(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            name == self.name && self.exact.as_deref().is_none_or(|exact| exact == value)
        })
    }
}

/// How often and after what a request is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries beyond the first.
    pub max_retries: u32,
    /// Limit of each try; `None` (written as 0) leaves only the route's own timeout.
    pub per_retry_timeout: Option<Duration>,
    /// Answers that are tried again.
    pub http_retry_events: Vec<HttpRetryEvent>,
    /// gRPC statuses that are tried again.
    pub grpc_retry_events: Vec<GrpcRetryEvent>,
    /// Connection failures that are tried again.
    pub tcp_retry_events: Vec<TcpRetryEvent>,
}

impl RetryPolicy {
    /// What App Mesh did unasked with requests of a route without a policy: two more tries on 503 or UNAVAILABLE, and after
    /// connections that were refused or broke.
    #[must_use]
    pub fn hidden_in_app_mesh() -> Self {
        Self {
            max_retries: 2,
            per_retry_timeout: None,
            http_retry_events: vec![HttpRetryEvent::Unavailable, HttpRetryEvent::StreamError],
            grpc_retry_events: vec![GrpcRetryEvent::Unavailable],
            tcp_retry_events: vec![TcpRetryEvent::ConnectionError],
        }
    }
}

/// Answers worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpRetryEvent {
    /// Status 503; no document can ask for it, App Mesh tried it again unasked.
    Unavailable,
    /// Status 500..=508, 510, 511.
    ServerError,
    /// Status 502..=504.
    GatewayError,
    /// Status 409.
    ClientError,
    /// The stream was refused, so the request was not processed.
    StreamError,
}

impl HttpRetryEvent {
    /// Whether an answer with this status falls under the event.
    #[must_use]
    pub const fn covers(self, status: u16) -> bool {
        match self {
            Self::Unavailable => status == 503,
            Self::ServerError => matches!(status, 500..=508 | 510 | 511),
            Self::GatewayError => matches!(status, 502..=504),
            Self::ClientError => status == 409,
            Self::StreamError => false,
        }
    }
}

/// gRPC statuses worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcRetryEvent {
    /// Status 1.
    Cancelled,
    /// Status 4.
    DeadlineExceeded,
    /// Status 13.
    Internal,
    /// Status 8.
    ResourceExhausted,
    /// Status 14.
    Unavailable,
}

impl GrpcRetryEvent {
    /// The status number it stands for.
    #[must_use]
    pub const fn status(self) -> u32 {
        match self {
            Self::Cancelled => 1,
            Self::DeadlineExceeded => 4,
            Self::Internal => 13,
            Self::ResourceExhausted => 8,
            Self::Unavailable => 14,
        }
    }
}

/// Connection failures worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpRetryEvent {
    /// The connection could not be made, or broke before the answer began.
    ConnectionError,
}
