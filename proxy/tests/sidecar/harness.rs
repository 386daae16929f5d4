//! What the tests build their little worlds from.

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod mesh;
pub(crate) mod proxy;

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

/// An address on which nobody listens.
pub(crate) fn dead_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
