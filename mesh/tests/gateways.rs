//! Virtual gateways through the public interface: which routes they have, what these take and what they make of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

use tripline_mesh::{HostRewrite, Loaded, Mesh, NodeConfig, PathRewrite, Problems, RequestHead, Source, Support};
use tripline_model::ServiceName;

const HEAD: &str = "---\napiVersion: appmesh.k8s.aws/v1beta2\n";

/// A service `web` and a gateway `edge` with this spec beside its listener, and these further documents.
fn mesh(spec: &str, documents: &[&str]) -> Result<Loaded, Problems> {
    let node = "kind: VirtualNode\nmetadata: {name: web, namespace: shop}\nspec: {listeners: [{portMapping: {port: 80, \
                protocol: http}}], serviceDiscovery: {dns: {hostname: web}}}\n";
    let service = "kind: VirtualService\nmetadata: {name: web, namespace: shop}\nspec: {awsName: web.shop.local, \
                   provider: {virtualNode: {virtualNodeRef: {name: web}}}}\n";
    let gateway = format!(
        "kind: VirtualGateway\nmetadata: {{name: edge, namespace: shop}}\nspec:\n  listeners: [{{portMapping: {{port: \
         8088, protocol: http}}}}]\n{spec}"
    );
    let mut text = format!("{HEAD}kind: Mesh\nmetadata: {{name: m}}\n");
    for document in [node, service, &gateway].into_iter().chain(documents.iter().copied()) {
        text += HEAD;
        text += document;
    }
    Mesh::parse(&[Source { name: "m.yaml", text: &text }])
}

/// A gateway route of this name with further metadata, `match` and, where there is one, `rewrite`.
fn route(name: &str, matches: &str, rest: &str) -> String {
    format!(
        "kind: GatewayRoute\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  httpRoute:\n    match: \
         {{{matches}}}\n    action: {{target: {{virtualService: {{virtualServiceRef: {{name: web}}}}}}{rest}}}\n"
    )
}

fn config(loaded: Result<Loaded, Problems>) -> NodeConfig {
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    loaded.mesh.node_config(&ServiceName::from("shop/edge")).unwrap()
}

fn names(config: &NodeConfig) -> Vec<&str> {
    config.entries.as_ref().unwrap().iter().map(|route| route.id.name()).collect()
}

struct Get<'a>(&'a str, Option<(&'a str, &'a str)>);

impl RequestHead for Get<'_> {
    fn method(&self) -> &str {
        "GET"
    }
    fn path(&self) -> &str {
        self.0
    }
    fn query(&self) -> &str {
        ""
    }
    fn header(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.1.filter(|(known, _)| *known == name).map(|(_, value)| value.into())
    }
    fn scheme(&self) -> &str {
        "http"
    }
    fn port(&self) -> Option<u16> {
        Some(8088)
    }
}

#[test]
fn a_gateway_is_a_member_of_the_mesh_with_the_services_of_its_routes() {
    let loaded = mesh("", &[&route("all", "prefix: /", "")]).unwrap();
    for name in ["shop/edge", "edge", "edge_shop", "mesh/m/virtualGateway/edge_shop"] {
        assert_eq!(loaded.mesh.find_node(name), Ok(ServiceName::from("shop/edge")), "{name}");
    }
    assert!(loaded.mesh.find_node("mesh/m/virtualGateway/web_shop").is_err(), "a node is no gateway");
    let edges: Vec<String> = loaded.mesh.declared_edges().iter().map(|(a, b)| format!("{a}>{b}")).collect();
    assert_eq!(edges, ["shop/edge>shop/web"]);
    let config = config(Ok(loaded.clone()));
    assert_eq!((config.services.len(), config.services[0].hosts[0].as_str()), (1, "web.shop.local"));
    assert_eq!((config.listeners[0].port, config.listeners[0].timeouts.per_request), (8088, None));
    let node = loaded.mesh.node_config(&ServiceName::from("shop/web")).unwrap();
    assert_eq!(node.entries, None, "a node is no gateway");
}

#[test]
fn routes_are_tried_by_priority_then_by_how_much_they_say() {
    let documents = [
        route("any", "prefix: /", ""),
        route("longer", "prefix: /orders", ""),
        route("host", "prefix: /, hostname: {suffix: .shop.example}", ""),
        route("exact-host", "prefix: /, hostname: {exact: www.shop.example}", ""),
        route("first", "prefix: /late", "").replace("spec:\n", "spec:\n  priority: 3\n"),
    ];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let config = config(mesh("", &documents));
    assert_eq!(names(&config), ["first", "exact-host", "host", "longer", "any"]);
    let taken = |host: &str, path: &str| {
        let routes = config.entries.as_ref().unwrap();
        routes.iter().find(|route| route.takes(host, &Get(path, None))).unwrap().id.name().to_owned()
    };
    assert_eq!(taken("www.shop.example", "/late/1"), "first");
    assert_eq!(taken("www.shop.example", "/orders"), "exact-host");
    assert_eq!(taken("api.shop.example", "/orders"), "host");
    assert_eq!(taken("other.example", "/orders"), "longer");
    assert_eq!(taken("shop.example", "/x"), "any");
}

