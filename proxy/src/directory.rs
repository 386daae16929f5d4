//! From a request to where it goes: host -> service -> route -> target.
//!
//! Built once from the configuration. Hosts are looked up without allocating when they come in lower case and without a
//! port, as they mostly do.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use rustc_hash::{FxHashMap, FxHashSet};
use tripline_mesh::{
    HttpRetryEvent, ListenerProtocol, NodeConfig, OutboundService, RequestHead, RetryPolicy, Route, RouteMatch,
    Timeouts,
};

use crate::guard::Guard;
use crate::target::Target;

/// The services that the application may call.
#[derive(Debug)]
pub(crate) struct Directory {
    by_host: FxHashMap<Box<str>, usize>,
    services: Vec<Service>,
    /// Hosts of services of the mesh that are no backend of this node.
    elsewhere: FxHashSet<Box<str>>,
    known: Box<str>,
    outside: PlannedRoute,
}

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    /// The host that names it first.
    pub(crate) host: Box<str>,
    /// Ports that clients address when they speak tcp.
    ports: Vec<u16>,
    routes: Vec<PlannedRoute>,
}

/// One route with its targets looked up.
#[derive(Debug)]
pub(crate) struct PlannedRoute {
    matches: RouteMatch,
    takes_all: bool,
    protocol: ListenerProtocol,
    ways: Vec<Way>,
    weights: u32,
    /// Limit of the whole exchange.
    pub(crate) per_request: Option<Duration>,
    /// Longest silence within the answer.
    pub(crate) idle: Option<Duration>,
    /// Retries, if any.
    pub(crate) retry: Option<RetryPolicy>,
}

/// One target of a route.
#[derive(Debug)]
pub(crate) struct Way {
    weight: u32,
    /// Where requests go.
    pub(crate) target: Arc<Target>,
    /// The breaker of the route towards that target, if there is one.
    pub(crate) guard: Option<Arc<Guard>>,
}

/// What a host names.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    /// A service that may be called.
    Service(&'a Service),
    /// A service of the mesh that is no backend of this node.
    NotABackend,
    /// Nothing known.
    Unknown,
}

impl Directory {
    /// Builds the directory; `targets` are looked up by the caller, so that a node that several routes name is one target.
    pub(crate) fn new(
        config: &NodeConfig,
        mesh_hosts: impl Iterator<Item = String>,
        mut target: impl FnMut(&tripline_mesh::WeightedTarget) -> Option<Arc<Target>>,
    ) -> Self {
        let mut by_host = FxHashMap::default();
        let mut services = Vec::new();
        for service in &config.services {
            for host in &service.hosts {
                by_host.insert(host.as_str().into(), services.len());
            }
            services.push(Service {
                host: service.hosts.first().map_or("", String::as_str).into(),
                ports: tcp_ports(service),
                routes: service.routes.iter().map(|route| PlannedRoute::new(route, &mut target)).collect(),
            });
        }
        let known: Vec<&str> = services.iter().map(|service| &*service.host).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ").into() };
        let elsewhere = mesh_hosts.filter(|host| !by_host.contains_key(host.as_str())).map(Into::into).collect();
        Self { by_host, services, elsewhere, known, outside: PlannedRoute::outside() }
    }

    /// How hosts outside the mesh are called: App Mesh's default limits, no retries.
    pub(crate) const fn outside(&self) -> &PlannedRoute {
        &self.outside
    }

    /// The services there are, in words.
    pub(crate) fn known(&self) -> &str {
        &self.known
    }

    /// What a Host field names; its port is of no interest.
    pub(crate) fn find(&self, host: &str) -> Lookup<'_> {
        if let Some(service) = self.by_host.get(host).and_then(|number| self.services.get(*number)) {
            return Lookup::Service(service);
        }
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        match self.by_host.get(name.as_str()).and_then(|number| self.services.get(*number)) {
            Some(service) => Lookup::Service(service),
            None if self.elsewhere.contains(name.as_str()) => Lookup::NotABackend,
            None => Lookup::Unknown,
        }
    }
}

impl Service {
    /// The first route that takes the request.
    pub(crate) fn route(&self, head: &Parts, host: &str) -> Option<&PlannedRoute> {
        let mut routes = self.routes.iter().filter(|route| route.protocol != ListenerProtocol::Tcp);
        routes.find(|route| route.takes_all || route.matches.matches(&Head { parts: head, host }))
    }
}

