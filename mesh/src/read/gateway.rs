//! Virtual gateways and the routes that belong to them.
//!
//! In Kubernetes a route finds its gateway by labels of namespaces and of routes. Files know no labels of namespaces, so a route
//! belongs to the gateway that `virtualGatewayRef` names, else to the one whose `gatewayRouteSelector` fits its labels; of several the
//! one in its own namespace, then the one that has a selector at all.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use tripline_model::ServiceName;

use super::node::{access_log, port_mapping};
use super::router::specificity;
use super::tls::client_policy;
use super::{Reader, cursor, protocol};
use crate::cursor::Cursor;
use crate::index::Kind;
use crate::schema::gateway::GATEWAY_ROUTE_KINDS;
use crate::select::Document;
use crate::{
    Backend, ClientPolicy, GatewayRoute, HostRewrite, ListenerProtocol, Mesh, PathRewrite, Rewrite, TextMatch,
    VirtualGateway,
};

/// The priority of gateway routes without one, as App Mesh has it.
const LAST: u16 = 1_000;

/// A route and the virtual gateway it belongs to.
type Belonging = (ServiceName, GatewayRoute);

impl Reader<'_, '_> {
    /// All gateways into the mesh, with their routes.
    pub(super) fn gateways(&mut self, documents: &[Document<'_>], mesh: &mut Mesh) {
        let of = |kind: Kind| documents.iter().filter(move |document| Kind::of(document) == Some(kind));
        let routes: Vec<Belonging> =
            of(Kind::GatewayRoute).filter_map(|document| self.gateway_route(document, documents)).collect();
        for document in of(Kind::Gateway) {
            if mesh.nodes.contains_key(&document.id) {
                let message =
                    format!("expected another name than that of virtual node {}: both are services", document.id);
                self.findings.problem(cursor(document).place(), message);
            }
            let own = routes.iter().filter(|(gateway, _)| *gateway == document.id).map(|(_, route)| route.clone());
            let gateway = self.gateway(document, own.collect());
            mesh.gateways.insert(document.id.clone(), gateway);
        }
    }

    fn gateway(&mut self, document: &Document<'_>, mut routes: Vec<GatewayRoute>) -> VirtualGateway {
        let spec = cursor(document);
        let mut ports = BTreeSet::new();
        let mut listeners = Vec::new();
        for written in spec.list("listeners") {
            let Some(mapping) = port_mapping(&written) else { continue };
            if !ports.insert(mapping.port) {
                let message = format!("expected each port once in a gateway, {} has a listener already", mapping.port);
                self.findings.problem(written.place(), message);
            }
            let mut listener = self.listener(&written, mapping);
            // The routes of the virtual services say how long a request may take.
            listener.timeouts.per_request = None;
            listeners.push(listener);
        }
        if listeners.is_empty() && !document.broken {
            self.findings.problem(spec.place(), "expected at least one listener: nothing can come in without");
        }
        if routes.is_empty() && !document.broken {
            self.findings.warn(spec.place(), "no gateway route belongs to this gateway: it answers 404 to everything");
        }
        routes.sort_by_key(|route| (route.priority, Reverse((of_host(route), specificity(&route.matches)))));
        let policy: Option<ClientPolicy> = spec.get("backendDefaults").as_ref().and_then(client_policy);
        let called: BTreeSet<&ServiceName> = routes.iter().map(|route| &route.service).collect();
        let backends = called.into_iter().map(|service| Backend { service: service.clone(), policy: policy.clone() });
        VirtualGateway {
            id: document.id.clone(),
            aws_name: document.aws_name.clone(),
            listeners,
            backends: backends.collect(),
            routes,
            access_log: spec.get("logging").and_then(|logging| access_log(&logging)),
        }
    }

    fn gateway_route(&mut self, document: &Document<'_>, documents: &[Document<'_>]) -> Option<Belonging> {
        let spec = cursor(document);
        let gateway = self.gateway_of(document, documents)?;
        let (word, body) = spec.first_of(GATEWAY_ROUTE_KINDS)?;
        let protocol = protocol(word);
        let target = body.get("action")?.get("target")?;
        let service = self.index.resolve(
            Kind::Service,
            &target.get("virtualService")?,
            document.id.namespace(),
            self.findings,
        )?;
        let written = body.get("match")?;
        if written.get("prefix").is_some() && written.get("path").is_some() {
            self.findings.problem(written.place(), "expected prefix or path, got both");
        }
        let matches = self.matching(&body, protocol);
        let rewrite = self.rewrite(&body, protocol, &matches.path);
        let route = GatewayRoute {
            id: document.id.clone(),
            priority: spec.number("priority").unwrap_or(LAST),
            protocol,
            hostname: hostname(&written),
            matches,
            service,
            port: target.number("port"),
            rewrite,
        };
        Some((gateway, route))
    }

