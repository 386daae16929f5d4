//! Requests reach where they should, come back whole, and are tried again as the route says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tripline_model::{NodeKind, Reporter};

use crate::harness::{App, Collector, Connection, Node, Reply, Running, call, dead_port, get, mesh};

/// One service `checkout` behind a client's sidecar, with further lines for its listener and route.
fn client_of(port: u16, route: &'static str, collector: &Collector) -> Running {
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(port), route, ..Node::default() };
    let elsewhere = Node { name: "search", port: Some(port), ..Node::default() };
    Running::client(&mesh(&[web, checkout, elsewhere]), "shop/web", collector)
}

#[test]
fn a_request_passes_both_halves_and_keeps_its_body_and_connection() {
    let collector = Collector::start();
    let app =
        App::start(|seen| Reply { headers: vec![("x-app", "1".into())], body: seen.body.clone(), ..Reply::of(201) });
    let checkout = Node { name: "checkout", port: Some(80), ..Node::default() };
    let server = Running::server(&mesh(&[checkout]), "shop/checkout", app.address, &collector);
    let client = client_of(server.inbound().port(), "", &collector);
    let mut connection = Connection::open(client.outbound());
    for _ in 0..3 {
        connection.send("POST /a?b=c HTTP/1.1\r\nHost: checkout.shop.local\r\nContent-Length: 4\r\n\r\nbody");
        let answer = connection.answer().unwrap();
        assert_eq!((answer.status, answer.body.as_str(), answer.header("x-app")), (201, "body", Some("1")));
    }
    connection.send(
        "POST /a HTTP/1.1\r\nHost: checkout\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(connection.answer().unwrap().body, "abcde");
    let seen = app.seen();
    assert_eq!((seen.len(), seen[0].path(), seen[0].header("host")), (4, "/a?b=c", Some("checkout.shop.local")));
    assert_eq!(app.connections.load(Ordering::SeqCst), 1, "connections are kept");
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Server, 4);
    assert_eq!((counts.request_bytes, counts.response_bytes), (17, 17));
}

#[test]
fn an_absolute_uri_names_the_service_as_a_proxy_expects() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let client = client_of(app.address.port(), "", &collector);
    let answer = call(client.outbound(), "GET http://checkout.shop.local/x HTTP/1.1\r\nHost: liar\r\n\r\n");
    assert_eq!(answer.status, 200);
    let seen = app.seen();
    assert_eq!((seen[0].path(), seen[0].header("host")), ("/x", Some("checkout.shop.local")));
}

#[test]
fn what_cannot_be_called_says_why() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let client = client_of(app.address.port(), "", &collector);
    let unknown = get(client.outbound(), "nowhere", "/", "");
    assert_eq!((unknown.status, unknown.header("x-tripline-error")), (404, Some("unknown_host")));
    assert!(unknown.body.contains("checkout.shop.local"), "{}", unknown.body);
    let forbidden = get(client.outbound(), "search.shop.local", "/", "");
    assert_eq!((forbidden.status, forbidden.header("x-tripline-error")), (403, Some("not_a_backend")));
    assert!(forbidden.body.contains("spec.backends"), "{}", forbidden.body);
    assert!(app.seen().is_empty());
}

#[test]
fn hosts_outside_the_mesh_are_called_where_the_mesh_allows_it() {
    let mark = "shop/a>shop/b@10.0.0.1:80;failure_ratio;remote;1";
    let (collector, app) = (
        Collector::start(),
        App::start(move |_| Reply { headers: vec![("x-tripline-breaker", mark.to_owned())], ..Reply::of(503) }),
    );
    let open = "namespaceSelector: {}, egressFilter: { type: ALLOW_ALL }";
    let mesh = mesh(&[Node { name: "web", ..Node::default() }]).replace("namespaceSelector: {}", open);
    let client = Running::client(&mesh, "shop/web", &collector);
    let answer = get(client.outbound(), &app.address.to_string(), "/", "");
    assert_eq!((answer.status, answer.header("x-tripline-breaker")), (503, None));
    assert_eq!(app.seen()[0].header("x-tripline-client"), None, "nothing of ours leaves the mesh");
    let counts = collector.edge_with("shop/web>127.0.0.1:http", Reporter::Client, 1);
    assert_eq!((counts.answered_failures, counts.induced), (1, 0), "a stranger's mark is not believed");
    let kinds: Vec<NodeKind> =
        collector.look(|kept| kept.reports.iter().flat_map(|r| &r.edges).map(|edge| edge.server_kind).collect());
    assert_eq!(kinds, [NodeKind::External]);
    let itself = get(client.outbound(), &client.outbound().to_string(), "/", "");
    assert!(itself.status == 404 && itself.body.contains("this proxy itself"), "{itself:?}");
}

