//! OTLP over HTTP/1.1: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`, protobuf or JSON, plain, gzip or zstd. Zipkin's `POST
//! /api/v2/spans` beside it.

use std::fmt::Display;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use tripline_otlp::wire::{self, Encoding, Signal};

use super::compression::{self, Limit};
use super::decode::Rejected;
use super::intake::Shape;
use super::refusal::RETRY_AFTER;
use super::{Intake, Reason, Refusal, body, intake};
use crate::auth::Token;

/// Where Zipkin's reporters send version 2, with and without the prefix of our look-alikes.
const ZIPKIN: [&str; 2] = ["/api/v2/spans", "/zipkin/api/v2/spans"];

/// Answers requests of one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    intake: Intake,
    token: Option<Token>,
}

impl Http {
    /// Answers with what `intake` says; asks for `token` when there is one.
    #[must_use]
    pub fn new(intake: Intake, token: Option<Token>) -> Self {
        Self { intake, token }
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let is_zipkin = ZIPKIN.contains(&request.uri().path());
        let Some(signal) = signal(request.uri().path()).or(is_zipkin.then_some(Signal::Traces)) else {
            return text(StatusCode::NOT_FOUND, "expected /v1/traces, /v1/metrics, /v1/logs or /api/v2/spans");
        };
        if request.method() != Method::POST {
            let answer = text(StatusCode::METHOD_NOT_ALLOWED, "expected POST");
            return with(answer, header::ALLOW, HeaderValue::from_static("POST"));
        }
        let encoding = encoding(&request);
        let (head, mut body) = request.into_parts();
        let shape = if is_zipkin { encoding.map(|_| Shape::Zipkin) } else { encoding.map(Shape::Otlp) };
        let taken = self.take(signal, shape, &head.headers, &mut body).await;
        if taken.is_err() && !body.is_end_stream() {
            body::discard(&mut body, self.intake.limits().body_timeout).await;
        }
        match taken {
            Ok((Shape::Otlp(encoding), rejected)) => accepted(signal, encoding, &rejected),
            Ok((Shape::Zipkin, _)) => {
                let mut answer = Response::default();
                *answer.status_mut() = StatusCode::ACCEPTED;
                answer
            }
            Err(refusal) => {
                self.intake.counters().count_refusal(refusal.reason);
                refused(encoding.unwrap_or(Encoding::Json), &refusal)
            }
        }
    }

    /// Zipkin's way in beside the API of the collector, where its other look-alikes are.
    pub fn zipkin(self) -> axum::Router {
        let answer = move |request: axum::extract::Request| {
            let http = self.clone();
            async move { http.answer(request).await.map(axum::body::Body::new) }
        };
        axum::Router::new().route("/zipkin/api/v2/spans", axum::routing::post(answer))
    }

    async fn take<B>(
        &self,
        signal: Signal,
        shape: Option<Shape>,
        headers: &http::HeaderMap,
        body: &mut B,
    ) -> Result<(Shape, Rejected), Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        if self.token.as_ref().is_some_and(|token| !token.allows(headers)) {
            return Err(Refusal::new(Reason::Unauthenticated, "send `authorization: Bearer TOKEN`"));
        }
        let shape = shape.ok_or_else(|| {
            Refusal::new(Reason::MediaType, "expected content-type application/x-protobuf or application/json")
        })?;
        let compression = compression::from_header(headers.get(header::CONTENT_ENCODING))?;
        let limits = self.intake.limits();
        let limit = Limit { bytes: limits.http_request_bytes, setting: "limits.http_request_bytes" };
        let mut share = self.intake.share();
        let body = body::read(body, compression, (limit, limits), &mut share, self.intake.pool()).await?;
        let request = intake::Request { signal, shape, compression, body, limit, share };
        Ok((shape, self.intake.take(request).await?))
    }
}

fn signal(path: &str) -> Option<Signal> {
    match path {
        "/v1/traces" => Some(Signal::Traces),
        "/v1/metrics" => Some(Signal::Metrics),
        "/v1/logs" => Some(Signal::Logs),
        _ => None,
    }
}

fn encoding<B>(request: &Request<B>) -> Option<Encoding> {
    Encoding::of_content_type(request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?)
}

fn accepted(signal: Signal, encoding: Encoding, rejected: &Rejected) -> Response<Full<Bytes>> {
    let body = wire::export_response(signal, encoding, rejected.items, &rejected.message);
    typed(Response::new(Full::from(body)), encoding.content_type())
}

fn refused(encoding: Encoding, refusal: &Refusal) -> Response<Full<Bytes>> {
    let code = i32::from(refusal.reason.grpc_code());
    let body = wire::error_response(encoding, code, &refusal.message);
    let mut answer = typed(Response::new(Full::from(body)), encoding.content_type());
    *answer.status_mut() = refusal.reason.http_status();
    match refusal.reason {
        reason if reason.is_temporary() => with(answer, header::RETRY_AFTER, RETRY_AFTER.as_secs().into()),
        Reason::Compression => with(answer, header::ACCEPT_ENCODING, HeaderValue::from_static(compression::UNDERSTOOD)),
        Reason::Unauthenticated => with(answer, header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        _ => answer,
    }
}

fn text(status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    let mut answer = typed(Response::new(Full::from(message)), "text/plain; charset=utf-8");
    *answer.status_mut() = status;
    answer
}

fn typed(answer: Response<Full<Bytes>>, content_type: &'static str) -> Response<Full<Bytes>> {
    with(answer, header::CONTENT_TYPE, HeaderValue::from_static(content_type))
}

fn with(mut answer: Response<Full<Bytes>>, name: HeaderName, value: HeaderValue) -> Response<Full<Bytes>> {
    answer.headers_mut().insert(name, value);
    answer
}
