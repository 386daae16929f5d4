//! Passes bytes both ways between two connections until both ways are closed or nothing passes for too long.
//!
//! A side that closes its sending half is heard to its end the other way (half-close). Buffers begin small and grow when a read
//! fills them, so that a thousand quiet connections cost little and a busy one few calls of the kernel. What passed
//! is told to the exchange while the connection lives, once a second at most, so that a long connection is seen before it ends.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::exchange::Exchange;

/// Size of a buffer at first, and at most.
const BUFFER: (usize, usize) = (8 * 1024, 64 * 1024);
/// Time between two looks at what has passed: on a busy connection, and at most.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both ways were closed.
    Closed,
    /// Nothing passed for the idle time.
    Idle,
    /// The connection to the client broke.
    ClientBroke,
    /// The connection to the server broke.
    ServerBroke,
}

/// Bytes that have passed.
#[derive(Debug, Default)]
struct Passed {
    to_server: AtomicU64,
    to_client: AtomicU64,
}

/// Passes bytes until the end.
pub(crate) async fn both_ways<C, S>(
    client: &mut C,
    server: &mut S,
    idle: Option<Duration>,
    exchange: &mut Exchange,
) -> Ended
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let passed = Passed::default();
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let there = async {
        one_way(&mut from_client, &mut to_server, &passed.to_server).await.map_err(|broke| match broke {
            Broke::Reading => Ended::ClientBroke,
            Broke::Writing => Ended::ServerBroke,
        })
    };
    let back = async {
        one_way(&mut from_server, &mut to_client, &passed.to_client).await.map_err(|broke| match broke {
            Broke::Reading => Ended::ServerBroke,
            Broke::Writing => Ended::ClientBroke,
        })
    };
    let ended = tokio::select! {
        ended = async { tokio::try_join!(there, back) } => ended.map_or_else(|broke| broke, |_| Ended::Closed),
        () = watch(&passed, idle, exchange) => Ended::Idle,
    };
    let (to_server, to_client) = passed.take();
    exchange.passed(to_server, to_client);
    ended
}

impl Passed {
    fn take(&self) -> (u64, u64) {
        (self.to_server.swap(0, Ordering::Relaxed), self.to_client.swap(0, Ordering::Relaxed))
    }
}

/// Which of its ends a way broke at.
enum Broke {
    Reading,
    Writing,
}

async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: &AtomicU64,
) -> Result<(), Broke> {
    let mut buffer = vec![0; BUFFER.0];
    loop {
        match from.read(&mut buffer).await.map_err(|_| Broke::Reading)? {
            0 => return close(to).await.map_err(|_| Broke::Writing),
            read => {
                let bytes = buffer.get(..read).unwrap_or_default();
                to.write_all(bytes).await.map_err(|_| Broke::Writing)?;
                // Encrypted and upgraded connections keep what they are given until they are flushed.
                to.flush().await.map_err(|_| Broke::Writing)?;
                count.fetch_add(read as u64, Ordering::Relaxed);
                if read == buffer.len() && read < BUFFER.1 {
                    buffer.resize(BUFFER.1, 0);
                }
            }
        }
    }
}

/// Closes the sending half; an end that is gone already has nothing left to close.
async fn close(to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    match to.shutdown().await {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        closed => closed,
    }
}

/// Tells the exchange what has passed, and is ready when nothing did for the idle time.
async fn watch(passed: &Passed, idle: Option<Duration>, exchange: &mut Exchange) {
    let mut quiet_since = Instant::now();
    let mut pause = LOOK.0;
    loop {
        let quiet_until = idle.map(|idle| quiet_since + idle);
        let look = Instant::now() + pause;
        tokio::time::sleep_until(quiet_until.map_or(look, |until| until.min(look))).await;
        let (to_server, to_client) = passed.take();
        // A quiet connection is looked at seldom.
        pause = if to_server + to_client > 0 { LOOK.0 } else { (pause * 2).min(LOOK.1) };
        if to_server + to_client > 0 {
            exchange.passed(to_server, to_client);
            exchange.tell_progress();
            quiet_since = Instant::now();
        } else if quiet_until.is_some_and(|until| Instant::now() >= until) {
            return;
        }
    }
}
