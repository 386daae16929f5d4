//! One running service of the shop: answers HTTP/1.1 on its port and calls others through its sidecar.
//!
//! A request costs the service its own time, spent asleep and drawn around the median of its [`ServiceSpec`], then its
//! calls. When a required call fails, the service answers 502 and says which; an optional one is left out of the
//! answer. Of the request it passes on what every instrumented application passes on: `traceparent` and `tracestate`.

mod answer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::caller::{Body, Caller};
use crate::fault::{ADDED_LATENCY, Command, ERROR_PERCENT, FaultSwitch, Impairment};
use crate::shop::{CLIENT_TIMEOUT, CallSpec, Need, ServiceSpec, host_of};

/// Connections served at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// The longest request body that is read.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// The longest line on standard input that is read.
const MAX_COMMAND_BYTES: u64 = 1024;
/// Headers that go from a request to the calls made for it.
const PASSED_ON: [&str; 2] = ["traceparent", "tracestate"];

/// One service, ready to answer.
#[derive(Debug)]
pub struct Service {
    spec: &'static ServiceSpec,
    sidecar: Caller,
    faults: FaultSwitch,
}

impl Service {
    /// The service `spec`, calling others through the sidecar that listens on `outbound`.
    #[must_use]
    pub fn new(spec: &'static ServiceSpec, outbound: SocketAddr, faults: FaultSwitch) -> Self {
        Self { spec, sidecar: Caller::new(outbound, CLIENT_TIMEOUT), faults }
    }

    /// Answers on `listener` until the returned future is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let service = Arc::new(self);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let service = Arc::clone(&service);
                    connections.spawn(async move {
                        service.serve_connection(stream).await;
                        drop(place);
                    });
                }
                // Out of descriptors, or the peer is gone already; the next attempt shows which.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let respond = service_fn(|request| {
            let service = Arc::clone(&self);
            async move { Ok::<_, std::convert::Infallible>(service.respond(request).await) }
        });
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), respond);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    }

    async fn respond(self: &Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(route) = self.spec.route(request.uri().path()) else { return answer::not_found(self.spec.name) };
        let context = trace_context(request.headers());
        if Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect().await.is_err() {
            return answer::failed(StatusCode::BAD_REQUEST, self.spec.name, "the request body could not be read");
        }
        if self.impaired().await {
            return answer::failed(StatusCode::INTERNAL_SERVER_ERROR, self.spec.name, "scripted fault");
        }
        let mut left_out = Vec::new();
        for stage in route.stages {
            match self.call_all(stage, &context).await {
                Ok(missing) => left_out.extend(missing),
                Err(reason) => return answer::failed(StatusCode::BAD_GATEWAY, self.spec.name, &reason),
            }
        }
        answer::done(self.spec.name, &left_out)
    }

    /// Spends the service's own time, fault included; true when the request is to fail.
    async fn impaired(&self) -> bool {
        let own = answer::own_time(self.spec.median_us);
        match self.faults.current() {
            None => tokio::time::sleep(own).await,
            Some(Impairment::Latency) => tokio::time::sleep(own + ADDED_LATENCY).await,
            Some(Impairment::Hang) => self.faults.over(Impairment::Hang).await,
            Some(Impairment::Errors) => {
                tokio::time::sleep(own).await;
                return rand::random_range(0..100) < ERROR_PERCENT;
            }
        }
        false
    }

    /// Makes the calls of one stage at once; answers which optional ones failed, or why a required one did.
    ///
    /// Each call is a task of a set that goes with the request: when the client goes away, its calls end, too.
    async fn call_all(
        self: &Arc<Self>,
        stage: &'static [CallSpec],
        context: &HeaderMap,
    ) -> Result<Vec<&'static str>, String> {
        let mut calls = JoinSet::new();
        for call in stage {
            let service = Arc::clone(self);
            let context = context.clone();
            calls.spawn(async move { (call, service.call(call, context).await) });
        }
        let mut left_out = Vec::new();
        let mut failure = None;
        while let Some(ended) = calls.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((call, Err(_))) if call.need == Need::Optional => left_out.push(call.service),
                Ok((call, Err(reason))) => failure = Some(format!("{} failed: {reason}", call.service)),
                Err(lost) => failure = Some(format!("a call was lost: {lost}")),
            }
        }
        failure.map_or(Ok(left_out), Err)
    }

    async fn call(&self, call: &CallSpec, context: HeaderMap) -> Result<(), String> {
        let host = HeaderValue::try_from(host_of(call.service)).map_err(|error| error.to_string())?;
        let mut request = Request::new(Body::default());
        *request.method_mut() = if call.method == "POST" { Method::POST } else { Method::GET };
        *request.uri_mut() = Uri::from_static(call.path);
        *request.headers_mut() = context;
        request.headers_mut().insert(HOST, host);
        match self.sidecar.call(request).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("status {}", answer.status().as_u16())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Does what the lines of `input` tell `faults`, until its end; lines that are no command are logged and skipped.
///
/// # Errors
/// When the input cannot be read.
pub async fn obey_lines(input: impl AsyncRead + Unpin, faults: &FaultSwitch) -> std::io::Result<()> {
    let mut input = BufReader::new(input);
    let mut line = String::new();
    loop {
        line.clear();
        let read = (&mut input).take(MAX_COMMAND_BYTES).read_line(&mut line).await?;
        if read == 0 {
            return Ok(());
        }
        match line.parse::<Command>() {
            Ok(command) => {
                tracing::info!(%command, "told");
                faults.obey(command);
            }
            Err(error) => tracing::warn!(%error, "ignored"),
        }
    }
}

/// What goes from a request to the calls made for it.
fn trace_context(headers: &HeaderMap) -> HeaderMap {
    let named = |name: &'static str| {
        headers.get_all(name).into_iter().map(move |value| (HeaderName::from_static(name), value.clone()))
    };
    PASSED_ON.into_iter().flat_map(named).collect()
}

#[cfg(test)]
mod tests;
