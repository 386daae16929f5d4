//! TLS between two sidecars: who may connect, who is believed, what the collector learns of it, certificates that change.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tripline_model::Reporter;
use tripline_proxy::Settings;

use crate::harness::certificates::{Authority, Files, acceptor, listener, policy};
use crate::harness::rpc::{RpcApp, RpcClient};
use crate::harness::{App, Collector, Node, Reply, Running, eventually, get, mesh};

const EDGE: &str = "shop/web>shop/checkout:http";
const WEB: &str = "spiffe://shop.example/ns/shop/sa/web";
const CHECKOUT: &str = "spiffe://shop.example/ns/shop/sa/checkout";

fn checkout(port: u16, tls: &str) -> Node {
    Node { name: "checkout", port: Some(port), listener: tls.to_owned(), ..Node::default() }
}

fn web(policy: String) -> Node {
    Node { name: "web", backends: vec!["checkout"], policy, ..Node::default() }
}

fn client(server: &Running, policy: String, collector: &Collector) -> Running {
    // The client's documents need not say how the listener is protected: the policy is enforced.
    Running::client(&mesh(&[web(policy), checkout(server.inbound().port(), "")]), "shop/web", collector)
}

fn server(tls: &str, app: SocketAddr, collector: &Collector) -> Running {
    Running::server(&mesh(&[checkout(80, tls)]), "shop/checkout", app, collector)
}

fn is_secured(collector: &Collector, edge: &str, reporter: Reporter) -> bool {
    eventually("a report", || {
        collector.look(|kept| {
            let mut edges = kept.reports.iter().flat_map(|report| &report.edges);
            edges
                .find(|window| window.key.to_string() == edge && window.reporter == reporter)
                .map(|window| window.secured)
        })
    })
}

#[test]
fn both_ends_prove_who_they_are_and_the_edge_is_secured() {
    let (collector, app, authority) = (Collector::start(), App::start(|_| Reply::of(200)), Authority::new());
    let (mine, theirs) = (authority.issue("web", &[WEB]), authority.issue("checkout", &[CHECKOUT]));
    let server = server(&listener("STRICT", &theirs, Some(&authority.trust)), app.address, &collector);
    let client = client(&server, policy(&authority.trust, Some(&mine), ""), &collector);
    // The application's lie about who it is does not survive its own sidecar, and the certificate wins anyway.
    for _ in 0..3 {
        assert_eq!(get(client.outbound(), "checkout", "/", "x-tripline-client: shop/liar\r\n").status, 200);
    }
    for reporter in [Reporter::Client, Reporter::Server] {
        assert_eq!(collector.edge_with(EDGE, reporter, 3).failed, 0);
        assert!(is_secured(&collector, EDGE, reporter), "{reporter:?}");
    }
    assert!(server.admin("/metrics").body.contains("connections_accepted_total{} 1\n"), "the connection is used again");
}

#[test]
fn strict_refuses_plain_text_and_strangers_and_permissive_takes_both() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let (authority, stranger) = (Authority::new(), Authority::new());
    let theirs = authority.issue("checkout", &["127.0.0.1"]);
    let mutual = |files: &Files| policy(&authority.trust, Some(files), "");
    let (mine, forged) = (authority.issue("web", &[WEB]), stranger.issue("web", &[WEB]));
    let strict = server(&listener("STRICT", &theirs, Some(&authority.trust)), app.address, &collector);
    for (what, policy, status) in [
        ("plain text", String::new(), 502),
        ("no certificate", policy(&authority.trust, None, ""), 503),
        ("a certificate of another authority", mutual(&forged), 503),
        ("its own", mutual(&mine), 200),
    ] {
        let client = client(&strict, policy, &collector);
        assert_eq!(get(client.outbound(), "checkout", "/", "").status, status, "{what}");
    }
    let refused = strict.admin("/metrics").body;
    assert!(refused.contains("tripline_proxy_connections_tls_refused_total{} 3\n"), "{refused}");
    let permissive = server(&listener("PERMISSIVE", &theirs, Some(&authority.trust)), app.address, &collector);
    for policy in [String::new(), mutual(&mine)] {
        let client = client(&permissive, policy, &collector);
        assert_eq!(get(client.outbound(), "checkout", "/", "").status, 200);
    }
    assert_eq!(app.seen().len(), 3);
}

