//! One accepted connection from its first byte to its last: what is spoken on it, and serving that.
//!
//! The application's own connections speak HTTP/1.1, or HTTP/2 with prior knowledge, told apart by its preface. For an inbound
//! connection the listener has declared what is spoken: `tcp` is passed through, `http2` and `grpc` take HTTP/2 only,
//! `http` takes HTTP/1.1 and, since nothing else begins like it, HTTP/2 with its preface.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tripline_mesh::ListenerProtocol;
use tripline_model::NodeKind;

use crate::access_log::{AccessLog, Line};
use crate::arrival::{Arrival, Security};
use crate::aside::Aside;
use crate::drain::Drain;
use crate::gather::{self, Gather};
use crate::guarded_io::{GuardedIo, Traffic};
use crate::hits::Hit;
use crate::tls::ServerSide;
use crate::watched_io::WatchedIo;
use crate::wire::{Spoken, Wire};
use crate::worker::{Half, Limits, Worker};
use crate::{answer, grpc, inbound, outbound, redirect, tcp};

/// Header fields that hyper takes without being told, in room that it need not allocate.
const HYPER_HEADERS: usize = 100;

/// Serves an accepted connection until it ends.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    half: Half,
    stream: TcpStream,
    mut drain: Drain,
    _place: OwnedSemaphorePermit,
) {
    let connections = &worker.shared.connections;
    connections.accepted.fetch_add(1, Ordering::Relaxed);
    connections.open.fetch_add(1, Ordering::Relaxed);
    let _open = CountDown(&worker);
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok().map(|peer| peer.ip());
    let original = redirect::original(&stream);
    let mut age = Age::begin(&worker);
    let arrived = match half {
        Half::Inbound => Box::pin(arrive(&worker, stream, original, &mut drain)).await,
        Half::Outbound | Half::Forward(_) => Some((Wire::plain(stream), Arrival { original, ..Arrival::default() })),
    };
    let Some((mut wire, arrival)) = arrived else { return };
    let arrival = Arrival { peer, ..arrival };
    let declared = match half {
        Half::Inbound => worker.shared.app(arrival.listener).map(|app| app.protocol),
        Half::Outbound => None,
        Half::Forward(_) => Some(ListenerProtocol::Tcp),
    };
    let spoken = match declared {
        Some(ListenerProtocol::Tcp) => return Box::pin(serve_bytes(&worker, half, wire, arrival)).await,
        Some(ListenerProtocol::Http2 | ListenerProtocol::Grpc) => Ok(Spoken::Http2),
        None if worker.shared.is_for_bytes(&arrival) => {
            return Box::pin(serve_bytes(&worker, half, wire, arrival)).await;
        }
        Some(ListenerProtocol::Http) | None => {
            // Of a redirected connection nobody knows what it speaks; where the server speaks first, nothing comes.
            let guess = arrival.original.filter(|_| half == Half::Outbound).map(|_| worker.shared.limits.detect);
            let Some(spoken) = speaks(&worker, &mut wire, guess, (&mut drain, &mut age)).await else { return };
            spoken
        }
    };
    let traffic = Traffic::new(arrival);
    let served = match spoken {
        Ok(Spoken::Http1) => serve_http1(&worker, half, wire, &traffic, (drain, age)).await,
        Ok(Spoken::Http2) => Box::pin(serve_http2(&worker, half, wire, &traffic, (drain, age))).await,
        Ok(Spoken::Nothing) => Ok(()),
        Ok(Spoken::Other) => {
            Box::pin(tcp::outside(&worker, wire, &traffic)).await;
            Ok(())
        }
        Err(error) => {
            tracing::debug!(half = half.as_str(), %error, "connection ended before its first request");
            Ok(())
        }
    };
    if let Err(error) = served {
        tracing::debug!(half = half.as_str(), %error, "connection ended");
    }
}

/// What is spoken on a connection; none when the sidecar drains before anything is.
async fn speaks(
    worker: &Worker,
    wire: &mut Wire,
    guess: Option<Duration>,
    (drain, age): (&mut Drain, &mut Age),
) -> Option<io::Result<Spoken>> {
    let mut speaks = pin!(wire.speaks(worker.shared.limits.silence, guess));
    loop {
        tokio::select! {
            spoken = speaks.as_mut() => return Some(spoken),
            () = drain.begun() => return None,
            // It is told so with its first answer.
            () = age.over(worker), if !age.is_counted => {}
        }
    }
}

/// Serves a connection whose bytes are passed on unread.
async fn serve_bytes(worker: &Arc<Worker>, half: Half, wire: Wire, arrival: Arrival) {
    let traffic = Traffic::new(arrival);
    match half {
        Half::Inbound => tcp::inbound(worker, wire, &traffic).await,
        Half::Outbound => tcp::redirected(worker, wire, &traffic).await,
        Half::Forward(number) => tcp::forwarded(worker, number, wire, &traffic).await,
    }
}

