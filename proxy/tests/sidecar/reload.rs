//! A new configuration takes over without a request or a connection lost; a bad one changes nothing and says why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tripline_proxy::Settings;

use crate::harness::proxy::{configuration_in, settings};
use crate::harness::{App, Collector, Connection, Node, Reply, Running, eventually, get, mesh};

fn documents(backends: &[(&'static str, u16)]) -> String {
    let mut nodes = vec![Node { name: "web", backends: backends.iter().map(|b| b.0).collect(), ..Node::default() }];
    nodes.extend(backends.iter().map(|(name, port)| Node { name, port: Some(*port), ..Node::default() }));
    mesh(&nodes)
}

struct World {
    collector: Collector,
    folder: tempfile::TempDir,
    client: Running,
}

impl World {
    fn start(documents: &str, reload: Option<Duration>) -> Self {
        let (collector, folder) = (Collector::start(), tempfile::tempdir().unwrap());
        let configuration = configuration_in(&folder.path().join("mesh.yaml"), documents, "shop/web");
        let client = Running::of(&configuration, &Settings { reload, ..settings(&collector) });
        Self { collector, folder, client }
    }

    fn write(&self, documents: &str) {
        let (new, path) = (self.folder.path().join("new"), self.folder.path().join("mesh.yaml"));
        std::fs::write(&new, documents).unwrap();
        std::fs::rename(new, path).unwrap();
    }
}

#[test]
fn a_bad_configuration_keeps_the_old_one_and_says_why() {
    let app = App::start(|_| Reply::of(200));
    let good = documents(&[("checkout", app.address.port())]);
    let world = World::start(&good, None);
    world.write(&good.replace("protocol: http", "protocol: carrier-pigeon"));
    let refused = world.client.admin_post("/reload");
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("mesh.yaml:") && refused.body.contains("carrier-pigeon"), "{}", refused.body);
    assert_eq!(get(world.client.outbound(), "checkout", "/", "").status, 200);
    let config = world.client.admin("/config").body;
    assert!(config.contains("\"refused\": 1") && config.contains("carrier-pigeon"), "{config}");
    let served = good.replace("name: web,", "name: web2,");
    world.write(&served);
    assert_eq!(world.client.admin_post("/reload").status, 409, "the node is gone");
    world.write(&good);
    assert_eq!(world.client.admin_post("/reload").status, 200);
    assert!(world.client.admin("/config").body.contains("\"problem\": null"));
    let metrics = world.client.admin("/metrics").body;
    assert!(metrics.contains("tripline_proxy_reloads_total{result=\"refused\"} 2"), "{metrics}");
}

#[test]
fn a_connection_sees_the_new_services_and_breakers_keep_their_state() {
    let (broken, search) = (App::start(|_| Reply::of(500)), App::start(|_| Reply::of(200)));
    let before = [("checkout", broken.address.port())];
    let world = World::start(&documents(&before), None);
    let mut connection = Connection::open(world.client.outbound());
    let mut ask = |host: &str| {
        connection.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        connection.answer().expect("the connection stays").status
    };
    for _ in 0..5 {
        assert_eq!(ask("checkout"), 500);
    }
    assert_eq!((ask("checkout"), ask("search")), (503, 404));
    world.write(&documents(&[before[0], ("search", search.address.port())]));
    assert_eq!(world.client.admin_post("/reload").status, 200);
    assert_eq!((ask("search"), broken.seen().len()), (200, 5));
    assert!(world.client.admin("/breakers").body.contains("\"trips\": 1"), "the breaker stays what it was");
    assert!(world.client.admin("/config").body.contains("search.shop.local"));
    world.write(&documents(&[("search", search.address.port())]));
    assert_eq!(world.client.admin_post("/reload").status, 200);
    assert_eq!((ask("checkout"), ask("search")), (404, 200));
    assert!(!world.client.admin("/breakers").body.contains("shop/checkout"), "what is gone has no breaker");
}

#[test]
fn a_hang_up_signal_reloads() {
    let (one, two) = (App::start(|_| Reply::of(200)), App::start(|_| Reply::of(201)));
    let world = World::start(&documents(&[("checkout", one.address.port())]), None);
    // Whoever answers listens for signals, too; before, this one would end the process.
    assert_eq!(world.client.admin("/healthz").status, 200);
    world.write(&documents(&[("checkout", two.address.port())]));
    assert_eq!(get(world.client.outbound(), "checkout", "/", "").status, 200, "nobody has asked for it yet");
    let own = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &own]).status().unwrap().success());
    eventually("the other server", || (get(world.client.outbound(), "checkout", "/", "").status == 201).then_some(()));
    assert!(world.client.admin("/config").body.contains("\"loaded\": 1"));
}

