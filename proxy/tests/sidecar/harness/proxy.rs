//! A sidecar in a thread of the test.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tripline_proxy::{Addresses, Configuration, Proxy, Settings};

use super::{Answer, Collector, call, get};

/// A running sidecar; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    addresses: Addresses,
    forwards: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Settings on ephemeral ports.
pub(crate) fn settings(collector: &Collector) -> Settings {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Settings { inbound: any, outbound: any, admin: any, collector: collector.url(), ..Settings::default() }
}

/// Reads documents as the binary does, from a file.
pub(crate) fn configuration(mesh: &str, node: &str) -> Configuration {
    let folder = tempfile::tempdir().unwrap();
    configuration_in(&folder.path().join("mesh.yaml"), mesh, node)
}

/// The same from a file that stays.
pub(crate) fn configuration_in(path: &std::path::Path, mesh: &str, node: &str) -> Configuration {
    std::fs::write(path, mesh).unwrap();
    Configuration::load(path, Some(node)).unwrap_or_else(|error| panic!("{error}\n{mesh}"))
}

impl Running {
    /// Beside a service without an application of its own.
    pub(crate) fn client(mesh: &str, node: &str, collector: &Collector) -> Self {
        Self::start(mesh, node, &settings(collector))
    }

    /// Beside an application.
    pub(crate) fn server(mesh: &str, node: &str, app: SocketAddr, collector: &Collector) -> Self {
        Self::start(mesh, node, &Settings { app: Some(app), ..settings(collector) })
    }

    pub(crate) fn start(mesh: &str, node: &str, settings: &Settings) -> Self {
        Self::of(&configuration(mesh, node), settings)
    }

    pub(crate) fn of(configuration: &Configuration, settings: &Settings) -> Self {
        let proxy = Proxy::bind(configuration, settings).unwrap_or_else(|error| panic!("{error}"));
        let (addresses, forwards) = (proxy.addresses(), proxy.forwards().to_vec());
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let ended = proxy.run(async {
                let _ = stopped.await;
            });
            ended.unwrap();
        };
        Self { addresses, forwards, stop: Some(stop), thread: Some(std::thread::spawn(run)) }
    }

    pub(crate) fn outbound(&self) -> SocketAddr {
        self.addresses.outbound
    }

    /// The first port that leads to one service.
    pub(crate) fn forward(&self) -> SocketAddr {
        self.forwards[0]
    }

    pub(crate) fn inbound(&self) -> SocketAddr {
        self.addresses.inbound.unwrap()
    }

    /// A POST on the admin port.
    pub(crate) fn admin_post(&self, path: &str) -> Answer {
        call(self.addresses.admin, &format!("POST {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n"))
    }

    /// A GET on the admin port.
    pub(crate) fn admin(&self, path: &str) -> Answer {
        get(self.addresses.admin, "admin", path, "")
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// Asks it to stop without waiting.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops it and waits until it has ended.
    pub(crate) fn stop(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}
