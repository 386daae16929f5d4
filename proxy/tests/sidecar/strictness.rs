//! What is no clean HTTP is refused, and nothing hostile reaches the other side.

use crate::harness::{App, Collector, Connection, Node, Reply, Running, call, mesh};

fn world() -> (Collector, App, Running) {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(app.address.port()), ..Node::default() };
    let client = Running::client(&mesh(&[web, checkout]), "shop/web", &collector);
    (collector, app, client)
}

#[test]
fn content_length_and_transfer_encoding_together_are_refused_and_the_connection_ends() {
    let (_collector, app, client) = world();
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "transfer-encoding: chunked\r\nCONTENT-LENGTH: 4\r\n",
        "Transfer-Encoding:\tchunked\r\nX: y\r\nContent-Length:0\r\n",
    ] {
        let mut connection = Connection::open(client.outbound());
        connection.send("GET /good HTTP/1.1\r\nHost: checkout\r\n\r\n");
        assert_eq!(connection.answer().unwrap().status, 200);
        connection.send(&format!("POST /bad HTTP/1.1\r\nHost: checkout\r\n{fields}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: checkout\r\n\r\n"));
        let answer = connection.answer().unwrap();
        assert_eq!((answer.status, answer.header("x-tripline-error")), (400, Some("bad_request")), "{fields}");
        assert!(connection.is_closed(), "{fields}");
    }
    let paths: Vec<String> = app.seen().iter().map(|seen| seen.path().to_owned()).collect();
    assert_eq!(paths, ["/good", "/good", "/good"]);
}

#[test]
fn pipelined_requests_are_each_judged_for_themselves() {
    let (_collector, _app, client) = world();
    let mut connection = Connection::open(client.outbound());
    let get = "GET / HTTP/1.1\r\nHost: checkout\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nHost: checkout\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let both = "POST / HTTP/1.1\r\nHost: checkout\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    connection.send(&[get, chunked, get, both].concat());
    let statuses: Vec<u16> = (0..4).map(|_| connection.answer().unwrap().status).collect();
    assert_eq!(statuses, [200, 200, 200, 400]);
}

#[test]
fn requests_that_no_server_should_see_are_refused() {
    let (_collector, app, client) = world();
    for (name, request, status) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n", 400),
        ("two hosts", "GET / HTTP/1.1\r\nHost: checkout\r\nHost: search\r\n\r\n", 400),
        ("two lengths", "POST / HTTP/1.1\r\nHost: checkout\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("space before the colon", "GET / HTTP/1.1\r\nHost : checkout\r\n\r\n", 400),
        ("a tunnel", "CONNECT checkout:80 HTTP/1.1\r\nHost: checkout\r\n\r\n", 501),
    ] {
        assert_eq!(call(client.outbound(), request).status, status, "{name}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: checkout\r\nX: {}\r\n\r\n", "y".repeat(80_000));
    assert_eq!(call(client.outbound(), &long).status, 431);
    assert!(app.seen().is_empty());
}

#[test]
fn fields_of_one_connection_and_of_ours_are_not_forwarded() {
    let (_collector, app, client) = world();
    let request = "GET / HTTP/1.1\r\nHost: checkout\r\nConnection: keep-alive, x-secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Tripline-Client: shop/liar\r\nX-Tripline-Breaker: a;b;c;0\r\nAccept: */*\r\n\r\n";
    assert_eq!(call(client.outbound(), request).status, 200);
    let seen = app.seen().remove(0);
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "host", "traceparent", "x-tripline-client"]);
    assert_eq!(seen.header("x-tripline-client"), Some("shop/web"));
}
