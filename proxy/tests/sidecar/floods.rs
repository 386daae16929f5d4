//! What a hostile client may not do with an HTTP/2 connection: each flood ends the connection and is counted, ordinary use is neither.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tripline_proxy::{LimitArgs, Settings};

use crate::harness::proxy::settings;
use crate::harness::rpc::RpcClient;
use crate::harness::{App, Collector, Node, Reply, Running, eventually, mesh};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// `:method GET`, `:scheme http`, `:path /`, `:authority checkout` (RFC 7541).
const GET_CHECKOUT: &[u8] = b"\x82\x86\x84\x41\x08checkout";
/// The same with `:method POST`.
const POST_CHECKOUT: &[u8] = b"\x83\x86\x84\x41\x08checkout";

struct World {
    app: App,
    client: Running,
}

impl World {
    fn new() -> Self {
        Self::with(LimitArgs::default(), 0)
    }

    /// With these limits, and a server that takes so many milliseconds.
    fn with(limits: LimitArgs, takes: u64) -> Self {
        let app = App::start(move |_| Reply::of(200).after(takes));
        let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
        let checkout = Node { name: "checkout", port: Some(app.address.port()), ..Node::default() };
        let settings = Settings { limits, ..settings(&Collector::start()) };
        Self { app, client: Running::start(&mesh(&[web, checkout]), "shop/web", &settings) }
    }

    fn hits(&self, limit: &str) -> u64 {
        let metrics = self.client.admin("/metrics").body;
        let line = format!("tripline_proxy_limits_hit_total{{limit=\"{limit}\"}} ");
        metrics.lines().find_map(|found| found.strip_prefix(&line)).unwrap().parse().unwrap()
    }

    /// Sends frames behind the preface and tells whether the sidecar then ends the connection; who is served goes on being served, so a
    /// ping is answered.
    async fn is_cut_off(&self, frames: Vec<u8>) -> bool {
        let mut stream = TcpStream::connect(self.client.outbound()).await.unwrap();
        stream.write_all(&[PREFACE, &EMPTY_SETTINGS].concat()).await.unwrap();
        let (mut reads, mut writes) = stream.into_split();
        // Answers are read meanwhile, or both ends would wait for the other.
        let sent = tokio::spawn(async move {
            let _ = writes.write_all(&frames).await;
            let _ = writes.write_all(&frame(6, 0, 0, b"are-you?")).await;
            writes
        });
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        let cut = loop {
            match reads.read(&mut buffer).await {
                Ok(0) | Err(_) => break true,
                Ok(length) => read.extend_from_slice(&buffer[..length]),
            }
            if read.windows(8).any(|window| window == b"are-you?") {
                break false;
            }
        };
        drop(sent.await);
        cut
    }

    /// Such a flood ends the connection and is counted under this limit, and another client is served all the same.
    async fn is_refused(&self, limit: &str, flood: Vec<u8>) {
        assert!(self.is_cut_off(flood).await, "{limit}");
        eventually(limit, || (self.hits(limit) >= 1).then_some(()));
        assert!(!self.is_cut_off(get(1)).await, "another client after {limit}");
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn get(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, GET_CHECKOUT)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, &8_u32.to_be_bytes())
}

fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| number * 2 + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordinary_use_is_no_flood() {
    let world = World::new();
    assert!(!world.is_cut_off(streams(50).flat_map(get).collect()).await, "fifty requests at once");
    let cancelled = streams(5).flat_map(|stream| [get(stream), reset(stream)].concat()).collect();
    assert!(!world.is_cut_off(cancelled).await, "a few of them cancelled");
    let probes = (0..500).flat_map(|_| frame(6, 0, 0, b"are-you!")).collect();
    assert!(!world.is_cut_off(probes).await, "some pings");
    for limit in
        ["http2_rapid_reset", "http2_error_resets", "http2_continuations", "http2_idle_frames", "http2_streams"]
    {
        assert_eq!(world.hits(limit), 0, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset() {
    // One write, so that they are there before the first is served (CVE-2023-44487).
    let rapid = streams(2_000).flat_map(|stream| [get(stream), reset(stream)].concat()).collect();
    World::new().is_refused("http2_rapid_reset", rapid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_that_the_client_makes_us_send() {
    // A window that grows beyond what there can be is an error of the stream's client; each costs us a reset (CVE-2025-8671).
    let overflow = |stream: u32| frame(8, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    let errors = streams(2_000).flat_map(|stream| [frame(1, 4, stream, GET_CHECKOUT), overflow(stream)].concat());
    World::new().is_refused("http2_error_resets", errors.collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_in_endless_pieces() {
    let world = World::new();
    // Each is a field `x` of 255 letters; the block ends at last, so that nothing but its length is wrong with it.
    let field = [b"\x00\x01x\x7f\x80\x01".as_slice(), &[b'y'; 255]].concat();
    let block = |fields: u32| {
        let begun = frame(1, 1, 1, GET_CHECKOUT);
        let more = (1..fields).flat_map(|_| frame(9, 0, 1, &field)).collect();
        [begun, more, frame(9, 4, 1, &field)].concat()
    };
    assert!(!world.is_cut_off(block(3)).await, "a block of a few pieces");
    world.is_refused("http2_continuations", block(2_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_without_content() {
    for (name, idle) in [
        ("PING", frame(6, 0, 0, b"are-you!")),
        ("SETTINGS", EMPTY_SETTINGS.to_vec()),
        ("PRIORITY", frame(2, 0, 1, &[0, 0, 0, 3, 7])),
        ("an unknown kind", frame(0xbb, 0, 0, b"")),
    ] {
        println!("{name}");
        World::new().is_refused("http2_idle_frames", idle.repeat(20_000)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_endless_crumbs() {
    for crumb in [b"x".as_slice(), b""] {
        let begun = frame(1, 4, 1, POST_CHECKOUT);
        let crumbs = frame(0, 0, 1, crumb).repeat(100_000);
        World::with(LimitArgs::default(), 3_000).is_refused("http2_small_data", [begun, crumbs].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_allowed_are_refused_one_by_one() {
    let world = World::with(LimitArgs { http2_streams: 10, ..LimitArgs::default() }, 500);
    assert!(!world.is_cut_off(streams(30).flat_map(get).collect()).await, "the others are served");
    eventually("refused streams", || (world.hits("http2_streams") == 20).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_is_asked_and_who_uses_nothing_is_told_to_go() {
    let limits = LimitArgs { http2_ping_ms: 50, http2_ping_timeout_ms: 50, ..LimitArgs::default() };
    let world = World::with(limits, 0);
    let mut silent = TcpStream::connect(world.client.outbound()).await.unwrap();
    silent.write_all(&[PREFACE, &EMPTY_SETTINGS].concat()).await.unwrap();
    assert!(silent.read_to_end(&mut Vec::new()).await.is_ok(), "closed");
    eventually("the ping without an answer", || (world.hits("http2_ping_timeout") == 1).then_some(()));
    let world = World::with(LimitArgs { idle_timeout_ms: 50, ..LimitArgs::default() }, 0);
    let _unused = RpcClient::connect(world.client.outbound()).await;
    eventually("the connection that nobody uses", || (world.hits("idle_timeout") == 1).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn larger_headers_and_more_fields_than_allowed_are_refused() {
    let world = World::with(LimitArgs { max_headers: 20, ..LimitArgs::default() }, 0);
    let mut http2 = RpcClient::connect(world.client.outbound()).await;
    let large = "x".repeat(80_000);
    let answer = http2.call("checkout", &[("x-large", &large)]).await;
    assert_eq!(answer.code(), Some("2"), "431, as gRPC says it: {answer:?}");
    let many: Vec<(&'static str, &str)> = (0..30).map(|_| ("x-many", "1")).collect();
    let answer = http2.call("checkout", &many).await;
    assert_eq!(answer.code(), Some("2"), "the same: {answer:?}");
    assert_eq!(world.hits("head_too_large"), 2);
    let huge = "x".repeat(400_000);
    let answer = http2.call("checkout", &[("x-huge", &huge)]).await;
    assert!(answer.broken || answer.status == 431, "not even kept: {answer:?}");
    assert!(world.app.seen().is_empty());
}
