//! A virtual gateway: requests from outside come in, and each goes on to the virtual service that a gateway route says.
//!
//! There is no application in between. A request is an exchange of the inbound half (caller -> gateway) and, rewritten, one of the
//! outbound half (gateway -> service), which chooses route, endpoint and tries as for any service; both belong to one trace, so
//! that the correlator lays a failure at the right door. The listener's `connectionPool` limits how many are under way.
//!
//! At the edge nobody is believed: who calls is only what a client's certificate proves, and what sidecars tell each other in
//! header fields is neither heard from callers nor told to them. What no route takes gets 404. An upgraded connection counts as an
//! exchange of the gateway's until the upgrade, and as one with the service until its end.

use std::sync::Arc;

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;
use tripline_mesh::{GatewayRoute, HostRewrite, NodeConfig, RequestHead};
use tripline_model::{NodeKind, ServiceName};

use crate::answer::{self, AnswerBody};
use crate::app_side::{AppSide, Place};
use crate::directory::{Head, without_port};
use crate::exchange::{AttemptEnd, End, Exchange};
use crate::failure::Failure;
use crate::guarded_io::Traffic;
use crate::inbound::{host_of, refuse_two_lengths, turn_away};
use crate::plan::Plan;
use crate::span::{SpanDraft, SpanEnd};
use crate::tally::{Protection, Refusal};
use crate::trace_context::TraceContext;
use crate::worker::Worker;
use crate::{grpc, headers, late, outbound};

/// The routes of a gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    routes: Vec<(GatewayRoute, Destination)>,
}

/// Where a request goes that came in by a gateway, instead of to whom its Host names.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// A host name of the virtual service.
    pub(crate) service: Arc<str>,
    /// The same with the port that the service's routes are to see; `:` and nothing when none is said.
    pub(crate) seen: Arc<str>,
}

impl Gateway {
    /// The gateway of a configuration, if it is one.
    pub(crate) fn new(node: &NodeConfig) -> Option<Self> {
        let named = |route: &GatewayRoute| {
            let service = node.services.iter().find(|service| service.id == route.service)?;
            let host: Arc<str> = service.hosts.first()?.as_str().into();
            let seen = route.port.map_or_else(|| format!("{host}:"), |port| format!("{host}:{port}"));
            Some((route.clone(), Destination { service: host, seen: seen.into() }))
        };
        Some(Self { routes: node.entries.as_ref()?.iter().filter_map(named).collect() })
    }

    fn find(&self, host: &str, head: &impl RequestHead) -> Option<&(GatewayRoute, Destination)> {
        self.routes.iter().find(|(route, _)| route.takes(host, head))
    }
}

/// The node kind of a configuration.
pub(crate) const fn kind_of(node: &NodeConfig) -> NodeKind {
    if node.entries.is_some() { NodeKind::Gateway } else { NodeKind::Service }
}

/// A request's head as gateway routes look at it: its port is the listener's.
struct EntryHead<'a> {
    head: Head<'a>,
    port: u16,
}

impl RequestHead for EntryHead<'_> {
    fn method(&self) -> &str {
        self.head.method()
    }

    fn path(&self) -> &str {
        self.head.path()
    }

    fn query(&self) -> &str {
        self.head.query()
    }

    fn header(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.head.header(name)
    }

    fn scheme(&self) -> &str {
        self.head.scheme()
    }

    fn port(&self) -> Option<u16> {
        Some(self.port)
    }
}

/// The caller's side of a request that goes on: its exchange and its place among the requests under way.
#[derive(Debug)]
pub(crate) struct Entry {
    exchange: Exchange,
    to_mesh: bool,
    _place: Place,
}

impl Entry {
    /// Counts bytes of the answer.
    pub(crate) fn answered(&mut self, bytes: u64) {
        self.exchange.response_bytes(bytes);
    }

    /// Ends with the exchange it led to, which has been recorded.
    pub(crate) fn ends(mut self, end: End, request_bytes: u64) {
        self.exchange.request_bytes(request_bytes);
        let attempt = if end == End::Failed { AttemptEnd::Answered } else { AttemptEnd::Success };
        self.exchange.attempt_ends(attempt);
        if let Some(calls) = self.exchange.calls().filter(|_| end == End::Failed) {
            self.exchange.blame(calls.failed);
        }
        self.exchange.settle(end);
    }
}

