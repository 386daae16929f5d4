//! Breakers open, reject with their reason, probe and close again; and tell those further away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tripline_model::{BreakerState, FailureOrigin, Reporter, TransitionReason};

use crate::harness::{App, Collector, Node, Reply, Running, dead_port, eventually, get, mesh};

const DETECTION: &str = "    outlierDetection: { maxServerErrors: 5, interval: { unit: s, value: 10 }, baseEjectionDuration: { unit: ms, value: 300 }, maxEjectionPercent: 100 }\n";

fn web_and_checkout(port: u16) -> String {
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(port), listener: DETECTION.to_owned(), ..Node::default() };
    mesh(&[web, checkout])
}

#[test]
fn it_opens_rejects_probes_and_closes() {
    let healthy = Arc::new(AtomicBool::new(false));
    let (collector, app) = (Collector::start(), {
        let healthy = Arc::clone(&healthy);
        App::start(move |_| Reply::of(if healthy.load(Ordering::SeqCst) { 200 } else { 500 }))
    });
    let client = Running::client(&web_and_checkout(app.address.port()), "shop/web", &collector);
    for _ in 0..5 {
        assert_eq!(get(client.outbound(), "checkout", "/", "").status, 500);
    }
    let rejected = get(client.outbound(), "checkout", "/", "");
    assert_eq!((rejected.status, rejected.header("x-tripline-error")), (503, Some("breaker_open")));
    let mark = format!("shop/web>shop/checkout@{};consecutive_failures;remote;0", app.address);
    assert_eq!(rejected.header("x-tripline-breaker"), Some(mark.as_str()));
    assert_eq!(app.seen().len(), 5, "nothing leaves through an open breaker");
    let opened = eventually("the transition", || collector.look(|kept| kept.transitions.first().cloned()));
    assert_eq!((opened.to, opened.reason), (BreakerState::Open, TransitionReason::ConsecutiveFailures));
    assert_eq!((opened.window_failed, opened.last_error.as_str(), opened.sequence), (5, "500", 1));
    assert_eq!(opened.traces.len(), 3);
    healthy.store(true, Ordering::SeqCst);
    eventually("an answer again", || (get(client.outbound(), "checkout", "/", "").status == 200).then_some(()));
    eventually("closed", || (get(client.outbound(), "checkout", "/", "").status == 200).then_some(()));
    let states: Vec<BreakerState> = eventually("three transitions", || {
        let states: Vec<_> = collector.look(|kept| kept.transitions.iter().map(|t| t.to).collect());
        (states.len() == 3).then_some(states)
    });
    assert_eq!(states, [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed]);
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 8);
    assert!(counts.shed >= 1 && counts.failed == 5 + counts.shed, "{counts:?}");
    assert_eq!(counts.attempts, counts.requests - counts.shed);
}

#[test]
fn its_state_is_always_shown_also_when_closed() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let client = Running::client(&web_and_checkout(app.address.port()), "shop/web", &collector);
    let first = eventually("the first report", || collector.look(|kept| kept.reports.first().cloned()));
    assert_eq!((first.sequence, first.breakers.len()), (1, 1));
    assert_eq!(first.breakers[0].state, BreakerState::Closed);
    let line = format!(
        "tripline_breaker_state{{breaker=\"shop/web>shop/checkout@{0}\",server=\"shop/checkout\",endpoint=\"{0}\"}} 0",
        app.address
    );
    assert!(client.admin("/metrics").body.contains(&line), "{}", client.admin("/metrics").body);
    assert!(client.admin("/breakers").body.contains("\"closed\""));
}

