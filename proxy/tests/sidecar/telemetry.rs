//! What is told stays within bounds: names that strangers invent fold into one, and what does not fit is dropped and counted.

use std::collections::BTreeSet;

use tripline_model::Reporter;
use tripline_proxy::Settings;

use crate::harness::proxy::settings;
use crate::harness::{App, Collector, Connection, Node, Reply, Running, eventually, free_port, mesh};

#[test]
fn clients_past_the_bound_are_counted_as_one() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let checkout = Node { name: "checkout", port: Some(80), ..Node::default() };
    let mut server = Running::server(&mesh(&[checkout]), "shop/checkout", app.address, &collector);
    let mut connection = Connection::open(server.inbound());
    let ask = |connection: &mut Connection, client: &str| {
        connection.send(&format!("GET / HTTP/1.1\r\nHost: checkout\r\nx-tripline-client: {client}\r\n\r\n"));
        assert_eq!(connection.answer().unwrap().status, 200);
    };
    ask(&mut connection, "shop/known");
    (0..600).for_each(|number| ask(&mut connection, &format!("made/up-{number}")));
    ask(&mut connection, "shop/known");
    let clients = collector.look(|kept| {
        kept.reports
            .iter()
            .flat_map(|report| &report.edges)
            .map(|edge| edge.key.client.to_string())
            .collect::<BTreeSet<_>>()
    });
    assert!(clients.len() <= 514, "{}", clients.len());
    let known = collector.edge_with("shop/known>shop/checkout:http", Reporter::Server, 2);
    assert_eq!(known.requests, 2, "nobody pushes a known client out");
    server.stop();
    let overflow = collector.edge("__overflow__>shop/checkout:http", Reporter::Server).requests;
    assert!((80..=100).contains(&overflow), "{overflow}");
    let all =
        collector.look(|kept| kept.reports.iter().flat_map(|r| &r.edges).map(|edge| edge.counts.requests).sum::<u64>());
    assert_eq!(all, 602, "and every request is counted");
}

#[test]
fn a_full_queue_of_spans_drops_and_counts_and_nobody_waits() {
    let (port, app) = (free_port(), App::start(|_| Reply::of(200)));
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { name: "checkout", port: Some(app.address.port()), ..Node::default() };
    let nobody =
        Settings { collector: format!("http://127.0.0.1:{port}"), sample_ratio: 1.0, ..settings(&Collector::start()) };
    let client = Running::start(&mesh(&[web, checkout]), "shop/web", &nobody);
    let dropped = || {
        let metrics = client.admin("/metrics").body;
        let spans =
            metrics.lines().filter(|line| line.starts_with("tripline_proxy_telemetry_dropped_total{kind=\"span\""));
        spans.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    let mut connection = Connection::open(client.outbound());
    let mut sent = 0;
    eventually("spans dropped", || {
        for _ in 0..500 {
            connection.send("GET / HTTP/1.1\r\nHost: checkout\r\n\r\n");
            assert_eq!(connection.answer().unwrap().status, 200);
            sent += 1;
        }
        (dropped() > 0).then_some(())
    });
    assert!(dropped() <= sent);
    assert_eq!(app.seen().len() as u64, sent);
}

#[test]
fn ports_that_pass_by_are_told() {
    let collector = Collector::start();
    let web = mesh(&[Node { name: "web", ..Node::default() }]);
    let client = Running::start(&web, "shop/web", &Settings { bypassed_ports: vec![22, 3306], ..settings(&collector) });
    let metrics = client.admin("/metrics").body;
    for port in [22, 3306] {
        assert!(metrics.contains(&format!("tripline_proxy_bypassed_port{{port=\"{port}\"}} 1\n")), "{metrics}");
    }
}
