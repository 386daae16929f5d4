//! Whole documents through the public interface: what a proxy gets, what is refused and in which words.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

use std::time::Duration;

use tripline_mesh::{
    ConnectionPool, DiscoveryKind, EgressFilter, HttpRetryEvent, Loaded, Mesh, NodeConfig, NodeError, OutlierDetection,
    Problems, RequestHead, Route, Source, Support, TcpRetryEvent, TextMatch, Timeouts, TlsMode,
};
use tripline_model::ServiceName;

const SHOP: &str = include_str!("../fixtures/shop.yaml");
const BROKEN: &str = include_str!("../fixtures/broken.yaml");

fn parse(text: &str) -> Result<Loaded, Problems> {
    Mesh::parse(&[Source { name: "mesh.yaml", text }])
}

fn shop() -> Loaded {
    parse(SHOP).unwrap_or_else(|problems| panic!("{problems}"))
}

fn config_of(node: &str) -> NodeConfig {
    shop().mesh.node_config(&ServiceName::from(node)).unwrap()
}

/// A mesh of the node `a` that calls the service `b`, whose documents are given.
fn calling_b(documents: &str) -> Result<Loaded, Problems> {
    let head = "apiVersion: appmesh.k8s.aws/v1beta2";
    let mut text = format!(
        "{head}\nkind: Mesh\nmetadata: {{name: m}}\n---\n{head}\nkind: VirtualNode\nmetadata: {{name: a}}\nspec:\n  \
         backends: [{{virtualService: {{virtualServiceRef: {{name: b}}}}}}]\n"
    );
    for document in documents.split("---\n") {
        text.push_str(&format!("---\n{head}\n{document}"));
    }
    parse(&text)
}

const NODE_B: &str = "kind: VirtualNode\nmetadata: {name: b}\nspec: {listeners: [{portMapping: {port: 80, protocol: \
                      http}}], serviceDiscovery: {dns: {hostname: b}}}\n";
const SERVICE_B: &str =
    "kind: VirtualService\nmetadata: {name: b}\nspec: {provider: {virtualRouter: {virtualRouterRef: {name: b}}}}\n";

/// The same with a router of these routes before node `b`.
fn routed(routes: &str) -> Result<Loaded, Problems> {
    let router = format!("kind: VirtualRouter\nmetadata: {{name: b}}\nspec:\n  routes: {routes}\n");
    calling_b(&format!("{NODE_B}---\n{SERVICE_B}---\n{router}"))
}

fn only_problem(loaded: Result<Loaded, Problems>) -> String {
    let problems = loaded.unwrap_err().problems;
    let [only] = problems.as_slice() else { panic!("{problems:#?}") };
    format!("{}: {}", only.field, only.message)
}

#[test]
fn a_proxy_gets_its_listeners_and_backends() {
    let web = config_of("shop/web");
    assert_eq!((web.mesh.as_str(), web.egress), ("shop", EgressFilter::AllowAll));
    let [listener] = web.listeners.as_slice() else { panic!("{web:?}") };
    assert_eq!(listener.timeouts, Timeouts { per_request: Some(Duration::from_secs(20)), idle: None });
    let pool = ConnectionPool { max_connections: Some(100), max_pending_requests: Some(10), max_requests: None };
    assert_eq!(listener.connection_pool, Some(pool));
    let services: Vec<String> = web.services.iter().map(|service| service.id.to_string()).collect();
    assert_eq!(services, ["shop/checkout", "shop/stock", "billing/checkout"]);
    assert_eq!(config_of("shop/stock").services, []);
}

#[test]
fn hosts_belong_to_one_service_and_the_own_namespace_wins() {
    let hosts: Vec<Vec<String>> = config_of("shop/web").services.into_iter().map(|service| service.hosts).collect();
    assert_eq!(
        hosts[0],
        ["checkout.shop.local", "checkout.shop", "checkout.shop.svc", "checkout.shop.svc.cluster.local", "checkout"]
    );
    assert_eq!(hosts[2], ["checkout.billing", "checkout.billing.svc", "checkout.billing.svc.cluster.local"]);
}

