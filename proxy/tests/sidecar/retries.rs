//! What is tried again and what is not: nothing unasked, nothing beyond the budget.

use tripline_model::Reporter;
use tripline_proxy::Settings;

use crate::harness::mesh::policy;
use crate::harness::proxy::settings;
use crate::harness::rpc::{RpcApp, RpcClient};
use crate::harness::{App, Collector, Node, Reply, Running, dead_port, get, mesh};

const EDGE: &str = "shop/web>shop/checkout:http";
const TARGET: &str = "      action: { weightedTargets: [ { virtualNodeRef: { name: checkout }, weight: 1 } ] }\n";
const EAGER: &str = "      action: { weightedTargets: [ { virtualNodeRef: { name: checkout }, weight: 1 } ] }\n      retryPolicy: { maxRetries: 3, perRetryTimeout: { unit: s, value: 2 }, httpRetryEvents: [ server-error ] }\n";

fn documents(port: u16, route: &'static str) -> String {
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    mesh(&[web, Node { name: "checkout", port: Some(port), route, ..Node::default() }])
}

#[test]
fn app_mesh_s_hidden_retries_are_made_only_where_they_are_asked_for() {
    for (app_mesh_retries, tries) in [(false, 1), (true, 3)] {
        // A route of a router, a service without one, and a server that refuses.
        for (route, port) in [(TARGET, None), ("", None), (TARGET, Some(dead_port()))] {
            let (collector, app) =
                (Collector::start(), App::start(|seen| Reply::of(if seen.path() == "/busy" { 503 } else { 500 })));
            let port = port.unwrap_or(app.address.port());
            let settings = Settings { app_mesh_retries, ..settings(&collector) };
            let client = Running::start(&documents(port, route), "shop/web", &settings);
            assert_eq!(get(client.outbound(), "checkout", "/busy", "").status, 503);
            let counts = collector.edge_with(EDGE, Reporter::Client, 1);
            assert_eq!((counts.attempts, counts.retries), (tries, tries - 1), "{app_mesh_retries} {route}");
            if port == app.address.port() {
                assert_eq!(get(client.outbound(), "checkout", "/broken", "").status, 500);
                assert_eq!(
                    collector.edge_with(EDGE, Reporter::Client, 2).attempts,
                    tries + 1,
                    "500 was not tried again"
                );
            }
        }
    }
}

#[test]
fn a_policy_wins_over_what_was_hidden() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(500)));
    let settings = Settings { app_mesh_retries: true, ..settings(&collector) };
    let client = Running::start(&documents(app.address.port(), EAGER), "shop/web", &settings);
    assert_eq!(get(client.outbound(), "checkout", "/", "").status, 500);
    assert_eq!(collector.edge_with(EDGE, Reporter::Client, 1).attempts, 4);
}

#[test]
fn the_budget_bounds_all_retries_together_and_says_what_it_denied() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(500)));
    let rules = policy(
        "TrafficPolicy",
        "checkout",
        "  retryBudget: { percent: 0, perSecond: 1 }\n  breakers: { endpoint: { consecutiveFailures: 0, failurePercent: 0 } }\n",
    );
    let client = Running::client(&(documents(app.address.port(), EAGER) + &rules), "shop/web", &collector);
    for _ in 0..50 {
        assert_eq!(get(client.outbound(), "checkout", "/", "").status, 500);
    }
    let counts = collector.edge_with(EDGE, Reporter::Client, 50);
    // One a second over the window of ten seconds, in which fifty quick requests end.
    assert!((1..=20).contains(&counts.retries), "{counts:?}");
    assert_eq!(counts.attempts, 50 + counts.retries);
    let metrics = client.admin("/metrics").body;
    let denied = metrics.lines().find(|line| line.starts_with("tripline_proxy_denied_retries_total")).unwrap();
    assert!(denied.rsplit(' ').next().unwrap().parse::<u64>().unwrap() >= 30, "{denied}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_of_grpc_is_tried_again_when_it_comes_at_once_and_was_asked_for() {
    let (collector, app) = (Collector::start(), RpcApp::start());
    let policy = "      retryPolicy: { maxRetries: 2, perRetryTimeout: { unit: s, value: 2 }, grpcRetryEvents: [ unavailable ] }\n";
    let route = format!("{TARGET}{policy}").leak();
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout =
        Node { name: "checkout", port: Some(app.address.port()), protocol: "grpc", route, ..Node::default() };
    let documents = mesh(&[web, checkout]).replace("httpRoute", "grpcRoute").replace("{ prefix: / }", "{}");
    let client = Running::client(&documents, "shop/web", &collector);
    let mut rpc = RpcClient::connect(client.outbound()).await;
    // What is of unknown length is tried once, so the calls here have no message.
    for (fields, tries) in
        [(vec![("x-code", "14")], 3), (vec![("x-code", "13")], 1), (vec![("x-code", "14"), ("x-late", "1")], 1)]
    {
        let before = app.seen.lock().unwrap().len();
        let answer = rpc.begin("checkout", &fields, crate::harness::rpc::Frames::default()).await.unwrap();
        assert_eq!(crate::harness::rpc::read(answer).await.code(), Some(fields[0].1));
        assert_eq!(app.seen.lock().unwrap().len() - before, tries, "{fields:?}");
    }
}
