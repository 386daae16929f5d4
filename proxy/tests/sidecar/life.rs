//! Starting, being looked at, and stopping.

use tripline_model::Reporter;
use tripline_proxy::{Proxy, Settings, StartError};

use crate::harness::proxy::{configuration, settings};
use crate::harness::{App, Collector, Connection, Node, Reply, Running, call, eventually, get, mesh};

fn web_and_checkout(port: u16) -> String {
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    mesh(&[web, Node { name: "checkout", port: Some(port), ..Node::default() }])
}

#[test]
fn a_taken_port_says_which_and_what_to_change() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for workers in [1, 2] {
        let settings = Settings { outbound: address, workers, ..settings(&Collector::start()) };
        let error = Proxy::bind(&configuration(&web_and_checkout(80), "shop/web"), &settings).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StartError::PortTaken { .. }), "{error:?}");
        assert!(text.contains(&address.to_string()) && text.contains("--outbound or TRIPLINE_OUTBOUND"), "{text}");
    }
}

#[test]
fn an_inbound_that_would_call_itself_is_refused() {
    let inbound = "127.0.0.1:18099".parse().unwrap();
    let settings = Settings { inbound, ..settings(&Collector::start()) };
    let error = Proxy::check(&configuration(&web_and_checkout(18099), "shop/checkout"), &settings).unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("TRIPLINE_APP"), "{error}");
}

#[test]
fn the_admin_port_shows_what_runs() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let client = Running::client(&web_and_checkout(app.address.port()), "shop/web", &collector);
    assert_eq!((client.admin("/healthz").status, client.admin("/readyz").status), (200, 200));
    assert!(client.admin("/config").body.contains("\"shop/web\""));
    assert_eq!(client.admin("/nothing").status, 404);
    assert_eq!(client.admin("/drain").status, 405);
    get(client.outbound(), "checkout", "/", "");
    get(client.outbound(), "nowhere", "/", "");
    let line = "tripline_proxy_requests_total{client=\"shop/web\",server=\"shop/checkout\",protocol=\"http\",half=\"outbound\",outcome=\"success\"} 1";
    let metrics = eventually("the count in the metrics", || {
        let metrics = client.admin("/metrics").body;
        metrics.contains(line).then_some(metrics)
    });
    assert!(metrics.contains("tripline_proxy_refused_requests_total{reason=\"unknown_host\"} 1"), "{metrics}");
    assert!(
        metrics.contains("tripline_proxy_telemetry_dropped_total{kind=\"span\",reason=\"queue_full\"} 0"),
        "{metrics}"
    );
}

#[test]
fn stopping_finishes_what_is_under_way_and_reports_it() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200).after(400)));
    let mut client = Running::client(&web_and_checkout(app.address.port()), "shop/web", &collector);
    let mut connection = Connection::open(client.outbound());
    connection.send("GET / HTTP/1.1\r\nHost: checkout\r\n\r\n");
    eventually("the request at the server", || (!app.seen().is_empty()).then_some(()));
    client.begin_stop();
    assert_eq!(connection.answer().map(|answer| answer.status), Some(200));
    assert!(connection.is_closed());
    client.stop();
    assert_eq!(collector.edge("shop/web>shop/checkout:http", Reporter::Client).requests, 1);
}

#[test]
fn an_operator_can_ask_for_the_drain() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let mut client = Running::client(&web_and_checkout(app.address.port()), "shop/web", &collector);
    let answer = call(client.admin_address(), "POST /drain HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(answer.status, 202);
    eventually("the listener to close", || std::net::TcpStream::connect(client.outbound()).is_err().then_some(()));
    client.stop();
}

#[test]
fn several_workers_share_the_port_and_the_counts() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let two = Settings { workers: 2, ..settings(&collector) };
    let mut client = Running::start(&web_and_checkout(app.address.port()), "shop/web", &two);
    for _ in 0..100 {
        assert_eq!(get(client.outbound(), "checkout", "/", "").status, 200);
    }
    client.stop();
    assert_eq!(collector.edge("shop/web>shop/checkout:http", Reporter::Client).requests, 100);
}
