//! Our own policies at work: who may call what, how often, what goes wrong on purpose, who answers which key.

use std::sync::atomic::Ordering;

use tripline_model::Reporter;
use tripline_proxy::Settings;

use crate::harness::mesh::policy;
use crate::harness::proxy::settings;
use crate::harness::{App, Collector, Node, Reply, Running, eventually, get, mesh};

fn checkout_with(policies: &str, app: &App, collector: &Collector) -> Running {
    let checkout = Node { name: "checkout", port: Some(80), ..Node::default() };
    Running::server(&(mesh(&[checkout]) + policies), "shop/checkout", app.address, collector)
}

fn web_with(policies: &str, app: &App, settings: &Settings) -> Running {
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(app.address.port()), ..Node::default() };
    Running::start(&(mesh(&[web, checkout]) + policies), "shop/web", settings)
}

const FROM_WEB: &str = "x-tripline-client: shop/web\r\n";
const FROM_SEARCH: &str = "x-tripline-client: shop/search\r\n";

#[test]
fn only_whom_a_policy_allows_may_call_and_denials_name_both() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let allow = policy(
        "AuthorizationPolicy",
        "checkout",
        "  rules: [ { clients: [ shop/web ], match: { prefix: /pay, method: GET } } ]\n",
    );
    let server = checkout_with(&allow, &app, &collector);
    for (path, client, status) in
        [("/pay/1", FROM_WEB, 200), ("/pay/1", FROM_SEARCH, 403), ("/refund", FROM_WEB, 403), ("/pay/1", "", 403)]
    {
        let answer = get(server.inbound(), "checkout", path, client);
        assert_eq!(answer.status, status, "{path} {client}");
        assert_eq!(answer.header("x-tripline-error"), (status == 403).then_some("denied"));
    }
    assert_eq!(app.seen().len(), 1, "what is denied never reaches the application");
    let metrics = server.admin("/metrics").body;
    let denied = |client: &str| {
        format!(
            "tripline_proxy_turned_away_requests_total{{client=\"{client}\",server=\"shop/checkout\",reason=\"denied\"}} 1"
        )
    };
    for client in ["shop/web", "shop/search", "user"] {
        assert!(metrics.contains(&denied(client)), "{client}: {metrics}");
    }
    let counts = collector.edge_with("shop/search>shop/checkout:http", Reporter::Server, 1);
    assert_eq!((counts.failed, counts.origin_failures), (0, 0), "a denial is nobody's failure");
}

#[test]
fn each_client_has_its_own_rate_and_is_told_when_to_come_back() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let limit = policy(
        "RateLimit",
        "checkout",
        "  match: { prefix: /pay }\n  requests: 2\n  period: { unit: s, value: 1000 }\n",
    );
    let server = checkout_with(&limit, &app, &collector);
    let statuses =
        |client| (0..3).map(|_| get(server.inbound(), "checkout", "/pay", client).status).collect::<Vec<_>>();
    assert_eq!((statuses(FROM_WEB), statuses(FROM_SEARCH)), (vec![200, 200, 429], vec![200, 200, 429]));
    let limited = get(server.inbound(), "checkout", "/pay", FROM_WEB);
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((400..=500).contains(&wait), "{wait} s");
    assert_eq!(get(server.inbound(), "checkout", "/list", FROM_WEB).status, 200, "another path is not limited");
    assert!(
        server
            .admin("/metrics")
            .body
            .contains("client=\"shop/search\",server=\"shop/checkout\",reason=\"rate_limited\"} 1")
    );
}

