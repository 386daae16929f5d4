//! An accepted HTTP/2 connection as hyper reads and writes it, watched by [`crate::frames`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::frames::{Frames, Told};
use crate::hits::Hit;
use crate::wire::{PREFACE, Wire};
use crate::worker::Worker;

/// A connection that is cut off when its client floods it.
#[derive(Debug)]
pub(crate) struct WatchedIo {
    wire: Wire,
    frames: Frames,
    began: Instant,
    worker: Arc<Worker>,
}

impl WatchedIo {
    /// Watches a connection from its preface on.
    pub(crate) fn new(wire: Wire, worker: &Arc<Worker>) -> Self {
        let frames = Frames::new(worker.shared.limits.http2.idle_frames, PREFACE.len());
        Self { wire, frames, began: Instant::now(), worker: Arc::clone(worker) }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let hits = &self.worker.shared.connections.hits;
        self.frames.wrote(bytes, |told| match told {
            Told::StreamRefused => hits.count(Hit::Streams),
            Told::Ended(said) => Hit::of_http2(said).into_iter().for_each(|hit| hits.count(hit)),
        });
    }
}

impl AsyncRead for WatchedIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.wire).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read {
            let (bytes, began) = (buf.filled().get(before..).unwrap_or_default(), this.began);
            if let Err(flood) = this.frames.read(bytes, || began.elapsed()) {
                this.worker.shared.connections.hits.count(Hit::IdleFrames);
                return Poll::Ready(Err(io::Error::other(flood)));
            }
        }
        read
    }
}

impl AsyncWrite for WatchedIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.wire).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = written {
            this.wrote(buf.get(..count).unwrap_or_default());
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.wire).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(mut count)) = written {
            for buf in bufs {
                let part = count.min(buf.len());
                this.wrote(buf.get(..part).unwrap_or_default());
                count -= part;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}
