//! The outbound half: from the application to the services it calls.
//!
//! A request names its service by Host, or by an absolute URI when the sidecar is used as `http_proxy`. Route, target and
//! endpoint follow from the configuration; breaker, budget and timeouts decide whether and how often it may leave. A
//! host that is no service leaves the mesh, if the mesh allows that.
//!
//! **Retries** follow the route's policy and the target's budget, go to another endpoint if there is one, and wait a little
//! longer each time (Envoy's 25 ms, doubling, with jitter). Bodies of known length up to 64 KiB are kept to be sent again;
//! a request with another body is tried once. A missing answer is judged by the status that the sidecar
//! would answer in its place, so `gateway-error` covers a timeout.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;
use tripline_breaker::{Fault, LastError, Outcome};
use tripline_mesh::{EgressFilter, RetryPolicy};
use tripline_model::{FailureOrigin, NodeKind, Timestamp};

use crate::answer::{self, AnswerBody, Open};
use crate::crowd::Ticket;
use crate::directory::{Lookup, PlannedRoute, retries_code, retries_connection, retries_status};
use crate::endpoint::Endpoint;
use crate::exchange::{AttemptEnd, End, Exchange};
use crate::failure::Failure;
use crate::faults;
use crate::gateway::Destination;
use crate::guard::Guard;
use crate::guarded_io::Traffic;
use crate::hash_key::hash_of;
use crate::headers;
use crate::late::Late;
use crate::mark::Mark;
use crate::plan::Plan;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::send::{self, Attempt, Keep, Lease};
use crate::silence::SilenceTimer;
use crate::span::{SpanDraft, SpanEnd};
use crate::tally::Refusal;
use crate::target::{NoPick, Picked, Target, Wish};
use crate::trace_context::TraceContext;
use crate::upgrade::Ask;
use crate::worker::Worker;
use crate::{grpc, message, upgrade};

/// First wait before a retry, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));

/// Limits of client and server that differ by no more are the same limit.
const SAME_LIMIT: Duration = Duration::from_millis(100);

/// Serves one request of the application.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    traffic: &Arc<Traffic>,
    mut request: Request<Incoming>,
) -> Response<AnswerBody> {
    let busy = traffic.busy();
    let ask = Ask::of(&mut request);
    let (mut parts, body) = request.into_parts();
    let host = match check(traffic, &parts) {
        Ok(host) => host,
        Err((refusal, text)) => return refuse(worker, refusal, text.to_owned()),
    };
    let name = host.to_str().unwrap_or_default();
    let original = traffic.arrival().original;
    let plan = worker.shared.plan.get();
    let Found { route, target, guard } = match find(worker, &plan, (&parts, name), original).await {
        Ok(found) => found,
        Err((refusal, text)) => return refuse(worker, refusal, text),
    };
    let trailers = message::takes_trailers(&parts);
    headers::strip(&mut parts.headers);
    if target.kind == NodeKind::Service {
        parts.headers.insert(headers::CLIENT, worker.shared.client_header.clone());
    }
    let context = TraceContext::enter(&mut parts.headers, worker.shared.sampler);
    let mut exchange = Exchange::outbound(worker, target.number, context, busy);
    if context.span.is_some() {
        let weight = if context.parent.is_none() { worker.shared.sampler.weight() } else { 1.0 };
        let draft = SpanDraft::client(&parts, name, worker.shared.service(), &target.server);
        exchange.describe(draft.weighing(weight));
    }
    if !plan.faults.is_empty()
        && let Some(aborted) = faults::inject(&plan.faults, &mut exchange, &target, &parts, name).await
    {
        return aborted;
    }
    message::put_into(target.form(), &mut parts, host, trailers);
    // A wish that cannot be put to this server is left out.
    let ask = ask.filter(|ask| ask.fits(target.form()));
    if let Some(ask) = &ask {
        ask.put_into(target.form(), &mut parts);
    }
    let own_limit = route.per_request.map(|limit| exchange.began() + limit);
    let ends = [own_limit, exchange.inherited_deadline()].into_iter().flatten().min();
    let deadline = ends.map(|ends| worker.shared.clock.instant(ends));
    let body = match prepare_body(body, &parts, route, &mut exchange).await {
        Ok(body) => body,
        Err(failure) => return fail(exchange, &target, failure),
    };
    let key = target.hash_key().and_then(|key| hash_of(key, &parts));
    let idle = route.idle.unwrap_or(worker.shared.limits.silence.idle);
    let call = Call { worker, target: &target, guard, key, route, deadline };
    let response = call.run(exchange, parts, body).await;
    upgrade::settle(traffic, ask, idle, response)
}

