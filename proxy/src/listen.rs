//! Listens and accepts connections.
//!
//! A connection is served only while one of a bounded number of places is free; past that they wait in the kernel's
//! queue, which is the back-pressure a client can feel. Listening sockets are made before any thread starts, so that
//! a taken port is found while there is still someone to tell.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::connection;
use crate::drain::Drain;
use crate::hits::Hit;
use crate::worker::{Half, Worker};

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
        if worker.shared.accepts.available_permits() == 0 {
            worker.shared.connections.hits.count(Hit::Connections);
        }
        let place = Arc::clone(&worker.shared.accepts).acquire_owned();
        let accepted = async { Ok::<_, io::Error>((place.await.map_err(io::Error::other)?, listener.accept().await?)) };
        let accepted = tokio::select! {
            () = drain.begun() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((place, (stream, _))) => {
                tasks.spawn(connection::serve(Arc::clone(&worker), half, stream, drain.clone(), place));
            }
            Err(error) => {
                worker.shared.connections.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(half = half.as_str(), %error, "connection not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // Connections that the kernel has already completed would be reset with the listener, requests and all.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, _)) = listener.accept() {
        let Ok(place) = Arc::clone(&worker.shared.accepts).try_acquire_owned() else { return };
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            tasks.spawn(connection::serve(Arc::clone(&worker), half, stream, drain.clone(), place));
        }
    }
}
