//! A virtual gateway: what comes in by it goes rewritten to a service, and both sides of it are counted.

use std::net::SocketAddr;

use tripline_model::{NodeKind, Reporter};
use tripline_proxy::Settings;

use crate::harness::certificates::{Authority, listener};
use crate::harness::proxy::settings;
use crate::harness::rpc::{RpcApp, RpcClient};
use crate::harness::{App, Collector, Connection, Node, Reply, Running, dead_port, eventually, free_port, get, mesh};

const HEAD: &str = "---\napiVersion: appmesh.k8s.aws/v1beta2\n";

/// A gateway `edge` with these listeners (each a line of its own) and further lines of its spec.
fn gateway(listeners: &str, spec: &str) -> String {
    format!(
        "{HEAD}kind: VirtualGateway\nmetadata: {{ name: edge, namespace: shop }}\nspec:\n  listeners:\n{listeners}{spec}"
    )
}

const PLAIN: &str = "  - portMapping: { port: 8088, protocol: http }\n";

/// A route of it to a service; `spec` has the lines of the route and `rest` what its action says beside the target.
fn route(name: &str, matches: &str, service: &str, rest: &str) -> String {
    format!(
        "{HEAD}kind: GatewayRoute\nmetadata: {{ name: {name}, namespace: shop }}\nspec:\n  httpRoute:\n    match: {{ {matches} }}\n    action: {{ target: {{ virtualService: {{ virtualServiceRef: {{ name: {service} }} }} }}{rest} }}\n"
    )
}

fn node(name: &'static str, port: u16) -> Node {
    Node { name, port: Some(port), ..Node::default() }
}

fn edge(nodes: &[Node], documents: &[String], collector: &Collector) -> Running {
    Running::client(&(mesh(nodes) + &documents.concat()), "shop/edge", collector)
}

#[test]
fn a_request_goes_to_the_service_of_its_route_rewritten_as_app_mesh_did() {
    let (collector, web, api) = (Collector::start(), App::start(|_| Reply::of(200)), App::start(|_| Reply::of(201)));
    let documents = [
        gateway(PLAIN, ""),
        route("all", "prefix: /", "web", ""),
        route("api", "prefix: /api", "api", ", rewrite: { hostname: { defaultTargetHostname: DISABLED } }"),
        route("old", "path: { exact: /old }", "web", ", rewrite: { path: { exact: /new } }"),
        route("v2", "prefix: /v1/", "api", ", rewrite: { prefix: { value: /v2/ } }"),
        route("kept", "prefix: /kept", "web", ", rewrite: { prefix: { defaultPrefix: DISABLED } }"),
        route("host", "prefix: /, hostname: { suffix: .api.example }", "api", ""),
    ];
    let edge = edge(&[node("web", web.address.port()), node("api", api.address.port())], &documents, &collector);
    for (host, path, app, line, seen_host) in [
        ("www.example", "/a?b=c", &web, "/a?b=c", "web.shop.local"),
        ("www.example:81", "/api/orders?x", &api, "/orders?x", "www.example:81"),
        ("www.example", "/api", &api, "/", "www.example"),
        ("www.example", "/old?q=1", &web, "/new?q=1", "web.shop.local"),
        ("www.example", "/v1/x", &api, "/v2/x", "api.shop.local"),
        ("www.example", "/kept/x", &web, "/kept/x", "web.shop.local"),
        ("EU.API.example:8088", "/y", &api, "/y", "api.shop.local"),
    ] {
        let answer = get(edge.inbound(), host, path, "");
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (if app.address == web.address { 200 } else { 201 }, "hello"),
            "{host}{path}"
        );
        let seen = app.seen().pop().unwrap();
        assert_eq!((seen.path(), seen.header("host")), (line, Some(seen_host)), "{host}{path}");
        assert_eq!(seen.header("x-tripline-client"), Some("shop/edge"));
    }
}