/// Routes for bytes, which have no host to be found by.
impl Service {
    /// The first route for connections to a port; any port when none is said.
    pub(crate) fn tcp_route(&self, port: Option<u16>) -> Option<&PlannedRoute> {
        let fits = |route: &&PlannedRoute| match (port, route.matches.port) {
            (None, _) => true,
            (Some(port), Some(wanted)) => port == wanted,
            (Some(port), None) => self.ports.contains(&port) || route.ways.iter().any(|way| way.target.port == port),
        };
        self.routes.iter().filter(|route| route.protocol == ListenerProtocol::Tcp).find(fits)
    }
}

impl Directory {
    /// The service that has an endpoint at an address and speaks HTTP there.
    pub(crate) fn service_at(&self, address: SocketAddr) -> Option<&Service> {
        let is_there = |route: &PlannedRoute| {
            route.protocol != ListenerProtocol::Tcp && route.ways.iter().any(|way| way.target.is_at(address))
        };
        self.services.iter().find(|service| service.routes.iter().any(is_there))
    }

    /// The route for a redirected connection: by the address of a target, else by the port if only one service has it.
    pub(crate) fn tcp_route_to(&self, address: SocketAddr) -> Option<(&PlannedRoute, &Arc<Target>)> {
        let routes = || self.services.iter().filter_map(|service| service.tcp_route(Some(address.port())));
        let by_address = routes().find_map(|route| {
            let target = route.ways.iter().map(|way| &way.target).find(|target| target.is_at(address))?;
            Some((route, target))
        });
        by_address.or_else(|| {
            let mut routes = routes();
            let (route, None) = (routes.next()?, routes.next()) else { return None };
            Some((route, &route.way()?.target))
        })
    }
}

impl PlannedRoute {
    fn new(route: &Route, target: &mut impl FnMut(&tripline_mesh::WeightedTarget) -> Option<Arc<Target>>) -> Self {
        let weighted = route.targets.iter().filter(|weighted| weighted.weight > 0);
        let way = |weighted: &tripline_mesh::WeightedTarget| {
            let target = target(weighted)?;
            Some(Way { weight: weighted.weight, guard: target.route_guard(&route.name), target })
        };
        let ways: Vec<Way> = weighted.filter_map(way).collect();
        Self {
            takes_all: route.matches == RouteMatch::prefix("/"),
            protocol: route.protocol,
            matches: route.matches.clone(),
            weights: ways.iter().map(|way| way.weight).sum(),
            ways,
            per_request: route.timeouts.per_request,
            idle: route.timeouts.idle,
            retry: route.retry.clone().filter(|retry| retry.max_retries > 0),
        }
    }

    fn outside() -> Self {
        let timeouts = Timeouts::default_for(ListenerProtocol::Http);
        Self {
            matches: RouteMatch::prefix("/"),
            takes_all: true,
            protocol: ListenerProtocol::Http,
            ways: Vec::new(),
            weights: 0,
            per_request: timeouts.per_request,
            idle: timeouts.idle,
            retry: None,
        }
    }

    /// The target for one request, drawn by weight.
    pub(crate) fn way(&self) -> Option<&Way> {
        if let [only] = self.ways.as_slice() {
            return Some(only);
        }
        self.way_at(rand::random_range(0..self.weights.max(1)))
    }

    fn way_at(&self, mut number: u32) -> Option<&Way> {
        for way in &self.ways {
            if number < way.weight {
                return Some(way);
            }
            number -= way.weight;
        }
        None
    }
}

/// Whether a status is one that the policy tries again.
pub(crate) fn retries_status(policy: &RetryPolicy, status: u16) -> bool {
    policy.http_retry_events.iter().any(|event| event.covers(status))
}

/// Whether a status of gRPC is one that the policy tries again.
pub(crate) fn retries_code(policy: &RetryPolicy, code: u8) -> bool {
    policy.grpc_retry_events.iter().any(|event| event.status() == u32::from(code))
}

/// Whether a broken connection is something that the policy tries again; a request that never arrived always may be.
pub(crate) fn retries_connection(policy: &RetryPolicy) -> bool {
    !policy.tcp_retry_events.is_empty() || policy.http_retry_events.contains(&HttpRetryEvent::StreamError)
}

fn tcp_ports(service: &OutboundService) -> Vec<u16> {
    let tcp = service.ports.iter().filter(|mapping| mapping.protocol == ListenerProtocol::Tcp);
    tcp.map(|mapping| mapping.port).collect()
}

/// A request's head as routes and policies look at it.
pub(crate) struct Head<'a> {
    /// Its head.
    pub(crate) parts: &'a Parts,
    /// What it names in Host.
    pub(crate) host: &'a str,
}