#[test]
fn a_node_as_provider_gives_one_default_route() {
    let web = config_of("shop/web");
    let [route] = web.services[1].routes.as_slice() else { panic!("{web:?}") };
    assert_eq!((route.name.as_str(), &route.matches.path), ("default", &TextMatch::Prefix("/".to_owned())));
    assert_eq!(route.timeouts.per_request, Some(Duration::from_secs(3)));
    assert_eq!((route.retry.is_none(), route.targets[0].weight, route.targets[0].port), (true, 1, 8082));
    let ports: Vec<_> = web.services[2].routes.iter().map(|route| (route.name.as_str(), route.matches.port)).collect();
    assert_eq!(ports, [("default-8081", Some(8081)), ("default-9081", Some(9081))]);
}

#[test]
fn a_router_gives_its_routes_in_the_order_they_are_tried() {
    let web = config_of("shop/web");
    let routes = &web.services[0].routes;
    assert_eq!(routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["canary", "orders", "rest"]);
    let rest = &routes[2];
    assert_eq!(rest.timeouts.per_request, Some(Duration::from_millis(2500)));
    assert_eq!(rest.timeouts.idle, Some(Duration::from_secs(300)));
    let retry = rest.retry.as_ref().unwrap();
    assert_eq!((retry.max_retries, retry.per_retry_timeout), (2, Some(Duration::from_millis(800))));
    assert_eq!(retry.http_retry_events, [HttpRetryEvent::ServerError, HttpRetryEvent::GatewayError]);
    assert_eq!(retry.tcp_retry_events, [TcpRetryEvent::ConnectionError]);
    let [first, second] = rest.targets.as_slice() else { panic!("{rest:?}") };
    let outlier = OutlierDetection {
        max_server_errors: 5,
        interval: Duration::from_secs(10),
        base_ejection: Duration::from_millis(1500),
        max_ejection_percent: 50,
    };
    assert_eq!(
        (first.weight, first.hostname.as_str(), first.outlier_detection),
        (9, "checkout-v1.local", Some(outlier))
    );
    assert_eq!((first.discovery, first.port), (DiscoveryKind::Endpoints, 8081));
    assert_eq!((second.hostname.as_str(), second.port), ("checkout-v2.shop.internal", 9081));
    assert_eq!(routes[0].timeouts.per_request, Some(Duration::from_secs(15)), "App Mesh's default");
}

struct Request(&'static str, &'static str, &'static [(&'static str, &'static str)]);

impl RequestHead for Request {
    fn method(&self) -> &str {
        self.0
    }
    fn path(&self) -> &str {
        self.1.split('?').next().unwrap_or("")
    }
    fn query(&self) -> &str {
        self.1.split_once('?').map_or("", |(_, query)| query)
    }
    fn header(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.2.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
    }
    fn scheme(&self) -> &str {
        "http"
    }
    fn port(&self) -> Option<u16> {
        None
    }
}

fn taken<'r>(routes: &'r [Route], request: &Request) -> &'r str {
    routes.iter().find(|route| route.matches.matches(request)).map_or("none", |route| route.name.as_str())
}

#[test]
fn requests_find_their_route() {
    let web = config_of("shop/web");
    let table: [(Request, &str); 6] = [
        (Request("GET", "/orders", &[]), "rest"),
        (Request("POST", "/orders/7?x=1", &[]), "orders"),
        (Request("POST", "/ordersheet", &[]), "orders"),
        (Request("GET", "/", &[("x-canary", "v2")]), "canary"),
        (Request("GET", "/", &[("x-canary", "v22")]), "rest"),
        (Request("GET", "/", &[("x-canary", "v2"), ("x-old", "1")]), "rest"),
    ];
    for (request, route) in table {
        assert_eq!(taken(&web.services[0].routes, &request), route, "{} {} {:?}", request.0, request.1, request.2);
    }
}

