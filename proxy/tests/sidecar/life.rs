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
fn it_is_ready_when_every_service_has_an_endpoint_and_until_it_drains() {
    let (folder, app) = (tempfile::tempdir().unwrap(), App::start(|_| Reply::of(200).after(3_000)));
    let file = folder.path().join("endpoints");
    let documents = web_and_checkout(80)
        + &crate::harness::mesh::policy("TrafficPolicy", "checkout", &format!("  endpointsFile: {}\n", file.display()));
    let mut client = Running::client(&documents, "shop/web", &Collector::start());
    let waiting = client.admin("/readyz");
    assert_eq!(waiting.status, 503, "{waiting:?}");
    assert!(waiting.body.contains("not resolved yet"), "{waiting:?}");
    assert_eq!(client.admin("/healthz").status, 200, "alive all the same");
    std::fs::write(&file, app.address.to_string()).unwrap();
    eventually("it to be ready", || (client.admin("/readyz").status == 200).then_some(()));
    let mut under_way = Connection::open(client.outbound());
    under_way.send("GET / HTTP/1.1\r\nHost: checkout\r\n\r\n");
    eventually("the request at the server", || (!app.seen().is_empty()).then_some(()));
    assert_eq!(client.admin_post("/drain").status, 202);
    let draining = client.admin("/readyz");
    assert_eq!((draining.status, draining.body.as_str()), (503, "draining\n"));
    assert_eq!(under_way.answer().unwrap().status, 200);
    client.stop();
}

#[test]
fn changes_are_taken_from_this_machine_only() {
    let any = Settings { admin: "0.0.0.0:0".parse().unwrap(), ..settings(&Collector::start()) };
    let client = Running::start(&web_and_checkout(80), "shop/web", &any);
    // Nothing is sent: the kernel only says by which of its addresses it would go there.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("this test needs a machine with a network");
    let outside = std::net::SocketAddr::new(socket.local_addr().unwrap().ip(), client.admin_address().port());
    assert!(!outside.ip().is_loopback());
    for path in ["/drain", "/reload", "/breakers?id=x&hold=open"] {
        let post = format!("POST {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(call(outside, &post).status, 403, "{path}");
    }
    assert_eq!(get(outside, "admin", "/metrics", "").status, 200, "looking is allowed");
    assert_eq!(client.admin("/readyz").status, 200, "nothing drains");
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