impl RequestHead for Head<'_> {
    fn method(&self) -> &str {
        self.parts.method.as_str()
    }

    fn path(&self) -> &str {
        self.parts.uri.path()
    }

    fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut values = self.parts.headers.get_all(name).iter();
        let first = values.next()?.to_str().ok()?;
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        let mut joined = first.to_owned();
        for value in std::iter::once(second).chain(values) {
            joined.push(',');
            joined.push_str(value.to_str().ok()?);
        }
        Some(Cow::Owned(joined))
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn port(&self) -> Option<u16> {
        self.host.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
    }
}

/// A host without its port.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // A colon in brackets belongs to an IPv6 address.
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use tripline_mesh::{DiscoveryKind, EgressFilter, WeightedTarget};
    use tripline_model::ServiceName;

    use super::*;
    use crate::events::Events;

    fn target(name: &str, weight: u32) -> WeightedTarget {
        WeightedTarget {
            node: ServiceName::new("shop", name),
            weight,
            hostname: "127.0.0.1".into(),
            port: 80,
            discovery: DiscoveryKind::LoadBalancer,
            protocol: ListenerProtocol::Http,
            outlier_detection: None,
            tls: None,
            connection_pool: None,
            per_request: None,
            policy: None,
        }
    }

    fn route(prefix: &str, targets: Vec<WeightedTarget>) -> Route {
        Route {
            name: prefix.into(),
            protocol: ListenerProtocol::Http,
            matches: RouteMatch::prefix(prefix),
            targets,
            timeouts: Timeouts::default_for(ListenerProtocol::Http),
            retry: None,
        }
    }

    fn directory(routes: Vec<Route>) -> Directory {
        let service = OutboundService {
            id: ServiceName::new("shop", "checkout"),
            hosts: vec!["checkout.shop.local".into(), "checkout".into()],
            ports: Vec::new(),
            routes,
        };
        let config = NodeConfig {
            service: ServiceName::new("shop", "web"),
            mesh: "shop".into(),
            egress: EgressFilter::DropAll,
            listeners: Vec::new(),
            entries: None,
            services: vec![service],
            policies: tripline_mesh::NodePolicies::default(),
            access_log: None,
        };
        let mesh_hosts = ["checkout".to_owned(), "search".to_owned()].into_iter();
        Directory::new(&config, mesh_hosts, |weighted| Some(Arc::new(Target::new(0, weighted, 1, Events::for_test()))))
    }

    fn parts(path: &str) -> Parts {
        http::Request::get(path).body(()).unwrap().into_parts().0
    }

    #[test]
    fn hosts_are_found_whatever_their_case_port_or_last_dot() {
        let directory = directory(Vec::new());
        for host in ["checkout", "CHECKOUT.shop.local", "checkout:8080", "checkout.shop.local.:80"] {
            assert!(matches!(directory.find(host), Lookup::Service(_)), "{host}");
        }
        assert!(matches!(directory.find("search:80"), Lookup::NotABackend));
        assert!(matches!(directory.find("example.com"), Lookup::Unknown));
        assert_eq!(directory.known(), "checkout.shop.local");
    }

    #[test]
    fn the_first_route_that_matches_wins() {
        let routes = vec![route("/pay", vec![target("payments", 1)]), route("/", vec![target("checkout", 1)])];
        let directory = directory(routes);
        let Lookup::Service(service) = directory.find("checkout") else { panic!("unknown") };
        for (path, name) in [("/pay/1", "payments"), ("/", "checkout"), ("/p?q=/pay", "checkout")] {
            let route = service.route(&parts(path), "checkout").unwrap();
            assert_eq!(route.way().unwrap().target.server.name(), name, "{path}");
        }
    }

    #[test]
    fn a_field_that_comes_several_times_is_one_value_with_commas() {
        let request = http::Request::get("/").header("x", "a").header("y", "1").header("x", "b, c");
        let parts = request.body(()).unwrap().into_parts().0;
        let head = Head { parts: &parts, host: "" };
        assert_eq!((head.header("x").as_deref(), head.header("y").as_deref()), (Some("a,b, c"), Some("1")));
        assert_eq!(head.header("z"), None);
    }

    #[test]
    fn targets_are_drawn_by_weight() {
        let directory = directory(vec![route("/", vec![target("a", 9), target("none", 0), target("b", 1)])]);
        let Lookup::Service(service) = directory.find("checkout") else { panic!("unknown") };
        let route = service.route(&parts("/"), "checkout").unwrap();
        let names: Vec<&str> = (0..10).filter_map(|n| route.way_at(n)).map(|way| way.target.server.name()).collect();
        assert_eq!(names, ["a", "a", "a", "a", "a", "a", "a", "a", "a", "b"]);
    }
}