#[test]
fn clients_further_away_learn_that_a_breaker_caused_their_failure() {
    let collector = Collector::start();
    let payments = Node { name: "payments", port: Some(dead_port()), ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(80), backends: vec!["payments"], ..Node::default() };
    let outbound = Arc::new(std::sync::OnceLock::new());
    // Passes the trace on and fails when payments does, as applications do.
    let app = App::start({
        let outbound = Arc::clone(&outbound);
        move |seen| {
            let trace = format!("traceparent: {}\r\n", seen.header("traceparent").unwrap());
            let answer = get(*outbound.get().unwrap(), "payments", "/", &trace);
            Reply::of(if answer.status == 200 { 200 } else { 502 })
        }
    });
    let server = Running::server(&mesh(&[checkout.clone(), payments]), "shop/checkout", app.address, &collector);
    outbound.set(server.outbound()).unwrap();
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { port: Some(server.inbound().port()), backends: Vec::new(), ..checkout };
    let client = Running::client(&mesh(&[web, checkout]), "shop/web", &collector);
    for _ in 0..5 {
        let answer = get(client.outbound(), "checkout", "/", "");
        assert_eq!((answer.status, answer.header("x-tripline-breaker")), (502, None), "refused, no breaker yet");
    }
    let induced = get(server.inbound(), "checkout", "/", "x-tripline-client: shop/web\r\n");
    let mark = induced.header("x-tripline-breaker").unwrap_or_default().to_owned();
    assert!(
        mark.starts_with("shop/checkout>shop/payments@") && mark.ends_with(";consecutive_failures;local;1"),
        "{mark}"
    );
    let outside = get(server.inbound(), "checkout", "/", "");
    assert_eq!((outside.status, outside.header("x-tripline-breaker")), (502, None), "the mark stays in the mesh");
    let by_server = collector.edge_with("shop/web>shop/checkout:http", Reporter::Server, 6);
    assert_eq!((by_server.propagated_failures, by_server.origin_failures), (6, 0));
    let user = collector.edge_with("user>shop/checkout:http", Reporter::Server, 1);
    assert_eq!(user.propagated_failures, 1);
    let origins = collector.look(|kept| kept.transitions.iter().map(|t| t.origin).collect::<Vec<_>>());
    assert!(origins.contains(&FailureOrigin::Local), "{origins:?}");
}

#[test]
fn the_client_counts_marked_failures_as_induced() {
    let mark = "shop/checkout>shop/payments@10.0.0.1:80;failure_ratio;remote;1";
    let (collector, app) = (
        Collector::start(),
        App::start(move |_| Reply { headers: vec![("x-tripline-breaker", mark.to_owned())], ..Reply::of(503) }),
    );
    let client = Running::client(&web_and_checkout(app.address.port()), "shop/web", &collector);
    for _ in 0..5 {
        get(client.outbound(), "checkout", "/", "");
    }
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 5);
    assert_eq!((counts.induced, counts.answered_failures), (5, 5));
    let opened = eventually("the transition", || collector.look(|kept| kept.transitions.first().cloned()));
    assert_eq!(opened.origin, FailureOrigin::Induced);
}

/// Whether the breaker has opened after answers with these statuses, in this order.
fn opens_after(statuses: &[u16]) -> bool {
    let app = App::start(|seen| Reply::of(seen.path()[1..].parse().unwrap()));
    let client = Running::client(&web_and_checkout(app.address.port()), "shop/web", &Collector::start());
    for status in statuses {
        assert_eq!(get(client.outbound(), "checkout", &format!("/{status}"), "").status, *status);
    }
    get(client.outbound(), "checkout", "/200", "").status == 503
}

#[test]
fn only_failures_of_the_server_count_and_a_429_counts_softly() {
    assert!(opens_after(&[500; 5]));
    assert!(!opens_after(&[404; 30]), "4xx are the caller's");
    assert!(!opens_after(&[429; 30]), "nothing fails while it is busy");
    assert!(!opens_after(&[500, 500, 500, 500, 404, 500]), "an answer that is none of its failures ends the run");
    assert!(opens_after(&[500, 500, 500, 500, 429, 500]), "a 429 ends no run");
}

#[test]
fn errors_of_our_own_making_are_told_from_the_servers() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(500)));
    let web = Node { name: "web", backends: vec!["checkout", "dead"], ..Node::default() };
    let nodes = [
        web,
        Node { name: "checkout", port: Some(app.address.port()), ..Node::default() },
        Node { name: "dead", port: Some(dead_port()), ..Node::default() },
    ];
    let client = Running::client(&mesh(&nodes), "shop/web", &collector);
    for _ in 0..5 {
        assert_eq!(get(client.outbound(), "checkout", "/", "").header("x-tripline-error"), None);
        assert_eq!(get(client.outbound(), "dead", "/", "").header("x-tripline-error"), Some("connect_refused"));
    }
    let answered = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 5);
    assert_eq!((answered.answered_failures, answered.transport_failures), (5, 0));
    let unanswered = collector.edge_with("shop/web>shop/dead:http", Reporter::Client, 5);
    assert_eq!((unanswered.answered_failures, unanswered.transport_failures), (0, 5));
    let told = eventually("both trips", || {
        let trips = |kept: &crate::harness::collector::Kept| {
            kept.transitions.iter().filter(|told| told.to == BreakerState::Open).cloned().collect::<Vec<_>>()
        };
        Some(collector.look(trips)).filter(|trips| trips.len() == 2)
    });
    let origin = |server: &str| told.iter().find(|trip| trip.server.name() == server).unwrap();
    assert_eq!((origin("checkout").origin, origin("checkout").last_error.as_str()), (FailureOrigin::Remote, "500"));
    assert_eq!((origin("dead").origin, origin("dead").last_error.as_str()), (FailureOrigin::Local, "connect_refused"));
}
