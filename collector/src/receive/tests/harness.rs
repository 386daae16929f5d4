//! A receiver with real listeners, whose graph and history are just queues.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tripline_model::{ServiceName, Sidecar, SidecarReport, SpanId, Timestamp, TraceId};
use tripline_otlp::{SpanKind, SpanRecord, SpanStatus, sidecar};

use crate::auth::Token;
use crate::batch::Batch;
use crate::config::{Limits, Secret};
use crate::export::Exporters;
use crate::journal::{Journal, Options};
use crate::receive::grpc::Grpc;
use crate::receive::http::Http;
use crate::receive::{self, Counters, Outlets, Store, open};
use crate::serve::{self, Settings, Speaks};

pub(crate) struct Receiver {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) xray: SocketAddr,
    pub(crate) live: mpsc::Receiver<Arc<Batch>>,
    pub(crate) history: mpsc::Receiver<Arc<Batch>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) durable: watch::Sender<u64>,
    committer: std::thread::JoinHandle<()>,
    stop: DropGuard,
}

/// What a test wants to be different.
pub(crate) struct Setup<'a> {
    pub(crate) limits: Limits,
    pub(crate) token: Option<&'a str>,
    /// The folder of the journal and the position that history has made durable.
    pub(crate) journal: Option<(&'a Path, u64)>,
    pub(crate) queue: usize,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        let limits = Limits { body_timeout: Duration::from_millis(500), ..Limits::default() };
        Self { limits, token: None, journal: None, queue: 100 }
    }
}

pub(crate) async fn start(setup: Setup<'_>) -> Receiver {
    let (to_live, live) = mpsc::channel(setup.queue);
    let (to_history, history) = mpsc::channel(setup.queue);
    let (durable_told, durable) = watch::channel(setup.journal.map_or(0, |(_, position)| position));
    let counters = Arc::new(Counters::default());
    let store = setup.journal.map(|(folder, _)| {
        let journal = Journal::open(folder, Options::default()).expect("opens").0;
        Store { journal, interval: Duration::from_millis(20), durable }
    });
    let outlets = Outlets { live: to_live, history: to_history, exporters: Exporters::default() };
    let (intake, mut committer) = open(outlets.clone(), store, setup.limits, Arc::clone(&counters));
    let committer = std::thread::spawn(move || {
        committer.replay(&outlets).expect("readable");
        drop(outlets);
        committer.run();
    });
    let stop = CancellationToken::new();
    let token = setup.token.map(|token| Token::new(Secret::new(token)));
    let settings = |speaks| Settings { speaks, tls: None, limits: setup.limits, counters: Arc::default() };
    let local: SocketAddr = "127.0.0.1:0".parse().expect("address");
    let (http, grpc) =
        (serve::bind("http", local).await.expect("bound"), serve::bind("grpc", local).await.expect("bound"));
    let (http_address, grpc_address) = (http.address(), grpc.address());
    let xray = serve::bind("xray", local).await.expect("bound");
    let xray_address = xray.address();
    let socket = UdpSocket::bind(xray_address).await.expect("bound");
    tokio::spawn(receive::xray::datagrams(socket, intake.clone(), stop.clone()));
    let over_xray = intake.clone();
    tokio::spawn(xray.serve(
        settings(Speaks::Http),
        service_fn(move |request| {
            let intake = over_xray.clone();
            async move { Ok::<_, Infallible>(receive::xray::answer(&intake, request).await) }
        }),
        stop.clone(),
    ));
    let (over_http, over_grpc) = (Http::new(intake.clone(), token.clone()), Grpc::new(intake, token));
    tokio::spawn(http.serve(
        settings(Speaks::Http),
        service_fn(move |request| {
            let over_http = over_http.clone();
            async move { Ok::<_, Infallible>(over_http.answer(request).await) }
        }),
        stop.clone(),
    ));
    tokio::spawn(grpc.serve(
        settings(Speaks::Http2),
        service_fn(move |request| {
            let over_grpc = over_grpc.clone();
            async move { Ok::<_, Infallible>(over_grpc.answer(request).await) }
        }),
        stop.clone(),
    ));
    let (http, grpc, durable) = (http_address, grpc_address, durable_told);
    let xray = xray_address;
    Receiver { http, grpc, xray, live, history, counters, durable, committer, stop: stop.drop_guard() }
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Receiver {
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let client = reqwest::Client::builder().no_proxy().build().expect("client");
        let mut request = client.post(format!("http://{}{path}", self.http)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = timeout(Duration::from_secs(20), request.send()).await.expect("in time").expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, body: answer.bytes().await.expect("a body") }
    }

    pub(crate) async fn post_protobuf(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.post(path, &[("content-type", "application/x-protobuf")], body).await
    }

    /// Calls `Export` of a service with these framed bytes; the status code and message, and the answer's headers.
    pub(crate) async fn call(
        &self,
        service: &str,
        headers: &[(&str, &str)],
        framed: Bytes,
    ) -> (i32, String, http::HeaderMap) {
        let stream = TcpStream::connect(self.grpc).await.expect("connected");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let path = format!("http://x/opentelemetry.proto.collector.{service}/Export");
        let mut request = Request::builder().method(Method::POST).uri(path).header("te", "trailers");
        let defaults = [("content-type", "application/grpc")];
        let named: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        for (name, value) in defaults.iter().filter(|(name, _)| !named.contains(name)).chain(headers) {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(framed)).expect("a request");
        let answer =
            timeout(Duration::from_secs(20), sender.send_request(request)).await.expect("in time").expect("an answer");
        let (head, body) = answer.into_parts();
        let trailers = body.collect().await.expect("a body").trailers().cloned().unwrap_or_default();
        let text = |name: &str| trailers.get(name).or(head.headers.get(name)).and_then(|value| value.to_str().ok());
        let code = text("grpc-status").map_or(-i32::from(head.status.as_u16()), |code| code.parse().expect("a number"));
        (code, text("grpc-message").unwrap_or_default().to_owned(), head.headers.clone())
    }

    /// What the graph is given of the next request.
    pub(crate) async fn next_batch(&mut self) -> Arc<Batch> {
        timeout(Duration::from_secs(10), self.live.recv()).await.expect("in time").expect("a batch")
    }

    /// What history is given of the next request.
    pub(crate) async fn next_kept(&mut self) -> Arc<Batch> {
        timeout(Duration::from_secs(10), self.history.recv()).await.expect("in time").expect("a batch")
    }

    /// Proves that it still works: a fresh span is taken in and arrives.
    pub(crate) async fn must_go_on(&mut self) {
        let answer = self.post_protobuf("/v1/traces", spans(1)).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
        assert_eq!(self.next_batch().await.spans.len(), 1);
    }

    /// Ends as after a shutdown: all that was acknowledged is in the journal, the journal is closed.
    pub(crate) async fn end(self) {
        drop(self.stop);
        let committer = self.committer;
        tokio::task::spawn_blocking(move || committer.join().expect("no panic")).await.expect("ended");
    }
}

