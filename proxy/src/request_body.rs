//! The body of a request as it is sent: none, kept whole so that it can be sent again, or passed through.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::silence::SilenceTimer;

/// A body to send.
#[derive(Debug, Default)]
pub(crate) enum RequestBody {
    /// None, or one that was sent already.
    #[default]
    Empty,
    /// All of it.
    Whole(Bytes),
    /// As it comes in.
    Stream(Box<Stream>),
}

/// A body passed through.
#[derive(Debug)]
pub(crate) struct Stream {
    inner: Incoming,
    timer: SilenceTimer,
    passed: Arc<AtomicU64>,
    /// Bytes it may have.
    longest: u64,
}

/// Why a request's body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    /// The application stopped sending.
    #[error("reading the request's body")]
    Read(#[from] hyper::Error),
    /// It was silent for too long.
    #[error("the request's body was silent for {0:?}")]
    Silent(Duration),
    /// It is too long.
    #[error("the request's body has more than {0} bytes")]
    TooLarge(u64),
}

impl RequestBody {
    /// Passes a body through; it may be silent for `silence` at most. Its bytes are counted in `passed`.
    pub(crate) fn stream(inner: Incoming, silence: Duration, passed: Arc<AtomicU64>) -> Self {
        if inner.is_end_stream() {
            return Self::Empty;
        }
        Self::Stream(Box::new(Stream {
            inner,
            timer: SilenceTimer::new(Some(silence), None),
            passed,
            longest: u64::MAX,
        }))
    }

    /// Lets it have so many bytes at most.
    #[must_use]
    pub(crate) fn at_most(mut self, longest: Option<u64>) -> Self {
        if let (Self::Stream(stream), Some(longest)) = (&mut self, longest) {
            stream.longest = longest;
        }
        self
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.timer.heard();
                let frame = frame.map(|frame| frame.map_err(RequestBodyError::from));
                if let Some(Ok(data)) =
                    frame.as_ref().map(|frame| frame.as_ref().map(|f| f.data_ref().map_or(0, Bytes::len)))
                {
                    let before = self.passed.fetch_add(data as u64, Ordering::Relaxed);
                    if before + data as u64 > self.longest {
                        return Poll::Ready(Some(Err(RequestBodyError::TooLarge(self.longest))));
                    }
                }
                Poll::Ready(frame)
            }
            Poll::Pending => self.timer.poll(cx).map(|over| Some(Err(RequestBodyError::Silent(over.after())))),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.inner.size_hint(),
        }
    }
}
