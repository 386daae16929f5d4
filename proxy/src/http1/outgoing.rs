//! What of a request is still to be sent: its head, and its body as it comes.
//!
//! Pieces that are small are copied behind the head and leave with it in one write; larger ones are written from where they are.

use std::io::IoSlice;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::head;
use crate::failure::Failure;
use crate::request_body::RequestBody;
use crate::wire::Wire;

/// Bytes that are copied together.
const COPIED: usize = 8 * 1024;

/// A request on its way out; by default none.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// To be written first, from `written` on.
    first: Vec<u8>,
    written: usize,
    /// To be written next.
    data: Bytes,
    /// To be written last.
    last: &'static [u8],
    body: RequestBody,
    coding: Coding,
    is_untouched: bool,
}

/// How the rest of the body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Coding {
    /// There is none.
    #[default]
    Ended,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunks,
}

/// Why no more of a request can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The caller's body failed.
    Body(Failure),
    /// The connection takes no more.
    Wire,
}

/// What the body has to give now.
enum Filled {
    /// Enough to be written, or its end.
    Enough,
    /// Nothing yet.
    Waits,
}

impl Outgoing {
    /// Begins a request.
    pub(super) fn begin(&mut self, head: &Parts, body: RequestBody) {
        let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact().or_else(|| said(head)) };
        self.first.clear();
        head::write(&mut self.first, head, length);
        self.written = 0;
        self.is_untouched = true;
        self.coding = match length {
            Some(0) => Coding::Ended,
            Some(length) => Coding::Length(length),
            None => Coding::Chunks,
        };
        // An ended body is let go at once: its exchange sees by that that all of it was sent.
        self.body = if self.coding == Coding::Ended { RequestBody::Empty } else { body };
    }

    /// Whether all of it was sent.
    pub(super) fn is_done(&self) -> bool {
        self.coding == Coding::Ended && !self.has_bytes()
    }

    /// Whether not one byte was sent.
    pub(super) const fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// All of it, if not one byte was sent.
    pub(super) fn take_unsent(&mut self) -> Option<Self> {
        self.is_untouched.then(|| mem::take(self))
    }

    /// Forgets what was not sent.
    pub(super) fn give_up(&mut self) {
        *self = Self::default();
    }

    /// Keeps no more than `kept` bytes of buffer.
    pub(super) fn rest(&mut self, kept: usize) {
        if self.first.capacity() > kept {
            self.first = Vec::new();
        }
    }

    /// Sends what can be sent; ready when all of it was.
    pub(super) fn poll_send(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            let filled = self.fill(cx)?;
            while self.has_bytes() {
                ready!(self.poll_write(wire, cx))?;
            }
            if matches!(filled, Filled::Waits) || self.coding == Coding::Ended {
                // An encrypted connection keeps what it is given until it is flushed.
                ready!(Pin::new(&mut *wire).poll_flush(cx)).map_err(|_| Stopped::Wire)?;
                return if self.coding == Coding::Ended { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
        }
    }

    fn has_bytes(&self) -> bool {
        self.written < self.first.len() || !self.data.is_empty() || !self.last.is_empty()
    }

    fn fill(&mut self, cx: &mut Context<'_>) -> Result<Filled, Stopped> {
        while self.coding != Coding::Ended && self.data.is_empty() && self.first.len() < COPIED {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(Filled::Waits),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers of a request end here, as the field that announces them does.
                    if let Ok(data) = frame.into_data() {
                        self.add(data)?;
                    }
                }
                Poll::Ready(Some(Err(error))) => return Err(Stopped::Body(Failure::of_body(&error))),
                Poll::Ready(None) if self.coding == Coding::Chunks => {
                    self.first.extend_from_slice(b"0\r\n\r\n");
                    self.end();
                }
                Poll::Ready(None) => return Err(Stopped::Body(Failure::RequestBody)),
            }
        }
        Ok(Filled::Enough)
    }

    fn add(&mut self, data: Bytes) -> Result<(), Stopped> {
        if data.is_empty() {
            return Ok(());
        }
        let length = data.len() as u64;
        let end: &'static [u8] = match &mut self.coding {
            Coding::Chunks => {
                self.first.extend_from_slice(format!("{length:x}\r\n").as_bytes());
                b"\r\n"
            }
            Coding::Length(left) => {
                *left = left.checked_sub(length).ok_or(Stopped::Body(Failure::RequestBody))?;
                b""
            }
            Coding::Ended => return Ok(()),
        };
        if data.len() <= COPIED {
            self.first.extend_from_slice(&data);
            self.first.extend_from_slice(end);
        } else {
            self.data = data;
            self.last = end;
        }
        if self.coding == Coding::Length(0) {
            self.end();
        }
        Ok(())
    }

    fn end(&mut self) {
        self.coding = Coding::Ended;
        self.body = RequestBody::Empty;
    }

    fn poll_write(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let first = self.first.get(self.written..).unwrap_or_default();
        let wire = Pin::new(wire);
        let written = if self.data.is_empty() && self.last.is_empty() {
            ready!(wire.poll_write(cx, first))
        } else {
            let pieces = [IoSlice::new(first), IoSlice::new(&self.data), IoSlice::new(self.last)];
            ready!(wire.poll_write_vectored(cx, &pieces))
        };
        match written {
            Ok(0) | Err(_) => Poll::Ready(Err(Stopped::Wire)),
            Ok(written) => {
                self.is_untouched = false;
                self.advance(written);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        let first = written.min(self.first.len() - self.written);
        self.written += first;
        written -= first;
        if self.written == self.first.len() {
            self.first.clear();
            self.written = 0;
        }
        let data = written.min(self.data.len());
        self.data.advance(data);
        written -= data;
        self.last = self.last.get(written..).unwrap_or_default();
    }
}

/// The length that a head says.
fn said(head: &Parts) -> Option<u64> {
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
