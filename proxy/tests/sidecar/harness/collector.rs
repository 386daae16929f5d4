//! A collector that keeps what it is sent: just enough gRPC over HTTP/2 for the three OTLP services.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tripline_model::{BreakerTransition, EdgeCounts, Reporter, SidecarReport};
use tripline_otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use tripline_otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use tripline_otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use tripline_otlp::proto::common::v1::KeyValue;
use tripline_otlp::proto::common::v1::any_value::Value;
use tripline_otlp::proto::trace::v1::Span;
use tripline_otlp::{log, sidecar, transition};

use super::eventually;

/// What came in.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) reports: Vec<SidecarReport>,
    pub(crate) transitions: Vec<BreakerTransition>,
    pub(crate) spans: Vec<Span>,
    /// Attributes of the latest resource, as `key=value`.
    pub(crate) resource: Vec<String>,
}

/// A running collector; it ends with the test.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_on(address: SocketAddr) -> Self {
        Self::run(address, None)
    }

    /// One that speaks TLS.
    pub(crate) fn start_with(tls: TlsAcceptor) -> Self {
        Self::run("127.0.0.1:0".parse().unwrap(), Some(tls))
    }

    fn run(address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let collector = Self { address: listener.local_addr().unwrap(), kept: Arc::default() };
        let kept = Arc::clone(&collector.kept);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { accept(TcpListener::from_std(listener).unwrap(), kept, tls).await });
        });
        collector
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.kept.lock().unwrap())
    }

    /// The sum of an edge's counts over all reports, each sequence number once.
    pub(crate) fn edge(&self, edge: &str, reporter: Reporter) -> EdgeCounts {
        self.look(|kept| {
            let mut reports = HashMap::new();
            for report in &kept.reports {
                reports.insert((report.sidecar.instance.clone(), report.sequence), report);
            }
            let mut sum = EdgeCounts::default();
            let edges = reports.values().flat_map(|report| &report.edges);
            edges.filter(|e| e.key.to_string() == edge && e.reporter == reporter).for_each(|e| sum.merge(&e.counts));
            sum
        })
    }

    /// Waits until an edge has so many requests, and gives its counts.
    pub(crate) fn edge_with(&self, edge: &str, reporter: Reporter, requests: u64) -> EdgeCounts {
        eventually(&format!("{requests} requests on {edge}"), || {
            let counts = self.edge(edge, reporter);
            (counts.requests >= requests).then_some(counts)
        })
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, kept: Arc<Mutex<Kept>>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&kept)));
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn accept(listener: TcpListener, kept: Arc<Mutex<Kept>>, tls: Option<TlsAcceptor>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (kept, tls) = (Arc::clone(&kept), tls.clone());
        tokio::spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, kept).await;
                    }
                }
                None => serve(stream, kept).await,
            }
        });
    }
}

async fn answer(request: Request<Incoming>, kept: Arc<Mutex<Kept>>) -> Result<Response<Well>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body[0], 1, "what is sent is compressed");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&body[5..]).read_to_end(&mut plain).unwrap();
    let message = Bytes::from(plain);
    let mut kept = kept.lock().unwrap();
    if path.contains("MetricsService") {
        let request = ExportMetricsServiceRequest::decode(message).unwrap();
        let resources = request.resource_metrics.iter().filter_map(|of| of.resource.as_ref());
        kept.resource = resources.flat_map(|resource| &resource.attributes).map(written).collect();
        let decoded = sidecar::decode_reports(&request);
        kept.reports.extend(decoded.reports);
    } else if path.contains("LogsService") {
        let logs = ExportLogsServiceRequest::decode(message).unwrap();
        kept.transitions.extend(log::decode(logs).logs.iter().map(|record| transition::decode(record).unwrap()));
    } else {
        let traces = ExportTraceServiceRequest::decode(message).unwrap();
        let scopes = traces.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        kept.spans.extend(scopes.flat_map(|scope| scope.spans));
    }
    let mut response = Response::new(Well::new());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

fn written(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => format!("{}={text}", attribute.key),
        other => format!("{}={other:?}", attribute.key),
    }
}

/// An empty message and the trailers that say it went well; ready at once.
struct Well(VecDeque<Frame<Bytes>>);

impl Well {
    fn new() -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Self(VecDeque::from([Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)]))
    }
}

impl Body for Well {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
