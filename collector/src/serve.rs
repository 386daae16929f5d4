//! Listeners: bound with a clear word when a port is taken, served within bounds, stopped without breaking off answers.
//!
//! hyper leaves to its user how many connections there may be, how long a TLS handshake or an idle connection may last,
//! and how a server ends. That is done here, once for all three listeners. Values and reasons:
//!
//! | bound | against |
//! |---|---|
//! | connections; one more is closed at once | running out of memory and descriptors |
//! | time for handshake, first request, header lines | slow-loris |
//! | streams, header list, resets, windows of an HTTP/2 connection | rapid reset (CVE-2023-44487), MadeYouReset, header bombs |
//! | time without a request | connections that were forgotten |
//!
//! Bodies are bounded by whoever reads them.

mod connection;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::body::{Body, Bytes, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;

/// Time for connections to finish their answers when the listener stops.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after accepting failed, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

/// Why a listener cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Someone else has the port.
    #[error("port {} is already taken ({address}); stop the program that has it, or set `{setting}` to another address", .address.port())]
    Taken {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
    },
    /// Anything else.
    #[error("cannot listen on {address}; check `{setting}`")]
    Other {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Binds `address`, which `setting` names.
///
/// # Errors
/// When that is not possible, with the setting to change.
pub async fn bind(setting: &'static str, address: SocketAddr) -> Result<Listener, BindError> {
    let bound = async {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        Ok(Listener { tcp, address })
    };
    bound.await.map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { address, setting },
        _ => BindError::Other { address, setting, source },
    })
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1, and HTTP/2 where TLS agrees on it.
    Http,
    /// HTTP/2 only.
    Http2,
}

impl Speaks {
    /// Names for TLS's ALPN, the preferred first.
    #[must_use]
    pub const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http => &[b"h2", b"http/1.1"],
            Self::Http2 => &[b"h2"],
        }
    }
}

/// Counters of one listener.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections closed at once because there were too many.
    pub refused: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: AtomicU64,
}

/// How a listener is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is spoken.
    pub speaks: Speaks,
    /// TLS, when configured.
    pub tls: Option<Arc<ServerConfig>>,
    /// Bounds.
    pub limits: Limits,
    /// What is counted.
    pub counters: Arc<Counters>,
}

impl Listener {
    /// The address, with the port that the system chose if it was asked to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets connections finish what they are answering.
    pub async fn serve<S, B>(self, settings: Settings, service: S, stop: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let places = Arc::new(Semaphore::new(settings.limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.tcp.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                settings.counters.refused.fetch_add(1, Relaxed);
                continue;
            };
            settings.counters.accepted.fetch_add(1, Relaxed);
            let (settings, service, stop) = (settings.clone(), service.clone(), stop.clone());
            connections.spawn(async move {
                serve_stream(stream, &settings, service, stop).await;
                drop(place);
            });
        }
        drop(self.tcp);
        let finished = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, finished).await.is_err() {
            tracing::info!(address = %self.address, open = connections.len(), "closing connections that did not finish");
        }
    }
}

async fn serve_stream<S, B>(stream: TcpStream, settings: &Settings, service: S, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Answers are small and complete: waiting to fill a segment only adds latency.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &settings.tls else {
        let http2 = settings.speaks == Speaks::Http2;
        return connection::serve(stream, http2, &settings.limits, service, stop).await;
    };
    let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
    match timeout(settings.limits.header_timeout, handshake).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            if http2 || settings.speaks == Speaks::Http {
                connection::serve(stream, http2, &settings.limits, service, stop).await;
            }
        }
        Ok(Err(_)) | Err(_) => {
            settings.counters.handshakes_failed.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
