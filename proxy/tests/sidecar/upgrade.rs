//! WebSocket through two sidecars with a real client, and what must not pass as an upgrade.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tripline_model::Reporter;

use crate::harness::{App, Collector, Connection, Node, Reply, Running, mesh};

const EDGE: &str = "shop/web>shop/checkout:http";

/// A WebSocket server that answers each message with itself.
fn echo() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_text() && socket.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    address
}

fn sidecars(app: SocketAddr) -> (Collector, Running, Running) {
    let collector = Collector::start();
    let checkout = |port| Node { name: "checkout", port: Some(port), ..Node::default() };
    let server = Running::server(&mesh(&[checkout(80)]), "shop/checkout", app, &collector);
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let client = Running::client(&mesh(&[web, checkout(server.inbound().port())]), "shop/web", &collector);
    (collector, server, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_and_the_whole_is_one_exchange() {
    let (collector, _server, mut client) = sidecars(echo());
    let stream = tokio::net::TcpStream::connect(client.outbound()).await.unwrap();
    let (mut socket, response) = tokio_tungstenite::client_async("ws://checkout/talk", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    for text in ["one", "two", &"long".repeat(50_000)] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), text);
    }
    client.begin_stop();
    socket.send(Message::text("still here")).await.unwrap();
    assert!(socket.next().await.unwrap().is_ok(), "draining waits for it");
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    drop(socket);
    for reporter in [Reporter::Client, Reporter::Server] {
        let counts = collector.edge_with(EDGE, reporter, 1);
        assert_eq!((counts.requests, counts.failed, counts.attempts), (1, 0, 1), "{reporter:?}");
        assert!(counts.request_bytes > 200_000 && counts.response_bytes > 200_000, "{counts:?}");
    }
}

#[test]
fn bytes_behind_a_refused_upgrade_are_no_request() {
    let app = App::start(|_| Reply::of(403));
    let (_collector, _server, client) = sidecars(app.address);
    let mut connection = Connection::open(client.outbound());
    connection.send(
        "GET /talk HTTP/1.1\r\nHost: checkout\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: checkout\r\n\r\n",
    );
    assert_eq!(connection.answer().unwrap().status, 403);
    assert!(connection.is_closed());
    let paths: Vec<String> = app.seen().iter().map(|seen| seen.path().to_owned()).collect();
    assert_eq!(paths, ["/talk"]);
    assert_eq!(app.seen()[0].header("upgrade"), Some("websocket"));
}

#[test]
fn upgrades_to_another_http_are_not_passed_on() {
    let app = App::start(|_| Reply::of(200));
    let (_collector, _server, client) = sidecars(app.address);
    let mut connection = Connection::open(client.outbound());
    connection.send("GET / HTTP/1.1\r\nHost: checkout\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n");
    assert_eq!(connection.answer().unwrap().status, 200);
    let seen = app.seen().remove(0);
    assert_eq!((seen.header("upgrade"), seen.header("http2-settings")), (None, None));
}

#[test]
fn a_switch_that_nobody_asked_for_is_a_bad_answer() {
    let asked = Arc::new(AtomicUsize::new(0));
    let app = App::start({
        let asked = Arc::clone(&asked);
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            Reply { body: Vec::new(), ..Reply::of(101) }
        }
    });
    let (collector, _server, client) = sidecars(app.address);
    let answer = crate::harness::get(client.outbound(), "checkout", "/", "");
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(collector.edge_with(EDGE, Reporter::Client, 1).failed, 1);
}
