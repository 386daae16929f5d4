//! What the tests build their little worlds from.

pub(crate) mod app;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod mesh;
pub(crate) mod proxy;
pub(crate) mod rpc;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) use app::{App, Reply};
pub(crate) use client::{Answer, Connection, call, get};
pub(crate) use collector::Collector;
pub(crate) use mesh::{Node, mesh};
pub(crate) use proxy::Running;

/// Polls until something holds, at most ten seconds.
#[expect(clippy::disallowed_methods, reason = "tests wait in real time")]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port on which nobody listens, as long as the tests run: it is taken, but connections to it are refused.
pub(crate) fn dead_port() -> u16 {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    std::mem::forget(socket);
    port
}

/// A port on which nobody listens yet.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
