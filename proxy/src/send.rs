//! One attempt: a connection that is open or a new one, the request on it, the head of the answer.
//!
//! HTTP/1.1 connections are taken out of the pool for one request at a time, HTTP/2 connections are shared (`multiplex`). Under TLS
//! the server of an `http` listener chooses which of the two: another sidecar of ours chooses HTTP/2. A request that wants to switch
//! protocols goes over HTTP/1.1, as its application wrote it.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Version;
use http::header::{HOST, HeaderValue, UPGRADE};
use http::request::Parts;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::gather::{ClientTasks, Gather};
use crate::http1::Http1Connection;
use crate::message::{self, Form};
use crate::multiplex::{LineState, NoLine, OnLine, Opened};
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::tls::Offer;
use crate::transport;
use crate::worker::{Limits, Worker};

/// Connections that a request is offered to before it fails without having been sent.
const MAX_UNSENT: u32 = 3;

/// A request to send.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    /// Its head.
    pub(crate) head: &'a mut Parts,
    /// Whether the head is needed afterwards.
    pub(crate) keep: Keep,
    /// Its body.
    pub(crate) body: RequestBody,
    /// When the head of the answer has to be there.
    pub(crate) limit: Option<Instant>,
}

/// What becomes of a request's head when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It may be sent again.
    Head,
    /// Nothing.
    Nothing,
}

/// A loan: of a connection that goes back to the pool when its answer was read to the end, or of a place on a shared
/// connection, which stays when the loan ends.
#[derive(Debug)]
pub(crate) struct Lease {
    endpoint: Arc<Endpoint>,
    worker: usize,
    _place: Option<OnLine>,
}

impl Lease {
    /// Where it leads.
    pub(crate) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The answer was read to its end.
    pub(crate) fn give_back(self, connection: Option<Box<Http1Connection>>) {
        match connection {
            Some(connection) if connection.is_reusable() => self.endpoint.give_back(self.worker, connection),
            Some(connection) => connection.close(),
            None => {}
        }
    }
}

/// Sends a request and waits for the head of its answer.
pub(crate) async fn send(
    worker: &Worker,
    endpoint: &Arc<Endpoint>,
    attempt: Attempt<'_>,
) -> Result<(Response<Reply>, Lease), Failure> {
    let limit = attempt.limit;
    let attempt = if is_shared(worker, endpoint, attempt.head) {
        // In a box, so that the larger future does not burden HTTP/1.1.
        match within(limit, Box::pin(send_shared(worker, endpoint, attempt))).await? {
            Shared::Answer(answer) => return Ok(*answer),
            Shared::Http1(attempt) => attempt,
        }
    } else {
        attempt
    };
    let idle = endpoint.take_idle(worker.index);
    let reused = idle.is_some();
    let mut connection = match idle {
        Some(connection) => connection,
        None => within(limit, Box::pin(connect(endpoint, &worker.shared.limits))).await?,
    };
    connection.begin(attempt.head, attempt.body);
    let mut answer = head(&mut connection, limit).await;
    if reused
        && matches!(answer, Err(Failure::Reset))
        && let Some(unsent) = connection.take_unsent()
    {
        // Not one byte was sent: the server had closed the idle connection.
        connection = within(limit, Box::pin(connect(endpoint, &worker.shared.limits))).await?;
        connection.resume(unsent);
        answer = head(&mut connection, limit).await;
    }
    let (parts, ()) = answer?.into_parts();
    let lease = Lease { endpoint: Arc::clone(endpoint), worker: worker.index, _place: None };
    Ok((Response::from_parts(parts, Reply::Http1(connection)), lease))
}

async fn within<T>(
    limit: Option<Instant>,
    doing: impl Future<Output = Result<T, Failure>> + Unpin,
) -> Result<T, Failure> {
    match limit {
        Some(limit) => tokio::time::timeout_at(limit, doing).await.unwrap_or(Err(Failure::Timeout)),
        None => doing.await,
    }
}

async fn head(connection: &mut Http1Connection, limit: Option<Instant>) -> Result<Response<()>, Failure> {
    poll_fn(|cx| {
        if let Poll::Ready(answer) = connection.poll_head(cx) {
            return Poll::Ready(answer);
        }
        match limit {
            Some(limit) => connection.poll_limit(limit, cx).map(|()| Err(Failure::Timeout)),
            None => Poll::Pending,
        }
    })
    .await
}

