//! Answers to the caller: those passed through, with what must happen at their end, and the sidecar's own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::access_log::Line;
use crate::app_side::Place;
use crate::endpoint::Endpoint;
use crate::exchange::{AttemptEnd, End, Exchange};
use crate::gateway::{self, Entry};
use crate::headers;
use crate::hits::Hit;
use crate::http1::{Http1Connection, Switched};
use crate::late::Late;
use crate::reply::{Reply, ReplyError};
use crate::send::Lease;
use crate::silence::{Over, SilenceTimer};
use crate::target::Target;
use crate::upgrade;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// The sidecar's own.
    Own(Bytes),
    /// Of the server, as it comes.
    Passed(Box<Passed>),
}

/// A body passed through.
#[derive(Debug)]
pub(crate) struct Passed {
    inner: Reply,
    timer: SilenceTimer,
    /// Gone when the body has ended.
    open: Option<Open>,
    /// Where it comes from.
    endpoint: Arc<Endpoint>,
    /// Its line in the access log, written when the body is dropped.
    line: Option<Box<Line>>,
    /// The caller's side of it at a gateway.
    entry: Option<Box<Entry>>,
}

/// What a body that has not ended holds.
#[derive(Debug)]
pub(crate) struct Open {
    /// Recorded when dropped.
    pub(crate) exchange: Exchange,
    /// The connection the body comes from.
    pub(crate) lease: Lease,
    /// How the exchange ends if the body does.
    pub(crate) end: End,
    /// Who is told of a body that breaks off.
    pub(crate) target: Option<Arc<Target>>,
    /// What its trailers decide.
    pub(crate) late: Option<Box<Late>>,
    /// Its place among the requests that the application's listener allows.
    pub(crate) _place: Option<Place>,
}

/// Why an answer's body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The server stopped sending.
    #[error("reading the answer's body")]
    Read(#[from] ReplyError),
    /// It was silent for too long, or took too long altogether.
    #[error("the answer's body took too long: {0:?}")]
    Slow(Over),
}

/// Passes an answer through.
pub(crate) fn pass(response: Response<Reply>, timer: SilenceTimer, open: Open) -> Response<AnswerBody> {
    // An upgraded connection lives on, and whoever passes its bytes takes over the exchange.
    let lives_on = upgrade::is_agreed(&response);
    let (parts, inner) = response.into_parts();
    let endpoint = Arc::clone(open.lease.endpoint());
    let mut passed = Passed { inner, timer, open: Some(open), endpoint, line: None, entry: None };
    if passed.inner.is_end_stream() && !lives_on {
        passed.finish();
    }
    Response::from_parts(parts, AnswerBody::Passed(Box::new(passed)))
}

/// Lets the caller's side of a request end with its answer.
pub(crate) fn enclose(response: &mut Response<AnswerBody>, entry: Entry) {
    let end = gateway::end_of(response);
    match response.body_mut() {
        AnswerBody::Passed(passed) if passed.open.is_some() => passed.entry = Some(Box::new(entry)),
        AnswerBody::Passed(_) | AnswerBody::Own(_) => entry.ends(end, 0),
    }
}

/// Lets an answer's line in the access log be written at its end.
pub(crate) fn log(response: &mut Response<AnswerBody>, mut line: Box<Line>) {
    line.answered(response.status().as_u16(), response.headers());
    match response.body_mut() {
        AnswerBody::Own(bytes) => line.sent(bytes.len() as u64),
        AnswerBody::Passed(passed) => {
            line.came_from(passed.endpoint.label());
            if let Some(open) = &passed.open {
                line.received(open.exchange.received());
            }
            passed.line = Some(line);
        }
    }
}

/// An answer of the sidecar's own: plain text, and the reason in one word.
pub(crate) fn own(status: u16, word: &'static str, text: String) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Own(Bytes::from(text + "\n")));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(headers::ERROR, HeaderValue::from_static(word));
    response
}

impl Passed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let error = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.timer.heard();
                if let Some(trailers) = frame.trailers_mut() {
                    self.judge(Some(trailers));
                }
                if let (Some(open), Some(data)) = (&mut self.open, frame.data_ref()) {
                    open.exchange.response_bytes(data.len() as u64);
                    if let Some(entry) = &mut self.entry {
                        entry.answered(data.len() as u64);
                    }
                    if let Some(line) = &mut self.line {
                        line.sent(data.len() as u64);
                    }
                }
                // hyper asks no further once it knows that this was the end.
                if self.inner.is_end_stream() {
                    self.finish();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                self.finish();
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => AnswerError::Read(error),
            Poll::Pending => match self.timer.poll(cx) {
                Poll::Ready(over) => {
                    if let Some(open) = &self.open {
                        open.exchange.shared().connections.hits.count(Hit::AnswerTimeout);
                    }
                    AnswerError::Slow(over)
                }
                Poll::Pending => return Poll::Pending,
            },
        };
        self.break_off();
        Poll::Ready(Some(Err(error)))
    }

    /// Gives what only trailers could decide its end.
    fn judge(&mut self, trailers: Option<&mut HeaderMap>) {
        let Some(open) = &mut self.open else { return };
        if let Some(late) = open.late.take() {
            open.end = late.judge(&mut open.exchange, trailers);
        }
    }

    /// The exchange, the loan and the connection that has switched to another protocol, for whoever goes on with them.
    pub(crate) fn into_open(mut self) -> Option<(Exchange, Lease, Option<Switched>)> {
        let switched = self.inner.take_connection().map(Http1Connection::switched);
        self.open.take().map(|open| (open.exchange, open.lease, switched))
    }

    fn finish(&mut self) {
        self.judge(None);
        if let Some(Open { mut exchange, lease, end, .. }) = self.open.take() {
            lease.give_back(self.inner.take_connection());
            exchange.settle(end);
            self.leave(exchange, end);
        }
    }

    /// Records the exchange, and then the caller's side of it at a gateway.
    fn leave(&mut self, exchange: Exchange, end: End) {
        let received = exchange.received();
        drop(exchange);
        if let Some(entry) = self.entry.take() {
            entry.ends(end, received);
        }
    }

    /// The server stopped in the middle: the connection is not used again, and the request has failed after all.
    fn break_off(&mut self) {
        if let Some(Open { mut exchange, lease, end, target, late, .. }) = self.open.take() {
            if let Some(late) = late {
                exchange.attempt_ends(AttemptEnd::NoAnswer);
                late.breaks_off(&exchange);
            } else if end == End::Success {
                exchange.attempt_ends(AttemptEnd::NoAnswer);
                if let Some(target) = target {
                    let now = exchange.shared().clock.now();
                    target.note_broken_answer(lease.endpoint(), exchange.context().trace, now);
                }
                if let Some(calls) = exchange.calls() {
                    exchange.blame(calls.failed);
                }
            }
            exchange.settle(End::Failed);
            self.leave(exchange, End::Failed);
        }
        if let Some(line) = &mut self.line {
            line.broke_off();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            Self::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Passed(passed) => passed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Passed(passed) => passed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Passed(passed) => passed.inner.size_hint(),
        }
    }
}
