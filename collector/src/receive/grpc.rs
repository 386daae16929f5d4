//! OTLP over gRPC: the three `Export` methods, each one message there and one back.
//!
//! gRPC's framing is done here and not by tonic's server: that answers a message past the limit with `OUT_OF_RANGE`, which
//! OTLP's senders take for "try again", forever; and it decodes before anybody could ask whether there is room. Both ends of
//! a unary call are five bytes and a message, so little is gained by it. Statuses and bodies are tonic's.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tripline_otlp::wire::{self, Encoding, Signal};

use super::compression::{self, Limit};
use super::decode::Rejected;
use super::intake::Shape;
use super::refusal::RETRY_AFTER;
use super::{Intake, Reason, Refusal, body, intake};
use crate::auth::Token;
use crate::config::Compression;

/// A byte that tells whether the message is compressed, and four for its length.
const FRAME_HEAD: usize = 5;
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Answers requests of one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Grpc {
    intake: Intake,
    token: Option<Token>,
}

impl Grpc {
    /// Answers with what `intake` says; asks for `token` when there is one.
    #[must_use]
    pub fn new(intake: Intake, token: Option<Token>) -> Self {
        Self { intake, token }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        if request.method() != Method::POST || !content_type.is_some_and(is_grpc) {
            let mut answer =
                Response::new(Body::new(Full::from("expected a gRPC call; OTLP/HTTP has a port of its own")));
            *answer.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return answer;
        }
        let Some(signal) = signal(request.uri().path()) else {
            let message = "expected Export of OTLP's trace, metrics or logs service, version 1";
            return Status::unimplemented(message).into_http();
        };
        let (head, mut body) = request.into_parts();
        match self.take(signal, &head.headers, &mut body).await {
            Ok(rejected) => accepted(signal, &rejected),
            Err(refusal) => {
                self.intake.counters().count_refusal(refusal.reason);
                refused(refusal)
            }
        }
    }

    async fn take(&self, signal: Signal, headers: &HeaderMap, body: &mut Incoming) -> Result<Rejected, Refusal> {
        if self.token.as_ref().is_some_and(|token| !token.allows(headers)) {
            return Err(Refusal::new(Reason::Unauthenticated, "send `authorization: Bearer TOKEN`"));
        }
        let declared = compression::from_header(headers.get("grpc-encoding"))?;
        let limits = self.intake.limits();
        let limit = Limit { bytes: limits.grpc_request_bytes, setting: "limits.grpc_request_bytes" };
        let framed_limit = Limit { bytes: limit.bytes.saturating_add(FRAME_HEAD), ..limit };
        let mut share = self.intake.share();
        let framed = body::read(body, declared, (framed_limit, limits), &mut share, self.intake.pool()).await?;
        let (compression, body) = unframe(&framed, declared)?;
        let request =
            intake::Request { signal, shape: Shape::Otlp(Encoding::Protobuf), compression, body, limit, share };
        self.intake.take(request).await
    }
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().strip_prefix(CONTENT_TYPE.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest == b"+proto" || rest.starts_with(b";"))
}

fn signal(path: &str) -> Option<Signal> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        _ => None,
    }
}

/// The one message of a unary call.
fn unframe(framed: &Bytes, declared: Compression) -> Result<(Compression, Bytes), Refusal> {
    let malformed = |message: &str| Refusal::new(Reason::Malformed, message);
    let Some((&[compressed, l0, l1, l2, l3], message)) = framed.split_first_chunk::<FRAME_HEAD>() else {
        return Err(malformed("the call carries no message"));
    };
    if u32::from_be_bytes([l0, l1, l2, l3]) as usize != message.len() {
        return Err(malformed("the call does not carry exactly one whole message"));
    }
    let compression = match (compressed, declared) {
        (0, _) => Compression::None,
        (1, Compression::Gzip | Compression::Zstd) => declared,
        _ => return Err(malformed("the message says that it is compressed, but not how; set grpc-encoding")),
    };
    Ok((compression, framed.slice(FRAME_HEAD..)))
}

fn accepted(signal: Signal, rejected: &Rejected) -> Response<Body> {
    let message = wire::export_response(signal, Encoding::Protobuf, rejected.items, &rejected.message);
    let mut framed = BytesMut::with_capacity(FRAME_HEAD + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut answer = Response::new(Body::new(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    answer
}

fn refused(refusal: Refusal) -> Response<Body> {
    let code: Code = refusal.reason.grpc_code();
    let status = if refusal.reason.is_temporary() {
        Status::with_error_details(code, refusal.message, ErrorDetails::with_retry_info(Some(RETRY_AFTER)))
    } else {
        Status::new(code, refusal.message)
    };
    let mut answer = status.into_http();
    if refusal.reason == Reason::Compression {
        answer.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("gzip,zstd,identity"));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_message_is_taken() {
        let framed = |bytes: &[u8]| unframe(&Bytes::copy_from_slice(bytes), Compression::Gzip);
        assert_eq!(framed(b"\0\0\0\0\0"), Ok((Compression::None, Bytes::new())));
        assert_eq!(framed(b"\x01\0\0\0\x02ab"), Ok((Compression::Gzip, Bytes::from_static(b"ab"))));
        for bad in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02a", b"\0\0\0\0\x01ab", b"\0\xff\xff\xff\xffa", b"\x02\0\0\0\0"]
        {
            assert_eq!(framed(bad).map_err(|refusal| refusal.reason), Err(Reason::Malformed), "{bad:?}");
        }
        let undeclared = unframe(&Bytes::from_static(b"\x01\0\0\0\0"), Compression::None);
        assert_eq!(undeclared.map_err(|refusal| refusal.reason), Err(Reason::Malformed));
    }

    #[test]
    fn content_types_of_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc+json", false),
            ("application/x-protobuf", false),
        ] {
            assert_eq!(is_grpc(&HeaderValue::from_static(content_type)), expected, "{content_type}");
        }
    }
}
