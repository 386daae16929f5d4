//! HTTP/2 connections to one endpoint, of one worker: few, each shared by many requests.
//!
//! One connection as a rule. Past [`FULL`] streams at once another is opened, because a server may refuse more on one
//! (Envoy and we allow 100 to 256), up to [`MAX_LINES`]; beyond that requests wait in the connection with the fewest. Otherwise a request goes to
//! the busiest connection that has room, where it shares reads and writes with most others, and what a burst opened beside it falls idle.
//!
//! While one request opens a connection the others wait for it; if it fails they fail with it, instead of each
//! trying for itself one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use tokio::sync::Notify;
use tripline_model::Timestamp;

use crate::failure::Failure;
use crate::request_body::RequestBody;

/// The sending end of a connection.
pub(crate) type SharedSender = SendRequest<RequestBody>;

/// What all who use a connection know of it.
#[derive(Debug, Default)]
pub(crate) struct LineState {
    /// Streams on it.
    active: AtomicU32,
    /// Whether the server has said that it takes extended CONNECT.
    tunnels: AtomicBool,
    /// Somebody wants to know.
    asked: Notify,
}

impl LineState {
    /// Ready when somebody wants to know whether the server takes extended CONNECT, which only the connection can tell.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The server has said that it takes extended CONNECT.
    pub(crate) fn takes_tunnels(&self) {
        self.tunnels.store(true, Ordering::Relaxed);
    }
}

/// A new connection.
pub(crate) type Opened = (SharedSender, Arc<LineState>);

/// Why there is no connection to share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLine {
    /// It could not be opened.
    Failed(Failure),
    /// The server chose HTTP/1.1.
    Http1,
}

