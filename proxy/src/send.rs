//! One attempt: a connection from the pool or a new one, the request on it, the head of the answer.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::pool::Sender;
use crate::request_body::RequestBody;
use crate::worker::{Limits, Shared, Worker};

/// A connection on loan: back to the pool when its answer was read to the end, closed otherwise.
#[derive(Debug)]
pub(crate) struct Lease {
    sender: Sender,
    endpoint: Arc<Endpoint>,
    worker: usize,
}

impl Lease {
    /// Where it leads.
    pub(crate) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Its answer was read to the end.
    pub(crate) fn give_back(self, shared: &Shared) {
        self.endpoint.give_back(self.worker, self.sender, shared.clock.now());
    }
}

/// Sends a request and waits for the head of its answer.
pub(crate) async fn send(
    worker: &Worker,
    endpoint: &Arc<Endpoint>,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    loop {
        let (mut sender, reused) = match idle(worker, endpoint).await {
            Some(sender) => (sender, true),
            None => (connect(endpoint, &worker.shared.limits).await?, false),
        };
        match sender.try_send_request(request).await {
            Ok(response) => {
                return Ok((response, Lease { sender, endpoint: Arc::clone(endpoint), worker: worker.index }));
            }
            Err(mut error) => match error.take_message() {
                // Not one byte was sent: the server had closed the idle connection.
                Some(unsent) if reused => request = unsent,
                _ => return Err(Failure::of_exchange(error.error())),
            },
        }
    }
}

async fn idle(worker: &Worker, endpoint: &Endpoint) -> Option<Sender> {
    loop {
        let mut sender = endpoint.take_idle(worker.index)?;
        if sender.ready().await.is_ok() {
            return Some(sender);
        }
    }
}

async fn connect(endpoint: &Endpoint, limits: &Limits) -> Result<Sender, Failure> {
    let address = endpoint.next_address().ok_or(Failure::NoEndpoint)?;
    let stream = match tokio::time::timeout(limits.connect, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| Failure::of_connect(&error))?,
        Err(_) => return Err(Failure::ConnectTimeout),
    };
    // Requests are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let handshake = http1::Builder::new().max_buf_size(limits.buffer).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| Failure::of_exchange(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "connection ended");
        }
    });
    Ok(sender)
}
