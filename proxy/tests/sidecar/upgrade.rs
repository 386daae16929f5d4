//! WebSocket through two sidecars with a real client, over HTTP/1.1 and HTTP/2, and what must not pass as an upgrade.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tripline_model::Reporter;

use crate::harness::certificates::Authority;
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
                    repeat(tokio_tungstenite::accept_async(stream).await.unwrap()).await;
                });
            }
        });
    });
    address
}

/// Answers each message with itself.
async fn repeat(mut socket: WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>) {
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// The same over HTTP/2: it takes extended CONNECT, or says that it does not.
fn echo_http2(takes_tunnels: bool) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                if takes_tunnels {
                    server.enable_connect_protocol();
                }
                tokio::spawn(server.serve_connection(TokioIo::new(stream), hyper::service::service_fn(talk)));
            }
        });
    });
    address
}

async fn talk(mut request: Request<Incoming>) -> hyper::Result<Response<Empty<Bytes>>> {
    let protocol = request.extensions().get::<Protocol>().map(|protocol| protocol.as_ref().to_vec());
    if (request.method(), protocol.as_deref()) != (&Method::CONNECT, Some(b"websocket")) {
        return Ok(Response::builder().status(400).body(Empty::new()).unwrap());
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgrade.await.unwrap());
        repeat(WebSocketStream::from_raw_socket(io, Role::Server, None).await).await;
    });
    Ok(Response::new(Empty::new()))
}

type Http2 = SendRequest<Empty<Bytes>>;

/// A connection of HTTP/2 whose other end has said that it takes extended CONNECT.
async fn http2(address: SocketAddr) -> Http2 {
    let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut connection, mut tell) = (std::pin::pin!(connection), Some(tell));
        let mut look = tokio::time::interval(std::time::Duration::from_millis(2));
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = look.tick(), if tell.is_some() => if connection.is_extended_connect_protocol_enabled() {
                    let _ = tell.take().map(|tell| tell.send(()));
                }
            }
        }
    });
    let said = tokio::time::timeout(std::time::Duration::from_secs(10), told).await;
    said.expect("SETTINGS_ENABLE_CONNECT_PROTOCOL").unwrap();
    sender
}

/// Asks for a stream of a protocol.
async fn ask(http2: &mut Http2, protocol: &'static str) -> Response<Incoming> {
    let mut request =
        Request::connect("http://checkout/talk").header("sec-websocket-version", "13").body(Empty::new()).unwrap();
    request.extensions_mut().insert(Protocol::from_static(protocol));
    http2.send_request(request).await.unwrap()
}

fn sidecars(app: SocketAddr) -> (Collector, Running, Running) {
    sidecars_speaking(app, "http")
}

fn sidecars_speaking(app: SocketAddr, protocol: &'static str) -> (Collector, Running, Running) {
    let collector = Collector::start();
    let checkout = |port| Node { name: "checkout", port: Some(port), protocol, ..Node::default() };
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_tls_it_goes_over_a_connection_of_http_1_though_the_server_would_choose_http_2() {
    let (collector, authority) = (Collector::start(), Authority::new());
    let (_server, client) = crate::tls::mutual(echo(), &collector, &authority);
    let stream = tokio::net::TcpStream::connect(client.outbound()).await.unwrap();
    let (mut socket, response) = tokio_tungstenite::client_async("ws://checkout/talk", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    socket.send(Message::text("one")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_it_is_an_extended_connect_whatever_the_server_speaks() {
    for (app, protocol) in [(echo(), "http"), (echo_http2(true), "http2")] {
        let (collector, _server, mut client) = sidecars_speaking(app, protocol);
        let mut http2 = http2(client.outbound()).await;
        let response = ask(&mut http2, "websocket").await;
        assert_eq!((response.status(), response.headers().get("sec-websocket-accept")), (http::StatusCode::OK, None));
        let io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
        for text in ["one", &"long".repeat(50_000)] {
            socket.send(Message::text(text)).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), text, "{protocol}");
        }
        let second = ask(&mut http2, "websocket").await;
        assert_eq!(second.status(), 200, "another one beside it on the same connection");
        drop(second);
        client.begin_stop();
        socket.send(Message::text("still here")).await.unwrap();
        assert!(socket.next().await.unwrap().is_ok(), "draining waits for it");
        socket.close(None).await.unwrap();
        while socket.next().await.is_some() {}
        drop((socket, http2));
        for reporter in [Reporter::Client, Reporter::Server] {
            let counts = collector.edge_with(EDGE, reporter, 2);
            assert_eq!((counts.requests, counts.attempts), (2, 2), "{protocol} {reporter:?}");
            assert!(counts.request_bytes > 200_000 && counts.response_bytes > 200_000, "{protocol} {counts:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_of_http_1_reaches_a_server_of_http_2_as_an_extended_connect() {
    let (_collector, _server, client) = sidecars_speaking(echo_http2(true), "http2");
    let stream = tokio::net::TcpStream::connect(client.outbound()).await.unwrap();
    // The client checks what is made of its key.
    let (mut socket, response) = tokio_tungstenite::client_async("ws://checkout/talk", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    for text in ["one", &"long".repeat(50_000)] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), text);
    }
    let (_collector, _server, client) = sidecars_speaking(echo_http2(false), "http2");
    let mut connection = Connection::open(client.outbound());
    connection.send("GET /talk HTTP/1.1\r\nHost: checkout\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
    connection.send("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(connection.answer().unwrap().status, 405, "the application does not take it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_an_extended_connect_is_refused_and_harms_nobody() {
    let app = App::start(|_| Reply::of(403));
    let (_collector, _server, client) = sidecars(app.address);
    let mut connection = http2(client.outbound()).await;
    assert_eq!(ask(&mut connection, "websocket").await.status(), 403, "the application's own word");
    let seen = app.seen().remove(0);
    assert_eq!((seen.line.as_str(), seen.header("upgrade")), ("GET /talk HTTP/1.1", Some("websocket")));
    assert_eq!(seen.header("sec-websocket-key").map(str::len), Some(24));
    assert_eq!(ask(&mut connection, "h2c").await.status(), 501, "no other HTTP inside");
    let plain = Request::connect("checkout:80").body(Empty::new()).unwrap();
    assert_eq!(connection.send_request(plain).await.unwrap().status(), 501, "no tunnel to anywhere");
    assert_eq!(app.seen().len(), 1);
    let (collector, _server, client) = sidecars_speaking(echo_http2(false), "http2");
    let mut connection = http2(client.outbound()).await;
    assert_eq!(ask(&mut connection, "websocket").await.status(), 405, "the application does not take it");
    assert_eq!(collector.edge_with(EDGE, Reporter::Client, 1).failed, 0);
    assert!(client.admin("/breakers").body.contains("\"trips\": 0"));
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