    /// The gateway that a route belongs to; none is told, since such a route does nothing.
    fn gateway_of(&mut self, route: &Document<'_>, documents: &[Document<'_>]) -> Option<ServiceName> {
        let spec = cursor(route);
        if spec.get("virtualGatewayRef").is_some() {
            return self.index.resolve(Kind::Gateway, &spec, route.id.namespace(), self.findings);
        }
        let gateways = documents.iter().filter(|document| Kind::of(document) == Some(Kind::Gateway));
        let mut fit: Vec<(Reverse<bool>, Reverse<bool>, &ServiceName)> = gateways
            .filter_map(|gateway| {
                let selects = selects(&cursor(gateway), &route.labels)?;
                let near = gateway.id.namespace() == route.id.namespace();
                Some((Reverse(near), Reverse(selects == Selects::ByLabels), &gateway.id))
            })
            .collect();
        fit.sort();
        match fit.as_slice() {
            [] if self.index.incomplete => None,
            [] => {
                self.findings.warn(spec.place(), "no virtual gateway selects this route, it has no effect");
                None
            }
            [first, second, ..] if (first.0, first.1) == (second.0, second.1) => {
                let message = format!(
                    "expected one virtual gateway that selects this route, {} and {} do; write virtualGatewayRef",
                    first.2, second.2
                );
                self.findings.problem(spec.place(), message);
                None
            }
            [first, ..] => Some(first.2.clone()),
        }
    }

    fn rewrite(&mut self, body: &Cursor<'_>, protocol: ListenerProtocol, path: &TextMatch) -> Rewrite {
        let written = body.get("action").and_then(|action| action.get("rewrite"));
        let keep = |field: &str, switch: &str| {
            written.as_ref().and_then(|rewrite| rewrite.get(field)?.text(switch)) == Some("DISABLED")
        };
        let host = if keep("hostname", "defaultTargetHostname") { HostRewrite::Keep } else { HostRewrite::Service };
        let prefix = written.as_ref().and_then(|rewrite| rewrite.get("prefix"));
        let exact = written.as_ref().and_then(|rewrite| rewrite.get("path"));
        let path = match path {
            TextMatch::Prefix(from) if protocol != ListenerProtocol::Grpc => {
                if let Some(exact) = &exact {
                    self.findings.problem(exact.place(), "expected rewrite.prefix, as the route matches a prefix");
                }
                let value = prefix.as_ref().and_then(|prefix| prefix.get("value"));
                if let Some(value) = &value
                    && !value.as_text().is_some_and(|text| text.starts_with('/') && text.ends_with('/'))
                {
                    self.findings.problem(value.place(), "expected a path that begins and ends with /");
                }
                match value.as_ref().and_then(Cursor::as_text) {
                    Some(to) => PathRewrite::Prefix { from: from.clone(), to: to.to_owned() },
                    None if keep("prefix", "defaultPrefix") => PathRewrite::Keep,
                    None => PathRewrite::Prefix { from: from.clone(), to: "/".to_owned() },
                }
            }
            _ => {
                if let Some(prefix) = &prefix {
                    self.findings.problem(prefix.place(), "expected rewrite.path, as the route matches a whole path");
                }
                let to = exact.as_ref().and_then(|exact| exact.get("exact"));
                if let Some(to) = &to
                    && !to.as_text().is_some_and(|text| text.starts_with('/'))
                {
                    self.findings.problem(to.place(), "expected a path that begins with /");
                }
                let to = to.as_ref().and_then(Cursor::as_text);
                to.map_or(PathRewrite::Keep, |to| PathRewrite::Exact(to.to_owned()))
            }
        };
        Rewrite { host, path }
    }
}

/// How a gateway selects a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selects {
    /// It has no selector.
    All,
    /// The route has all its labels.
    ByLabels,
}

fn selects(gateway: &Cursor<'_>, labels: &[(String, String)]) -> Option<Selects> {
    let Some(selector) = gateway.get("gatewayRouteSelector") else { return Some(Selects::All) };
    let wanted = selector.get("matchLabels").map(|labels| labels.texts()).unwrap_or_default();
    let has = |(name, value): &(&str, &str)| labels.iter().any(|(n, v)| n == name && v == value);
    wanted.iter().all(has).then_some(Selects::ByLabels)
}

fn hostname(written: &Cursor<'_>) -> Option<TextMatch> {
    let hostname = written.get("hostname")?;
    let exact = hostname.text("exact").map(|exact| TextMatch::Exact(exact.to_ascii_lowercase()));
    exact.or_else(|| hostname.text("suffix").map(|suffix| TextMatch::Suffix(suffix.to_ascii_lowercase())))
}

/// How much a route says of hosts; greater is tried first.
fn of_host(route: &GatewayRoute) -> (u8, usize) {
    match &route.hostname {
        Some(TextMatch::Exact(exact)) => (2, exact.len()),
        Some(TextMatch::Suffix(suffix)) => (1, suffix.len()),
        _ => (0, 0),
    }
}
