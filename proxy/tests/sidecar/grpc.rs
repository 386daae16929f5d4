//! gRPC through two sidecars: messages as they come, trailers, statuses, breakers, cancelled streams.

use std::sync::atomic::Ordering;

use http_body::Frame;
use http_body_util::BodyExt as _;
use tripline_model::{BreakerState, Reporter, TransitionReason};

use crate::harness::rpc::{RpcApp, RpcClient, body, message, read};
use crate::harness::{Collector, Node, Running, dead_port, eventually, get, mesh};

const EDGE: &str = "shop/web>shop/checkout:grpc";

struct World {
    collector: Collector,
    app: RpcApp,
    server: Running,
    client: Running,
}

fn checkout(port: u16) -> Node {
    Node { name: "checkout", port: Some(port), protocol: "grpc", ..Node::default() }
}

fn web() -> Node {
    Node { name: "web", backends: vec!["checkout"], ..Node::default() }
}

/// `web` calls `checkout`, each behind a sidecar.
fn world() -> World {
    let (collector, app) = (Collector::start(), RpcApp::start());
    let server = Running::server(&mesh(&[checkout(80)]), "shop/checkout", app.address, &collector);
    let client = Running::client(&mesh(&[web(), checkout(server.inbound().port())]), "shop/web", &collector);
    World { collector, app, server, client }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_passes_with_its_trailers_and_is_counted_by_both_sides() {
    let world = world();
    let mut client = RpcClient::connect(world.client.outbound()).await;
    let answer = client.call("checkout", &[]).await;
    assert_eq!((answer.status, answer.code(), &answer.body), (200, Some("0"), &message("hello")));
    assert_eq!(answer.trailers["x-checksum"], "42");
    let seen = world.app.seen.lock().unwrap().remove(0);
    assert_eq!((&seen["x-path"], &seen["te"]), (&"/shop.Checkout/Pay".parse().unwrap(), &"trailers".parse().unwrap()));
    assert_eq!(seen.get("x-tripline-client"), None, "what sidecars tell each other stays between them");
    for reporter in [Reporter::Client, Reporter::Server] {
        let counts = world.collector.edge_with(EDGE, reporter, 1);
        assert_eq!((counts.failed, counts.attempts, counts.request_bytes, counts.response_bytes), (0, 1, 8, 10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_both_ways_while_the_call_goes_on() {
    let world = world();
    let mut client = RpcClient::connect(world.client.outbound()).await;
    let (frames, outgoing) = body();
    frames.send(Frame::data(message("first"))).await.unwrap();
    let mut answer = client.begin("checkout", &[("x-echo", "1")], outgoing).await.unwrap();
    for text in ["first", "second", "third"] {
        // Each comes back before the next is sent: nothing waits for the end of anything.
        let echoed = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(echoed, message(text));
        let next = if text == "first" { "second" } else { "third" };
        if text != "third" {
            frames.send(Frame::data(message(next))).await.unwrap();
        }
    }
    drop(frames);
    assert_eq!(read(answer).await.code(), Some("0"));
    let counts = world.collector.edge_with(EDGE, Reporter::Client, 1);
    assert_eq!((counts.failed, counts.cancelled, counts.request_bytes), (0, 0, 31));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_many_clients_share_one_connection_between_the_sidecars() {
    let world = world();
    let calls = (0..40).map(|_| {
        let address = world.client.outbound();
        tokio::spawn(
            async move { RpcClient::connect(address).await.call("checkout", &[]).await.code().map(str::to_owned) },
        )
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().as_deref(), Some("0"));
    }
    assert_eq!(world.app.connections.load(Ordering::SeqCst), 1);
    let metrics = world.server.admin("/metrics").body;
    assert!(metrics.contains("tripline_proxy_connections_accepted_total{} 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_decides_wherever_it_stands_and_the_callers_own_errors_are_no_failures() {
    let world = world();
    let mut client = RpcClient::connect(world.client.outbound()).await;
    for (code, late) in [("5", false), ("5", true), ("3", false), ("16", true), ("13", false), ("2", true)] {
        let mut fields = vec![("x-code", code)];
        if late {
            fields.push(("x-late", "1"));
        }
        assert_eq!(client.call("checkout", &fields).await.code(), Some(code));
    }
    for reporter in [Reporter::Client, Reporter::Server] {
        let counts = world.collector.edge_with(EDGE, reporter, 6);
        assert_eq!((counts.failed, counts.answered_failures, counts.transport_failures), (2, 2, 0), "{reporter:?}");
        if reporter == Reporter::Server {
            assert_eq!(counts.origin_failures, 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_breaker_opens_on_late_failures_too_and_rejects_in_words_of_grpc() {
    let world = world();
    let mut client = RpcClient::connect(world.client.outbound()).await;
    for number in 0..5 {
        let late = if number % 2 == 0 { ("x-late", "1") } else { ("x-early", "1") };
        assert_eq!(client.call("checkout", &[("x-code", "14"), late]).await.code(), Some("14"));
    }
    let rejected = client.call("checkout", &[]).await;
    assert_eq!((rejected.status, rejected.code(), rejected.body.len()), (200, Some("14"), 0));
    assert_eq!(rejected.field("x-tripline-error"), Some("breaker_open"));
    let mark = rejected.field("x-tripline-breaker").unwrap();
    assert!(mark.ends_with(";consecutive_failures;remote;0"), "{mark}");
    let opened = eventually("the transition", || world.collector.look(|kept| kept.transitions.first().cloned()));
    assert_eq!((opened.to, opened.reason), (BreakerState::Open, TransitionReason::ConsecutiveFailures));
    assert_eq!(opened.last_error, "grpc_unavailable");
    let counts = world.collector.edge_with(EDGE, Reporter::Client, 6);
    assert_eq!((counts.failed, counts.shed, counts.answered_failures), (6, 1, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_in_the_answer_makes_a_failure_an_induced_one() {
    // Directly to the application: only members of the mesh may pass a mark on, and its sidecar would remove this one.
    let (collector, app) = (Collector::start(), RpcApp::start());
    let sidecar = Running::client(&mesh(&[web(), checkout(app.address.port())]), "shop/web", &collector);
    let mut client = RpcClient::connect(sidecar.outbound()).await;
    let mark = "shop/checkout>shop/payments@10.0.0.1:80;failure_ratio;remote;1";
    let answer = client.call("checkout", &[("x-code", "14"), ("x-answer-mark", mark)]).await;
    assert_eq!(answer.code(), Some("14"));
    let counts = collector.edge_with(EDGE, Reporter::Client, 1);
    assert_eq!((counts.induced, counts.answered_failures, counts.failed), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_its_caller_leaves_is_cancelled_and_the_server_hears_of_it() {
    let world = world();
    let mut client = RpcClient::connect(world.client.outbound()).await;
    let (frames, outgoing) = body();
    let mut answer = client.begin("checkout", &[("x-hang", "1")], outgoing).await.unwrap();
    assert!(answer.body_mut().frame().await.unwrap().is_ok());
    drop((answer, frames));
    for reporter in [Reporter::Client, Reporter::Server] {
        let counts = world.collector.edge_with(EDGE, reporter, 1);
        assert_eq!((counts.cancelled, counts.failed), (1, 0), "{reporter:?}");
    }
    assert_eq!(client.call("checkout", &[]).await.code(), Some("0"), "the connection lives on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_listens_the_call_fails_in_words_of_grpc() {
    let collector = Collector::start();
    let sidecar = Running::client(&mesh(&[web(), checkout(dead_port())]), "shop/web", &collector);
    let mut client = RpcClient::connect(sidecar.outbound()).await;
    let refused = client.call("checkout", &[]).await;
    assert_eq!((refused.status, refused.code()), (200, Some("14")));
    assert_eq!(refused.field("x-tripline-error"), Some("connect_refused"));
    assert_eq!(client.call("nobody", &[]).await.code(), Some("12"), "an unknown service");
    assert_eq!(collector.edge_with(EDGE, Reporter::Client, 1).transport_failures, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_declares_grpc_takes_nothing_else() {
    let world = world();
    assert_eq!(get(world.server.inbound(), "checkout", "/", "").status, 0, "HTTP/1.1 is not guessed");
    assert!(world.app.seen.lock().unwrap().is_empty());
}
