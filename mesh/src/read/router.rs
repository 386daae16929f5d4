//! Virtual routers: routes in the order in which they are tried, their targets and retries.
//!
//! Order: by `priority`, 0 first, routes without one last; within that the more specific first (exact path, regular
//! expression, longer prefix; then more conditions); within that as written. App Mesh did not document the order of
//! routes without priority; the longest prefix first is what makes a catch-all route `/` beside others work.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tripline_model::ServiceName;

use super::node::port_mapping;
use super::{Reader, cursor, protocol, timeouts};
use crate::cursor::Cursor;
use crate::index::Kind;
use crate::schema::route::ROUTE_KINDS;
use crate::select::Document;
use crate::yaml::shown;
use crate::{
    GrpcRetryEvent, HttpRetryEvent, ListenerProtocol, PortMapping, RetryPolicy, RouteMatch, RouterRoute, RouterTarget,
    Support, TcpRetryEvent, TextMatch, VirtualNode, VirtualRouter,
};

/// Said of a route that App Mesh would have tried again unasked.
const NO_HIDDEN_RETRIES: &str = "tried once; App Mesh tried twice more on 503, refused and reset connections: write a retryPolicy, or run proxies with --app-mesh-retries, to have that";

/// The priority of routes without one: after 1000, the last that can be written.
const NO_PRIORITY: u16 = 1_001;

impl Reader<'_, '_> {
    pub(super) fn router(
        &mut self,
        document: &Document<'_>,
        nodes: &BTreeMap<ServiceName, VirtualNode>,
    ) -> VirtualRouter {
        let spec = cursor(document);
        let listeners: Vec<PortMapping> = spec.list("listeners").iter().filter_map(port_mapping).collect();
        let mut names = BTreeSet::new();
        let mut routes = Vec::new();
        for written in spec.list("routes") {
            if let Some(name) = written.text("name")
                && !names.insert(name)
            {
                let message = format!("expected each route name once in a router, got \"{}\" again", shown(name));
                self.findings.problem(written.place(), message);
            }
            let Some(route) = self.route(&written, document.id.namespace(), nodes) else { continue };
            if !listeners.is_empty() && !listeners.iter().any(|listener| listener.protocol == route.protocol) {
                let message =
                    format!("no listener of this router speaks {}, the route is used all the same", route.protocol);
                self.findings.warn(written.place(), message);
            }
            routes.push(route);
        }
        if routes.is_empty() && !document.broken {
            self.findings.warn(spec.place(), "the router has no routes: calls to its services will be refused");
        }
        routes.sort_by_key(|route| (route.priority, Reverse(specificity(&route.matches))));
        VirtualRouter { id: document.id.clone(), aws_name: document.aws_name.clone(), listeners, routes }
    }

    fn route(
        &mut self,
        written: &Cursor<'_>,
        namespace: &str,
        nodes: &BTreeMap<ServiceName, VirtualNode>,
    ) -> Option<RouterRoute> {
        let (word, body) = written.first_of(ROUTE_KINDS)?;
        let protocol = protocol(word);
        let mut targets = Vec::new();
        let action = body.get("action");
        let listed = action.as_ref().map(|action| action.list("weightedTargets")).unwrap_or_default();
        for target in &listed {
            targets.extend(self.target(target, (namespace, protocol), nodes));
        }
        if !listed.is_empty() && listed.iter().all(|target| target.number::<u32>("weight") == Some(0)) {
            let place = action.as_ref().and_then(|action| action.get("weightedTargets"));
            let place = place.as_ref().unwrap_or(written);
            self.findings.problem(place.place(), "expected a weight above 0 in at least one target, got only 0");
        }
        if body.get("retryPolicy").is_none() && protocol != ListenerProtocol::Tcp {
            let field = format!("VirtualRouter.spec.routes[].{word}.retryPolicy, where absent");
            self.findings.count(&field, Support::Approximated, NO_HIDDEN_RETRIES);
        }
        Some(RouterRoute {
            name: written.text("name").unwrap_or_default().to_owned(),
            priority: written.number("priority").unwrap_or(NO_PRIORITY),
            protocol,
            matches: self.matching(&body, protocol),
            targets,
            timeouts: timeouts(body.get("timeout").as_ref(), protocol),
            retry: body.get("retryPolicy").and_then(|retry| self.retry(&retry)),
        })
    }