/// Where a request goes.
struct Found<'a> {
    route: &'a PlannedRoute,
    target: Arc<Target>,
    guard: Option<&'a Arc<Guard>>,
}

/// Where a request goes, or why nowhere.
async fn find<'a>(
    worker: &Worker,
    plan: &'a Plan,
    (parts, name): (&Parts, &str),
    original: Option<SocketAddr>,
) -> Result<Found<'a>, (Refusal, String)> {
    let directory = &plan.directory;
    let destination = parts.extensions.get::<Destination>();
    let (name, seen) = destination.map_or((name, name), |to| (&*to.service, &*to.seen));
    match directory.find(name) {
        Lookup::Service(service) => {
            let route = service.route(parts, seen);
            let found = |route: &'a PlannedRoute| {
                let way = route.way()?;
                Some(Found { route, target: Arc::clone(&way.target), guard: way.guard.as_ref() })
            };
            route.and_then(found).ok_or_else(|| {
                let (method, path) = (&parts.method, parts.uri.path());
                (Refusal::NoRoute, format!("no route of {} takes {method} {path}", service.host))
            })
        }
        Lookup::NotABackend => {
            let own = worker.shared.service();
            let text = format!("\"{name}\" is no backend of {own}: add it to spec.backends of that virtual node");
            Err((Refusal::NotABackend, text))
        }
        Lookup::Unknown => {
            if let Some(service) = original.and_then(|original| directory.service_at(original))
                && let Some(route) = service.route(parts, name)
                && let Some(way) = route.way()
            {
                return Ok(Found { route, target: Arc::clone(&way.target), guard: way.guard.as_ref() });
            }
            if plan.egress == EgressFilter::DropAll {
                let text = format!("no service is called \"{name}\"; services known here: {}", directory.known());
                return Err((Refusal::UnknownHost, text));
            }
            let externals = &worker.shared.externals;
            // Who was redirected goes where it was going, whatever the name resolves to here.
            let external = original.map_or_else(|| externals.find(name), |to| externals.find(&to.to_string()));
            let external = external.map_err(|why| (Refusal::UnknownHost, format!("\"{name}\" {}", why.text())))?;
            external.resolve(worker.shared.clock).await;
            Ok(Found { route: directory.outside(), target: Arc::clone(&external.target), guard: None })
        }
    }
}

/// What stays the same over all attempts of a request.
struct Call<'a> {
    worker: &'a Worker,
    target: &'a Arc<Target>,
    guard: Option<&'a Arc<Guard>>,
    key: Option<u64>,
    route: &'a PlannedRoute,
    deadline: Option<Instant>,
}

/// What came of one attempt.
enum Attempted {
    Answer { response: Response<Reply>, lease: Lease, end: AttemptEnd, late: Option<Box<Late>> },
    None(Failure),
}

