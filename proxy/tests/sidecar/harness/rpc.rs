//! gRPC without a library: an HTTP/2 server that answers as it is told, and a client.
//!
//! A call tells in its headers how it wants to be answered: `x-code` is the status, `x-late` sends it in trailers behind a
//! message instead of at once, `x-echo` answers with whatever comes in, as it comes, `x-hang` never ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A body made of frames.
pub(crate) type Frames = UnsyncBoxBody<Bytes, Infallible>;

/// A running server; it ends with the test.
#[derive(Debug)]
pub(crate) struct RpcApp {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) seen: Arc<Mutex<Vec<HeaderMap>>>,
}

impl RpcApp {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let app = Self { address, connections: Arc::default(), seen: Arc::default() };
        let (connections, seen) = (Arc::clone(&app.connections), Arc::clone(&app.seen));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    connections.fetch_add(1, Ordering::SeqCst);
                    let seen = Arc::clone(&seen);
                    let service = service_fn(move |request: Request<Incoming>| {
                        let mut headers = request.headers().clone();
                        headers.insert("x-path", HeaderValue::from_str(request.uri().path()).unwrap());
                        seen.lock().unwrap().push(headers);
                        async { Ok::<_, Infallible>(answer(request)) }
                    });
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
                }
            });
        });
        app
    }
}

fn answer(request: Request<Incoming>) -> Response<Frames> {
    let headers = request.headers().clone();
    let code = headers.get("x-code").cloned().unwrap_or(HeaderValue::from_static("0"));
    let builder = Response::builder().header("content-type", "application/grpc");
    let (frames, body) = body();
    if headers.contains_key("x-hang") {
        tokio::spawn(async move {
            frames.send(Frame::data(message("begun"))).await.unwrap();
            frames.closed().await;
        });
        return builder.body(body).unwrap();
    }
    if code != "0" && !headers.contains_key("x-late") {
        let mut builder = builder.header("grpc-status", code);
        if let Some(mark) = headers.get("x-answer-mark") {
            builder = builder.header("x-tripline-breaker", mark);
        }
        return builder.body(Frames::default()).unwrap();
    }
    tokio::spawn(async move {
        if headers.contains_key("x-echo") {
            let mut incoming = request.into_body();
            while let Some(Ok(frame)) = incoming.frame().await {
                let Ok(data) = frame.into_data() else { continue };
                frames.send(Frame::data(data)).await.unwrap();
            }
        } else {
            let _ = request.into_body().collect().await;
            frames.send(Frame::data(message("hello"))).await.unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code);
        trailers.insert("x-checksum", HeaderValue::from_static("42"));
        let _ = frames.send(Frame::trailers(trailers)).await;
    });
    builder.body(body).unwrap()
}

/// One message of gRPC, uncompressed.
pub(crate) fn message(text: &str) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(text.as_bytes());
    framed.into()
}

/// A body and the end from which its frames are sent.
pub(crate) fn body() -> (mpsc::Sender<Frame<Bytes>>, Frames) {
    let (sender, mut receiver) = mpsc::channel(4);
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|frame| frame.map(Ok)));
    (sender, UnsyncBoxBody::new(StreamBody::new(stream)))
}

/// A connection with prior knowledge.
#[derive(Debug, Clone)]
pub(crate) struct RpcClient(SendRequest<Frames>);

/// An answer read to its end.
#[derive(Debug, Default)]
pub(crate) struct RpcAnswer {
    pub(crate) status: u16,
    pub(crate) head: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
    /// Whether it broke off.
    pub(crate) broken: bool,
}

impl RpcAnswer {
    /// From the trailers, or from the head when there is nothing else.
    pub(crate) fn code(&self) -> Option<&str> {
        self.field("grpc-status")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.trailers.get(name).or_else(|| self.head.get(name)).map(|value| value.to_str().unwrap())
    }
}

impl RpcClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Sends a call with a body of its own and gives the head of the answer.
    pub(crate) async fn begin(
        &mut self,
        host: &str,
        fields: &[(&'static str, &str)],
        body: Frames,
    ) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::post(format!("http://{host}/shop.Checkout/Pay"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.0.ready().await?;
        self.0.send_request(request.body(body).unwrap()).await
    }

    /// One message there, everything back.
    pub(crate) async fn call(&mut self, host: &str, fields: &[(&'static str, &str)]) -> RpcAnswer {
        let (frames, body) = body();
        frames.send(Frame::data(message("pay"))).await.unwrap();
        drop(frames);
        match self.begin(host, fields, body).await {
            Ok(response) => read(response).await,
            Err(_) => RpcAnswer { broken: true, ..RpcAnswer::default() },
        }
    }
}

/// Reads an answer to its end.
pub(crate) async fn read(response: Response<Incoming>) -> RpcAnswer {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned().unwrap_or_default();
            RpcAnswer { status, head: parts.headers, body: collected.to_bytes(), trailers, broken: false }
        }
        Err(_) => RpcAnswer { status, head: parts.headers, broken: true, ..RpcAnswer::default() },
    }
}