async fn serve_http1(
    worker: &Arc<Worker>,
    half: Half,
    wire: Wire,
    traffic: &Arc<Traffic>,
    (drain, age): (Drain, Age),
) -> Result<(), hyper::Error> {
    let limits = &worker.shared.limits;
    let closing = AtomicBool::new(drain.has_begun());
    let peer = traffic.arrival().peer;
    let io = TokioIo::new(GuardedIo::new(wire, Arc::clone(traffic), limits.silence));
    let service = service_fn(|request| {
        let (worker, traffic, closing) = (Arc::clone(worker), Arc::clone(traffic), &closing);
        async move {
            let (request, line) = begin_line(request, worker.shared.plan.access_log().as_ref(), peer);
            let mut answer = match half {
                Half::Inbound => inbound::serve(&worker, &traffic, request).await,
                Half::Outbound | Half::Forward(_) => outbound::serve(&worker, &traffic, request).await,
            };
            if closing.load(Ordering::Relaxed) && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if let Some(line) = line {
                answer::log(&mut answer, line);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    // `GuardedIo` limits the time of a head. Head and body leave as one piece: copying a small body behind its head costs less than
    // listing the pieces for the kernel.
    http.max_buf_size(limits.buffer).max_header_size(limits.buffer).header_read_timeout(None).writev(false);
    if limits.headers != HYPER_HEADERS {
        http.max_headers(limits.headers);
    }
    let mut connection = pin!(http.serve_connection(io, service).with_upgrades());
    let ended = tokio::select! {
        biased;
        served = connection.as_mut() => Some(served),
        () = Aside::new(ending(worker, drain, age, &closing)) => None,
    };
    let served = match ended {
        Some(served) => served,
        // A client may be sending its next request right now: for a while each gets its answer and is told to go.
        None => match tokio::time::timeout(limits.drain_grace(), connection.as_mut()).await {
            Ok(served) => served,
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        },
    };
    note_limit(worker, traffic, &served);
    if let Some(tunnel) = traffic.take_tunnel() {
        tunnel.await;
    }
    served
}

/// Ready when the sidecar drains. A connection that grows too old before is told to end with its next answer.
async fn ending(worker: &Worker, mut drain: Drain, mut age: Age, closing: &AtomicBool) {
    tokio::select! {
        () = drain.begun() => {}
        () = age.over(worker) => {
            closing.store(true, Ordering::Relaxed);
            drain.begun().await;
        }
    }
    closing.store(true, Ordering::Relaxed);
}

/// How old a connection may grow, from when it was accepted.
#[derive(Debug)]
struct Age {
    ends: Option<Instant>,
    is_counted: bool,
}

impl Age {
    /// Scattered, or clients that came together would come again together.
    fn begin(worker: &Worker) -> Self {
        let clock = &worker.shared.clock;
        let scattered = |age: Duration| clock.instant(clock.now() + age.mul_f64(rand::random_range(0.9..1.1)));
        Self { ends: worker.shared.limits.connection_age.map(scattered), is_counted: false }
    }

    /// Ready, and counted once, when the connection is too old.
    async fn over(&mut self, worker: &Worker) {
        match self.ends {
            Some(ends) => tokio::time::sleep_until(ends).await,
            None => std::future::pending().await,
        }
        if !self.is_counted {
            self.is_counted = true;
            worker.shared.connections.hits.count(Hit::ConnectionAge);
        }
    }
}

/// Counts the limit that ended a connection, if one did.
fn note_limit(worker: &Worker, traffic: &Traffic, served: &Result<(), hyper::Error>) {
    let hits = &worker.shared.connections.hits;
    if let Some(hit) = traffic.hit() {
        hits.count(hit);
    } else if let Err(error) = served
        && error.is_parse()
    {
        hits.count(if error.is_parse_too_large() { Hit::HeadTooLarge } else { Hit::BadHead });
    }
}

/// Begins the request's line in the access log, if there is one.
fn begin_line(
    request: Request<Incoming>,
    log: Option<&Arc<AccessLog>>,
    peer: Option<IpAddr>,
) -> (Request<Incoming>, Option<Box<Line>>) {
    let Some(log) = log else { return (request, None) };
    let (parts, body) = request.into_parts();
    let line = log.begin(&parts, peer);
    (Request::from_parts(parts, body), Some(line))
}

async fn serve_http2(
    worker: &Arc<Worker>,
    half: Half,
    wire: Wire,
    traffic: &Arc<Traffic>,
    (mut drain, mut age): (Drain, Age),
) -> Result<(), hyper::Error> {
    let limits = worker.shared.limits.http2;
    let peer = traffic.arrival().peer;
    let service = service_fn(|request: Request<Incoming>| {
        let (worker, traffic) = (Arc::clone(worker), Arc::clone(traffic));
        // hyper makes a task of it, moving it several times; of a box only the pointer.
        Box::pin(async move {
            let is_grpc = grpc::is_grpc(request.headers());
            let (request, line) = begin_line(request, worker.shared.plan.access_log().as_ref(), peer);
            let mut response = match half {
                // HTTP/1.1's are counted by hyper.
                _ if is_too_large(&request, &worker.shared.limits) => {
                    worker.shared.connections.hits.count(Hit::HeadTooLarge);
                    answer::own(
                        431,
                        "head_too_large",
                        "the request has too many header fields, or too long ones".to_owned(),
                    )
                }
                Half::Inbound => inbound::serve(&worker, &traffic, request).await,
                Half::Outbound | Half::Forward(_) => outbound::serve(&worker, &traffic, request).await,
            };
            if is_grpc {
                response = grpc::speak(response);
            }
            if let Some(line) = line {
                answer::log(&mut response, line);
            }
            *response.version_mut() = Version::HTTP_2;
            Ok::<_, Infallible>(response)
        })
    });
    let gather = Gather::new(WatchedIo::new(wire, worker));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(limits.streams)
        // What is larger is refused above, where it is counted; what is much larger is not even kept.
        .max_header_list_size(limits.header_list.saturating_mul(2))
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(limits.error_resets)
        .initial_stream_window_size(limits.window.0)
        .initial_connection_window_size(limits.window.1)
        .max_send_buf_size(limits.send_buffer)
        .keep_alive_interval(limits.ping.0)
        .keep_alive_timeout(limits.ping.1)
        .serve_connection(TokioIo::new(gather.clone()), service);
    let until_the_end = async {
        let hits = &worker.shared.connections.hits;
        let mut connection = pin!(connection);
        let ending = async {
            tokio::select! {
                () = drain.begun() => {}
                () = age.over(worker) => {}
                () = unused(traffic, worker.shared.limits.silence.idle) => hits.count(Hit::Idle),
            }
        };
        tokio::select! {
            biased;
            served = connection.as_mut() => {
                if served.as_ref().is_err_and(hyper::Error::is_timeout) {
                    hits.count(Hit::Ping);
                }
                return served;
            }
            () = Aside::new(ending) => {}
        }
        // GOAWAY: what is under way is finished, nothing new is taken.
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    gather::turns(gather, until_the_end).await
}

/// Whether a head has more fields than it may, or is larger as RFC 9113, 6.5.2 measures it.
fn is_too_large(request: &Request<Incoming>, limits: &Limits) -> bool {
    const FIELD: usize = 32;
    let (headers, uri) = (request.headers(), request.uri());
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    headers.len() > limits.headers || fields + path + authority > limits.http2.header_list as usize
}

/// Ready when no request was under way for the whole of a period; pings of the other end are no use of a connection.
async fn unused(traffic: &Traffic, period: std::time::Duration) {
    let mut before = None;
    loop {
        let now = traffic.requests();
        if before == Some(now) && now.1 == 0 {
            return;
        }
        before = Some(now);
        tokio::time::sleep(period).await;
    }
}

/// Finds out which listener an inbound connection is for and secures it as that listener asks.
async fn arrive(
    worker: &Worker,
    stream: TcpStream,
    original: Option<SocketAddr>,
    drain: &mut Drain,
) -> Option<(Wire, Arrival)> {
    let at = |port: u16| worker.shared.plan.get().apps.iter().position(|app| app.port == port);
    // Who connects to the sidecar itself means the first listener; a gateway has a port of its own for each other one.
    let listener = match original {
        Some(original) => at(original.port())?,
        None if worker.shared.kind == NodeKind::Gateway => {
            stream.local_addr().ok().and_then(|local| at(local.port())).unwrap_or_default()
        }
        None => 0,
    };
    let app = worker.shared.app(listener)?;
    let arrival = Arrival { listener, original, security: Security::Plain, peer: None };
    let Some(tls) = &app.tls else { return Some((Wire::plain(stream), arrival)) };
    tokio::select! {
        secured = secure(worker, tls, app.protocol, stream) => {
            let (wire, security) = secured?;
            Some((wire, Arrival { security, ..arrival }))
        }
        () = drain.begun() => None,
    }
}

async fn secure(
    worker: &Worker,
    tls: &ServerSide,
    protocol: ListenerProtocol,
    stream: TcpStream,
) -> Option<(Wire, Security)> {
    let limits = &worker.shared.limits;
    // Of raw bytes the server may have to send the first, so the client's are not waited for.
    let patience = if protocol == ListenerProtocol::Tcp { limits.detect } else { limits.silence.idle };
    if !tls.is_spoken(&stream, patience).await {
        return Some((Wire::plain(stream), Security::Plain));
    }
    match tls.accept(stream, limits.handshake).await {
        Ok((stream, security)) => Some((Wire::encrypted(stream), security)),
        Err(refused) => {
            worker.shared.connections.tls_refused.fetch_add(1, Ordering::Relaxed);
            if refused.is_late() {
                worker.shared.connections.hits.count(Hit::Handshake);
            }
            let because = std::error::Error::source(&refused).map(ToString::to_string).unwrap_or_default();
            tracing::debug!(%refused, because, "inbound connection refused");
            None
        }
    }
}

/// Counts a connection as closed, however its task ends.
struct CountDown<'a>(&'a Worker);

impl Drop for CountDown<'_> {
    fn drop(&mut self) {
        self.0.shared.connections.open.fetch_sub(1, Ordering::Relaxed);
    }
}