#[test]
fn every_condition_of_a_route_counts() {
    let targets = "action: {weightedTargets: [{virtualNodeRef: {name: b}, weight: 1}]}";
    let request = Request("GET", "/a/b?n=7&q=x", &[("tier", "gold-7"), ("age", "7")]);
    for (condition, fits) in [
        ("prefix: /a", true),
        ("prefix: /b", false),
        ("path: {exact: /a/b}", true),
        ("path: {exact: /a}", false),
        ("path: {regex: '/a/.'}", true),
        ("path: {regex: '/a'}", false),
        ("prefix: /, scheme: https", false),
        ("prefix: /, port: 1", true),
        ("prefix: /, queryParameters: [{name: q, match: {exact: x}}, {name: n}]", true),
        ("prefix: /, queryParameters: [{name: q, match: {exact: y}}]", false),
        ("prefix: /, headers: [{name: Tier, match: {prefix: gold}}, {name: tier, match: {suffix: '-7'}}]", true),
        ("prefix: /, headers: [{name: tier, match: {exact: gold}}]", false),
        ("prefix: /, headers: [{name: age, match: {range: {start: 7, end: 8}}}]", true),
        ("prefix: /, headers: [{name: age, match: {range: {start: 1, end: 7}}}]", false),
        ("prefix: /, headers: [{name: none}]", false),
        ("prefix: /, headers: [{name: none, invert: true}]", true),
        ("prefix: /, headers: [{name: tier, invert: true}]", false),
        ("prefix: /, headers: [{name: tier, invert: true, match: {exact: silver}}]", true),
        ("prefix: /, headers: [{name: tier, invert: true, match: {prefix: gold}}]", false),
        // As in Envoy: a condition on a value does not hold where there is none, inverted or not.
        ("prefix: /, headers: [{name: none, invert: true, match: {exact: silver}}]", false),
    ] {
        let loaded = routed(&format!("[{{name: r, httpRoute: {{match: {{{condition}}}, {targets}}}}}]"));
        let mesh = loaded.unwrap_or_else(|problems| panic!("{condition}: {problems}")).mesh;
        let config = mesh.node_config(&ServiceName::from("default/a")).unwrap();
        assert_eq!(taken(&config.services[0].routes, &request) == "r", fits, "{condition}");
    }
}

#[test]
fn a_broken_mesh_lists_every_problem_at_once() {
    let problems = parse(BROKEN).unwrap_err();
    let lines: Vec<String> = problems.problems.iter().map(ToString::to_string).collect();
    let expected = [
        "mesh.yaml:5: spec.egressFilter.type: expected one of ALLOW_ALL, DROP_ALL, got \"SOME\"",
        "mesh.yaml:11: spec: expected serviceDiscovery beside listeners",
        "mesh.yaml:13: spec.listeners[0].portMapping.port: expected a number in 1..=65535, got \"http\"",
        "mesh.yaml:15: spec.listeners[0].outlierDetection.maxServerErrors: expected a number in 1..=2147483647, got \"0\"",
        "mesh.yaml:15: spec.listeners[0].outlierDetection.interval.unit: expected one of s, ms, got \"min\"",
        "mesh.yaml:15: spec.listeners[0].outlierDetection.baseEjectionDuration.value: expected a number in 1..=",
        "mesh.yaml:15: spec.listeners[0].outlierDetection.maxEjectionPercent: expected a number in 0..=100, got nothing",
        "mesh.yaml:17: spec.backends[0].virtualService.virtualServiceRef: expected a virtual service of these documents, \
         shop/nowhere is not defined; it may be in a document that could not be read",
        "mesh.yaml:25: spec.listeners[0].connectionPool.grpc: expected connectionPool.http as the listener speaks http",
        "mesh.yaml:26: spec.serviceDiscovery.dns.hostname: variable ${STOCK_HOST} is not filled in",
        "mesh.yaml:28: metadata.name: expected each virtual node once, shop/stock is also in mesh.yaml:19",
        "mesh.yaml:40: spec.routes[0].httpRoute.match: expected exactly one of prefix, path, got prefix and path",
        "mesh.yaml:40: spec.routes[0].httpRoute.match.path.regex: expected a regular expression",
        "mesh.yaml:41: spec.routes[0].httpRoute.action.weightedTargets: expected a weight above 0",
        "mesh.yaml:46: not YAML",
        "mesh.yaml:47: apiVersion: expected appmesh.k8s.aws/v1beta2, got \"appmesh.k8s.aws/v1beta1\"",
    ];
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "expected {start}\n     got {line}");
    }
    assert_eq!(lines.len(), expected.len(), "{problems}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let route = |inside: &str| routed(&format!("[{{name: r, httpRoute: {inside}}}]"));
    let to_b = "action: {weightedTargets: [{virtualNodeRef: {name: b}, weight: 1}]}";
    let table = [
        (
            route(&format!("{{match: {{prefix: shop}}, {to_b}}}")),
            "spec.routes[0].httpRoute.match.prefix: expected a path that begins with /, got \"shop\"",
        ),
        (
            route(
                "{match: {prefix: /}, action: {weightedTargets: [{virtualNodeRef: {name: b}, weight: 1, port: 81}]}}",
            ),
            "spec.routes[0].httpRoute.action.weightedTargets[0].port: expected a port that virtual node default/b listens on (80)",
        ),
        (
            route("{match: {prefix: /}, action: {weightedTargets: [{virtualNodeRef: {name: a}, weight: 1}]}}"),
            "spec.routes[0].httpRoute.action.weightedTargets[0]: expected a node that can be called, virtual node default/a has no spec.listeners",
        ),
        (
            route(&format!(
                "{{match: {{prefix: /, headers: [{{name: h, match: {{range: {{start: 5, end: 5}}}}}}]}}, {to_b}}}"
            )),
            "spec.routes[0].httpRoute.match.headers[0].match.range: expected start below end (end is not included), got 5 and 5",
        ),
        (
            routed(&format!("[{{name: r, grpcRoute: {{match: {{methodName: m}}, {to_b}}}}}]")),
            "spec.routes[0].grpcRoute.match: expected serviceName beside methodName",
        ),
        (
            routed(&format!("[{{name: r, tcpRoute: {{{to_b}}}}}, {{name: r, tcpRoute: {{{to_b}}}}}]")),
            "spec.routes[1]: expected each route name once in a router, got \"r\" again",
        ),
        (
            calling_b(&format!("{NODE_B}---\n{SERVICE_B}")),
            "spec.provider.virtualRouter.virtualRouterRef: expected a virtual router of these documents, default/b is not defined",
        ),
        (
            calling_b(NODE_B),
            "spec.backends[0].virtualService.virtualServiceRef: expected a virtual service of these documents, default/b is not defined",
        ),
        (
            calling_b(&format!(
                "{NODE_B}---\nkind: VirtualService\nmetadata: {{name: b}}\nspec: {{awsName: x}}\n---\nkind: \
                 VirtualService\nmetadata: {{name: c}}\nspec: {{awsName: X}}\n"
            )),
            "spec.awsName: expected each name once, \"X\" is also in mesh.yaml:16",
        ),
        (
            calling_b(&format!(
                "{NODE_B}---\nkind: Mesh\nmetadata: {{name: second}}\n---\nkind: VirtualService\nmetadata: {{name: b}}\n"
            )),
            "kind: expected one document of kind Mesh, \"m\" is the mesh already; give the documents of one mesh only",
        ),
        (parse("a: 1\n"), ": expected at least one document of apiVersion appmesh.k8s.aws/v1beta2, got none"),
    ];
    for (loaded, problem) in table {
        assert_eq!(only_problem(loaded), problem);
    }
}

