//! Every request is counted exactly once, whatever ends it, and whether or not anyone listens.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use tripline_model::Reporter;

use crate::harness::proxy::settings;
use crate::harness::{App, Collector, Connection, Node, Reply, Running, dead_port, eventually, free_port, get, mesh};

fn web_and_checkout(port: u16) -> String {
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    mesh(&[web, Node { name: "checkout", port: Some(port), ..Node::default() }])
}

#[test]
fn the_sum_of_all_reports_is_what_was_sent_over_many_windows() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let mut client = Running::client(&web_and_checkout(app.address.port()), "shop/web", &collector);
    let address = client.outbound();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                for _ in 0..2_000 {
                    connection.send("GET / HTTP/1.1\r\nHost: checkout\r\n\r\n");
                    assert_eq!(connection.answer().unwrap().status, 200);
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    client.stop();
    let counts = collector.edge("shop/web>shop/checkout:http", Reporter::Client);
    assert_eq!((counts.requests, counts.attempts, counts.failed, counts.cancelled), (8_000, 8_000, 0, 0));
    let latencies: u64 =
        collector.look(|kept| kept.reports.iter().flat_map(|r| &r.edges).map(|e| e.latency.count()).sum());
    assert_eq!(latencies, 8_000);
}

#[test]
fn callers_who_leave_are_counted_as_cancelled() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200).after(300)));
    let client = Running::client(&web_and_checkout(app.address.port()), "shop/web", &collector);
    for _ in 0..3 {
        let mut stream = TcpStream::connect(client.outbound()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: checkout\r\n\r\n").unwrap();
        eventually("the request at the server", || (!app.seen().is_empty()).then_some(()));
        drop(stream);
    }
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 3);
    assert_eq!((counts.cancelled, counts.failed, counts.requests), (3, 0, 3));
}

#[test]
fn a_failure_of_the_application_itself_is_its_own() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(500)));
    let checkout = Node { name: "checkout", port: Some(80), ..Node::default() };
    let server = Running::server(&mesh(&[checkout]), "shop/checkout", app.address, &collector);
    get(server.inbound(), "checkout", "/", "x-tripline-client: shop/web\r\n");
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Server, 1);
    assert_eq!((counts.origin_failures, counts.propagated_failures, counts.failed), (1, 0, 1));
}

/// As applications do that look at the status only, and as those do that pass an answer on while it comes.
#[test]
fn a_failure_passed_on_before_the_failed_answer_has_ended_is_not_its_own() {
    let collector = Collector::start();
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let payments = Node { name: "payments", port: Some(slow.local_addr().unwrap().port()), ..Node::default() };
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in slow.incoming().flatten() {
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 100\r\n\r\nnever the rest").unwrap();
            open.push(stream);
        }
    });
    let checkout = Node { name: "checkout", port: Some(80), backends: vec!["payments"], ..Node::default() };
    let outbound = Arc::new(OnceLock::new());
    let app = App::start({
        let outbound = Arc::clone(&outbound);
        let open = Mutex::new(Vec::new());
        move |seen| {
            let mut stream = TcpStream::connect(*outbound.get().unwrap()).unwrap();
            let trace = seen.header("traceparent").unwrap();
            write!(stream, "GET / HTTP/1.1\r\nHost: payments\r\ntraceparent: {trace}\r\n\r\n").unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 500");
            open.lock().unwrap().push(stream);
            Reply::of(502)
        }
    });
    let server = Running::server(&mesh(&[checkout, payments]), "shop/checkout", app.address, &collector);
    outbound.set(server.outbound()).unwrap();
    assert_eq!(get(server.inbound(), "checkout", "/", "x-tripline-client: shop/web\r\n").status, 502);
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Server, 1);
    assert_eq!((counts.origin_failures, counts.propagated_failures, counts.failed), (0, 1, 1));
}

#[test]
fn a_dead_application_gives_503_and_is_an_origin() {
    let collector = Collector::start();
    let dead = format!("127.0.0.1:{}", dead_port()).parse().unwrap();
    let checkout = Node { name: "checkout", port: Some(80), ..Node::default() };
    let server = Running::server(&mesh(&[checkout]), "shop/checkout", dead, &collector);
    let answer = get(server.inbound(), "checkout", "/", "x-tripline-client: shop/web\r\n");
    assert_eq!((answer.status, answer.header("x-tripline-error")), (503, Some("connect_refused")));
    assert!(answer.body.contains("the application of shop/checkout"), "{}", answer.body);
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Server, 1);
    assert_eq!((counts.origin_failures, counts.failed), (1, 1));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn without_a_collector_nothing_is_slower_and_nothing_is_lost() {
    let (port, app) = (free_port(), App::start(|_| Reply::of(200)));
    let nobody = format!("127.0.0.1:{port}").parse().unwrap();
    let late = settings(&Collector::start());
    // Spans are examples, and are dropped when nobody takes them.
    let late = tripline_proxy::Settings { collector: format!("http://{nobody}"), sample_ratio: 0.0, ..late };
    let client = Running::start(&web_and_checkout(app.address.port()), "shop/web", &late);
    let mut connection = Connection::open(client.outbound());
    let begun = std::time::Instant::now();
    for _ in 0..1_000 {
        connection.send("GET / HTTP/1.1\r\nHost: checkout\r\n\r\n");
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    // An attempt to reach the collector may take a second; if one request in thirty waited for one, this would be over. Generous,
    // because a busy machine is slow without waiting for anything.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?} for a thousand requests", begun.elapsed());
    let collector = Collector::start_on(nobody);
    let counts = collector.edge_with("shop/web>shop/checkout:http", Reporter::Client, 1_000);
    assert_eq!(counts.requests, 1_000);
    assert!(collector.look(|kept| kept.reports.iter().all(|report| report.dropped == 0)));
}

#[test]
fn told_to_report_nowhere_it_begins_no_traces_and_still_counts() {
    let app = App::start(|_| Reply::of(200));
    let nowhere = settings(&Collector::start());
    let nowhere = tripline_proxy::Settings { collector: "none".to_owned(), sample_ratio: 1.0, ..nowhere };
    let client = Running::start(&web_and_checkout(app.address.port()), "shop/web", &nowhere);
    assert_eq!(get(client.outbound(), "checkout", "/", "").status, 200);
    let context = app.seen()[0].header("traceparent").map(str::to_owned);
    assert!(context.as_deref().is_some_and(|context| context.ends_with("-00")), "{context:?}");
    let counted = "server=\"shop/checkout\",protocol=\"http\",half=\"outbound\",outcome=\"success\"} 1";
    let metrics = eventually("the count", || Some(client.admin("/metrics").body).filter(|body| body.contains(counted)));
    assert!(
        !metrics.lines().any(|line| line.contains("telemetry_dropped_total{") && !line.ends_with(" 0")),
        "{metrics}"
    );
}