#[test]
fn changed_files_are_noticed() {
    let (one, two) = (App::start(|_| Reply::of(200)), App::start(|_| Reply::of(201)));
    let world = World::start(&documents(&[("checkout", one.address.port())]), Some(Duration::from_millis(20)));
    assert_eq!(get(world.client.outbound(), "checkout", "/", "").status, 200);
    world.write(&documents(&[("checkout", two.address.port())]));
    eventually("the other server", || (get(world.client.outbound(), "checkout", "/", "").status == 201).then_some(()));
}

/// Requests of some clients until they are told to stop: how many went well, and what did not.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    clients: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: std::net::SocketAddr, clients: usize) -> Self {
        let (stop, good): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let client = |_| {
            let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
            thread::spawn(move || drive(address, &stop, &good))
        };
        Self { clients: (0..clients).map(client).collect(), stop, good }
    }

    fn good(&self) -> u64 {
        self.good.load(Ordering::SeqCst)
    }

    /// Waits until so many more went well.
    fn wait_for(&self, more: u64) {
        let goal = self.good() + more;
        eventually("more requests", || (self.good() >= goal).then_some(()));
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

/// Keeps a connection alive as a client should: a connection that was closed between two requests is opened again, and
/// `Connection: close` is obeyed. When nobody accepts any more, the work is done.
fn drive(address: std::net::SocketAddr, stop: &AtomicBool, good: &AtomicU64) -> Vec<String> {
    let mut failed = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let Ok(stream) = std::net::TcpStream::connect(address) else { return failed };
        let mut connection = Connection::from(stream);
        while !stop.load(Ordering::SeqCst) {
            if connection.was_closed() {
                break;
            }
            connection.send("GET / HTTP/1.1\r\nHost: checkout\r\n\r\n");
            match connection.answer() {
                Some(answer) if answer.status == 200 => {
                    good.fetch_add(1, Ordering::SeqCst);
                    if answer.header("connection") == Some("close") {
                        break;
                    }
                }
                other => {
                    failed.push(format!("{other:?}"));
                    break;
                }
            }
        }
    }
    failed
}

#[test]
fn under_load_a_hundred_reloads_fail_no_request() {
    let apps = [App::start(|_| Reply::of(200)), App::start(|_| Reply::of(200))];
    let of = |number: usize| documents(&[("checkout", apps[number % 2].address.port())]);
    let world = World::start(&of(0), None);
    let load = Load::start(world.client.outbound(), 8);
    load.wait_for(50);
    for number in 1..=100 {
        world.write(&of(number));
        assert_eq!(world.client.admin_post("/reload").status, 200);
    }
    load.wait_for(50);
    let good = load.good();
    assert_eq!(load.stop(), Vec::<String>::new(), "of {good} requests");
    assert!(apps.iter().all(|app| app.seen().len() > 20), "both servers had their time");
}

#[test]
fn under_load_a_drain_fails_no_request() {
    let app = App::start(|_| Reply::of(200).after(5));
    let mut world = World::start(&documents(&[("checkout", app.address.port())]), None);
    let load = Load::start(world.client.outbound(), 8);
    load.wait_for(100);
    assert_eq!(world.client.admin_post("/drain").status, 202);
    world.client.stop();
    let good = load.good();
    assert_eq!(load.stop(), Vec::<String>::new(), "of {good} requests");
    let counted = world.collector.edge("shop/web>shop/checkout:http", tripline_model::Reporter::Client);
    assert_eq!((counted.failed, counted.cancelled), (0, 0), "{counted:?}");
}