#[test]
fn a_server_is_believed_by_its_host_name_its_identity_or_the_names_asked_for() {
    let (collector, app, authority) = (Collector::start(), App::start(|_| Reply::of(200)), Authority::new());
    let asked = ", subjectAlternativeNames: { match: { exact: [other.example, \"spiffe://shop.example/x\"] } }";
    for (number, (names, asks, status)) in [
        (vec!["127.0.0.1"], "", 200),
        (vec![CHECKOUT], "", 200),
        (vec![WEB, "example.com"], "", 503),
        (vec!["other.example"], asked, 200),
        (vec!["spiffe://shop.example/x"], asked, 200),
        (vec!["127.0.0.1", CHECKOUT], asked, 503),
    ]
    .into_iter()
    .enumerate()
    {
        let files = authority.issue(&format!("server-{number}"), &names);
        let server = server(&listener("STRICT", &files, None), app.address, &collector);
        let client = client(&server, policy(&authority.trust, None, asks), &collector);
        let answer = get(client.outbound(), "checkout", "/", "");
        assert_eq!(answer.status, status, "{names:?} {asks}");
        if status == 503 {
            assert_eq!(answer.header("x-tripline-error"), Some("tls_handshake"));
        }
    }
}

#[test]
fn a_listener_may_ask_for_names_of_its_clients() {
    let (collector, app, authority) = (Collector::start(), App::start(|_| Reply::of(200)), Authority::new());
    let files = authority.issue("checkout", &["127.0.0.1"]);
    let names = ", subjectAlternativeNames: { match: { exact: [\"spiffe://shop.example/ns/shop/sa/web\"] } } } }\n";
    let tls = listener("STRICT", &files, Some(&authority.trust)).replace(" } }\n", names);
    let server = server(&tls, app.address, &collector);
    for (identity, status) in [(WEB, 200), ("spiffe://shop.example/ns/shop/sa/search", 503)] {
        let mine = authority.issue("client", &[identity]);
        let client = client(&server, policy(&authority.trust, Some(&mine), ""), &collector);
        assert_eq!(get(client.outbound(), "checkout", "/", "").status, status, "{identity}");
    }
}