#[test]
fn what_no_route_takes_is_not_found() {
    let (collector, web) = (Collector::start(), App::start(|_| Reply::of(200)));
    let documents = [
        gateway(PLAIN, ""),
        route("a", "prefix: /a, method: POST, headers: [ { name: x, match: { exact: y } } ]", "web", ""),
    ];
    let edge = edge(&[node("web", web.address.port())], &documents, &collector);
    for (request, status) in [
        ("GET /a HTTP/1.1\r\nHost: h\r\nx: y\r\n\r\n", 404),
        ("POST /a HTTP/1.1\r\nHost: h\r\nx: z\r\nContent-Length: 0\r\n\r\n", 404),
        ("POST /b HTTP/1.1\r\nHost: h\r\nx: y\r\nContent-Length: 0\r\n\r\n", 404),
        ("POST /a HTTP/1.1\r\nHost: web.shop.local\r\nx: y\r\nContent-Length: 2\r\n\r\nab", 200),
        ("GET / HTTP/1.1\r\nHost: web.shop.local\r\n\r\n", 404),
    ] {
        assert_eq!(crate::harness::call(edge.inbound(), request).status, status, "{request}");
    }
    assert_eq!((web.seen().len(), web.seen()[0].body.as_slice()), (1, b"ab".as_slice()));
    let answer = get(edge.inbound(), "h", "/nowhere", "");
    assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("x-tripline-")), "{answer:?}");
    eventually("the refusals in the metrics", || {
        edge.admin("/metrics").body.contains("refused_requests_total{reason=\"no_route\"} 5").then_some(())
    });
    let counts = collector.edge_with("user>shop/edge:http", Reporter::Server, 6);
    assert_eq!((counts.failed, counts.attempts), (0, 1), "what is not there is nobody's failure");
}

#[test]
fn it_is_a_gateway_in_the_graph_and_passes_failures_on() {
    let (collector, web) =
        (Collector::start(), App::start(|seen| Reply::of(if seen.path() == "/bad" { 500 } else { 200 })));
    let documents =
        [gateway(PLAIN, ""), route("all", "prefix: /", "web", ""), route("dead", "prefix: /dead", "dead", "")];
    let edge = edge(&[node("web", web.address.port()), node("dead", dead_port())], &documents, &collector);
    let liar = "x-tripline-client: shop/web\r\nx-tripline-deadline-ms: 0\r\n";
    for (path, status) in [("/", 200), ("/bad", 500), ("/dead", 503)] {
        let answer = get(edge.inbound(), "h", path, liar);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("x-tripline-error"), None);
    }
    let entry = collector.edge_with("user>shop/edge:http", Reporter::Server, 3);
    assert_eq!((entry.failed, entry.propagated_failures, entry.origin_failures), (2, 2, 0), "{entry:?}");
    assert_eq!(entry.response_bytes, 10);
    let calls = collector.edge_with("shop/edge>shop/web:http", Reporter::Client, 2);
    assert_eq!((calls.failed, calls.attempts), (1, 2));
    let kinds = collector.look(|kept| {
        let edges = kept.reports.iter().flat_map(|report| &report.edges);
        edges.map(|edge| (edge.client_kind, edge.server_kind)).collect::<std::collections::BTreeSet<_>>()
    });
    let expected = [(NodeKind::User, NodeKind::Gateway), (NodeKind::Gateway, NodeKind::Service)];
    assert_eq!(kinds, expected.into_iter().collect());
}

