//! Each limit: what goes beyond it is refused, counted, and does no harm to others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;

use tripline_proxy::{LimitArgs, Settings};

use crate::harness::certificates::{Authority, listener};
use crate::harness::proxy::settings;
use crate::harness::{App, Collector, Connection, Node, Reply, Running, call, eventually, get, mesh};

struct World {
    app: App,
    client: Running,
}

impl World {
    fn with(limits: LimitArgs) -> Self {
        let app = App::start(|_| Reply::of(200));
        let client = client_of(app.address, limits);
        Self { app, client }
    }

    /// Whether a limit was hit so often.
    fn expect_hits(&self, limit: &str, count: u64) {
        let line = format!("tripline_proxy_limits_hit_total{{limit=\"{limit}\"}} {count}\n");
        eventually(&line, || self.client.admin("/metrics").body.contains(&line).then_some(()));
    }
}

fn client_of(server: SocketAddr, limits: LimitArgs) -> Running {
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(server.port()), ..Node::default() };
    Running::start(&mesh(&[web, checkout]), "shop/web", &Settings { limits, ..settings(&Collector::start()) })
}

const HEAD: &str = "GET / HTTP/1.1\r\nHost: checkout\r\n";

#[test]
fn too_many_and_too_long_fields() {
    let world = World::with(LimitArgs { max_headers: 20, max_head_bytes: 8_192, ..LimitArgs::default() });
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    assert_eq!(get(world.client.outbound(), "checkout", "/", &many(19)).status, 200);
    assert_eq!(get(world.client.outbound(), "checkout", "/", &many(20)).status, 431);
    assert_eq!(get(world.client.outbound(), "checkout", "/", &format!("x: {}\r\n", "y".repeat(9_000))).status, 431);
    assert_eq!(world.app.seen().len(), 1);
    world.expect_hits("head_too_large", 2);
    call(world.client.outbound(), "no http at all\r\n\r\n");
    world.expect_hits("bad_head", 1);
}

#[test]
fn slow_heads_and_idle_connections() {
    let world = World::with(LimitArgs { head_timeout_ms: 100, idle_timeout_ms: 200, ..LimitArgs::default() });
    let mut slow = Connection::open(world.client.outbound());
    slow.send(HEAD);
    let mut idle = Connection::open(world.client.outbound());
    idle.send(&format!("{HEAD}\r\n"));
    assert_eq!(idle.answer().unwrap().status, 200);
    assert!(slow.is_closed() && idle.is_closed());
    world.expect_hits("head_timeout", 1);
    world.expect_hits("idle_timeout", 1);
}

#[test]
fn slow_and_large_bodies() {
    let limits = LimitArgs { body_timeout_ms: 200, max_request_bytes: 1_000, ..LimitArgs::default() };
    let world = World::with(limits);
    let post = |fields: &str, body: &str| {
        call(world.client.outbound(), &format!("POST / HTTP/1.1\r\nHost: checkout\r\n{fields}\r\n{body}")).status
    };
    assert_eq!(post("Content-Length: 1000\r\n", &"x".repeat(1_000)), 200);
    assert_eq!(post("Content-Length: 1001\r\n", ""), 413, "the length alone tells");
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1_000));
    assert_eq!(post("Transfer-Encoding: chunked\r\n", &format!("{chunk}1\r\nx\r\n0\r\n\r\n")), 413);
    assert_eq!(post("Content-Length: 10\r\n", "x"), 408);
    world.expect_hits("body_too_large", 2);
    world.expect_hits("body_timeout", 1);
    let breakers = world.client.admin("/breakers").body;
    assert!(breakers.contains("\"trips\": 0"), "a caller's body is nobody else's failure: {breakers}");
}