/// Serves one request that comes into the mesh.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    traffic: &Arc<Traffic>,
    (plan, gateway): (&Plan, &Gateway),
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let (mut parts, body) = request.into_parts();
    if traffic.begin() {
        return refuse_two_lengths(worker);
    }
    let Some(app) = plan.apps.get(traffic.arrival().listener).filter(|_| !is_tunnel(&parts)) else {
        worker.shard.refuse(Refusal::Unsupported);
        return answer::own(501, Refusal::Unsupported.as_str(), "CONNECT is not supported here".to_owned());
    };
    let host = host_of(&parts);
    let (exchange, client) = begin(worker, traffic, app, (&mut parts, &host));
    let host_text = host.to_str().unwrap_or_default();
    let head = EntryHead { head: Head { parts: &parts, host: host_text }, port: app.port };
    if plan.inbound.is_any()
        && let Err(turned) = plan.inbound.judge(&client, &head, exchange.began())
    {
        return turn_away(worker, exchange, &client, turned);
    }
    let name = without_port(host_text).trim_end_matches('.').to_ascii_lowercase();
    let Some((route, destination)) = gateway.find(&name, &head) else { return no_route(worker, exchange, &head) };
    let Some(place) = app.enter().await else { return overflow(worker, exchange) };
    rewrite(&mut parts, route, (destination, host));
    let mut entry = Entry { to_mesh: traffic.arrival().security.peer().is_some(), exchange, _place: place };
    entry.exchange.attempt_begins();
    let mut response = outbound::serve(worker, traffic, Request::from_parts(parts, body)).await;
    headers::strip_ours(response.headers_mut());
    entry.exchange.span_end(SpanEnd { status: response.status().as_u16(), ..SpanEnd::default() });
    if entry.to_mesh && response.status().is_server_error() {
        late::blame(&mut entry.exchange, true, response.headers_mut());
    }
    answer::enclose(&mut response, entry);
    response
}

/// Whether it asks for a tunnel, which is no request for a service; one for another protocol (RFC 8441) is.
fn is_tunnel(parts: &Parts) -> bool {
    parts.method == Method::CONNECT && parts.extensions.get::<hyper::ext::Protocol>().is_none()
}

fn begin(
    worker: &Arc<Worker>,
    traffic: &Arc<Traffic>,
    app: &AppSide,
    (parts, host): (&mut Parts, &HeaderValue),
) -> (Exchange, ServiceName) {
    let security = &traffic.arrival().security;
    let context = TraceContext::enter(&mut parts.headers, worker.shared.sampler);
    // A caller that is traced has spans of its own, from which the collector can tell who it is.
    let traced = context.parent.map(|_| ServiceName::UNKNOWN.as_bytes());
    let client = worker.shard.client(security.peer().map(str::as_bytes).or(traced), app.protocol.edge_protocol());
    let mut exchange = Exchange::inbound(worker, client, context, app.per_request, traffic.busy());
    exchange.protected(Protection::of(security.is_mutual()));
    let name = worker.shard.client_name(client);
    if context.span.is_some() {
        let weight = if context.parent.is_none() { worker.shared.sampler.weight() } else { 1.0 };
        let draft = SpanDraft::server(parts, host.to_str().unwrap_or_default(), worker.shared.service(), &name);
        exchange.describe(draft.weighing(weight));
    }
    (exchange, name)
}

/// Writes the request as the service is to see it, in origin form, and says where it goes.
fn rewrite(parts: &mut Parts, route: &GatewayRoute, (destination, host): (&Destination, HeaderValue)) {
    let path = route.rewrite.path.apply(parts.uri.path());
    let whole = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    if let Ok(path) = PathAndQuery::try_from(whole) {
        parts.uri = Uri::from(path);
    }
    let host = match route.rewrite.host {
        HostRewrite::Service => headers::value(&destination.service),
        HostRewrite::Keep => host,
    };
    parts.headers.insert(HOST, host);
    parts.extensions.insert(destination.clone());
}

fn no_route(worker: &Worker, mut exchange: Exchange, head: &EntryHead<'_>) -> Response<AnswerBody> {
    worker.shard.refuse(Refusal::NoRoute);
    exchange.settle(End::Success);
    exchange.span_end(SpanEnd { status: 404, error: Some(Refusal::NoRoute.as_str()), ..SpanEnd::default() });
    let (method, host, path) = (head.method(), head.head.host, head.path());
    let text = format!("no gateway route of {} takes {method} {path} for \"{host}\"", worker.shared.service());
    at_the_edge(answer::own(404, Refusal::NoRoute.as_str(), text))
}

fn overflow(worker: &Worker, mut exchange: Exchange) -> Response<AnswerBody> {
    let failure = Failure::Overflow;
    exchange.blame(Some(false));
    exchange.span_end(SpanEnd { error: Some(failure.word()), ..SpanEnd::default() });
    exchange.settle(End::Shed);
    let text = format!("the gateway {} has no place for another request", worker.shared.service());
    at_the_edge(answer::own(failure.status(), failure.word(), text))
}

/// An answer of our own, without what only members of the mesh are told.
fn at_the_edge(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    headers::strip_ours(response.headers_mut());
    response
}

/// How an answer ends that has no body which could still break off.
pub(crate) fn end_of<B>(response: &Response<B>) -> End {
    let code = grpc::is_grpc(response.headers()).then(|| grpc::Code::read(response.headers())).flatten();
    let failed = code.map_or_else(|| response.status().is_server_error(), grpc::Code::is_failure);
    if failed { End::Failed } else { End::Success }
}
