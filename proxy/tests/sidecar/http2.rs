//! HTTP/2 beside HTTP/1.1 on the same ports, and what a hostile client may not do with it.

use http_body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tripline_model::Reporter;

use crate::harness::rpc::{RpcApp, RpcClient, body, message};
use crate::harness::{App, Collector, Node, Reply, Running, get, mesh};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// `:method GET`, `:scheme http`, `:path /`, `:authority checkout` (RFC 7541).
const GET_CHECKOUT: &[u8] = b"\x82\x86\x84\x41\x08checkout";

fn client_of(app: u16, protocol: &'static str) -> (Collector, Running) {
    let collector = Collector::start();
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(app), protocol, ..Node::default() };
    let client = Running::client(&mesh(&[web, checkout]), "shop/web", &collector);
    (collector, client)
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_speak_http_2_to_a_server_of_http_1() {
    let app = App::start(|_| Reply::of(200));
    let (collector, client) = client_of(app.address.port(), "http");
    let mut http2 = RpcClient::connect(client.outbound()).await;
    let (frames, outgoing) = body();
    frames.send(Frame::data(message("pay"))).await.unwrap();
    drop(frames);
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("content-type", "text/plain")];
    let answer = http2.begin("checkout:81", &fields, outgoing).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = app.seen().remove(0);
    assert_eq!((seen.line.as_str(), seen.header("host")), ("POST /shop.Checkout/Pay HTTP/1.1", Some("checkout:81")));
    assert_eq!((seen.header("cookie"), seen.header("te")), (Some("a=1; b=2"), None));
    assert_eq!(collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 1).failed, 0);
}

#[test]
fn a_client_of_http_1_may_call_a_server_of_http_2() {
    let app = RpcApp::start();
    let (collector, client) = client_of(app.address.port(), "http2");
    let answer = get(client.outbound(), "checkout", "/a", "te: trailers\r\n");
    assert_eq!(answer.status, 200);
    let seen = app.seen.lock().unwrap().remove(0);
    assert_eq!((&seen["x-path"], seen.get("te")), (&"/a".parse().unwrap(), None));
    assert_eq!(collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 1).attempts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_sidecar_finishes_calls_and_takes_no_new_ones() {
    let app = RpcApp::start();
    let (_collector, mut client) = client_of(app.address.port(), "grpc");
    let mut http2 = RpcClient::connect(client.outbound()).await;
    let (frames, outgoing) = body();
    frames.send(Frame::data(message("first"))).await.unwrap();
    let answer = http2.begin("checkout", &[("x-echo", "1")], outgoing).await.unwrap();
    client.begin_stop();
    frames.send(Frame::data(message("last"))).await.unwrap();
    drop(frames);
    let answer = crate::harness::rpc::read(answer).await;
    assert_eq!((answer.code(), answer.body.len()), (Some("0"), 19));
    client.stop();
    assert!(http2.call("checkout", &[]).await.broken);
}

/// Sends bytes behind the preface and tells whether the sidecar then ends the connection with GOAWAY and closes it.
async fn is_cut_off(client: &Running, frames: impl Iterator<Item = Vec<u8>>) -> bool {
    let mut stream = TcpStream::connect(client.outbound()).await.unwrap();
    stream.write_all(&[PREFACE, &EMPTY_SETTINGS].concat()).await.unwrap();
    for frame in frames {
        if stream.write_all(&frame).await.is_err() {
            return true;
        }
    }
    // Who is served goes on being served: a ping is answered.
    let _ = stream.write_all(&frame(6, 0, 0, b"are-you?")).await;
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return true,
            Ok(length) => read.extend_from_slice(&buffer[..length]),
        }
        if read.windows(8).any(|window| window == b"are-you?") {
            return false;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_the_connection_and_ordinary_use_does_not() {
    let app = App::start(|_| Reply::of(200));
    let (_collector, client) = client_of(app.address.port(), "http");
    let get = |stream: u32| frame(1, 5, stream, GET_CHECKOUT);
    let reset = |stream: u32| frame(3, 0, stream, &8_u32.to_be_bytes());
    let streams = |count: u32| (0..count).map(|number| number * 2 + 1);
    assert!(!is_cut_off(&client, streams(50).map(get)).await, "fifty requests at once");
    let cancelled = streams(5).map(|stream| [get(stream), reset(stream)].concat());
    assert!(!is_cut_off(&client, cancelled).await, "a few of them cancelled");
    // One write, so that they are there before the first is served.
    let rapid: Vec<u8> = streams(2_000).flat_map(|stream| [get(stream), reset(stream)].concat()).collect();
    assert!(is_cut_off(&client, std::iter::once(rapid)).await, "rapid reset");
    // Each is a field `x` of 255 letters; the block ends at last, so that nothing but its length is wrong with it.
    let field = [b"\x00\x01x\x7f\x80\x01".as_slice(), &[b'y'; 255]].concat();
    let block = |fields: u32| {
        let begun = frame(1, 1, 1, GET_CHECKOUT);
        let more = (1..fields).flat_map(|_| frame(9, 0, 1, &field)).collect();
        [begun, more, frame(9, 4, 1, &field)].concat()
    };
    assert!(!is_cut_off(&client, std::iter::once(block(3))).await, "a block of a few pieces");
    assert!(is_cut_off(&client, std::iter::once(block(2_000))).await, "CONTINUATION without end");
    // A window that grows beyond what there can be is an error of the stream's client; each costs us a reset.
    let overflow = |stream: u32| frame(8, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    let errors: Vec<u8> =
        streams(2_000).flat_map(|stream| [frame(1, 4, stream, GET_CHECKOUT), overflow(stream)].concat()).collect();
    assert!(is_cut_off(&client, std::iter::once(errors)).await, "resets that it makes us send");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_and_larger_headers_than_allowed_are_refused() {
    let app = App::start(|_| Reply::of(200).after(200));
    let (_collector, client) = client_of(app.address.port(), "http");
    let mut http2 = RpcClient::connect(client.outbound()).await;
    let large = "x".repeat(80_000);
    let answer = http2.call("checkout", &[("x-large", &large)]).await;
    assert!(answer.broken || answer.status == 431, "{answer:?}");
    assert!(app.seen().is_empty());
    let mut stream = TcpStream::connect(client.outbound()).await.unwrap();
    stream.write_all(&[PREFACE, &EMPTY_SETTINGS].concat()).await.unwrap();
    let mut settings = [0; 64];
    let read = stream.read(&mut settings).await.unwrap();
    // SETTINGS_MAX_CONCURRENT_STREAMS (3) is 256.
    assert!(settings[..read].windows(6).any(|setting| setting == [0, 3, 0, 0, 1, 0]), "{:?}", &settings[..read]);
}