#[test]
fn slow_handshakes() {
    let (authority, app) = (Authority::new(), App::start(|_| Reply::of(200)));
    let tls = listener("STRICT", &authority.issue("checkout", &["checkout"]), None);
    let checkout = Node { name: "checkout", port: Some(80), listener: tls, ..Node::default() };
    let limits = LimitArgs { handshake_timeout_ms: 100, ..LimitArgs::default() };
    let settings = Settings { limits, app: Some(app.address), ..settings(&Collector::start()) };
    let server = Running::start(&mesh(&[checkout]), "shop/checkout", &settings);
    let mut slow = Connection::open(server.inbound());
    assert!(slow.is_closed(), "without a word for too long");
    let line = "tripline_proxy_limits_hit_total{limit=\"handshake_timeout\"} 1\n";
    eventually(line, || server.admin("/metrics").body.contains(line).then_some(()));
}

#[test]
fn connections_beyond_the_limit_wait() {
    let world = World::with(LimitArgs { max_connections: 2, ..LimitArgs::default() });
    let mut first: Vec<Connection> = (0..2).map(|_| Connection::open(world.client.outbound())).collect();
    for connection in &mut first {
        connection.send(&format!("{HEAD}\r\n"));
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    let mut third = Connection::open(world.client.outbound());
    third.send(&format!("{HEAD}\r\n"));
    world.expect_hits("connections", 1);
    assert_eq!(world.app.seen().len(), 2, "the third waits");
    drop(first);
    assert_eq!(third.answer().unwrap().status, 200);
}

#[test]
fn an_old_connection_ends_with_its_next_answer() {
    let world = World::with(LimitArgs { connection_age_ms: 50, ..LimitArgs::default() });
    let mut connection = Connection::open(world.client.outbound());
    world.expect_hits("connection_age", 1);
    connection.send(&format!("{HEAD}\r\n"));
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(connection.is_closed());
}

#[test]
fn a_body_that_nobody_reads_is_never_taken_for_a_request() {
    let world = World::with(LimitArgs::default());
    let mut connection = Connection::open(world.client.outbound());
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: checkout\r\n\r\n";
    connection
        .send(&format!("POST /x HTTP/1.1\r\nHost: nowhere\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len()));
    assert_eq!(connection.answer().unwrap().status, 404);
    if !connection.was_closed() {
        connection.send(&format!("{HEAD}\r\n"));
        if let Some(answer) = connection.answer() {
            assert_eq!(answer.status, 200);
        }
    }
    assert!(world.app.seen().iter().all(|seen| seen.path() != "/smuggled"));
}

/// A server that answers each connection's first head at once and keeps what comes after it.
fn early_server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heads): (_, Arc<Mutex<Vec<String>>>) = (listener.local_addr().unwrap(), Arc::default());
    let kept = Arc::clone(&heads);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            thread::spawn(move || {
                let (mut writer, mut reader) = (stream.try_clone().unwrap(), BufReader::new(stream));
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                kept.lock().unwrap().push(line.trim_end().to_owned());
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
                writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                let _ = reader.read_to_end(&mut Vec::new());
            });
        }
    });
    (address, heads)
}

#[test]
fn a_connection_whose_request_was_not_sent_to_its_end_carries_no_other() {
    let (server, heads) = early_server();
    let client = client_of(server, LimitArgs::default());
    let mut first = Connection::open(client.outbound());
    first.send("POST /early HTTP/1.1\r\nHost: checkout\r\nContent-Length: 1000\r\n\r\nonly this much");
    assert_eq!(first.answer().unwrap().status, 200, "answered before the body was read");
    let second = get(client.outbound(), "checkout", "/second", "");
    assert_eq!(second.status, 200, "{second:?}");
    assert_eq!(*heads.lock().unwrap(), ["POST /early HTTP/1.1", "GET /second HTTP/1.1"]);
}

#[test]
fn connections_to_a_server_are_used_again_otherwise() {
    let world = World::with(LimitArgs::default());
    for _ in 0..5 {
        let request = "POST / HTTP/1.1\r\nHost: checkout\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(call(world.client.outbound(), request).status, 200);
        assert_eq!(get(world.client.outbound(), "checkout", "/", "").status, 200);
    }
    assert_eq!(world.app.connections.load(Ordering::SeqCst), 1);
}
