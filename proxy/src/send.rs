//! One attempt: a connection that is open or a new one, the request on it, the head of the answer.
//!
//! HTTP/1.1 connections are taken out of the pool for one request at a time, HTTP/2 connections are shared (`multiplex`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::message::Form;
use crate::multiplex::{LineState, OnLine, Opened};
use crate::pool::Sender;
use crate::request_body::RequestBody;
use crate::transport;
use crate::worker::{Limits, Shared, Worker};

/// A connection on loan: back to the pool when its answer was read to the end, closed otherwise. A place on a shared
/// connection ends with the loan, the connection stays.
#[derive(Debug)]
pub(crate) struct Lease {
    held: Held,
    endpoint: Arc<Endpoint>,
    worker: usize,
}

#[derive(Debug)]
enum Held {
    Alone(Sender),
    Shared { _place: OnLine },
}

impl Lease {
    /// Where it leads.
    pub(crate) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Its answer was read to the end.
    pub(crate) fn give_back(self, shared: &Shared) {
        if let Held::Alone(sender) = self.held {
            self.endpoint.give_back(self.worker, sender, shared.clock.now());
        }
    }
}

/// Sends a request and waits for the head of its answer.
pub(crate) async fn send(
    worker: &Worker,
    endpoint: &Arc<Endpoint>,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    if endpoint.transport().form == Form::Http2 {
        // In a box, so that the larger future does not burden HTTP/1.1.
        return Box::pin(send_shared(worker, endpoint, request)).await;
    }
    let mut request = request;
    loop {
        let (mut sender, reused) = match idle(worker, endpoint).await {
            Some(sender) => (sender, true),
            None => (Box::pin(connect(endpoint, &worker.shared.limits)).await?, false),
        };
        match sender.try_send_request(request).await {
            Ok(response) => {
                let held = Held::Alone(sender);
                return Ok((response, Lease { held, endpoint: Arc::clone(endpoint), worker: worker.index }));
            }
            Err(mut error) => match error.take_message() {
                // Not one byte was sent: the server had closed the idle connection.
                Some(unsent) if reused => request = unsent,
                _ => return Err(Failure::of_exchange(error.error())),
            },
        }
    }
}

async fn send_shared(
    worker: &Worker,
    endpoint: &Arc<Endpoint>,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let limits = &worker.shared.limits;
    let lines = endpoint.lines(worker.index).ok_or(Failure::NoEndpoint)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let mut place = lines.enter(worker.shared.clock.now(), connect_shared(endpoint, limits)).await?;
        if place.sender.ready().await.is_err() && tries < MAX_UNSENT {
            continue;
        }
        if request.method() == Method::CONNECT {
            takes_tunnels(&place, limits.connect).await?;
        }
        match place.sender.try_send_request(request).await {
            Ok(mut response) => {
                *response.version_mut() = http::Version::HTTP_11;
                let held = Held::Shared { _place: place };
                return Ok((response, Lease { held, endpoint: Arc::clone(endpoint), worker: worker.index }));
            }
            Err(mut error) => match error.take_message() {
                // The connection was going away; nothing of the request was sent.
                Some(unsent) if tries < MAX_UNSENT => request = unsent,
                _ => return Err(Failure::of_exchange(error.error())),
            },
        }
    }
}

/// Waits until a server has said that it takes extended CONNECT; it does so with the first bytes it sends, if at all.
async fn takes_tunnels(place: &OnLine, longest: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + longest;
    while !place.is_for_tunnels() {
        if place.sender.is_closed() || Instant::now() >= deadline {
            return Err(Failure::NoTunnel);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Time between two looks at what a server has said.
const LOOK: Duration = Duration::from_millis(2);

/// Connections that a request is offered to before it fails without having been sent.
const MAX_UNSENT: u32 = 3;

async fn idle(worker: &Worker, endpoint: &Endpoint) -> Option<Sender> {
    loop {
        let mut sender = endpoint.take_idle(worker.index)?;
        if sender.ready().await.is_ok() {
            return Some(sender);
        }
    }
}

async fn connect(endpoint: &Endpoint, limits: &Limits) -> Result<Sender, Failure> {
    let io = TokioIo::new(transport::connect(endpoint, limits).await?);
    let handshake = http1::Builder::new().max_buf_size(limits.buffer).handshake(io).await;
    let (sender, connection) = handshake.map_err(|error| Failure::of_exchange(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a server ended");
        }
    });
    Ok(sender)
}

async fn connect_shared(endpoint: &Endpoint, limits: &Limits) -> Result<Opened, Failure> {
    let io = TokioIo::new(transport::connect(endpoint, limits).await?);
    let http2 = &limits.http2;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(http2.header_list)
        .initial_stream_window_size(http2.window.0)
        .initial_connection_window_size(http2.window.1)
        .max_send_buf_size(http2.send_buffer)
        .max_local_error_reset_streams(http2.error_resets)
        .keep_alive_interval(http2.ping.0)
        .keep_alive_timeout(http2.ping.1);
    let (sender, connection) = builder.handshake(io).await.map_err(|error| Failure::of_exchange(&error))?;
    let state = Arc::new(LineState::default());
    let told = Arc::clone(&state);
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = told.asked() => if connection.is_extended_connect_protocol_enabled() {
                    told.takes_tunnels();
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection to a server ended");
        }
    });
    Ok((sender, state))
}
