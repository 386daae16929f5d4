//! Gathers what one turn of an HTTP/2 connection's task writes, and sends it in one call of the kernel.
//!
//! The HTTP/2 library writes and flushes after each frame whose payload it does not copy, so a connection that answers eight
//! streams at once would make eight small packets. Here writes and flushes only fill a buffer; [`turns`] polls the task and
//! sends what is there when the task has nothing more to do. What is large goes straight through. No task waits for
//! more to come: what a turn wrote leaves at the end of the same turn.
//!
//! A full buffer makes the writer wait as a full socket does. A failed send is told to the next write.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::rt::Executor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are kept at most; a write that would make it more is sent with what is kept.
const LIMIT: usize = 32 * 1024;

/// One end of a connection whose writes are gathered. A clone is the same connection.
#[derive(Debug)]
pub(crate) struct Gather<W>(Arc<Mutex<Inner<W>>>);

#[derive(Debug)]
struct Inner<W> {
    wire: W,
    kept: Vec<u8>,
    /// How many of the kept bytes are sent.
    sent: usize,
    broken: Option<io::ErrorKind>,
}

impl<W> Clone for Gather<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: AsyncWrite + Unpin> Gather<W> {
    /// Gathers what is written to `wire`. Nothing leaves but within [`turns`].
    pub(crate) fn new(wire: W) -> Self {
        Self(Arc::new(Mutex::new(Inner { wire, kept: Vec::new(), sent: 0, broken: None })))
    }

    // A lock and not a task of its own: both holders are parts of one task, so it is never waited for.
    fn inner(&self) -> MutexGuard<'_, Inner<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the task of a connection, and sends at the end of each of its turns what it has written.
pub(crate) async fn turns<W: AsyncWrite + Unpin, T>(gather: Gather<W>, task: impl Future<Output = T>) -> T {
    let mut task = std::pin::pin!(task);
    std::future::poll_fn(|cx| {
        let done = task.as_mut().poll(cx);
        let mut inner = gather.inner();
        if let Poll::Ready(Err(error)) = inner.poll_send(cx) {
            inner.broken = Some(error.kind());
        }
        done
    })
    .await
}

/// Runs the tasks of a client's connection. hyper gives an executor first the task that reads and writes, then a task for each
/// request; the turns of the first one are those that send.
#[derive(Debug)]
pub(crate) struct ClientTasks<W>(Arc<Mutex<Option<Gather<W>>>>);

impl<W> ClientTasks<W> {
    /// Of a connection that was given to hyper.
    pub(crate) fn new(gather: Gather<W>) -> Self {
        Self(Arc::new(Mutex::new(Some(gather))))
    }
}

impl<W> Clone for ClientTasks<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W, F> Executor<F> for ClientTasks<W>
where
    W: AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(gather) => tokio::spawn(turns(gather, task)),
            // In a box: its type has room for the connection's task, too, and would be moved several times.
            None => tokio::spawn(Box::pin(task)),
        };
    }
}

impl<W: AsyncWrite + Unpin> Inner<W> {
    /// Sends all that is kept.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.kept.len() {
            let left = self.kept.get(self.sent..).unwrap_or_default();
            match ready!(Pin::new(&mut self.wire).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        if self.sent > 0 {
            self.kept.clear();
            self.sent = 0;
            // An encrypted connection keeps what it is given until it is flushed.
            return Pin::new(&mut self.wire).poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(broken) = self.broken {
            return Poll::Ready(Err(broken.into()));
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.kept.len() + length <= LIMIT {
            parts.iter().for_each(|part| self.kept.extend_from_slice(part));
            return Poll::Ready(Ok(length));
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.wire).poll_write_vectored(cx, parts)
    }
}

impl<W: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gather<W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner().wire).poll_read(cx, buf)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Gather<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // At the end of the turn.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.wire).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A wire that notes the size of each call, and takes `room` bytes at most in one.
    #[derive(Debug)]
    struct Calls {
        sizes: Arc<Mutex<Vec<usize>>>,
        room: usize,
    }

    impl AsyncWrite for Calls {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let taken = buf.len().min(self.room);
            self.sizes.lock().unwrap().push(taken);
            Poll::Ready(if taken == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) })
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn calls(room: usize) -> (Gather<Calls>, Arc<Mutex<Vec<usize>>>) {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        (Gather::new(Calls { sizes: Arc::clone(&sizes), room }), sizes)
    }

    #[tokio::test]
    async fn what_one_turn_writes_is_sent_at_its_end_in_one_call() {
        let (gather, sizes) = calls(usize::MAX);
        let mut writer = gather.clone();
        turns(gather, async {
            for _ in 0..8 {
                writer.write_all(&[1; 100]).await.unwrap();
                writer.flush().await.unwrap();
            }
            assert!(sizes.lock().unwrap().is_empty());
            tokio::task::yield_now().await;
            assert_eq!(*sizes.lock().unwrap(), [800]);
        })
        .await;
    }

    #[tokio::test]
    async fn what_the_socket_does_not_take_at_once_is_sent_on() {
        let (gather, sizes) = calls(300);
        let mut writer = gather.clone();
        turns(gather, async { writer.write_all(&[1; 1000]).await.unwrap() }).await;
        assert_eq!(*sizes.lock().unwrap(), [300, 300, 300, 100]);
    }

    #[tokio::test]
    async fn a_large_write_goes_straight_through_and_behind_what_was_kept() {
        let (near, mut far) = tokio::io::duplex(1024 * 1024);
        let gather = Gather::new(near);
        let mut writer = gather.clone();
        turns(gather, async {
            writer.write_all(b"first").await.unwrap();
            writer.write_all(&[7; LIMIT]).await.unwrap();
            writer.shutdown().await.unwrap();
        })
        .await;
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!((read.len(), &read[..5]), (5 + LIMIT, &b"first"[..]));
    }

    #[tokio::test]
    async fn a_failed_send_is_told_to_the_next_write() {
        let (gather, _) = calls(0);
        let mut writer = gather.clone();
        let told = turns(gather, async {
            writer.write_all(b"lost").await.unwrap();
            tokio::task::yield_now().await;
            writer.write_all(b"more").await
        });
        assert_eq!(told.await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
