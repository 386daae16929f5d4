//! A connection to a server that speaks HTTP/1.1, driven by whoever waits for its answer.
//!
//! hyper's client runs each connection as a task of its own: a request goes to it through a channel, its answer's head comes back
//! through another, its body through a third, with a wake-up for each, which was the larger half of what a request cost. Here the
//! task of the client's connection writes the request and reads the answer itself, so that nothing is queued and a server's
//! answer wakes exactly the task that needs it. A request's body is sent while the answer is waited for and read.
//!
//! One request at a time. After its answer the connection may carry another if [`Http1Connection::is_reusable`]: both messages were
//! complete, nobody asked to close, and not one byte came that nobody had asked for. A connection at rest is not watched; whether the server has closed
//! it is seen when it is taken, which costs no call of the kernel, because the runtime knows which connections have something to be read.
//!
//! What a server may send is limited: a head has at most the connection's buffer and [`head::MOST_FIELDS`] fields, the rest of the limits are those of
//! [`chunks`]. What is no HTTP, or is framed in two ways, is refused.

mod chunks;
mod head;
mod outgoing;

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use http::request::Parts;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::failure::Failure;
use crate::request_body::RequestBody;
use crate::wire::Wire;
use chunks::{Chunks, Step};
use head::{Asked, Framing, Parsed};
use outgoing::{Outgoing, Stopped};

