//! One connection: hyper with our bounds, watched so that it does not live on without requests.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Limits;

/// HTTP/1.1's buffer for a request's head and for reading ahead.
const HEAD_BYTES: usize = 64 * 1024;
/// Time for an idle connection to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

pub(super) async fn serve<I, S, B>(stream: I, http2: bool, limits: &Limits, service: S, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let activity = Arc::new(Activity::new(limits));
    let service = Watched { service, activity: Arc::clone(&activity) };
    let stream = TokioIo::new(stream);
    if http2 {
        let connection = http2_settings(limits).serve_connection(stream, service);
        drive(connection, &activity, stop).await;
    } else {
        let mut settings = http1::Builder::new();
        settings.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(HEAD_BYTES);
        drive(settings.serve_connection(stream, service), &activity, stop).await;
    }
}

fn http2_settings(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut settings = http2::Builder::new(TokioExecutor::new());
    settings
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .max_header_list_size(16 * 1024)
        .header_table_size(4096)
        .max_send_buf_size(64 * 1024)
        .max_frame_size(16 * 1024)
        // Telemetry comes in large messages; these windows bound what a connection can make us hold unread.
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    settings
}

async fn drive<C: GracefulConnection>(connection: C, activity: &Activity, stop: CancellationToken) {
    let mut connection = pin!(connection);
    let idle = async {
        while activity.deadline() > Instant::now() {
            // The deadline moves with each request, in both directions.
            sleep_until(activity.deadline().min(Instant::now() + activity.look_again)).await;
        }
    };
    tokio::select! {
        // Errors here are the peer's: resets, bad framing. They are of no use in a log.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
            return;
        }
        () = idle => {}
    }
    // Politely first (HTTP/2 says GOAWAY); but hyper waits for a preface or a head that may never come.
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GOODBYE, connection).await;
}

/// When a connection was last of use.
#[derive(Debug)]
struct Activity {
    // Touched twice a request and held for a few instructions; a task would cost more than it saves.
    state: Mutex<State>,
    idle_timeout: Duration,
    look_again: Duration,
}

#[derive(Debug, Clone, Copy)]
struct State {
    in_flight: usize,
    deadline: Instant,
}

impl Activity {
    fn new(limits: &Limits) -> Self {
        let state = State { in_flight: 0, deadline: Instant::now() + limits.header_timeout };
        let look_again = limits.idle_timeout.min(limits.header_timeout);
        Self { state: Mutex::new(state), idle_timeout: limits.idle_timeout, look_again }
    }

    /// When the connection is to be closed if nothing happens; never while a request is being answered.
    fn deadline(&self) -> Instant {
        let state = *self.lock();
        if state.in_flight > 0 { Instant::now() + self.idle_timeout } else { state.deadline }
    }

    fn enter(self: &Arc<Self>) -> Answering {
        self.lock().in_flight += 1;
        Answering(Arc::clone(self))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A request that is being answered, until the last byte of the answer.
struct Answering(Arc<Activity>);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.deadline = Instant::now() + self.0.idle_timeout;
    }
}

/// A service that tells its connection when it works.
struct Watched<S> {
    service: S,
    activity: Arc<Activity>,
}

impl<S, B> Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<WatchedBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let answering = self.activity.enter();
        let answer = self.service.call(request);
        Box::pin(
            async move { Ok(answer.await?.map(|body| WatchedBody { body: Box::pin(body), _answering: answering })) },
        )
    }
}

/// A body that counts as being answered until it is dropped: a stream of events may last for hours.
struct WatchedBody<B> {
    body: Pin<Box<B>>,
    _answering: Answering,
}

impl<B: Body> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