#[test]
fn rewriting_is_on_unless_it_is_switched_off() {
    let prefix = |to: &str| PathRewrite::Prefix { from: "/orders".into(), to: to.into() };
    for (matches, rest, host, path) in [
        ("prefix: /orders", "", HostRewrite::Service, prefix("/")),
        ("prefix: /orders", ", rewrite: {prefix: {value: /v2/}}", HostRewrite::Service, prefix("/v2/")),
        ("prefix: /orders", ", rewrite: {prefix: {defaultPrefix: ENABLED}}", HostRewrite::Service, prefix("/")),
        ("prefix: /orders", ", rewrite: {prefix: {defaultPrefix: DISABLED}}", HostRewrite::Service, PathRewrite::Keep),
        ("prefix: /orders", ", rewrite: {hostname: {defaultTargetHostname: DISABLED}}", HostRewrite::Keep, prefix("/")),
        ("path: {exact: /a}", "", HostRewrite::Service, PathRewrite::Keep),
        (
            "path: {regex: \"/a.*\"}",
            ", rewrite: {path: {exact: /b}}",
            HostRewrite::Service,
            PathRewrite::Exact("/b".into()),
        ),
    ] {
        let config = config(mesh("", &[&route("r", matches, rest)]));
        let rewrite = &config.entries.unwrap()[0].rewrite;
        assert_eq!((rewrite.host, &rewrite.path), (host, &path), "{matches}{rest}");
    }
}

#[test]
fn a_grpc_route_takes_only_calls_of_its_service() {
    let grpc = route("r", "serviceName: shop.Orders, metadata: [{name: x-tier, match: {exact: gold}}]", "")
        .replace("httpRoute", "grpcRoute");
    let config = config(mesh("", &[&grpc]));
    let route = &config.entries.as_ref().unwrap()[0];
    assert_eq!(route.rewrite.path, PathRewrite::Keep);
    assert!(!route.takes("x", &Get("/shop.Orders/List", Some(("content-type", "application/grpc")))), "no metadata");
    assert!(!route.takes("x", &Get("/shop.Orders/List", Some(("x-tier", "gold")))), "no gRPC");
}

#[test]
fn a_route_belongs_to_the_gateway_that_selects_it() {
    let labelled = |name: &str, label: &str| {
        route(name, "prefix: /", "").replace("namespace: shop}", &format!("namespace: shop, labels: {{g: {label}}}}}"))
    };
    let other = "kind: VirtualGateway\nmetadata: {name: other, namespace: shop}\nspec: {listeners: [{portMapping: \
                 {port: 1, protocol: http}}], gatewayRouteSelector: {matchLabels: {g: other}}}\n";
    let spec = "  gatewayRouteSelector: {matchLabels: {g: edge}}\n";
    let (a, b, c) = (labelled("a", "edge"), labelled("b", "other"), route("c", "prefix: /", ""));
    let named = route("d", "prefix: /", "").replace("spec:\n", "spec:\n  virtualGatewayRef: {name: edge}\n");
    let loaded = mesh(spec, &[other, &a, &b, &c, &named]).unwrap();
    let warned = loaded.warnings.iter().filter(|warning| warning.message.contains("no virtual gateway selects"));
    assert_eq!(warned.count(), 1, "{:?}", loaded.warnings);
    assert_eq!(names(&config(Ok(loaded))), ["a", "d"]);
    let open = other.replace(", gatewayRouteSelector: {matchLabels: {g: other}}", "");
    let problems = mesh("", &[&open, &c]).unwrap_err().to_string();
    assert!(problems.contains("shop/edge and shop/other do; write virtualGatewayRef"), "{problems}");
}

#[test]
fn what_cannot_be_is_told() {
    for (documents, problem) in [
        (route("r", "prefix: /a, path: {exact: /b}", ""), "expected prefix or path, got both"),
        (route("r", "prefix: a", ""), "expected a path that begins with /, got \"a\""),
        (route("r", "prefix: /", ", rewrite: {path: {exact: /b}}"), "expected rewrite.prefix"),
        (route("r", "path: {exact: /a}", ", rewrite: {prefix: {value: /b/}}"), "expected rewrite.path"),
        (route("r", "prefix: /", ", rewrite: {prefix: {value: /b}}"), "begins and ends with /"),
        (route("r", "prefix: /", "").replace("name: web}", "name: nobody}"), "shop/nobody is not defined"),
        (
            route("r", "prefix: /", "").replace("httpRoute", "tcpRoute"),
            "exactly one of httpRoute, http2Route, grpcRoute",
        ),
        (
            "kind: VirtualNode\nmetadata: {name: edge, namespace: shop}\nspec: {}\n".to_owned(),
            "expected another name than that of virtual node shop/edge",
        ),
    ] {
        let problems = mesh("", &[&documents]).unwrap_err().to_string();
        assert!(problems.contains(problem), "{problem}: {problems}");
    }
    let loaded = mesh("  listeners: [{portMapping: {port: 1, protocol: tcp}}]\n", &[]);
    assert!(loaded.is_err(), "a gateway speaks no tcp");
}

#[test]
fn its_fields_are_in_the_report() {
    let spec = "  gatewayRouteSelector: {matchLabels: {}}\n  namespaceSelector: {}\n";
    let loaded = mesh(spec, &[&route("all", "prefix: /, port: 8088", ", rewrite: {prefix: {value: /}}")]).unwrap();
    let support = |field: &str| loaded.report.iter().find(|row| row.field == field).map(|row| row.support);
    for (field, expected) in [
        ("VirtualGateway.spec.listeners[].portMapping.port", Support::Used),
        ("VirtualGateway.spec.gatewayRouteSelector", Support::Approximated),
        ("VirtualGateway.spec.namespaceSelector", Support::Ignored),
        ("GatewayRoute.spec.httpRoute.match.port", Support::Used),
        ("GatewayRoute.spec.httpRoute.action.rewrite.prefix.value", Support::Used),
    ] {
        assert_eq!(support(field), Some(expected), "{field}");
    }
}