impl From<Failure> for NoLine {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Streams on a connection from which on another is opened.
const FULL: u32 = 100;
/// Connections to one endpoint.
const MAX_LINES: usize = 8;
/// Age from which on a connection takes no more requests: a busy one would stay with one address and one certificate for ever.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The connections.
#[derive(Debug, Default)]
pub(crate) struct Multiplex {
    lines: Mutex<Lines>,
    /// Held by whoever opens a connection.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Lines {
    open: Vec<Line>,
    /// Attempts to open one that failed, and why the latest did.
    failed: (u64, Option<NoLine>),
}

#[derive(Debug)]
struct Line {
    sender: SharedSender,
    state: Arc<LineState>,
    opened: Timestamp,
    used: Timestamp,
}

/// A place on a connection for one request.
#[derive(Debug)]
pub(crate) struct OnLine {
    /// Sends it.
    pub(crate) sender: SharedSender,
    state: Arc<LineState>,
}

impl OnLine {
    /// Whether its server takes extended CONNECT, as far as it is known; asks when it is not.
    pub(crate) fn is_for_tunnels(&self) -> bool {
        let known = self.state.tunnels.load(Ordering::Relaxed);
        if !known {
            self.state.asked.notify_one();
        }
        known
    }
}

impl Drop for OnLine {
    fn drop(&mut self) {
        self.state.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Multiplex {
    /// A place on an open connection; `open` is called when there is none to be had.
    pub(crate) async fn enter(
        &self,
        now: Timestamp,
        open: impl Future<Output = Result<Opened, NoLine>>,
    ) -> Result<OnLine, NoLine> {
        let failed_before = match self.find(now) {
            Ok(place) => return Ok(place),
            Err(failed) => failed,
        };
        let _opening = self.opening.lock().await;
        // Another one may have opened it meanwhile, or found that it cannot be opened.
        match self.find(now) {
            Ok(place) => return Ok(place),
            Err(failed) if failed > failed_before => return Err(self.latest_failure()),
            Err(_) => {}
        }
        match open.await {
            Ok(opened) => Ok(self.add(opened, now)),
            Err(failure) => {
                let failed = &mut self.lock().failed;
                *failed = (failed.0 + 1, Some(failure));
                Err(failure)
            }
        }
    }

    /// Closes what has been unused for longer than `longest` or is closed already.
    pub(crate) fn prune(&self, now: Timestamp, longest: Duration) {
        self.lock().open.retain_mut(|line| {
            if line.active() > 0 {
                line.used = now;
            }
            !line.sender.is_closed() && now.since(line.used) < longest
        });
    }

    /// A place, or how many attempts to open a connection have failed so far.
    fn find(&self, now: Timestamp) -> Result<OnLine, u64> {
        let mut lines = self.lock();
        // What is under way on a connection keeps it open; here it is only forgotten.
        lines.open.retain(|line| !line.sender.is_closed() && now.since(line.opened) < MAX_AGE);
        let failed = lines.failed.0;
        let all_full = lines.open.len() >= MAX_LINES && lines.open.iter().all(|line| line.active() >= FULL);
        let open = lines.open.iter_mut();
        let line = if all_full {
            open.min_by_key(|line| line.active())
        } else {
            open.filter(|line| line.active() < FULL).max_by_key(|line| line.active())
        };
        line.map(|line| line.enter(now)).ok_or(failed)
    }

    fn add(&self, (sender, state): Opened, now: Timestamp) -> OnLine {
        let mut line = Line { sender, state, opened: now, used: now };
        let place = line.enter(now);
        self.lock().open.push(line);
        place
    }

    fn latest_failure(&self) -> NoLine {
        self.lock().failed.1.unwrap_or(NoLine::Failed(Failure::ConnectFailed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Requests on it.
    fn active(&self) -> u32 {
        self.state.active.load(Ordering::Relaxed)
    }

    fn enter(&mut self, now: Timestamp) -> OnLine {
        self.used = now;
        self.state.active.fetch_add(1, Ordering::Relaxed);
        OnLine { sender: self.sender.clone(), state: Arc::clone(&self.state) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_connection_fails_with_whoever_tried() {
        let lines = Arc::new(Multiplex::default());
        let tries = Arc::new(AtomicUsize::new(0));
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (lines, tries) = (Arc::clone(&lines), Arc::clone(&tries));
                tokio::spawn(async move {
                    let open = async {
                        tries.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        Err(Failure::ConnectTimeout.into())
                    };
                    lines.enter(Timestamp::from_millis(1), open).await.map(drop)
                })
            })
            .collect();
        let start = tokio::time::Instant::now();
        for call in calls {
            assert_eq!(call.await.unwrap(), Err(Failure::ConnectTimeout.into()));
        }
        assert_eq!((start.elapsed().as_secs(), tries.load(Ordering::Relaxed)), (1, 1));
    }

    async fn connection() -> (SharedSender, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        let (sender, connection) = builder.handshake(hyper_util::rt::TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        (sender, far)
    }

    #[tokio::test]
    async fn one_connection_is_shared_until_it_is_full_or_old() {
        let lines = Multiplex::default();
        let (opened, mut others) = (AtomicUsize::new(0), Vec::new());
        let mut places = Vec::new();
        let at = |seconds: u64| Timestamp::from_millis(1_000 + seconds * 1_000);
        for (now, requests, connections) in [(at(0), FULL, 1), (at(1), 1, 2), (at(601), 1, 3)] {
            for _ in 0..requests {
                let open = async {
                    opened.fetch_add(1, Ordering::Relaxed);
                    let (sender, far) = connection().await;
                    others.push(far);
                    Ok((sender, Arc::default()))
                };
                places.push(lines.enter(now, open).await.unwrap());
            }
            assert_eq!(opened.load(Ordering::Relaxed), connections);
            if connections == 2 {
                // One of the first connection is answered; the next request takes its place.
                places.remove(0);
                let never = async { Err(NoLine::Failed(Failure::ConnectFailed)) };
                places.push(lines.enter(now, never).await.unwrap());
                let active: Vec<u32> = lines.lock().open.iter().map(Line::active).collect();
                assert_eq!(active, [FULL, 1]);
            }
        }
        drop(places);
        lines.prune(at(700), Duration::from_secs(60));
        assert!(lines.lock().open.is_empty(), "unused connections are closed");
    }
}
