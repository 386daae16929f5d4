//! Whether a call failed, by the same measure as the sidecar's: 5xx and failing gRPC statuses.
//!
//! The span's status alone does not do. By the conventions a client span of a 404 has status Error while its server
//! span has none, and the same call would fail at one end only. So an answer that blames the caller (4xx, gRPC
//! NOT_FOUND and its like) is no failure of a client span, whatever its status; and a failing answer is one even where an
//! old SDK left the status unset. A status of Ok is final: somebody set it by hand.

use super::{Key, RPC_SYSTEM, Said, Word};
use crate::{SpanKind, SpanStatus};

const HTTP_STATUS: &[Key] = &[Key::HttpResponseStatusCode, Key::HttpStatusCode];
const GRPC_STATUS: &[Key] = &[Key::RpcResponseStatusCode, Key::RpcGrpcStatusCode];
/// gRPC codes by number, as `rpc.response.status_code` names them.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What an answer says about the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Fine,
    CallersMistake,
    Failure,
}

impl Said<'_> {
    /// The HTTP status code, 100 to 599.
    pub(crate) fn http_status(&self) -> Option<u16> {
        self.number(HTTP_STATUS).and_then(|code| u16::try_from(code).ok()).filter(|code| (100..600).contains(code))
    }

    /// The gRPC status code, 0 to 16.
    pub(crate) fn grpc_status(&self) -> Option<u8> {
        let code = GRPC_STATUS.iter().find_map(|key| match self.word(*key)? {
            Word::Int(int) => u8::try_from(int).ok(),
            Word::Text(text) => text.parse().ok().or_else(|| {
                GRPC_CODES.iter().position(|name| name.eq_ignore_ascii_case(text)).and_then(|i| u8::try_from(i).ok())
            }),
            Word::Bool(_) | Word::Other => None,
        });
        code.filter(|code| *code <= 16)
    }

    /// Whether the call failed.
    pub(crate) fn failed(&self) -> bool {
        match (self.status, self.answer()) {
            (SpanStatus::Ok, _) => false,
            (_, Some(Answer::Failure)) => true,
            (SpanStatus::Error, Some(Answer::CallersMistake)) => self.kind != SpanKind::Client,
            (SpanStatus::Error, _) => true,
            (SpanStatus::Unset, _) => false,
        }
    }

    /// Whether it holds an answer's status.
    pub(crate) fn has_answer(&self) -> bool {
        self.answer().is_some()
    }

    fn answer(&self) -> Option<Answer> {
        // gRPC first: its HTTP status is 200 whatever happened. Other RPCs have statuses of their own, which we do not know.
        if matches!(self.text(RPC_SYSTEM), None | Some("grpc"))
            && let Some(code) = self.grpc_status()
        {
            return Some(match code {
                0 => Answer::Fine,
                // The codes by which a server span is an error, by the conventions.
                2 | 4 | 12..=15 => Answer::Failure,
                _ => Answer::CallersMistake,
            });
        }
        self.http_status().map(|code| match code {
            500.. => Answer::Failure,
            400..500 => Answer::CallersMistake,
            _ => Answer::Fine,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Pairs, span};
    use super::*;
    use crate::{SpanRecord, Value};

    #[test]
    fn failures_are_told_by_status_and_answer() {
        use SpanKind::{Client, Internal, Server};
        use SpanStatus::{Error, Ok, Unset};
        let cases: &[(SpanKind, SpanStatus, Pairs<'_>, bool)] = &[
            (Client, Unset, &[], false),
            (Client, Error, &[], true),
            (Client, Unset, &[("http.status_code", "503")], true),
            (Server, Unset, &[("http.response.status_code", "500")], true),
            (Client, Error, &[("http.response.status_code", "404")], false),
            (Server, Error, &[("http.response.status_code", "404")], true),
            (Client, Error, &[("http.response.status_code", "200")], true),
            (Client, Ok, &[("http.response.status_code", "503")], false),
            (Client, Unset, &[("http.status_code", "99999")], false),
            (Client, Unset, &[("rpc.grpc.status_code", "14"), ("http.status_code", "200")], true),
            (Client, Unset, &[("rpc.response.status_code", "UNAVAILABLE")], true),
            (Client, Error, &[("rpc.grpc.status_code", "5")], false),
            (Client, Unset, &[("rpc.system", "jsonrpc"), ("rpc.response.status_code", "4")], false),
            (Internal, Error, &[], true),
        ];
        for (kind, status, attributes, expected) in cases {
            let span = SpanRecord { status: *status, ..span(*kind, attributes) };
            assert_eq!(span.failed(), *expected, "{kind:?} {status:?} {attributes:?}");
        }
    }

    #[test]
    fn old_sdks_write_codes_as_text() {
        let mut span = span(SpanKind::Client, &[]);
        span.attributes.push(("http.status_code".into(), Value::Text("418".into())));
        assert_eq!(span.http_status(), Some(418));
    }
}
