//! Why a request got no answer from where it was sent, in one word, one status and one sentence.

use std::error::Error as _;
use std::io;

use tripline_breaker::{Fault, LastError};
use tripline_model::FailureOrigin;

use crate::request_body::RequestBodyError;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody listens there.
    ConnectRefused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The connection was not made.
    ConnectFailed,
    /// The connection could not be secured.
    TlsHandshake,
    /// The connection broke before the answer began.
    Reset,
    /// What came back is no HTTP.
    BadAnswer,
    /// The answer did not begin in time.
    Timeout,
    /// The name has no address.
    NoEndpoint,
    /// A breaker rejected it.
    BreakerOpen,
    /// The listener's limits are reached.
    Overflow,
    /// It asks for another protocol, which the server does not offer over HTTP/2.
    NoTunnel,
    /// The caller's body ended early.
    RequestBody,
    /// The caller's body was silent too long.
    SlowBody,
    /// The caller's body was too long.
    LargeBody,
}

impl Failure {
    /// Its word in headers, events and spans.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::TlsHandshake => "tls_handshake",
            Self::Reset => "reset",
            Self::BadAnswer => "bad_answer",
            Self::Timeout => "timeout",
            Self::NoEndpoint => "no_endpoint",
            Self::BreakerOpen => "breaker_open",
            Self::Overflow => "overflow",
            Self::NoTunnel => "no_extended_connect",
            Self::RequestBody => "request_body",
            Self::SlowBody => "slow_body",
            Self::LargeBody => "large_body",
        }
    }

    /// The status of the sidecar's own answer.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Timeout => 504,
            Self::BadAnswer => 502,
            Self::NoTunnel => 405,
            Self::RequestBody => 400,
            Self::SlowBody => 408,
            Self::LargeBody => 413,
            _ => 503,
        }
    }

    /// What happened, as the end of a sentence that begins with who was called.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::ConnectRefused => "refused the connection: nothing listens there",
            Self::ConnectTimeout => "did not accept a connection in time",
            Self::ConnectFailed => "could not be connected to",
            Self::TlsHandshake => "could not be connected to securely: check both ends' certificates and names",
            Self::Reset => "closed the connection before it answered",
            Self::BadAnswer => "answered with something that is no HTTP",
            Self::Timeout => "did not answer in time",
            Self::NoEndpoint => "has no address: its name does not resolve",
            Self::BreakerOpen => "was not called: its breaker is open",
            Self::Overflow => "has as many requests as its listener allows",
            Self::NoTunnel => "was not called: it takes no WebSocket over HTTP/2 (extended CONNECT)",
            Self::RequestBody => "was not called: the request's body ended early",
            Self::SlowBody => "did not get the whole request: its body was silent too long",
            Self::LargeBody => "did not get the whole request: its body is longer than this proxy allows",
        }
    }

    /// Of an attempt to connect.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectRefused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            _ => Self::ConnectFailed,
        }
    }

    /// Of a body that could not be sent.
    pub(crate) const fn of_body(error: &RequestBodyError) -> Self {
        match error {
            RequestBodyError::Silent(_) => Self::SlowBody,
            RequestBodyError::TooLarge(_) => Self::LargeBody,
            RequestBodyError::Read(_) => Self::RequestBody,
        }
    }

    /// Of an exchange on an HTTP/2 connection.
    pub(crate) fn of_exchange(error: &hyper::Error) -> Self {
        if error.is_parse() {
            Self::BadAnswer
        } else if error.is_user() {
            let body = error.source().and_then(|source| source.downcast_ref::<RequestBodyError>());
            body.map_or(Self::RequestBody, Self::of_body)
        } else {
            Self::Reset
        }
    }

    /// What a breaker is told.
    pub(crate) const fn fault(self) -> Fault {
        Fault { origin: FailureOrigin::Local, error: LastError::Word(self.word()) }
    }

    /// Whether what the caller asked for or sent was at fault, so that nobody else failed.
    pub(crate) const fn is_of_caller(self) -> bool {
        matches!(self, Self::NoTunnel | Self::RequestBody | Self::SlowBody | Self::LargeBody)
    }

    /// Whether the request certainly never reached the server.
    pub(crate) const fn is_unsent(self) -> bool {
        matches!(self, Self::ConnectRefused | Self::ConnectTimeout | Self::ConnectFailed | Self::TlsHandshake)
    }
}
