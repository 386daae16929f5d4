//! Idle keep-alive connections to one endpoint, of one worker.
//!
//! The latest given back is the first taken, so that a falling load lets the rest grow old and close. Whether a server
//! has closed an idle connection is noticed when it is taken or pruned, or by sending: a request of which not one byte could be sent goes
//! out again on another connection.

use std::time::Duration;

use tripline_model::Timestamp;

use crate::http1::Http1Connection;

/// Idle connections kept per endpoint and worker; more are closed when they are given back.
const MAX_IDLE: usize = 512;

/// The idle connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Http1Connection>,
    /// When it was first seen idle; giving it back reads no clock.
    since: Option<Timestamp>,
}

impl Pool {
    /// The most recently used connection that is still open.
    pub(crate) fn take(&mut self) -> Option<Box<Http1Connection>> {
        loop {
            let mut idle = self.idle.pop()?;
            if idle.connection.is_open() {
                return Some(idle.connection);
            }
        }
    }

    /// Keeps a connection whose answer has ended.
    pub(crate) fn put(&mut self, mut connection: Box<Http1Connection>) {
        if self.idle.len() < MAX_IDLE {
            connection.rest();
            self.idle.push(Idle { connection, since: None });
        } else {
            connection.close();
        }
    }

    /// Closes what was closed already, or has been idle for `longest` since it was first looked at here.
    pub(crate) fn prune(&mut self, now: Timestamp, longest: Duration) {
        let over = |idle: &mut Idle| {
            let since = *idle.since.get_or_insert(now);
            !idle.connection.is_open() || now.since(since) >= longest
        };
        for idle in self.idle.extract_if(.., over) {
            idle.connection.close();
        }
    }
}
