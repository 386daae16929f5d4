//! The inbound half: from other services to the local application.
//!
//! Who calls is what the client's certificate proves, else what its sidecar says in `x-tripline-client`; a request
//! without either comes from outside the mesh. A failing answer is laid at the door where it belongs: on this service when none of its own
//! calls failed, passed on otherwise, and if a breaker further on caused it, the answer says so to the client's
//! sidecar. A request is given up when its caller stops waiting, and so are the calls it makes. Nothing that sidecars tell each other reaches the application or leaves the mesh.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;
use tripline_model::ServiceName;

use crate::answer::{self, AnswerBody, Open};
use crate::app_side::AppSide;
use crate::directory::Head;
use crate::exchange::{AttemptEnd, End, Exchange};
use crate::failure::Failure;
use crate::guarded_io::Traffic;
use crate::headers;
use crate::inbound_rules::Turned;
use crate::late::Late;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::send::{Attempt, Keep, Lease};
use crate::silence::SilenceTimer;
use crate::span::{SpanDraft, SpanEnd};
use crate::tally::{Protection, Refusal};
use crate::trace_context::TraceContext;
use crate::upgrade::Ask;
use crate::worker::Worker;
use crate::{gateway, grpc, late, message, upgrade};

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
    mut request: Request<Incoming>,
) -> Response<AnswerBody> {
    let plan = worker.shared.plan.get();
    if let Some(gateway) = &plan.gateway {
        return Box::pin(gateway::serve(worker, traffic, (&plan, gateway), request)).await;
    }
    let busy = traffic.busy();
    let arrival = traffic.arrival();
    let ask = Ask::of(&mut request);
    let (mut parts, body) = request.into_parts();
    if traffic.begin() {
        return refuse_two_lengths(worker);
    }
    let app = plan.apps.get(arrival.listener).filter(|_| parts.method != Method::CONNECT);
    let Some(app) = app else {
        worker.shard.refuse(Refusal::Unsupported);
        return answer::own(501, Refusal::Unsupported.as_str(), "CONNECT is not supported here".to_owned());
    };
    let context = TraceContext::enter(&mut parts.headers, worker.shared.sampler);
    // What a certificate proves wins over what a header says.
    let proven = arrival.security.peer().map(str::as_bytes);
    let said = proven.or_else(|| parts.headers.get(headers::CLIENT).map(http::HeaderValue::as_bytes));
    let caller = if said.is_some() { Caller::Mesh } else { Caller::Outside };
    // A caller that is traced has spans of its own, from which the collector can tell who it is.
    let traced = context.parent.map(|_| ServiceName::UNKNOWN.as_bytes());
    let client = worker.shard.client(said.or(traced), app.protocol.edge_protocol());
    let limit = [app.per_request, remaining(&parts.headers, caller)].into_iter().flatten().min();
    let trailers = message::takes_trailers(&parts);
    headers::strip(&mut parts.headers);
    let mut exchange = Exchange::inbound(worker, client, context, limit, busy);
    exchange.protected(Protection::of(arrival.security.is_mutual()));
    let host = host_of(&parts);
    if context.span.is_some() {
        let host = host.to_str().unwrap_or_default();
        let weight = if context.parent.is_none() { worker.shared.sampler.weight() } else { 1.0 };
        let peer = worker.shard.client_name(client);
        exchange.describe(SpanDraft::server(&parts, host, worker.shared.service(), &peer).weighing(weight));
    }
    if plan.inbound.is_any() {
        let client = worker.shard.client_name(client);
        let head = Head { parts: &parts, host: host.to_str().unwrap_or_default() };
        if let Err(turned) = plan.inbound.judge(&client, &head, exchange.began()) {
            return turn_away(worker, exchange, &client, turned);
        }
    }
    let form = app.endpoint.transport().form;
    message::put_into(form, &mut parts, host, trailers);
    let ask = ask.filter(|ask| ask.fits(form));
    if let Some(ask) = &ask {
        ask.put_into(form, &mut parts);
    }
    let deadline = limit.map(|limit| worker.shared.clock.instant(exchange.began() + limit));
    let Some(place) = app.enter().await else {
        exchange.blame(Some(false));
        exchange.span_end(SpanEnd { error: Some(Failure::Overflow.word()), ..SpanEnd::default() });
        exchange.settle(End::Shed);
        return own_failure(worker, Failure::Overflow, caller);
    };
    let limits = &worker.shared.limits;
    let body = RequestBody::stream(body, limits.body_silence, exchange.count_streamed()).at_most(limits.request_bytes);
    exchange.attempt_begins();
    let attempt = Attempt { head: &mut parts, keep: Keep::Nothing, body, limit: deadline };
    match send(worker, app, attempt).await {
        Ok((mut response, lease)) => {
            let timer = SilenceTimer::new(Some(app.idle.unwrap_or(worker.shared.limits.body_silence)), deadline);
            let idle = app.idle.unwrap_or(worker.shared.limits.silence.idle);
            let (end, late) = settle_answer(&mut exchange, &mut response, caller, form);
            let open = Open { exchange, lease, end, target: None, late, _place: Some(place) };
            upgrade::settle(traffic, ask, idle, answer::pass(response, timer, open))
        }
        Err(failure) => fail(worker, exchange, failure, caller),
    }
}