impl Call<'_> {
    async fn run(&self, mut exchange: Exchange, parts: Parts, body: RequestBody) -> Response<AnswerBody> {
        let policy = self.route.retry.as_ref();
        let now = exchange.began();
        if policy.is_some() {
            self.target.count_request(now);
        }
        match self.enter(now).await {
            Ok(ticket) => exchange.keep(ticket),
            Err(no_pick) => return refuse_by_breaker(exchange, self.target, no_pick),
        }
        let mut picked = match self.target.pick(self.wish(None), now) {
            Ok(picked) => picked,
            Err(no_pick) => return refuse_by_breaker(exchange, self.target, no_pick),
        };
        let mut tries = Tries::new(parts, body, policy.map_or(0, |policy| policy.max_retries));
        loop {
            let endpoint = Arc::clone(&picked.endpoint);
            let attempted = self.attempt(&mut exchange, picked, &mut tries).await;
            let retry = tries.can_repeat() && policy.is_some_and(|policy| self.wants_retry(policy, &attempted));
            let pause = self.asked_pause(&attempted, &endpoint);
            if retry
                && self.target.may_retry(self.worker.shared.clock.now())
                && self.wait(exchange.attempts(), pause).await
            {
                let now = self.worker.shared.clock.now();
                if let Ok(next) = self.target.pick(self.wish(Some(&endpoint)), now) {
                    picked = next;
                    continue;
                }
            }
            return self.finish(exchange, attempted);
        }
    }

    const fn wish<'w>(&'w self, avoid: Option<&'w Arc<Endpoint>>) -> Wish<'w> {
        Wish { avoid, key: self.key, route: self.guard }
    }

    /// Takes a place among the calls to the target; waiting for one takes from the time of the request.
    async fn enter(&self, now: Timestamp) -> Result<Option<Ticket>, NoPick> {
        match self.deadline {
            Some(deadline) if self.target.is_limited() => {
                tokio::time::timeout_at(deadline, self.target.enter(now)).await.unwrap_or(Err(NoPick::Late))
            }
            _ => self.target.enter(now).await,
        }
    }

    async fn attempt(&self, exchange: &mut Exchange, picked: Picked, tries: &mut Tries) -> Attempted {
        let limit = self.attempt_limit();
        if let Some(left) = limit.and_then(|limit| self.worth_telling(limit)) {
            tries.head.headers.insert(headers::DEADLINE, headers::once(left.into()));
        }
        exchange.attempt_begins();
        exchange.protected(picked.endpoint.transport().protection());
        let trace = exchange.context().trace;
        let sent = send::send(self.worker, &picked.endpoint, tries.next(limit)).await;
        if exchange.is_described() {
            exchange.span_end(SpanEnd { endpoint: Some(picked.endpoint.label().into()), ..SpanEnd::default() });
        }
        let now = self.worker.shared.clock.now();
        match sent {
            Ok((response, lease)) => {
                let head = grpc::head(self.target.form(), &response);
                if head == grpc::Head::Open {
                    let late = Some(Box::new(Late::outbound(picked, self.target.kind, exchange)));
                    return Attempted::Answer { response, lease, end: AttemptEnd::Success, late };
                }
                let (end, outcome, mark) = judge(&response, head, self.target.kind);
                picked.ends(outcome, trace, now);
                exchange.attempt_ends(end);
                if let Some(mark) = mark {
                    exchange.induced_by(mark);
                }
                if let grpc::Head::Ended(code) = head {
                    exchange.grpc_status(code);
                }
                Attempted::Answer { response, lease, end, late: None }
            }
            Err(failure) => {
                let outcome = match failure {
                    failure if failure.is_of_caller() => Outcome::Cancelled,
                    failure => Outcome::Failure(failure.fault()),
                };
                picked.ends(outcome, trace, now);
                exchange.attempt_ends(AttemptEnd::NoAnswer);
                Attempted::None(failure)
            }
        }
    }

    /// The milliseconds until `limit`, if the server's sidecar would wait longer without being told.
    fn worth_telling(&self, limit: Instant) -> Option<u64> {
        let left = limit.saturating_duration_since(Instant::now());
        let tells = |own: Duration| left + SAME_LIMIT < own;
        let worth = self.target.kind == NodeKind::Service && self.target.server_limit().is_none_or(tells);
        worth.then(|| u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    fn attempt_limit(&self) -> Option<Instant> {
        let per_try = self.route.retry.as_ref().and_then(|policy| policy.per_retry_timeout);
        [self.deadline, per_try.map(|limit| Instant::now() + limit)].into_iter().flatten().min()
    }

    /// What the server asked for with `Retry-After`: its endpoint is left alone so long, and a retry that has nowhere else
    /// to go waits so long.
    fn asked_pause(&self, attempted: &Attempted, endpoint: &Arc<Endpoint>) -> Duration {
        let Attempted::Answer { response, .. } = attempted else { return Duration::ZERO };
        let Some(asked) = retry_after(response) else { return Duration::ZERO };
        let now = self.worker.shared.clock.now();
        let held = self.target.hold(endpoint, asked, now);
        if self.target.has_other(endpoint, now) { Duration::ZERO } else { held }
    }

    /// Whether the policy wants another try. A status of gRPC that comes in trailers comes too late: the answer has begun.
    fn wants_retry(&self, policy: &RetryPolicy, attempted: &Attempted) -> bool {
        match attempted {
            Attempted::Answer { response, .. } => {
                let code = grpc::code(self.target.form(), response);
                retries_status(policy, response.status().as_u16())
                    || code.is_some_and(|code| retries_code(policy, code.number()))
            }
            Attempted::None(failure) if failure.is_of_caller() => false,
            Attempted::None(failure) => {
                let broken = failure.is_unsent() || *failure == Failure::Reset;
                retries_status(policy, failure.status()) || (broken && retries_connection(policy))
            }
        }
    }

    /// Waits before the next attempt, at least `pause`; false when there is no time left for it.
    async fn wait(&self, attempts: u64, pause: Duration) -> bool {
        let (first, longest) = BACK_OFF;
        let planned = first.saturating_mul(1 << attempts.saturating_sub(1).min(8)).min(longest);
        let at = Instant::now() + planned.mul_f64(rand::random_range(0.0..1.0)).max(pause);
        if self.deadline.is_some_and(|deadline| at >= deadline) {
            return false;
        }
        tokio::time::sleep_until(at).await;
        true
    }

    fn finish(&self, mut exchange: Exchange, attempted: Attempted) -> Response<AnswerBody> {
        let (mut response, lease, end, late) = match attempted {
            Attempted::Answer { response, lease, end, late } => (response, lease, end, late),
            Attempted::None(failure) => return fail(exchange, self.target, failure),
        };
        headers::strip_hop_by_hop(response.headers_mut());
        if self.target.kind != NodeKind::Service {
            headers::strip_ours(response.headers_mut());
        }
        if exchange.is_described() {
            exchange.span_end(SpanEnd {
                grpc: grpc::code(self.target.form(), &response).map(grpc::Code::number),
                status: response.status().as_u16(),
                error: None,
                retries: exchange.attempts().saturating_sub(1),
                endpoint: Some(lease.endpoint().label().into()),
            });
        }
        let end = if end == AttemptEnd::Success { End::Success } else { End::Failed };
        if end == End::Failed {
            exchange.fails();
        }
        let silence = self.route.idle.unwrap_or(self.worker.shared.limits.body_silence);
        let timer = SilenceTimer::new(Some(silence), self.deadline);
        answer::pass(
            response,
            timer,
            Open { exchange, lease, end, target: Some(Arc::clone(self.target)), late, _place: None },
        )
    }
}

/// The request of each attempt, as long as it can be made.
struct Tries {
    head: Parts,
    body: RequestBody,
    left: u32,
    is_over: bool,
}

impl Tries {
    fn new(head: Parts, body: RequestBody, retries: u32) -> Self {
        // What passes through is gone after the first attempt.
        let left = if matches!(body, RequestBody::Stream(_)) { 0 } else { retries };
        Self { head, body, left, is_over: false }
    }

    const fn can_repeat(&self) -> bool {
        !self.is_over
    }

    fn next(&mut self, limit: Option<Instant>) -> Attempt<'_> {
        if self.left == 0 {
            self.is_over = true;
            let body = std::mem::take(&mut self.body);
            return Attempt { head: &mut self.head, keep: Keep::Nothing, body, limit };
        }
        self.left -= 1;
        let body = match &self.body {
            RequestBody::Whole(bytes) => RequestBody::Whole(bytes.clone()),
            RequestBody::Empty | RequestBody::Stream(_) => RequestBody::Empty,
        };
        Attempt { head: &mut self.head, keep: Keep::Head, body, limit }
    }
}

