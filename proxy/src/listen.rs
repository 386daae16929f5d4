//! Accepts connections and serves the requests on them.
//!
//! A connection is served only while one of a bounded number of places is free; past that they wait in the kernel's
//! queue, which is the back-pressure a client can feel. Listening sockets are made before any thread starts, so that
//! a taken port is found while there is still someone to tell.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

use crate::drain::Drain;
use crate::guarded_io::{GuardedIo, Traffic};
use crate::worker::{Half, Worker};
use crate::{inbound, outbound};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;
/// Pause after an error that concerns the process, such as no free descriptor.
const PAUSE: Duration = Duration::from_millis(50);

/// Listens on an address once for each worker.
///
/// With several workers they share the port (`SO_REUSEPORT`) and the kernel spreads the connections. That option would
/// also let a stranger's process share it, so the port is first taken without it.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    if workers <= 1 {
        return Ok(vec![listen(address, false)?]);
    }
    let address = listen(address, false)?.local_addr()?;
    (0..workers).map(|_| listen(address, true)).collect()
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts until the drain begins.
pub(crate) async fn accept(
    worker: Arc<Worker>,
    half: Half,
    listener: StdListener,
    mut drain: Drain,
    tasks: TaskTracker,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(half = half.as_str(), %error, "cannot accept connections");
            return;
        }
    };
    loop {
        let place = Arc::clone(&worker.shared.accepts).acquire_owned();
        let accepted = async { Ok::<_, io::Error>((place.await.map_err(io::Error::other)?, listener.accept().await?)) };
        let accepted = tokio::select! {
            () = drain.begun() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((place, (stream, _))) => {
                tasks.spawn(serve(Arc::clone(&worker), half, stream, drain.clone(), place));
            }
            Err(error) => {
                worker.shared.connections.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(half = half.as_str(), %error, "connection not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(worker: Arc<Worker>, half: Half, stream: TcpStream, mut drain: Drain, _place: OwnedSemaphorePermit) {
    let connections = &worker.shared.connections;
    connections.accepted.fetch_add(1, Ordering::Relaxed);
    connections.open.fetch_add(1, Ordering::Relaxed);
    let _open = CountDown(&worker);
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let limits = worker.shared.limits;
    let traffic = Traffic::new();
    let io = TokioIo::new(GuardedIo::new(stream, Arc::clone(&traffic), limits.silence));
    let service = service_fn(|request| {
        let (worker, traffic) = (Arc::clone(&worker), Arc::clone(&traffic));
        async move {
            Ok::<_, Infallible>(match half {
                Half::Outbound => outbound::serve(&worker, &traffic, request).await,
                Half::Inbound => inbound::serve(&worker, &traffic, request).await,
            })
        }
    });
    let connection = http1::Builder::new()
        .max_buf_size(limits.buffer)
        .max_header_size(limits.buffer)
        // `GuardedIo` limits the time of a head.
        .header_read_timeout(None)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = drain.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(half = half.as_str(), %error, "connection ended");
    }
}

/// Counts a connection as closed, however its task ends.
struct CountDown<'a>(&'a Worker);

impl Drop for CountDown<'_> {
    fn drop(&mut self) {
        self.0.shared.connections.open.fetch_sub(1, Ordering::Relaxed);
    }
}