    fn target(
        &mut self,
        written: &Cursor<'_>,
        (namespace, protocol): (&str, ListenerProtocol),
        nodes: &BTreeMap<ServiceName, VirtualNode>,
    ) -> Option<RouterTarget> {
        let id = self.index.resolve(Kind::Node, written, namespace, self.findings)?;
        let port: Option<u16> = written.number("port");
        let node = nodes.get(&id)?;
        self.check_reachable(node, written);
        if !self.index.is_broken(Kind::Node, &id) && !node.listeners.is_empty() {
            let listener = match port {
                Some(port) => node.listeners.iter().find(|listener| listener.port == port),
                None => node.listeners.first(),
            };
            let ports =
                || node.listeners.iter().map(|listener| listener.port.to_string()).collect::<Vec<_>>().join(", ");
            match listener {
                None => {
                    let message = format!("expected a port that virtual node {id} listens on ({})", ports());
                    self.findings.problem(written.get("port").as_ref().unwrap_or(written).place(), message);
                }
                Some(_) if port.is_none() && node.listeners.len() > 1 => {
                    let message = format!("expected a port, as virtual node {id} listens on several ({})", ports());
                    self.findings.problem(written.place(), message);
                }
                Some(listener) if listener.protocol != protocol => {
                    let message =
                        format!("a route for {protocol} leads to a listener of {id} for {}", listener.protocol);
                    self.findings.warn(written.place(), message);
                }
                Some(_) => {}
            }
        }
        Some(RouterTarget { node: id, weight: written.number("weight")?, port })
    }

    fn retry(&mut self, written: &Cursor<'_>) -> Option<RetryPolicy> {
        let words = |field: &str| -> Vec<&str> { written.list(field).iter().filter_map(Cursor::as_text).collect() };
        let policy = RetryPolicy {
            max_retries: written.number("maxRetries")?,
            per_retry_timeout: written.duration("perRetryTimeout").filter(|limit| !limit.is_zero()),
            http_retry_events: words("httpRetryEvents").into_iter().filter_map(http_event).collect(),
            grpc_retry_events: words("grpcRetryEvents").into_iter().filter_map(grpc_event).collect(),
            tcp_retry_events: words("tcpRetryEvents").iter().map(|_| TcpRetryEvent::ConnectionError).collect(),
        };
        let names_none = policy.http_retry_events.is_empty()
            && policy.grpc_retry_events.is_empty()
            && policy.tcp_retry_events.is_empty();
        if names_none {
            self.findings.warn(written.place(), "the policy names no retry event, so nothing is tried again");
        }
        Some(policy)
    }
}

fn http_event(word: &str) -> Option<HttpRetryEvent> {
    Some(match word {
        "server-error" => HttpRetryEvent::ServerError,
        "gateway-error" => HttpRetryEvent::GatewayError,
        "client-error" => HttpRetryEvent::ClientError,
        "stream-error" => HttpRetryEvent::StreamError,
        _ => return None,
    })
}

fn grpc_event(word: &str) -> Option<GrpcRetryEvent> {
    Some(match word {
        "cancelled" => GrpcRetryEvent::Cancelled,
        "deadline-exceeded" => GrpcRetryEvent::DeadlineExceeded,
        "internal" => GrpcRetryEvent::Internal,
        "resource-exhausted" => GrpcRetryEvent::ResourceExhausted,
        "unavailable" => GrpcRetryEvent::Unavailable,
        _ => return None,
    })
}

/// Greater is tried first.
pub(super) fn specificity(matches: &RouteMatch) -> (u8, usize, usize) {
    let (form, length) = match &matches.path {
        TextMatch::Exact(path) => (2, path.len()),
        TextMatch::Regex(pattern) => (1, pattern.as_str().len()),
        TextMatch::Prefix(path) => (0, path.len()),
        TextMatch::Suffix(_) | TextMatch::Range { .. } => (0, 0),
    };
    let conditions = [&matches.method, &matches.scheme].into_iter().flatten().count()
        + matches.headers.len()
        + matches.query.len()
        + usize::from(matches.port.is_some());
    (form, length, conditions)
}
