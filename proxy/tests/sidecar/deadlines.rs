//! Nobody works for a caller who has left: time runs out for a request and for all calls made for it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::harness::{App, Collector, Node, Reply, Running, eventually, get, mesh};

const HALF_A_SECOND: &str = "      action: { weightedTargets: [ { virtualNodeRef: { name: checkout }, weight: 1 } ] }\n      timeout: { perRequest: { unit: ms, value: 500 } }\n";

#[test]
fn the_time_left_travels_on_through_the_application() {
    let collector = Collector::start();
    let payments = App::start(|_| Reply::of(200).after(3_000));
    let checkout = Node { name: "checkout", port: Some(80), backends: vec!["payments"], ..Node::default() };
    let payments_node = Node { name: "payments", port: Some(payments.address.port()), ..Node::default() };
    let (outbound, took) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
    let app = App::start({
        let (outbound, took) = (Arc::clone(&outbound), Arc::clone(&took));
        move |seen| {
            let trace = format!("traceparent: {}\r\n", seen.header("traceparent").unwrap());
            let begun = tokio::time::Instant::now();
            let answer = get(*outbound.get().unwrap(), "payments", "/", &trace);
            took.set((answer.status, begun.elapsed())).unwrap();
            Reply::of(if answer.status == 200 { 200 } else { 502 })
        }
    });
    let server = Running::server(&mesh(&[checkout.clone(), payments_node]), "shop/checkout", app.address, &collector);
    outbound.set(server.outbound()).unwrap();
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { port: Some(server.inbound().port()), backends: Vec::new(), route: HALF_A_SECOND, ..checkout };
    let client = Running::client(&mesh(&[web, checkout]), "shop/web", &collector);
    assert_eq!(get(client.outbound(), "checkout", "/", "").status, 504);
    let (status, waited) = eventually("the application's call", || took.get().copied());
    assert_eq!(status, 504, "payments' own limit is 15 s");
    assert!(waited < Duration::from_millis(2_500), "{waited:?}");
    let left: u64 = payments.seen()[0].header("x-tripline-deadline-ms").unwrap().parse().unwrap();
    assert!(left <= 500, "{left} ms");
}

#[test]
fn what_comes_too_late_is_not_begun_and_strangers_set_no_deadline() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let checkout = Node { name: "checkout", port: Some(80), ..Node::default() };
    let server = Running::server(&mesh(&[checkout]), "shop/checkout", app.address, &collector);
    let late = "x-tripline-client: shop/web\r\nx-tripline-deadline-ms: 0\r\n";
    assert_eq!(get(server.inbound(), "checkout", "/", late).status, 504);
    assert!(app.seen().is_empty());
    assert_eq!(get(server.inbound(), "checkout", "/", "x-tripline-deadline-ms: 0\r\n").status, 200);
    assert_eq!(app.seen()[0].header("x-tripline-deadline-ms"), None, "the application does not see it");
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let (collector, web) = (Collector::start(), Node { name: "web", backends: vec!["checkout"], ..Node::default() });
    let retrying = "      action: { weightedTargets: [ { virtualNodeRef: { name: checkout }, weight: 1 } ] }\n      retryPolicy: { maxRetries: 2, perRetryTimeout: { unit: s, value: 5 }, httpRetryEvents: [ gateway-error ] }\n";
    let app = App::start({
        let first = std::sync::atomic::AtomicBool::new(true);
        move |seen| {
            let busy = seen.path() == "/once" && first.swap(false, std::sync::atomic::Ordering::SeqCst);
            let seconds = if seen.path() == "/long" { "3600" } else { "1" };
            let status = if busy || seen.path() == "/long" { 503 } else { 200 };
            Reply { headers: vec![("retry-after", seconds.to_owned())], ..Reply::of(status) }
        }
    });
    let checkout = Node { name: "checkout", port: Some(app.address.port()), route: retrying, ..Node::default() };
    let client = Running::client(&mesh(&[web, checkout]), "shop/web", &collector);
    let begun = tokio::time::Instant::now();
    assert_eq!(get(client.outbound(), "checkout", "/once", "").status, 200);
    assert!(begun.elapsed() >= Duration::from_secs(1), "the retry waited as it was asked to");
    let begun = tokio::time::Instant::now();
    assert_eq!(get(client.outbound(), "checkout", "/long", "").status, 503);
    assert!(begun.elapsed() < Duration::from_secs(5), "a pause longer than the request has is an answer, not a wait");
}
