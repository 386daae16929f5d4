//! Breakers that an operator holds, and those of routes, services and numbers of calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tripline_model::{BreakerState, TransitionReason};

use crate::harness::mesh::policy;
use crate::harness::{App, Collector, Connection, Node, Reply, Running, eventually, get, mesh};

fn web_and_checkout(port: u16, spec: &str) -> String {
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(port), ..Node::default() };
    mesh(&[web, checkout]) + &policy("TrafficPolicy", "checkout", spec)
}

#[test]
fn an_operator_holds_a_breaker_open_and_lets_it_go() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let client = Running::client(&web_and_checkout(app.address.port(), ""), "shop/web", &collector);
    let id = format!("shop/web>shop/checkout@{}", app.address);
    let path = format!("/breakers?id={}&hold=", id.replace('>', "%3E").replace('/', "%2f"));
    assert_eq!(client.admin_post(&format!("{path}open")).status, 200);
    let rejected = get(client.outbound(), "checkout", "/", "");
    let mark = format!("{id};forced;local;0");
    assert_eq!((rejected.status, rejected.header("x-tripline-breaker")), (503, Some(mark.as_str())));
    assert!(app.seen().is_empty());
    assert!(client.admin("/breakers").body.contains("\"held\": \"open\""));
    assert_eq!(client.admin_post(&format!("{path}none")).status, 200);
    for _ in 0..2 {
        assert_eq!(get(client.outbound(), "checkout", "/", "").status, 200, "probes, then traffic");
    }
    let told = eventually("three transitions", || {
        let told: Vec<_> = collector.look(|kept| kept.transitions.iter().map(|t| (t.to, t.reason)).collect());
        (told.len() == 3).then_some(told)
    });
    assert_eq!(told[0], (BreakerState::Open, TransitionReason::Forced));
    assert_eq!(told[1], (BreakerState::HalfOpen, TransitionReason::Forced));
    assert_eq!(told[2].0, BreakerState::Closed);
    for (wrong, status) in
        [("?id=x&hold=open", 404), ("?id=x&hold=ajar", 400), ("?id=x", 400), ("?id=%ff&hold=open", 400)]
    {
        assert_eq!(client.admin_post(&format!("/breakers{wrong}")).status, status, "{wrong}");
    }
}

#[test]
fn a_breaker_of_the_service_stops_all_its_endpoints() {
    let broken = Arc::new(AtomicBool::new(true));
    let app = || {
        let broken = Arc::clone(&broken);
        App::start(move |_| Reply::of(if broken.load(Ordering::SeqCst) { 500 } else { 200 }))
    };
    let (collector, one, two) = (Collector::start(), app(), app());
    let spec = format!(
        "  endpoints: [ \"{}\", \"{}\" ]\n  breakers: {{ service: {{ consecutiveFailures: 4, openTime: {{ unit: ms, value: 100 }} }} }}\n",
        one.address, two.address
    );
    let client = Running::client(&web_and_checkout(1, &spec), "shop/web", &collector);
    for _ in 0..4 {
        assert_eq!(get(client.outbound(), "checkout", "/", "").status, 500);
    }
    let rejected = get(client.outbound(), "checkout", "/", "");
    assert_eq!(rejected.header("x-tripline-breaker"), Some("shop/web>shop/checkout;consecutive_failures;remote;0"));
    broken.store(false, Ordering::SeqCst);
    eventually("closed again", || (get(client.outbound(), "checkout", "/", "").status == 200).then_some(()));
    let opened = eventually("its event", || collector.look(|kept| kept.transitions.first().cloned()));
    assert_eq!((opened.breaker.as_str(), opened.endpoint.as_str()), ("shop/web>shop/checkout", ""));
}

#[test]
fn calls_beyond_the_limit_are_rejected_at_once_and_told() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200).after(1_000)));
    let spec = "  limits: { maxConnections: 1, maxPendingRequests: 1 }\n";
    let client = Running::client(&web_and_checkout(app.address.port(), spec), "shop/web", &collector);
    let mut calls: Vec<Connection> = (0..3).map(|_| Connection::open(client.outbound())).collect();
    for (sent, call) in calls.iter_mut().enumerate() {
        call.send("GET / HTTP/1.1\r\nHost: checkout\r\n\r\n");
        if sent == 0 {
            eventually("the first at the server", || (app.seen().len() == 1).then_some(()));
        }
    }
    let answers: Vec<_> = calls.iter_mut().map(|call| call.answer().unwrap()).collect();
    let rejected: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!(rejected.len(), 1, "{answers:?}");
    assert_eq!(rejected[0].header("x-tripline-breaker"), Some("shop/web>shop/checkout#requests;concurrency;local;0"));
    assert_eq!(app.connections.load(Ordering::SeqCst), 1, "one connection, one after the other");
    let opened = eventually("its event", || collector.look(|kept| kept.transitions.first().cloned()));
    assert_eq!((opened.to, opened.reason), (BreakerState::Open, TransitionReason::Concurrency));
    let name =
        "tripline_breaker_state{breaker=\"shop/web>shop/checkout#requests\",server=\"shop/checkout\",endpoint=\"\"}";
    assert!(client.admin("/metrics").body.contains(name), "{}", client.admin("/metrics").body);
}
