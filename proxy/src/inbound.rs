//! The inbound half: from other services to the local application.
//!
//! Who calls is what the client's sidecar says in `x-tripline-client` (until mTLS tells it for certain); a request without it
//! comes from outside the mesh. A failing answer is laid at the door where it belongs: on this service when none of its own
//! calls failed, passed on otherwise, and if a breaker further on caused it, the answer says so to the client's
//! sidecar. Nothing that sidecars tell each other reaches the application or leaves the mesh.

use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;
use tripline_model::ServiceName;

use crate::answer::{self, AnswerBody, Open};
use crate::app_side::AppSide;
use crate::exchange::{AttemptEnd, End, Exchange};
use crate::failure::Failure;
use crate::guarded_io::Traffic;
use crate::headers;
use crate::request_body::RequestBody;
use crate::send::{self, Lease};
use crate::silence::SilenceTimer;
use crate::span::{SpanDraft, SpanEnd};
use crate::tally::Refusal;
use crate::trace_context::TraceContext;
use crate::worker::Worker;

/// Whether the caller belongs to the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Mesh,
    Outside,
}

/// Serves one request of another service or of a user.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    traffic: &Arc<Traffic>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let busy = traffic.busy();
    let (mut parts, body) = request.into_parts();
    if traffic.begin() {
        worker.shard.refuse(Refusal::BadRequest);
        let text = "a request must not have both Content-Length and Transfer-Encoding";
        return answer::own(400, Refusal::BadRequest.as_str(), text.to_owned());
    }
    let Some(app) = worker.shared.app.as_ref().filter(|_| parts.method != Method::CONNECT) else {
        worker.shard.refuse(Refusal::Unsupported);
        return answer::own(501, Refusal::Unsupported.as_str(), "CONNECT is not supported here".to_owned());
    };
    let context = TraceContext::enter(&mut parts.headers, worker.shared.sampler);
    let said = parts.headers.get(headers::CLIENT).map(http::HeaderValue::as_bytes);
    let caller = if said.is_some() { Caller::Mesh } else { Caller::Outside };
    // A caller that is traced has spans of its own, from which the collector can tell who it is.
    let traced = context.parent.map(|_| ServiceName::UNKNOWN.as_bytes());
    let client = worker.shard.client(said.or(traced));
    headers::strip(&mut parts.headers);
    let mut exchange = Exchange::inbound(worker, client, context, busy);
    if context.span.is_some() {
        let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let weight = if context.parent.is_none() { worker.shared.sampler.weight() } else { 1.0 };
        let peer = worker.shard.client_name(client);
        exchange.describe(SpanDraft::server(&parts, host, worker.shared.service(), &peer).weighing(weight));
    }
    parts.version = http::Version::HTTP_11;
    let deadline = app.per_request.map(|limit| worker.shared.clock.instant(exchange.began() + limit));
    let Some(place) = app.enter().await else {
        exchange.blame(Some(false));
        exchange.span_end(SpanEnd { error: Some(Failure::Overflow.word()), ..SpanEnd::default() });
        exchange.settle(End::Shed);
        return own_failure(worker, Failure::Overflow, caller);
    };
    let body = RequestBody::stream(body, worker.shared.limits.body_silence, exchange.count_streamed());
    exchange.attempt_begins();
    match ask(worker, app, deadline, Request::from_parts(parts, body)).await {
        Ok((mut response, lease)) => {
            let timer = SilenceTimer::new(Some(app.idle.unwrap_or(worker.shared.limits.body_silence)), deadline);
            let end = settle_answer(&mut exchange, &mut response, caller);
            answer::pass(response, timer, Open { exchange, lease, end, target: None, _place: Some(place) })
        }
        Err(failure) => fail(worker, exchange, failure, caller),
    }
}

async fn ask(
    worker: &Worker,
    app: &AppSide,
    deadline: Option<Instant>,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let sending = send::send(worker, &app.endpoint, request);
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, sending).await.unwrap_or(Err(Failure::Timeout)),
        None => sending.await,
    }
}

/// Prepares an answer of the application for its caller and tells how the exchange ends with it.
fn settle_answer(exchange: &mut Exchange, response: &mut Response<Incoming>, caller: Caller) -> End {
    headers::strip_hop_by_hop(response.headers_mut());
    headers::strip_ours(response.headers_mut());
    let status = response.status().as_u16();
    exchange.span_end(SpanEnd { status, ..SpanEnd::default() });
    if status < 500 {
        exchange.attempt_ends(AttemptEnd::Success);
        return End::Success;
    }
    exchange.attempt_ends(AttemptEnd::Answered);
    if let Some(calls) = exchange.calls() {
        exchange.blame(calls.failed);
        if let Some(mark) = calls.mark.filter(|_| caller == Caller::Mesh) {
            response.headers_mut().insert(headers::BREAKER, mark.passed_on().to_value());
        }
    }
    End::Failed
}

fn fail(worker: &Worker, mut exchange: Exchange, failure: Failure, caller: Caller) -> Response<AnswerBody> {
    exchange.attempt_ends(AttemptEnd::NoAnswer);
    exchange.span_end(SpanEnd { error: Some(failure.word()), ..SpanEnd::default() });
    if failure == Failure::RequestBody {
        exchange.settle(End::Cancelled);
    } else {
        // An application that is late because a call of its own failed or still waits is not where it began.
        let elsewhere = failure == Failure::Timeout
            && exchange.calls().is_some_and(|calls| calls.waiting || calls.failed == Some(true));
        exchange.blame(Some(elsewhere));
        exchange.settle(End::Failed);
    }
    own_failure(worker, failure, caller)
}

fn own_failure(worker: &Worker, failure: Failure, caller: Caller) -> Response<AnswerBody> {
    let text = format!("the application of {} {}", worker.shared.service(), failure.text());
    let mut response = answer::own(failure.status(), failure.word(), text);
    if caller == Caller::Outside {
        headers::strip_ours(response.headers_mut());
    }
    response
}