#[test]
fn its_listeners_have_tls_ports_and_limits_of_their_own() {
    let (collector, authority, second) = (Collector::start(), Authority::new(), free_port());
    let web = App::start(|seen| Reply::of(200).after(if seen.path() == "/slow" { 1_000 } else { 0 }));
    let certificate = authority.issue("edge", &["edge.example"]);
    let listeners = format!(
        "  - portMapping: {{ port: 8443, protocol: http }}\n{}  - portMapping: {{ port: {second}, protocol: http }}\n    connectionPool: {{ http: {{ maxConnections: 1, maxPendingRequests: 1 }} }}\n",
        listener("STRICT", &certificate, None)
    );
    let documents = [
        gateway(&listeners, ""),
        route("plain", &format!("prefix: /, port: {second}"), "web", ""),
        route("secure", "prefix: /, port: 8443", "web", ", rewrite: { prefix: { value: /secure/ } }"),
    ];
    let edge = edge(&[node("web", web.address.port())], &documents, &collector);
    let plain: SocketAddr = format!("127.0.0.1:{second}").parse().unwrap();
    assert_eq!(get(plain, "h", "/x", "").status, 200);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = runtime.block_on(secure_get(edge.inbound(), &authority));
    assert!(status.starts_with("HTTP/1.1 200 "), "{status}");
    let paths: Vec<String> = web.seen().iter().map(|seen| seen.path().to_owned()).collect();
    assert_eq!(paths, ["/x", "/secure/y"]);
    let mut calls: Vec<Connection> = (0..3).map(|_| Connection::open(plain)).collect();
    for (sent, call) in calls.iter_mut().enumerate() {
        call.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("it at the service", || (sent > 0 || web.seen().len() == 3).then_some(()));
    }
    let mut statuses: Vec<u16> = calls.iter_mut().map(|call| call.answer().unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503], "one under way, one waits, one has no place");
}

/// The first line of the answer to a GET over TLS from a caller that believes an authority.
async fn secure_get(address: SocketAddr, authority: &Authority) -> String {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let connector = crate::harness::certificates::connector(&authority.trust);
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = "edge.example".try_into().unwrap();
    let mut stream = BufReader::new(connector.connect(name, stream).await.unwrap());
    stream.write_all(b"GET /y HTTP/1.1\r\nHost: edge.example\r\n\r\n").await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_comes_in_by_its_service_and_its_status_decides() {
    let (collector, app) = (Collector::start(), RpcApp::start());
    let orders = Node { protocol: "grpc", ..node("orders", app.address.port()) };
    let route = route("rpc", "serviceName: shop.Checkout", "orders", "").replace("httpRoute", "grpcRoute");
    let listeners = "  - portMapping: { port: 8088, protocol: grpc }\n";
    let edge = edge(&[orders], &[gateway(listeners, ""), route], &collector);
    let mut client = RpcClient::connect(edge.inbound()).await;
    assert_eq!(client.call("shop.example", &[]).await.code(), Some("0"));
    assert_eq!(client.call("shop.example", &[("x-code", "14"), ("x-late", "1")]).await.code(), Some("14"));
    assert_eq!(client.call("shop.example", &[("x-code", "5")]).await.code(), Some("5"));
    let entry = collector.edge_with("user>shop/edge:grpc", Reporter::Server, 3);
    assert_eq!((entry.failed, entry.propagated_failures), (1, 1), "{entry:?}");
    assert_eq!(collector.edge_with("shop/edge>shop/orders:grpc", Reporter::Client, 3).failed, 1);
}

#[test]
fn a_gateway_reloads_its_routes_and_guards_itself_by_our_policies() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, web) = (Collector::start(), App::start(|_| Reply::of(200)));
    let path = folder.path().join("mesh.yaml");
    let documents = |prefix: &str| {
        let limit = "---\napiVersion: tripline.dev/v1\nkind: RateLimit\nmetadata: { name: l, namespace: shop }\nspec: { virtualGatewayRef: { name: edge }, match: { prefix: /limited }, requests: 1, period: { unit: s, value: 1000 } }\n";
        mesh(&[node("web", web.address.port())])
            + &gateway(PLAIN, "")
            + &route("r", &format!("prefix: {prefix}"), "web", "")
            + limit
    };
    let configuration =
        crate::harness::proxy::configuration_in(&path, &documents("/a"), "mesh/shop/virtualGateway/edge_shop");
    let edge = Running::of(&configuration, &Settings { reload: None, ..settings(&collector) });
    let status = |path: &str| get(edge.inbound(), "h", path, "").status;
    assert_eq!((status("/a"), status("/limited")), (200, 404));
    std::fs::write(&path, documents("/")).unwrap();
    assert_eq!(edge.admin_post("/reload").status, 200);
    assert_eq!((status("/b"), status("/limited")), (200, 429));
    assert!(edge.admin("/config").body.contains("\"shop/r\""), "{}", edge.admin("/config").body);
}