#[test]
fn exported_lists_and_foreign_documents_are_taken_as_they_come() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: appmesh.k8s.aws/v1beta2\n  kind: VirtualNode\n  \
                metadata: {name: a, namespace: n, uid: x, finalizers: [f]}\n  spec: {meshRef: {name: m, uid: y}}\n  \
                status: {conditions: []}\n- apiVersion: appmesh.k8s.aws/v1beta2\n  kind: Mesh\n  metadata: {name: \
                m}\n---\napiVersion: apps/v1\nkind: Deployment\n---\napiVersion: apps/v1\nkind: \
                Deployment\n---\napiVersion: appmesh.k8s.aws/v1beta2\nkind: BackendGroup\n";
    let loaded = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.mesh.nodes.contains_key(&ServiceName::from("n/a")));
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(warnings[0], "mesh.yaml:13: kind Deployment is not of App Mesh, passed over (and 1 more)");
    assert!(warnings[1].starts_with("mesh.yaml:19: kind BackendGroup is passed over"), "{warnings:?}");
}

#[test]
fn the_report_tells_what_becomes_of_each_field() {
    let loaded = shop();
    let fate = |field: &str| loaded.report.iter().find(|row| row.field == field).map(|row| (row.support, row.count));
    assert_eq!(fate("VirtualNode.spec.listeners[].portMapping.port"), Some((Support::Used, 5)));
    assert_eq!(fate("VirtualNode.spec.listeners[].healthCheck"), Some((Support::Ignored, 1)));
    assert_eq!(fate("VirtualNode.spec.serviceDiscovery.awsCloudMap"), Some((Support::Approximated, 1)));
    assert_eq!(fate("VirtualRouter.spec.routes[].httpRoute.match.prefix"), Some((Support::Used, 3)));
    let absent = fate("VirtualRouter.spec.routes[].httpRoute.retryPolicy, where absent");
    assert_eq!(absent, Some((Support::Approximated, 2)), "App Mesh's hidden retries are told");
    assert_eq!(fate("VirtualNode.spec.logging"), None);
}

