//! Bytes that are no HTTP: passed both ways, half-closed, counted by the connection.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use tripline_model::Reporter;
use tripline_proxy::settings::Forward;
use tripline_proxy::{Proxy, Settings};

use crate::harness::proxy::{configuration, settings};
use crate::harness::{Collector, Node, Running, dead_port, eventually, mesh};

const EDGE: &str = "shop/web>shop/db:tcp";

/// A server that greets first, reads to the end of what it is told and only then answers with its length.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || talk(stream));
        }
    });
    address
}

fn talk(mut stream: TcpStream) -> Option<()> {
    stream.write_all(b"hello\n").ok()?;
    let mut told = Vec::new();
    stream.read_to_end(&mut told).ok()?;
    stream.write_all(format!("{} bytes\n", told.len()).as_bytes()).ok()
}

fn db(port: u16, listener: &str) -> Node {
    Node { name: "db", port: Some(port), protocol: "tcp", listener: listener.to_owned(), ..Node::default() }
}

fn web() -> Node {
    Node { name: "web", backends: vec!["db"], ..Node::default() }
}

/// A client's sidecar, and the port on it that leads to `db`.
fn client(db: Node, collector: &Collector) -> (Running, SocketAddr) {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let forward = Forward { listen, service: "db".to_owned(), port: None };
    let settings = Settings { forwards: vec![forward], ..settings(collector) };
    let client = Running::start(&mesh(&[web(), db]), "shop/web", &settings);
    let port = client.forward();
    (client, port)
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"hello\n");
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_connection_passes_two_sidecars_half_closed_and_is_one_exchange() {
    let collector = Collector::start();
    let behind = Running::server(&mesh(&[db(80, "")]), "shop/db", server(), &collector);
    let (_client, port) = client(db(behind.inbound().port(), ""), &collector);
    for length in [0, 7, 1_000_000] {
        assert_eq!(exchange(port, &vec![b'x'; length]), format!("{length} bytes\n"));
    }
    let counts = collector.edge_with(EDGE, Reporter::Client, 3);
    assert_eq!((counts.requests, counts.failed, counts.cancelled, counts.attempts), (3, 0, 0, 3));
    assert_eq!((counts.request_bytes, counts.response_bytes), (1_000_007, 3 * 6 + 8 + 8 + 14));
    let unnamed = collector.edge_with("unknown>shop/db:tcp", Reporter::Server, 3);
    assert_eq!((unnamed.requests, unnamed.request_bytes), (3, 1_000_007));
}

#[test]
fn a_connection_that_cannot_be_made_is_closed_and_counted_until_the_breaker_opens() {
    let collector = Collector::start();
    let (_client, port) = client(db(dead_port(), ""), &collector);
    for _ in 0..6 {
        let mut stream = TcpStream::connect(port).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "closed without a byte");
    }
    let counts = collector.edge_with(EDGE, Reporter::Client, 6);
    assert_eq!((counts.failed, counts.transport_failures, counts.shed), (6, 5, 1));
}

#[test]
fn a_silent_connection_ends_after_the_idle_time() {
    let collector = Collector::start();
    let idle = "    timeout: { tcp: { idle: { unit: ms, value: 300 } } }\n";
    let (_client, port) = client(db(server().port(), idle), &collector);
    let mut stream = TcpStream::connect(port).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello\n");
    let counts = collector.edge_with(EDGE, Reporter::Client, 1);
    assert_eq!((counts.failed, counts.response_bytes), (0, 6));
}

#[test]
fn bytes_of_a_connection_that_lives_on_are_seen_before_its_end() {
    let collector = Collector::start();
    let (_client, port) = client(db(server().port(), ""), &collector);
    let mut stream = TcpStream::connect(port).unwrap();
    stream.write_all(&[b'x'; 1_000]).unwrap();
    eventually("its bytes", || {
        let counts = collector.edge(EDGE, Reporter::Client);
        (counts.request_bytes == 1_000 && counts.requests == 0).then_some(())
    });
    drop(stream);
    assert_eq!(collector.edge_with(EDGE, Reporter::Client, 1).requests, 1);
}

#[test]
fn a_port_that_leads_nowhere_is_a_problem_of_the_configuration() {
    let collector = Collector::start();
    let documents = mesh(&[web(), db(80, "")]);
    for (service, port, why) in
        [("nobody", None, "no such service"), ("db", Some(81), "no route for tcp"), ("db", Some(80), "")]
    {
        let forward = Forward { listen: "127.0.0.1:1".parse().unwrap(), service: service.to_owned(), port };
        let settings = Settings { forwards: vec![forward], ..settings(&collector) };
        let checked = Proxy::check(&configuration(&documents, "shop/web"), &settings);
        let told = checked.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains(why) && told.is_empty() == why.is_empty(), "{told}");
    }
}