pub(crate) const TRACES: &str = "trace.v1.TraceService";
pub(crate) const METRICS: &str = "metrics.v1.MetricsService";
pub(crate) const LOGS: &str = "logs.v1.LogsService";

pub(crate) fn framed(compressed: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(compressed);
    framed.put_u32(u32::try_from(message.len()).expect("short"));
    framed.put_slice(message);
    framed.freeze()
}

pub(crate) fn sidecar() -> Sidecar {
    Sidecar { service: ServiceName::new("shop", "web"), instance: "web-1".into(), version: "0.1.0".into() }
}

/// A report as a request.
pub(crate) fn report(sequence: u64) -> Vec<u8> {
    let report = SidecarReport {
        sidecar: sidecar(),
        sequence,
        start: Timestamp::from_secs(1_795_000_000),
        length: Duration::from_secs(1),
        edges: Vec::new(),
        breakers: Vec::new(),
        dropped: 0,
    };
    sidecar::encode_report(&report).encode_to_vec()
}

/// So many spans as a request.
pub(crate) fn spans(count: u8) -> Vec<u8> {
    let span = |number: u8| SpanRecord {
        trace_id: TraceId::from_bytes([number + 1; 16]).expect("not zero"),
        span_id: SpanId::from_bytes([number + 1; 8]).expect("not zero"),
        parent: None,
        service: ServiceName::new("shop", "web"),
        instance: "web-1".into(),
        environment: "".into(),
        from_sidecar: false,
        name: "GET /".into(),
        kind: SpanKind::Server,
        start: Timestamp::from_secs(1_795_000_000),
        end: Timestamp::from_secs(1_795_000_001),
        status: SpanStatus::Unset,
        status_message: String::new(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        weight: 1.0,
    };
    let spans: Vec<_> = (0..count).map(span).collect();
    sidecar::encode_spans(&spans, &sidecar()).encode_to_vec()
}