#[test]
fn nodes_are_found_by_the_names_people_use() {
    let mesh = shop().mesh;
    for text in [
        "shop/web",
        "web",
        "web_shop",
        "mesh/shop/virtualNode/web_shop",
        "arn:aws:appmesh:r:1:mesh/shop/virtualNode/web_shop",
    ] {
        assert_eq!(mesh.find_node(text), Ok(ServiceName::from("shop/web")), "{text}");
    }
    assert!(matches!(mesh.find_node("nobody"), Err(NodeError::Unknown { .. })));
    let error = mesh.node_config(&ServiceName::from("shop/nobody")).unwrap_err();
    assert!(error.to_string().contains("shop/checkout-v1, shop/checkout-v2, shop/stock, shop/web"), "{error}");
}

#[test]
fn declared_edges_lead_to_the_nodes_behind_the_services() {
    let edges: Vec<String> =
        shop().mesh.declared_edges().iter().map(|(client, server)| format!("{client}>{server}")).collect();
    assert_eq!(edges, ["shop/web>shop/checkout-v1", "shop/web>shop/checkout-v2", "shop/web>shop/stock"]);
}

const FILES: &str = "{file: {certificateChain: /c.pem, privateKey: /c.key}}";

/// Node `a`, with what its spec says beside the backends, calls the service of node `b` with this `tls`.
fn secured(spec: &str, tls: &str) -> Result<Loaded, Problems> {
    let node = NODE_B.replace("protocol: http}", &format!("protocol: http}}, tls: {tls}"));
    let service =
        "kind: VirtualService\nmetadata: {name: b}\nspec: {provider: {virtualNode: {virtualNodeRef: {name: b}}}}\n";
    let calling = format!(
        "kind: VirtualNode\nmetadata: {{name: c}}\nspec: {{backends: [{{virtualService: {{virtualServiceRef: {{name: b}}}}}}]{spec}}}\n"
    );
    calling_b(&format!("{node}---\n{service}---\n{calling}"))
}

#[test]
fn a_policy_reaches_the_targets_and_its_absence_before_a_strict_listener_is_told() {
    let policy = format!(
        ", backendDefaults: {{clientPolicy: {{tls: {{enforce: false, certificate: {FILES}, validation: {{trust: {{file: {{certificateChain: /ca.pem}}}}, subjectAlternativeNames: {{match: {{exact: [b.example]}}}}}}}}}}}}"
    );
    let strict = format!(
        "{{mode: STRICT, certificate: {FILES}, validation: {{trust: {{file: {{certificateChain: /ca.pem}}}}}}}}"
    );
    let loaded = secured(&policy, &strict).unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(
        matches!(warnings.as_slice(), [only] if only.contains("spec.backends: default/b takes encrypted calls only")),
        "of node a alone: {warnings:?}"
    );
    let config = loaded.mesh.node_config(&ServiceName::from("default/c")).unwrap();
    let tls = config.services[0].routes[0].targets[0].tls.clone().unwrap();
    assert_eq!((tls.trust.unwrap().as_os_str(), tls.names), ("/ca.pem".as_ref(), vec!["b.example".to_owned()]));
    assert_eq!(tls.certificate.unwrap().key.as_os_str(), "/c.key");
    let listener = &loaded.mesh.node_config(&ServiceName::from("default/b")).unwrap().listeners[0];
    let listener = listener.tls.clone().unwrap();
    assert_eq!((listener.mode, listener.client_trust.is_some()), (TlsMode::Strict, true));
    let disabled = secured(&policy, &strict.replace("STRICT", "DISABLED")).unwrap();
    assert!(disabled.warnings.is_empty(), "{:?}", disabled.warnings);
    let config = disabled.mesh.node_config(&ServiceName::from("default/c")).unwrap();
    assert_eq!(config.services[0].routes[0].targets[0].tls, None, "not enforced");
}

#[test]
fn clients_certificates_under_authorities_that_cannot_be_read_are_a_problem() {
    let problem = only_problem(secured(
        "",
        &format!("{{mode: STRICT, certificate: {FILES}, validation: {{trust: {{sds: {{secretName: x}}}}}}}}"),
    ));
    assert!(problem.contains("expected tls.validation.trust.file"), "{problem}");
}