/// Bytes that a read makes room for at first; doubled by each read that fills it, up to the connection's limit.
const FIRST_ROOM: usize = 4 * 1024;
/// The largest buffer that a connection keeps while it carries nothing.
const KEPT: usize = 8 * 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Http1Connection {
    wire: Wire,
    /// Read and not yet taken.
    read: BytesMut,
    room: usize,
    /// The longest head, and the largest room.
    longest: usize,
    out: Outgoing,
    places: Vec<head::Place>,
    state: State,
    /// Whether it carries no other request, whatever else holds.
    ends: bool,
    /// Bounds the wait for a head. It stays with the connection and is moved when it fires, so that a request costs no timer.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What is read next.
#[derive(Debug)]
enum State {
    /// The head of the answer to what was asked so.
    Head(Asked),
    /// So many bytes of a body.
    Length(u64),
    /// A body in chunks.
    Chunks(Chunks),
    /// A body that ends with the connection.
    UntilClosed,
    /// Nothing: no request was sent, or its answer has ended.
    Done,
}

/// A request of which nothing was sent.
#[derive(Debug)]
pub(crate) struct Unsent {
    out: Outgoing,
    asked: Asked,
}

/// Why an answer's body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection broke.
    #[error("reading from the connection")]
    Read(#[from] io::Error),
    /// It was closed too soon.
    #[error("the connection was closed before the end")]
    Short,
    /// What came is no chunk.
    #[error("the chunks are malformed or over a limit")]
    Chunks,
    /// The request's own body could not be sent to its end.
    #[error("sending the request's body: {}", .0.word())]
    Request(Failure),
}

impl Http1Connection {
    /// A connection that nothing was sent on; it buffers `longest` bytes at most.
    pub(crate) fn new(wire: Wire, longest: usize) -> Box<Self> {
        Box::new(Self {
            wire,
            read: BytesMut::new(),
            room: FIRST_ROOM.min(longest),
            longest,
            out: Outgoing::default(),
            places: Vec::new(),
            state: State::Done,
            ends: false,
            timer: None,
        })
    }

    /// Whether the server has left a connection at rest open, and silent.
    pub(crate) fn is_open(&mut self) -> bool {
        self.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Begins a request; it is sent while its answer is polled for.
    pub(crate) fn begin(&mut self, head: &Parts, body: RequestBody) {
        self.state = State::Head(Asked::of(&head.method));
        self.out.begin(head, body);
    }

    /// The request, if not one byte of it was sent.
    pub(crate) fn take_unsent(&mut self) -> Option<Unsent> {
        let State::Head(asked) = self.state else { return None };
        Some(Unsent { out: self.out.take_unsent()?, asked })
    }

    /// Begins with a request that another connection did not take.
    pub(crate) fn resume(&mut self, unsent: Unsent) {
        self.state = State::Head(unsent.asked);
        self.out = unsent.out;
    }

    /// The head of the answer.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Failure>> {
        if let Some(failure) = self.send(cx) {
            return Poll::Ready(Err(failure));
        }
        let State::Head(asked) = self.state else { return Poll::Ready(Err(Failure::Reset)) };
        loop {
            if !self.read.is_empty() {
                match head::parse(&mut self.read, &mut self.places, asked) {
                    Ok(Parsed::Answer(answer)) => return Poll::Ready(Ok(self.begin_body(answer))),
                    Ok(Parsed::Interim) => continue,
                    Ok(Parsed::Part) if self.read.len() < self.longest => {}
                    Ok(Parsed::Part) | Err(head::Malformed) => return Poll::Ready(Err(Failure::BadAnswer)),
                }
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::Reset)),
                Ok(_) => {}
            }
        }
    }

    /// Ready when it is later than `limit`.
    pub(crate) fn poll_limit(&mut self, limit: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(limit)));
        loop {
            // One that fires too early is moved then; limits nearly always lie behind those before them.
            if limit < timer.deadline() {
                timer.as_mut().reset(limit);
            }
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= limit {
                return Poll::Ready(());
            }
            timer.as_mut().reset(limit);
        }
    }

    /// The next piece of the answer's body.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.out.is_done()
            && let Some(failure) = self.send(cx)
        {
            return Poll::Ready(Some(Err(BodyError::Request(failure))));
        }
        loop {
            let step = match &mut self.state {
                State::Done | State::Head(_) => return Poll::Ready(None),
                State::Chunks(chunks) => chunks.step(&mut self.read),
                State::Length(_) | State::UntilClosed if self.read.is_empty() => Step::More,
                State::UntilClosed => Step::Data(self.read.split().freeze()),
                State::Length(left) => {
                    let here = usize::try_from(*left).map_or(self.read.len(), |left| left.min(self.read.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Done;
                    }
                    Step::Data(self.read.split_to(here).freeze())
                }
            };
            match step {
                Step::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Step::Malformed => return Poll::Ready(Some(Err(BodyError::Chunks))),
                Step::End(trailers) => {
                    self.state = State::Done;
                    return Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))));
                }
                Step::More => match ready!(self.poll_fill(cx)) {
                    Ok(0) if matches!(self.state, State::UntilClosed) => self.state = State::Done,
                    Ok(0) => return Poll::Ready(Some(Err(BodyError::Short))),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                },
            }
        }
    }

    /// Whether the answer has been read to its end.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// What is left of the answer's body.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Done => SizeHint::with_exact(0),
            State::Length(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }

    /// Whether another request may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        self.is_done() && !self.ends && self.read.is_empty() && self.out.is_done()
    }

    /// Lets go of what it need not keep while it carries nothing.
    pub(crate) fn rest(&mut self) {
        if self.read.capacity() > KEPT {
            self.read = BytesMut::new();
        }
        self.out.rest(KEPT);
    }

    /// Tells the server that it is not needed any more, as far as that can be said without waiting.
    pub(crate) fn close(mut self: Box<Self>) {
        let _ = Pin::new(&mut self.wire).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }

    /// The connection after an answer that switched to another protocol.
    pub(crate) fn switched(self: Box<Self>) -> Switched {
        Switched { ahead: self.read, wire: self.wire }
    }

    /// Sends what can be sent. A server that takes no more may have answered already, so only what the caller did wrong ends it.
    fn send(&mut self, cx: &mut Context<'_>) -> Option<Failure> {
        match self.out.poll_send(&mut self.wire, cx) {
            Poll::Ready(Err(Stopped::Body(failure))) => Some(failure),
            Poll::Ready(Err(Stopped::Wire)) if self.out.is_untouched() => Some(Failure::Reset),
            Poll::Ready(Err(Stopped::Wire)) => {
                self.ends = true;
                self.out.give_up();
                None
            }
            Poll::Ready(Ok(())) | Poll::Pending => None,
        }
    }

    fn begin_body(&mut self, answer: head::Answer) -> Response<()> {
        self.ends |= answer.closes;
        self.state = match answer.framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunks => State::Chunks(Chunks::default()),
            Framing::UntilClosed => {
                self.ends = true;
                State::UntilClosed
            }
        };
        answer.response
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < self.room {
            self.read.reserve(self.room);
        }
        let read = ready!(pin!(self.wire.read_buf(&mut self.read)).poll(cx))?;
        if read >= self.room {
            self.room = (self.room * 2).min(self.longest);
        }
        Poll::Ready(Ok(read))
    }
}

/// A connection that speaks something else now.
#[derive(Debug)]
pub(crate) struct Switched {
    /// What the server sent behind its answer.
    ahead: BytesMut,
    wire: Wire,
}

impl AsyncRead for Switched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.wire).poll_read(cx, buf);
        }
        let taken = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
