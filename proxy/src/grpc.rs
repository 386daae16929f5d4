//! What is special about gRPC: success and failure are told by `grpc-status`, mostly in the trailers.
//!
//! A failure of the server is what OpenTelemetry's conventions call one for a server: UNKNOWN, DEADLINE_EXCEEDED,
//! UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS, and no status at all, which gRPC reads as UNKNOWN. Everything else is the
//! caller's affair. RESOURCE_EXHAUSTED counts softly, as 429 does.
//!
//! The sidecar's own answers to a gRPC call are gRPC answers too: *trailers-only*, that is one block of headers with the
//! status in it, made from the plain answer after the mapping of the gRPC specification.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tripline_breaker::{Fault, LastError, Outcome};
use tripline_model::FailureOrigin;

use crate::answer::AnswerBody;
use crate::exchange::AttemptEnd;
use crate::headers;
use crate::mark::Mark;
use crate::message::Form;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const CONTENT: &str = "application/grpc";

/// A status of gRPC, 0..=16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(u8);

impl Code {
    /// The server said nothing, or nothing that can be read.
    pub(crate) const UNKNOWN: Self = Self(2);

    /// Its number.
    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    /// What it says about the attempt.
    pub(crate) const fn outcome(self) -> Outcome {
        let fault = Fault { origin: FailureOrigin::Remote, error: LastError::Word(self.word()) };
        match self.0 {
            2 | 4 | 12 | 13 | 14 | 15 => Outcome::Failure(fault),
            8 => Outcome::Soft(fault),
            _ => Outcome::Success,
        }
    }

    /// Whether it is a failure of the server.
    pub(crate) const fn is_failure(self) -> bool {
        matches!(self.outcome(), Outcome::Failure(_))
    }

    /// What it says about the attempt, with the mark of the breaker that caused it, if one did.
    pub(crate) fn judged(self, mark: Option<Mark>) -> (AttemptEnd, Outcome, Option<Mark>) {
        match (self.outcome(), mark) {
            (Outcome::Failure(fault), Some(mark)) => {
                let fault = Fault { origin: FailureOrigin::Induced, ..fault };
                (AttemptEnd::Induced, Outcome::Failure(fault), Some(mark))
            }
            (outcome @ Outcome::Failure(_), None) => (AttemptEnd::Answered, outcome, None),
            (outcome, _) => (AttemptEnd::Success, outcome, None),
        }
    }

    /// Its name in events.
    const fn word(self) -> &'static str {
        match self.0 {
            4 => "grpc_deadline_exceeded",
            8 => "grpc_resource_exhausted",
            12 => "grpc_unimplemented",
            13 => "grpc_internal",
            14 => "grpc_unavailable",
            15 => "grpc_data_loss",
            _ => "grpc_unknown",
        }
    }

    /// The status in a block of headers or trailers.
    pub(crate) fn read(fields: &HeaderMap) -> Option<Self> {
        let text = fields.get(STATUS)?.to_str().ok()?;
        Some(text.parse().ok().filter(|code| *code <= 16).map_or(Self::UNKNOWN, Self))
    }
}

/// Whether a message is gRPC's.
pub(crate) fn is_grpc(fields: &HeaderMap) -> bool {
    let Some(kind) = fields.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else { return false };
    // `application/grpc-web` is for browsers and carries its status elsewhere.
    kind.strip_prefix(CONTENT.as_bytes()).is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// What the head of an answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// It is no answer of a gRPC server; its HTTP status counts.
    NotGrpc,
    /// The status is yet to come.
    Open,
    /// There is nothing but this status.
    Ended(Code),
}

/// Reads the head of an answer to a call of a server that speaks HTTP in this form; gRPC needs HTTP/2.
pub(crate) fn head<B>(form: Form, response: &Response<B>) -> Head {
    if form != Form::Http2 || response.status() != StatusCode::OK || !is_grpc(response.headers()) {
        return Head::NotGrpc;
    }
    Code::read(response.headers()).map_or(Head::Open, Head::Ended)
}

/// The status that the head of an answer tells already.
pub(crate) fn code<B>(form: Form, response: &Response<B>) -> Option<Code> {
    match head(form, response) {
        Head::Ended(code) => Some(code),
        Head::NotGrpc | Head::Open => None,
    }
}

/// Makes a gRPC answer of the sidecar's own plain one; others pass unchanged.
pub(crate) fn speak(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    let AnswerBody::Own(text) = response.body() else { return response };
    let code = code_for(response.status(), response.headers());
    let message = percent_encoded(text.trim_ascii());
    *response.status_mut() = StatusCode::OK;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    fields.insert(STATUS, HeaderValue::from(u16::from(code.0)));
    fields.insert(MESSAGE, headers::value(&message));
    *response.body_mut() = AnswerBody::Own(bytes::Bytes::new());
    response
}

/// The specification's mapping of HTTP statuses; a timeout of ours is a deadline that passed.
fn code_for(status: StatusCode, fields: &HeaderMap) -> Code {
    let timeout = fields.get(headers::ERROR).is_some_and(|word| word == "timeout");
    Code(match status.as_u16() {
        504 if timeout => 4,
        400 => 13,
        401 => 16,
        403 => 7,
        404 | 501 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    })
}

/// `grpc-message` is percent-encoded (PROTOCOL-HTTP2.md).
fn percent_encoded(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            plain => encoded.push(char::from(*plain)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer;

    fn with(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    #[test]
    fn only_grpc_s_own_content_types_are_grpc() {
        for (kind, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("text/html", false),
        ] {
            assert_eq!(is_grpc(&with(kind)), grpc, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn the_server_s_failures_are_told_from_the_caller_s() {
        let failures: Vec<u8> = (0..=16).filter(|number| Code(*number).is_failure()).collect();
        assert_eq!(failures, [2, 4, 12, 13, 14, 15]);
        assert!(matches!(Code(8).outcome(), Outcome::Soft(_)));
    }

    #[test]
    fn a_status_is_read_from_the_head_or_waited_for() {
        let mut response = Response::builder().header(CONTENT_TYPE, "application/grpc").body(()).unwrap();
        assert_eq!(head(Form::Http2, &response), Head::Open);
        for (text, code) in [("0", 0), ("14", 14), ("17", 2), ("x", 2), ("", 2)] {
            response.headers_mut().insert(STATUS, HeaderValue::from_static(text));
            assert_eq!(head(Form::Http2, &response), Head::Ended(Code(code)), "{text}");
        }
        assert_eq!(head(Form::Http1, &response), Head::NotGrpc);
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        assert_eq!(head(Form::Http2, &response), Head::NotGrpc);
    }

    #[test]
    fn our_own_answers_become_trailers_only() {
        for (status, word, code) in [
            (503, "breaker_open", "14"),
            (504, "timeout", "4"),
            (504, "other", "14"),
            (429, "rate_limited", "14"),
            (403, "not_a_backend", "7"),
            (404, "no_route", "12"),
            (400, "bad_request", "13"),
        ] {
            let spoken = speak(answer::own(status, word, "100 % wrong".to_owned()));
            assert_eq!(spoken.status(), 200);
            assert_eq!(spoken.headers()[STATUS], code, "{status} {word}");
            assert_eq!(spoken.headers()[MESSAGE], "100 %25 wrong");
            assert_eq!(spoken.headers()[headers::ERROR], word);
            assert!(http_body::Body::is_end_stream(spoken.body()));
        }
    }
}