/// Whether a request goes over a connection that it shares, as far as the server does not choose otherwise.
fn is_shared(worker: &Worker, endpoint: &Endpoint, head: &Parts) -> bool {
    let negotiated = || endpoint.may_choose_http2(|| worker.shared.clock.now()) && !head.headers.contains_key(UPGRADE);
    endpoint.transport().form == Form::Http2 || negotiated()
}

/// What came of a request that was to share a connection.
enum Shared<'a> {
    Answer(Box<(Response<Reply>, Lease)>),
    /// The server chose HTTP/1.1; nothing was sent.
    Http1(Attempt<'a>),
}

async fn send_shared<'a>(
    worker: &Worker,
    endpoint: &Arc<Endpoint>,
    attempt: Attempt<'a>,
) -> Result<Shared<'a>, Failure> {
    let mut place = match enter(worker, endpoint).await {
        Ok(place) => place,
        Err(NoLine::Http1) => return Ok(Shared::Http1(attempt)),
        Err(NoLine::Failed(failure)) => return Err(failure),
    };
    let mut request = owned(attempt);
    let mut tries = 1;
    loop {
        if place.sender.ready().await.is_ok() || tries == MAX_UNSENT {
            if request.method() == Method::CONNECT {
                takes_tunnels(&place, worker.shared.limits.connect).await?;
            }
            match place.sender.try_send_request(request).await {
                Ok(response) => {
                    let (mut parts, body) = response.into_parts();
                    parts.version = Version::HTTP_11;
                    let lease = Lease { endpoint: Arc::clone(endpoint), worker: worker.index, _place: Some(place) };
                    let answer = (Response::from_parts(parts, Reply::Http2(body)), lease);
                    return Ok(Shared::Answer(Box::new(answer)));
                }
                Err(mut error) => match error.take_message() {
                    // The connection was going away; nothing of the request was sent.
                    Some(unsent) if tries < MAX_UNSENT => request = unsent,
                    _ => return Err(Failure::of_exchange(error.error())),
                },
            }
        }
        tries += 1;
        place = enter(worker, endpoint).await.map_err(|none| match none {
            NoLine::Failed(failure) => failure,
            // It chose otherwise before: what is there now is tried by a retry, if there is to be one.
            NoLine::Http1 => Failure::Reset,
        })?;
    }
}

async fn enter(worker: &Worker, endpoint: &Endpoint) -> Result<OnLine, NoLine> {
    let lines = endpoint.lines(worker.index).ok_or(Failure::NoEndpoint)?;
    lines.enter(worker.shared.clock.now(), connect_shared(worker, endpoint)).await
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

/// A request of its own, for a connection that takes it away.
fn owned(attempt: Attempt<'_>) -> Request<RequestBody> {
    let Attempt { head, keep, body, .. } = attempt;
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.version_mut() = head.version;
    // A wish to speak something else is said so to HTTP/2.
    if let Some(protocol) = head.extensions.get::<Protocol>() {
        request.extensions_mut().insert(protocol.clone());
    }
    (*request.uri_mut(), *request.headers_mut()) = match keep {
        Keep::Head => (head.uri.clone(), head.headers.clone()),
        Keep::Nothing => (mem::take(&mut head.uri), mem::take(&mut head.headers)),
    };
    if request.version() == Version::HTTP_2 { request } else { in_form_of_http2(request) }
}

/// A request that was written for an `http` listener, whose server chose HTTP/2.
fn in_form_of_http2(request: Request<RequestBody>) -> Request<RequestBody> {
    let (mut parts, body) = request.into_parts();
    let host = parts.headers.get(HOST).cloned().unwrap_or_else(|| HeaderValue::from_static(""));
    message::put_into(Form::Http2, &mut parts, host, false);
    Request::from_parts(parts, body)
}

async fn connect(endpoint: &Endpoint, limits: &Limits) -> Result<Box<Http1Connection>, Failure> {
    Ok(Http1Connection::new(transport::connect(endpoint, Offer::Http1, limits).await?, limits.buffer))
}

async fn connect_shared(worker: &Worker, endpoint: &Endpoint) -> Result<Opened, NoLine> {
    let limits = &worker.shared.limits;
    let wire = transport::connect(endpoint, Offer::All, limits).await?;
    if endpoint.transport().is_negotiated() && !wire.has_agreed_on_http2() {
        let connection = Http1Connection::new(wire, limits.buffer);
        endpoint.has_chosen_http1(worker.index, connection, worker.shared.clock.now());
        return Err(NoLine::Http1);
    }
    let gather = Gather::new(wire);
    let io = TokioIo::new(gather.clone());
    let http2 = &limits.http2;
    let mut builder = http2::Builder::new(ClientTasks::new(gather));
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
