//! An accepted connection as hyper reads it: follows the requests on it and ends it when it is silent too long.
//!
//! Two limits of time that hyper does not have in the form needed: a request's head must be complete within
//! `head`, and a connection on which nothing is under way may be silent for `idle`. hyper's own header timeout also runs
//! while a connection idles and allocates a timer for each request; here one timer serves the connection's life and is
//! touched only when it fires or when a head arrives in pieces. For the idle limit it fires on its own period and then
//! looks whether anything happened since, so a silent connection lives between one and two periods.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::arrival::Arrival;
use crate::framing::Framing;
use crate::hits::Hit;
use crate::wire::Wire;

/// No request of a connection has a conflict.
const NONE: u64 = u64::MAX;

/// What is to be done with a connection after its last request, once that was upgraded to another protocol.
type Tunnel = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the connection's reader and its service tell each other.
pub(crate) struct Traffic {
    /// How the connection came in.
    arrival: Arrival,
    /// Number of the request that must be answered with 400.
    conflict: AtomicU64,
    /// Requests handed to the service so far.
    begun: AtomicU64,
    /// Requests being served.
    active: AtomicU32,
    /// Whether what follows is no HTTP any more.
    upgraded: AtomicBool,
    /// Written once a connection at most, by its own task.
    tunnel: Mutex<Option<Tunnel>>,
    /// Whether a limit of time ended it, and which.
    cut: AtomicU8,
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").field("arrival", &self.arrival).field("active", &self.active).finish_non_exhaustive()
    }
}

/// No limit of time.
const WHOLE: u8 = 0;
/// A head was not complete in time.
const CUT_HEAD: u8 = 1;
/// Nothing came between two requests.
const CUT_IDLE: u8 = 2;

impl Traffic {
    /// Of a connection on which nothing has happened.
    pub(crate) fn new(arrival: Arrival) -> Arc<Self> {
        Arc::new(Self {
            arrival,
            conflict: AtomicU64::new(NONE),
            begun: AtomicU64::new(0),
            active: AtomicU32::new(0),
            upgraded: AtomicBool::new(false),
            tunnel: Mutex::default(),
            cut: AtomicU8::new(WHOLE),
        })
    }

    /// How the connection came in.
    pub(crate) const fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// Requests begun so far, and how many of them are being served.
    pub(crate) fn requests(&self) -> (u64, u32) {
        (self.begun.load(Ordering::Relaxed), self.active.load(Ordering::Relaxed))
    }

    /// Says what is to be done with the connection when the answer under way has been sent.
    pub(crate) fn set_tunnel(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        self.upgraded.store(true, Ordering::Relaxed);
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(tunnel));
    }

    /// What is to be done with the connection after its last request.
    pub(crate) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The limit of this connection that was hit, once it has ended.
    pub(crate) fn hit(&self) -> Option<Hit> {
        match self.cut.load(Ordering::Relaxed) {
            CUT_HEAD => Some(Hit::HeadTimeout),
            CUT_IDLE => Some(Hit::Idle),
            _ => (self.conflict.load(Ordering::Relaxed) < self.begun.load(Ordering::Relaxed)).then_some(Hit::Smuggling),
        }
    }

    /// Counts a request of the service and tells whether it has both Content-Length and Transfer-Encoding.
    pub(crate) fn begin(&self) -> bool {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        number == self.conflict.load(Ordering::Relaxed)
    }

    /// Keeps the connection from counting as idle until the guard is dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.active.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// A request being served.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Traffic>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long an accepted connection may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    /// Within a request's head.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
}

/// The connection.
#[derive(Debug)]
pub(crate) struct GuardedIo {
    stream: Wire,
    framing: Framing,
    traffic: Arc<Traffic>,
    silence: Silence,
    timer: Pin<Box<Sleep>>,
    waits_for: Wait,
    /// Whether anything was read since the timer was set.
    heard: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Idle,
    Head,
}

impl GuardedIo {
    /// Takes over an accepted connection.
    pub(crate) fn new(stream: Wire, traffic: Arc<Traffic>, silence: Silence) -> Self {
        let timer = Box::pin(sleep(silence.idle));
        Self { stream, framing: Framing::new(), traffic, silence, timer, waits_for: Wait::Idle, heard: false }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.heard = true;
        if self.traffic.upgraded.load(Ordering::Relaxed) {
            return;
        }
        self.framing.feed(bytes);
        if let Some(number) = self.framing.conflict() {
            self.traffic.conflict.store(number, Ordering::Relaxed);
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.traffic.upgraded.load(Ordering::Relaxed) {
            // Whoever passes the bytes on bounds the silence.
            return Poll::Pending;
        }
        let within_head = self.framing.is_within_head();
        if within_head != (self.waits_for == Wait::Head) {
            self.waits_for = if within_head { Wait::Head } else { Wait::Idle };
            self.arm();
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let idle = self.framing.is_between_requests() && self.traffic.active.load(Ordering::Relaxed) == 0;
            let over = match self.waits_for {
                Wait::Head => true,
                Wait::Idle => idle && !self.heard,
            };
            if over {
                let cut = if self.waits_for == Wait::Head { CUT_HEAD } else { CUT_IDLE };
                self.traffic.cut.store(cut, Ordering::Relaxed);
                return Poll::Ready(io::Error::from(io::ErrorKind::TimedOut));
            }
            self.arm();
        }
        Poll::Pending
    }

    fn arm(&mut self) {
        let limit = match self.waits_for {
            Wait::Head => self.silence.head,
            Wait::Idle => self.silence.idle,
        };
        self.heard = false;
        self.timer.as_mut().reset(Instant::now() + limit);
    }
}

impl AsyncRead for GuardedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                this.note(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_silence(cx).map(Err),
        }
    }
}

impl AsyncWrite for GuardedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SILENCE: Silence = Silence { head: Duration::from_secs(10), idle: Duration::from_secs(300) };

    async fn pair() -> (TcpStream, GuardedIo, Arc<Traffic>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let traffic = Traffic::new(Arrival::default());
        let (stream, _) = listener.accept().await.unwrap();
        (client, GuardedIo::new(Wire::plain(stream), Arc::clone(&traffic), SILENCE), traffic)
    }

    /// Reads until the connection ends and tells after how many seconds it did.
    async fn ends_after(mut io: GuardedIo) -> u64 {
        let start = Instant::now();
        while io.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_cut_off() {
        let (mut client, io, _traffic) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
        assert_eq!(ends_after(io).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_unless_a_request_is_served() {
        let (_client, io, _traffic) = pair().await;
        assert_eq!(ends_after(io).await, 300);
        let (_client, io, traffic) = pair().await;
        let busy = traffic.busy();
        let ended = tokio::time::timeout(Duration::from_secs(3_000), ends_after(io)).await;
        assert!(ended.is_err(), "a request was being served");
        drop(busy);
    }
}
