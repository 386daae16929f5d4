//! The body of a server's answer, over HTTP/1.1 or HTTP/2.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http1::{BodyError, Http1Connection};

/// The body.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Read from the connection, which nobody else uses before its end.
    Http1(Box<Http1Connection>),
    /// A stream of a shared connection.
    Http2(Incoming),
    /// One that has ended.
    Ended,
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplyError {
    /// On a connection of its own.
    #[error(transparent)]
    Http1(#[from] BodyError),
    /// On a shared connection.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl Reply {
    /// The connection it came from, if that belongs to it.
    pub(crate) fn take_connection(&mut self) -> Option<Box<Http1Connection>> {
        match std::mem::replace(self, Self::Ended) {
            Self::Http1(connection) => Some(connection),
            Self::Http2(_) | Self::Ended => None,
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = ReplyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        match self.get_mut() {
            Self::Http1(connection) => connection.poll_body(cx).map_err(ReplyError::from),
            Self::Http2(stream) => Pin::new(stream).poll_frame(cx).map_err(ReplyError::from),
            Self::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_done(),
            Self::Http2(stream) => stream.is_end_stream(),
            Self::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(connection) => connection.size_hint(),
            Self::Http2(stream) => stream.size_hint(),
            Self::Ended => SizeHint::with_exact(0),
        }
    }
}