/// Answers a request that has both Content-Length and Transfer-Encoding.
pub(crate) fn refuse_two_lengths(worker: &Worker) -> Response<AnswerBody> {
    worker.shard.refuse(Refusal::BadRequest);
    let text = "a request must not have both Content-Length and Transfer-Encoding";
    answer::own(400, Refusal::BadRequest.as_str(), text.to_owned())
}

/// How long a caller of the mesh says it will wait.
fn remaining(headers: &HeaderMap, caller: Caller) -> Option<Duration> {
    let said = headers.get(headers::DEADLINE).filter(|_| caller == Caller::Mesh)?;
    Some(Duration::from_millis(said.to_str().ok()?.parse().ok()?))
}

/// Answers a request that may not pass. It was answered as the policy wants, so it is no failure of anybody.
pub(crate) fn turn_away(
    worker: &Worker,
    mut exchange: Exchange,
    client: &ServiceName,
    turned: Turned,
) -> Response<AnswerBody> {
    let own = worker.shared.service();
    let (status, word, text) = match turned {
        Turned::Denied => {
            (403, "denied", format!("{client} may not call this of {own}: no AuthorizationPolicy allows it"))
        }
        Turned::TooMany(_) => {
            (429, "rate_limited", format!("{client} calls {own} more often than its RateLimit allows"))
        }
    };
    exchange.settle(End::Success);
    exchange.span_end(SpanEnd { status, error: Some(word), ..SpanEnd::default() });
    let mut response = answer::own(status, word, text);
    if let Turned::TooMany(wait) = turned {
        let seconds = wait.as_millis().div_ceil(1_000).max(1);
        response.headers_mut().insert(RETRY_AFTER, headers::value(&seconds.to_string()));
    }
    response
}

async fn send(worker: &Worker, app: &AppSide, attempt: Attempt<'_>) -> Result<(Response<Reply>, Lease), Failure> {
    if attempt.limit.is_some_and(|limit| limit <= Instant::now()) {
        // Nobody waits for the answer any more.
        return Err(Failure::Timeout);
    }
    crate::send::send(worker, &app.endpoint, attempt).await
}

/// Prepares an answer of the application for its caller and tells how the exchange ends with it.
fn settle_answer(
    exchange: &mut Exchange,
    response: &mut Response<Reply>,
    caller: Caller,
    form: message::Form,
) -> (End, Option<Box<Late>>) {
    headers::strip_hop_by_hop(response.headers_mut());
    headers::strip_ours(response.headers_mut());
    let status = response.status().as_u16();
    exchange.span_end(SpanEnd { status, ..SpanEnd::default() });
    let to_mesh = caller == Caller::Mesh;
    let failed = match grpc::head(form, response) {
        grpc::Head::NotGrpc => status >= 500,
        grpc::Head::Ended(code) => {
            exchange.grpc_status(code);
            code.is_failure()
        }
        grpc::Head::Open => return (End::Success, Some(Box::new(Late::Inbound { to_mesh }))),
    };
    if !failed {
        exchange.attempt_ends(AttemptEnd::Success);
        return (End::Success, None);
    }
    exchange.attempt_ends(AttemptEnd::Answered);
    late::blame(exchange, to_mesh, response.headers_mut());
    (End::Failed, None)
}

/// Whom the request names: the authority of HTTP/2 or of an absolute URI, else the Host.
pub(crate) fn host_of(parts: &http::request::Parts) -> HeaderValue {
    let authority = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let host = || parts.headers.get(http::header::HOST).cloned();
    authority.or_else(host).unwrap_or_else(|| HeaderValue::from_static("localhost"))
}

fn fail(worker: &Worker, mut exchange: Exchange, failure: Failure, caller: Caller) -> Response<AnswerBody> {
    exchange.attempt_ends(AttemptEnd::NoAnswer);
    exchange.span_end(SpanEnd { error: Some(failure.word()), ..SpanEnd::default() });
    worker.shared.connections.hits.count_failure(failure);
    if failure.is_of_caller() {
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