#[test]
fn changed_certificates_are_taken_up_and_broken_ones_are_not() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let authority = Authority::new();
    let theirs = authority.issue("checkout", &["wrong.example"]);
    let server = server(&listener("STRICT", &theirs, None), app.address, &collector);
    let client = client(&server, policy(&authority.trust, None, ""), &collector);
    assert_eq!(get(client.outbound(), "checkout", "/", "").header("x-tripline-error"), Some("tls_handshake"));
    authority.issue("checkout", &["127.0.0.1"]);
    // Before every try another connection is closed by the handshake, so the breaker may open meanwhile.
    eventually("the new certificate", || (get(client.outbound(), "checkout", "/", "").status == 200).then_some(()));
    std::fs::write(&theirs.chain, "no certificate").unwrap();
    eventually("the failure to be counted", || {
        let metrics = server.admin("/metrics").body;
        metrics.contains("tripline_proxy_tls_reload_failures_total{} 1\n").then_some(())
    });
    assert_eq!(get(client.outbound(), "checkout", "/", "").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_between_two_sidecars_over_mutual_tls_speaks_http_2() {
    let (collector, app, authority) = (Collector::start(), RpcApp::start(), Authority::new());
    let (mine, theirs) = (authority.issue("web", &[WEB]), authority.issue("checkout", &[CHECKOUT]));
    let grpc = |port, tls: &str| Node { protocol: "grpc", ..checkout(port, tls) };
    let tls = listener("STRICT", &theirs, Some(&authority.trust));
    let server = Running::server(&mesh(&[grpc(80, &tls)]), "shop/checkout", app.address, &collector);
    let documents = mesh(&[web(policy(&authority.trust, Some(&mine), "")), grpc(server.inbound().port(), "")]);
    let client = Running::client(&documents, "shop/web", &collector);
    let mut rpc = RpcClient::connect(client.outbound()).await;
    for _ in 0..3 {
        assert_eq!(rpc.call("checkout", &[]).await.code(), Some("0"));
    }
    let edge = "shop/web>shop/checkout:grpc";
    assert_eq!(collector.edge_with(edge, Reporter::Server, 3).failed, 0);
    assert!(is_secured(&collector, edge, Reporter::Client) && is_secured(&collector, edge, Reporter::Server));
}

/// Sidecars of web and of checkout, whose listener is `http`, with TLS both ways.
pub(crate) fn mutual(app: SocketAddr, collector: &Collector, authority: &Authority) -> (Running, Running) {
    let (mine, theirs) = (authority.issue("web", &[WEB]), authority.issue("checkout", &[CHECKOUT]));
    let server = server(&listener("STRICT", &theirs, Some(&authority.trust)), app, collector);
    let client = client(&server, policy(&authority.trust, Some(&mine), ""), collector);
    (server, client)
}

#[test]
fn http_between_two_sidecars_over_tls_shares_one_http_2_connection() {
    let (collector, authority) = (Collector::start(), Authority::new());
    let app = App::start(|seen| Reply { body: seen.line.clone().into_bytes(), ..Reply::of(200).after(100) });
    let (server, client) = mutual(app.address, &collector, &authority);
    let outbound = client.outbound();
    let call = |number: usize| get(outbound, "checkout", &format!("/{number}"), "cookie: a=1\r\ncookie: b=2\r\n");
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..20).map(|number| (number, scope.spawn(move || call(number)))).collect();
        for (number, call) in calls {
            let answer = call.join().unwrap();
            assert_eq!((answer.status, answer.body), (200, format!("GET /{number} HTTP/1.1")));
        }
    });
    assert!(app.seen().iter().all(|seen| seen.header("host") == Some("checkout")));
    assert_eq!(collector.edge_with(EDGE, Reporter::Server, 20).failed, 0);
    let metrics = server.admin("/metrics").body;
    assert!(metrics.contains("connections_accepted_total{} 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_chooses_http_1_is_called_so_and_is_asked_once() {
    let (collector, authority) = (Collector::start(), Authority::new());
    let acceptor = acceptor(&authority.issue("checkout", &[CHECKOUT]), "http/1.1");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let handshakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&handshakes);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let stream = acceptor.accept(stream).await.unwrap();
            let answer = service_fn(async |_| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    let documents = mesh(&[web(policy(&authority.trust, None, "")), checkout(port, "")]);
    let client = Running::client(&documents, "shop/web", &collector);
    for _ in 0..3 {
        assert_eq!(get(client.outbound(), "checkout", "/", "").status, 200);
    }
    assert_eq!(handshakes.load(Ordering::SeqCst), 1);
}

#[test]
fn certificates_that_cannot_be_used_stop_the_start_with_their_path() {
    let collector = Collector::start();
    let authority = Authority::new();
    let files = authority.issue("checkout", &["127.0.0.1"]);
    std::fs::remove_file(&files.key).unwrap();
    let documents = mesh(&[checkout(80, &listener("STRICT", &files, None))]);
    let configuration = crate::harness::proxy::configuration(&documents, "shop/checkout");
    let error = tripline_proxy::Proxy::check(&configuration, &crate::harness::proxy::settings(&collector)).unwrap_err();
    let because = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.is_configuration() && because.contains("checkout.key"), "{because}");
}

#[test]
fn the_collector_may_be_encrypted_and_learns_what_else_is_said_of_the_process() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let collector = Collector::start_with(acceptor(&authority.issue("collector", &["localhost"]), "h2"));
    let app = App::start(|_| Reply::of(200));
    let documents = mesh(&[web(String::new()), checkout(app.address.port(), "")]);
    let settings = |trust: &std::path::Path| Settings {
        collector: format!("https://localhost:{}", collector.address.port()),
        collector_ca: Some(trust.to_owned()),
        resource_attributes: vec![("team".to_owned(), "shop".to_owned())],
        ..crate::harness::proxy::settings(&collector)
    };
    let deceived = Running::start(&documents, "shop/web", &settings(&stranger.trust));
    get(deceived.outbound(), "checkout", "/", "");
    let client = Running::start(&documents, "shop/web", &settings(&authority.trust));
    get(client.outbound(), "checkout", "/", "");
    assert_eq!(collector.edge_with(EDGE, Reporter::Client, 1).requests, 1, "nothing of who does not trust it");
    assert!(collector.look(|kept| kept.resource.contains(&"team=shop".to_owned())));
}