#[test]
fn a_dead_server_gives_503_with_the_reason_at_once() {
    let collector = Collector::start();
    let client = client_of(dead_port(), "", &collector);
    let answer = get(client.outbound(), "checkout", "/", "");
    assert_eq!((answer.status, answer.header("x-tripline-error")), (503, Some("connect_refused")));
    assert!(answer.body.starts_with("shop/checkout refused"), "{}", answer.body);
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 1);
    assert_eq!((counts.failed, counts.transport_failures, counts.attempts), (1, 1, 1));
}

#[test]
fn a_hanging_server_gives_504_within_the_timeout() {
    let route = "      action: { weightedTargets: [ { virtualNodeRef: { name: checkout }, weight: 1 } ] }\n      timeout: { perRequest: { unit: ms, value: 200 } }\n";
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200).after(5_000)));
    let client = client_of(app.address.port(), route, &collector);
    let answer = get(client.outbound(), "checkout", "/", "");
    assert_eq!((answer.status, answer.header("x-tripline-error")), (504, Some("timeout")));
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 1);
    assert_eq!((counts.failed, counts.transport_failures), (1, 1));
}

const RETRY: &str = "      action: { weightedTargets: [ { virtualNodeRef: { name: checkout }, weight: 1 } ] }\n      retryPolicy: { maxRetries: 2, perRetryTimeout: { unit: s, value: 2 }, httpRetryEvents: [ server-error ], tcpRetryEvents: [ connection-error ] }\n";

#[test]
fn failures_are_tried_again_with_their_body() {
    let tries = AtomicUsize::new(0);
    let (collector, app) = (
        Collector::start(),
        App::start(move |_| Reply::of(if tries.fetch_add(1, Ordering::SeqCst) < 2 { 503 } else { 200 })),
    );
    let client = client_of(app.address.port(), RETRY, &collector);
    let answer = call(client.outbound(), "POST / HTTP/1.1\r\nHost: checkout\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(answer.status, 200);
    let bodies: Vec<Vec<u8>> = app.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"body", b"body", b"body"]);
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 1);
    assert_eq!((counts.attempts, counts.retries, counts.answered_failures, counts.failed), (3, 2, 2, 0));
}

#[test]
fn a_body_without_a_length_is_tried_once() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(503)));
    let client = client_of(app.address.port(), RETRY, &collector);
    let chunked = "POST / HTTP/1.1\r\nHost: checkout\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(call(client.outbound(), chunked).status, 503);
    assert_eq!(app.seen().len(), 1);
}

#[test]
fn an_answer_that_breaks_off_is_a_failure() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply { cut: Some(2), ..Reply::of(200) }));
    let client = client_of(app.address.port(), "", &collector);
    assert_eq!(get(client.outbound(), "checkout", "/", "").status, 0, "not a whole answer");
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 1);
    assert_eq!((counts.failed, counts.transport_failures, counts.cancelled), (1, 1, 0));
}

#[test]
fn an_idle_connection_that_the_server_closed_costs_no_request() {
    let collector = Collector::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Answers one request a connection, keeps it open a moment, then closes.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            use std::io::{Read, Write};
            let mut stream = stream;
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            drop(stream);
        }
    });
    let client = client_of(port, "", &collector);
    let mut connection = Connection::open(client.outbound());
    for _ in 0..20 {
        connection.send("GET / HTTP/1.1\r\nHost: checkout\r\n\r\n");
        assert_eq!(connection.answer().unwrap().status, 200);
        pause(Duration::from_millis(2));
    }
}

#[expect(clippy::disallowed_methods, reason = "the server's close must have arrived")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