#[test]
fn an_injected_abort_is_never_taken_for_a_failure_of_the_server() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let fault = policy(
        "FaultInjection",
        "checkout",
        "  match: { headers: [ { name: x-drill } ] }\n  abort: { percent: 100, status: 418 }\n",
    );
    let client = web_with(&fault, &app, &Settings { sample_ratio: 1.0, ..settings(&collector) });
    for _ in 0..10 {
        let aborted = get(client.outbound(), "checkout", "/", "x-drill: 1\r\n");
        assert_eq!((aborted.status, aborted.header("x-tripline-fault")), (418, Some("abort")));
        assert_eq!(aborted.header("x-tripline-breaker"), Some("shop/checkout;injected;local;0"));
    }
    assert_eq!(get(client.outbound(), "checkout", "/", "").status, 200, "without the header nothing happens");
    assert_eq!(app.seen().len(), 1);
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 11);
    assert_eq!((counts.shed, counts.attempts, counts.answered_failures, counts.transport_failures), (10, 1, 0, 0));
    assert!(collector.look(|kept| kept.transitions.is_empty()), "no breaker moved");
    let spans = eventually("the spans", || collector.look(|kept| (kept.spans.len() == 11).then(|| kept.spans.clone())));
    let marked = spans.iter().filter(|span| format!("{:?}", span.attributes).contains("tripline.fault"));
    assert_eq!(marked.count(), 10);
}

#[test]
fn an_injected_delay_is_felt_by_the_caller_and_by_no_histogram() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let fault = policy(
        "FaultInjection",
        "checkout",
        "  clients: [ shop/web ]\n  delay: { percent: 100, duration: { unit: ms, value: 700 } }\n",
    );
    let client = web_with(&fault, &app, &settings(&collector));
    let begun = tokio::time::Instant::now();
    assert_eq!(get(client.outbound(), "checkout", "/", "").status, 200);
    assert!(begun.elapsed().as_millis() >= 700);
    collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 1);
    let sum = collector.look(|kept| {
        kept.reports.iter().flat_map(|r| &r.edges).map(|edge| edge.latency.sum()).sum::<std::time::Duration>()
    });
    assert!(sum.as_millis() < 700, "{sum:?}");
    assert!(client.admin("/metrics").body.contains("tripline_proxy_injected_faults_total{kind=\"delay\"} 1"));
}

#[test]
fn the_same_key_is_answered_by_the_same_endpoint() {
    let (collector, one, two) = (Collector::start(), App::start(|_| Reply::of(200)), App::start(|_| Reply::of(201)));
    let spec = format!(
        "  endpoints: [ \"{}\", \"{}\" ]\n  loadBalancing: {{ algorithm: RING_HASH, hashCookie: session }}\n",
        one.address, two.address
    );
    let client = web_with(&policy("TrafficPolicy", "checkout", &spec), &one, &settings(&collector));
    let mut by_key = Vec::new();
    for key in 0..20 {
        let ask = || get(client.outbound(), "checkout", "/", &format!("cookie: a=b; session=user{key}\r\n")).status;
        let first = ask();
        assert!((0..3).all(|_| ask() == first), "key {key}");
        by_key.push(first);
    }
    assert!(by_key.contains(&200) && by_key.contains(&201), "{by_key:?}");
}

#[test]
fn an_endpoint_that_leaves_finishes_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, slow, other) =
        (Collector::start(), App::start(|_| Reply::of(200).after(1_500)), App::start(|_| Reply::of(201)));
    let path = folder.path().join("endpoints");
    std::fs::write(&path, slow.address.to_string()).unwrap();
    let spec = format!("  endpointsFile: {}\n", path.display());
    let client = web_with(&policy("TrafficPolicy", "checkout", &spec), &slow, &settings(&collector));
    eventually("the file", || (client.admin("/readyz").status == 200).then_some(()));
    let mut under_way = crate::harness::Connection::open(client.outbound());
    under_way.send("GET / HTTP/1.1\r\nHost: checkout\r\n\r\n");
    eventually("the request at the server", || (!slow.seen().is_empty()).then_some(()));
    let new = folder.path().join("new");
    std::fs::write(&new, format!("{} # moved\n", other.address)).unwrap();
    std::fs::rename(new, &path).unwrap();
    eventually("the other endpoint", || {
        client.admin("/breakers").body.contains(&other.address.to_string()).then_some(())
    });
    assert_eq!(get(client.outbound(), "checkout", "/", "").status, 201);
    assert_eq!(under_way.answer().map(|answer| answer.status), Some(200), "finished by the endpoint that left");
    assert_eq!(slow.connections.load(Ordering::SeqCst), 1);
}
