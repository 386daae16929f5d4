//! HTTP/2 beside HTTP/1.1 on the same ports.

use http_body::Frame;
use tripline_model::Reporter;
use tripline_proxy::Settings;

use crate::harness::rpc::{RpcApp, RpcClient, body, message};
use crate::harness::{App, Collector, Node, Reply, Running, get, mesh};

fn client_of(app: u16, protocol: &'static str) -> (Collector, Running) {
    let collector = Collector::start();
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(app), protocol, ..Node::default() };
    let client = Running::client(&mesh(&[web, checkout]), "shop/web", &collector);
    (collector, client)
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

#[test]
fn in_plain_text_sidecars_share_one_connection_when_all_are_said_to_be_ours() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200).after(100)));
    let checkout = |port| Node { name: "checkout", port: Some(port), ..Node::default() };
    let server = Running::server(&mesh(&[checkout(80)]), "shop/checkout", app.address, &collector);
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let documents = mesh(&[web, checkout(server.inbound().port())]);
    let settings = Settings { http2_to_sidecars: true, ..crate::harness::proxy::settings(&collector) };
    let client = Running::start(&documents, "shop/web", &settings);
    let outbound = client.outbound();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..20).map(|_| scope.spawn(move || get(outbound, "checkout", "/", "").status)).collect();
        assert!(calls.into_iter().all(|call| call.join().unwrap() == 200));
    });
    let metrics = server.admin("/metrics").body;
    assert!(metrics.contains("connections_accepted_total{} 1\n"), "{metrics}");
}
