//! A small HTTP/1.1 client with keep-alive to one address: a service to its sidecar, the load to the gateway.
//!
//! A connection serves one request at a time and goes back to the pool when the answer was read to its end; a request
//! that is given up takes its connection with it. The server may close an idle connection just as it is picked: such a
//! request, of which nothing was sent, is sent once more over a new connection, as every HTTP client does.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The body of a request.
pub type Body = Full<Bytes>;

/// Idle connections kept.
const MAX_IDLE: usize = 64;
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Sends requests to one address.
#[derive(Debug)]
pub struct Caller {
    target: SocketAddr,
    timeout: Duration,
    /// Locked only to push or pop; a task in between would cost every request two hops.
    idle: Mutex<Vec<SendRequest<Body>>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("cannot connect to {target}")]
    Connect {
        /// Where to.
        target: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The exchange broke off.
    #[error("the exchange broke off")]
    Exchange(#[from] hyper::Error),
    /// The answer broke off or was too long.
    #[error("the answer could not be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl Caller {
    /// A client of `target` that waits at most `timeout` for a whole answer.
    #[must_use]
    pub const fn new(target: SocketAddr, timeout: Duration) -> Self {
        Self { target, timeout, idle: Mutex::new(Vec::new()) }
    }

    /// Sends a request (in origin form, with `host`) and reads the whole answer.
    ///
    /// # Errors
    /// When no answer came; an answer with an error status is an answer.
    pub async fn call(&self, request: Request<Body>) -> Result<Response<Bytes>, CallError> {
        tokio::time::timeout(self.timeout, self.exchange(request))
            .await
            .map_err(|_| CallError::Timeout(self.timeout))?
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Response<Bytes>, CallError> {
        let (connection, response) = self.send(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(CallError::Answer)?.to_bytes();
        self.put_back(connection);
        Ok(Response::from_parts(head, body))
    }

    async fn send(&self, request: Request<Body>) -> Result<(SendRequest<Body>, Response<Incoming>), CallError> {
        let mut unsent = request;
        if let Some(mut connection) = self.take_idle() {
            match connection.try_send_request(unsent).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut failed) => match failed.take_message() {
                    Some(request) => unsent = request,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(unsent).await?;
        Ok((connection, response))
    }

    async fn connect(&self) -> Result<SendRequest<Body>, CallError> {
        let failed = |source| CallError::Connect { target: self.target, source };
        let stream = TcpStream::connect(self.target).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        let ready = idle.iter().rposition(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn put_back(&self, connection: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !connection.is_closed() {
            idle.push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn request() -> Request<Body> {
        Request::get("/").header("host", "test").body(Body::default()).expect("a request")
    }

    async fn answer_once(stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(stream.read_u8().await?);
        }
        stream.write_all(answer).await
    }

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    #[tokio::test]
    async fn a_connection_is_used_again_and_replaced_when_it_was_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let caller = Caller::new(listener.local_addr().expect("an address"), Duration::from_secs(5));
        let server = tokio::spawn(async move {
            let (mut first, _) = listener.accept().await?;
            answer_once(&mut first, OK).await?;
            answer_once(&mut first, OK).await?;
            drop(first);
            let (mut second, _) = listener.accept().await?;
            answer_once(&mut second, OK).await
        });
        for _ in 0..3 {
            assert_eq!(caller.call(request()).await.expect("an answer").body().as_ref(), b"ok");
        }
        server.await.expect("no panic").expect("two connections");
    }

    #[tokio::test]
    async fn silence_and_refusal_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let caller = Caller::new(listener.local_addr().expect("an address"), Duration::from_millis(50));
        assert!(matches!(caller.call(request()).await, Err(CallError::Timeout(_))));
        drop(listener);
        assert!(matches!(caller.call(request()).await, Err(CallError::Connect { .. })));
    }
}
