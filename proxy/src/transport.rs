//! How the connections to an endpoint are made: plain or encrypted, HTTP/1.1, HTTP/2 or bytes.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::message::Form;
use crate::tally::Protection;
use crate::tls::{ClientSide, Offer};
use crate::wire::Wire;
use crate::worker::Limits;

/// How an endpoint is connected to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transport {
    /// Which HTTP it speaks.
    pub(crate) form: Form,
    /// How the connections are encrypted.
    pub(crate) tls: Option<Arc<ClientSide>>,
}

impl Transport {
    /// Whether the server may choose HTTP/2 in the handshake although its listener is declared as `http`.
    pub(crate) fn is_negotiated(&self) -> bool {
        self.form == Form::Http1 && self.tls.is_some()
    }

    /// How its connections are protected.
    pub(crate) fn protection(&self) -> Protection {
        Protection::of(self.tls.as_ref().is_some_and(|tls| tls.is_mutual()))
    }
}

/// Opens a connection to an endpoint.
pub(crate) async fn connect(endpoint: &Endpoint, offer: Offer, limits: &Limits) -> Result<Wire, Failure> {
    let address = endpoint.next_address().ok_or(Failure::NoEndpoint)?;
    let stream = match tokio::time::timeout(limits.connect, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| Failure::of_connect(&error))?,
        Err(_) => return Err(Failure::ConnectTimeout),
    };
    // Requests are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    match &endpoint.transport().tls {
        None => Ok(Wire::plain(stream)),
        Some(tls) => Ok(Wire::encrypted(tls.connect(stream, offer, limits.handshake).await?)),
    }
}

/// Limits of HTTP/2 connections, both ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Http2Limits {
    /// Streams that a client may have open on one connection.
    pub(crate) streams: u32,
    /// Bytes of one block of headers, as RFC 9113 counts them; CONTINUATION frames are bounded by it, too.
    pub(crate) header_list: u32,
    /// Streams that were reset before we came to serve them; more on one connection end it (rapid reset).
    pub(crate) pending_resets: usize,
    /// Streams that we had to reset because of the client's errors; more on one connection end it.
    pub(crate) error_resets: usize,
    /// Frames without content that a client may send ahead of its use of the connection.
    pub(crate) idle_frames: u32,
    /// Bytes a peer may send ahead on one stream, and on one connection.
    pub(crate) window: (u32, u32),
    /// Bytes buffered for a peer that does not read, for each stream.
    pub(crate) send_buffer: usize,
    /// Time without a frame after which a ping is sent, and time to answer it.
    pub(crate) ping: (Duration, Duration),
}