/// What may be wrong with any request, and the Host it names otherwise.
fn check(traffic: &Traffic, parts: &Parts) -> Result<HeaderValue, (Refusal, &'static str)> {
    // What came in by a gateway has been looked at there.
    if parts.extensions.get::<Destination>().is_none() && traffic.begin() {
        return Err((Refusal::BadRequest, "a request must not have both Content-Length and Transfer-Encoding"));
    }
    if parts.method == Method::CONNECT {
        return Err((Refusal::Unsupported, "CONNECT is not supported: send plain HTTP requests to this proxy"));
    }
    if let Some(authority) = parts.uri.authority() {
        let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
        return HeaderValue::from_str(host).map_err(|_| (Refusal::BadRequest, "the request's URI has no valid host"));
    }
    // A map whose names are as many as its values has no name twice, and hardly any request has.
    let twice = parts.headers.len() != parts.headers.keys_len() && parts.headers.get_all(HOST).iter().count() > 1;
    match parts.headers.get(HOST) {
        Some(host) if !twice && host.to_str().is_ok() => Ok(host.clone()),
        None => Err((Refusal::BadRequest, "the request has no Host: name the service to call in it")),
        _ => Err((Refusal::BadRequest, "the request has more than one Host, or none that can be read")),
    }
}

async fn prepare_body(
    body: Incoming,
    parts: &Parts,
    route: &PlannedRoute,
    exchange: &mut Exchange,
) -> Result<RequestBody, Failure> {
    if body.is_end_stream() {
        return Ok(RequestBody::Empty);
    }
    let limits = exchange.shared().limits;
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if limits.request_bytes.is_some_and(|longest| length > longest) => Err(Failure::LargeBody),
        Some(length) if route.retry.is_some() && length <= limits.replay => {
            exchange.request_bytes(length);
            let collected = tokio::time::timeout(limits.body_silence, body.collect()).await;
            let whole = collected.map_err(|_| Failure::SlowBody)?.map_err(|_| Failure::RequestBody)?;
            Ok(RequestBody::Whole(whole.to_bytes()))
        }
        _ => {
            let body = RequestBody::stream(body, limits.body_silence, exchange.count_streamed());
            Ok(body.at_most(limits.request_bytes))
        }
    }
}

