//! Idle keep-alive connections to one endpoint, of one worker.
//!
//! The latest given back is the first taken, so that a falling load lets the rest grow old and close. Whether a server
//! has closed an idle connection is noticed when it is taken, or by sending: hyper hands the request back if not
//! one byte of it was sent, and only then is it sent again on another connection.

use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tripline_model::Timestamp;

use crate::request_body::RequestBody;

/// The sending end of a connection.
pub(crate) type Sender = SendRequest<RequestBody>;

/// Idle connections kept per endpoint and worker; more are closed when they are given back.
const MAX_IDLE: usize = 512;

/// The idle connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Timestamp,
}

impl Pool {
    /// The most recently used connection that is still open.
    pub(crate) fn take(&mut self) -> Option<Sender> {
        loop {
            let idle = self.idle.pop()?;
            if !idle.sender.is_closed() {
                return Some(idle.sender);
            }
        }
    }

    /// Keeps a connection.
    pub(crate) fn put(&mut self, sender: Sender, now: Timestamp) {
        if self.idle.len() < MAX_IDLE && !sender.is_closed() {
            self.idle.push(Idle { sender, since: now });
        }
    }

    /// Closes what has been idle for longer than `longest` or is closed already.
    pub(crate) fn prune(&mut self, now: Timestamp, longest: Duration) {
        self.idle.retain(|idle| !idle.sender.is_closed() && now.since(idle.since) < longest);
    }
}