/// What an answer's head says about the attempt, to the edge, the breaker and whoever waits for the answer.
fn judge(response: &Response<Reply>, head: grpc::Head, from: NodeKind) -> (AttemptEnd, Outcome, Option<Mark>) {
    if let grpc::Head::Ended(code) = head {
        let mark = response.headers().get(headers::BREAKER).filter(|_| from == NodeKind::Service);
        return code.judged(mark.and_then(Mark::read));
    }
    let status = response.status().as_u16();
    let fault = |origin| Fault { origin, error: LastError::Status(status) };
    match status {
        // A mark is believed from members of the mesh only.
        500.. => {
            match response.headers().get(headers::BREAKER).filter(|_| from == NodeKind::Service).and_then(Mark::read) {
                Some(mark) => (AttemptEnd::Induced, Outcome::Failure(fault(FailureOrigin::Induced)), Some(mark)),
                None => (AttemptEnd::Answered, Outcome::Failure(fault(FailureOrigin::Remote)), None),
            }
        }
        429 => (AttemptEnd::Success, Outcome::Soft(fault(FailureOrigin::Remote)), None),
        _ => (AttemptEnd::Success, Outcome::Success, None),
    }
}

/// The pause that an answer asks for, in seconds; a date is not read, because the clocks of two machines differ.
fn retry_after(response: &Response<Reply>) -> Option<Duration> {
    if !matches!(response.status().as_u16(), 429 | 503) {
        return None;
    }
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn refuse(worker: &Worker, refusal: Refusal, text: String) -> Response<AnswerBody> {
    worker.shard.refuse(refusal);
    let status = match refusal {
        Refusal::BadRequest => 400,
        Refusal::NotABackend => 403,
        Refusal::UnknownHost | Refusal::NoRoute => 404,
        Refusal::Unsupported => 501,
    };
    answer::own(status, refusal.as_str(), text)
}

fn refuse_by_breaker(mut exchange: Exchange, target: &Target, no_pick: NoPick) -> Response<AnswerBody> {
    let (breaker, rejection) = match no_pick {
        NoPick::Rejected(breaker, rejection) => (breaker, rejection),
        NoPick::Unresolved => return fail(exchange, target, Failure::NoEndpoint),
        NoPick::Late => return fail(exchange, target, Failure::Timeout),
    };
    let mark = Mark::rejected(&breaker, rejection.reason.as_str(), rejection.origin.as_str());
    let value = mark.to_value();
    exchange.induced_by(mark);
    exchange.settle(End::Shed);
    exchange.span_end(SpanEnd { error: Some(Failure::BreakerOpen.word()), ..SpanEnd::default() });
    let mut response = own_failure(target, Failure::BreakerOpen);
    response.headers_mut().insert(headers::BREAKER, value);
    response
}

fn fail(mut exchange: Exchange, target: &Target, failure: Failure) -> Response<AnswerBody> {
    // A caller whose body ended early has left or misbehaves; neither is a failure of the server.
    let end = if failure.is_of_caller() { End::Cancelled } else { End::Failed };
    exchange.shared().connections.hits.count_failure(failure);
    exchange.settle(end);
    let retries = exchange.attempts().saturating_sub(1);
    exchange.span_end(SpanEnd { error: Some(failure.word()), retries, ..SpanEnd::default() });
    own_failure(target, failure)
}

fn own_failure(target: &Target, failure: Failure) -> Response<AnswerBody> {
    answer::own(failure.status(), failure.word(), format!("{} {}", target.server, failure.text()))
}
