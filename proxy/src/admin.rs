//! The admin port: metrics, health, readiness, the effective configuration, breakers, drain.
//!
//! Served on the thread that carries no traffic, so that a scrape never delays a request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tripline_model::{BreakerStatus, Timestamp};

use crate::drain::{Drain, DrainStart};
use crate::metrics;
use crate::report::Totals;
use crate::worker::Shared;

/// Connections to the admin port at once.
const MAX_CONNECTIONS: usize = 64;

/// What the admin port shows.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// The running sidecar.
    pub(crate) shared: Arc<Shared>,
    /// The totals of the latest report.
    pub(crate) totals: watch::Receiver<Arc<Totals>>,
    /// Begins the drain.
    pub(crate) start: DrainStart,
    /// Whether it has begun.
    pub(crate) drain: Drain,
    /// The configuration as JSON.
    pub(crate) config: Arc<serde_json::Value>,
}

/// Serves until the task is ended.
pub(crate) async fn serve(admin: Admin, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let answer = admin.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!(%error, "admin connection ended");
            }
        });
    }
}

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let wanted = if request.uri().path() == "/drain" { Method::POST } else { Method::GET };
        let known = ["/metrics", "/healthz", "/readyz", "/config", "/breakers", "/drain"];
        if !known.contains(&request.uri().path()) {
            return text(StatusCode::NOT_FOUND, format!("there are {}\n", known.join(", ")));
        }
        if *request.method() != wanted {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, format!("use {wanted}\n"));
            refusal
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(if wanted == Method::POST { "POST" } else { "GET" }));
            return refusal;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/readyz" => self.readiness(),
            "/config" => json(&self.config),
            "/breakers" => self.breakers(),
            "/drain" => {
                self.start.begin();
                text(StatusCode::ACCEPTED, "draining\n".to_owned())
            }
            _ => text(StatusCode::OK, "ok\n".to_owned()),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let totals = Arc::clone(&self.totals.borrow());
        match metrics::text(&self.shared, totals) {
            Ok(written) => {
                let mut answer = text(StatusCode::OK, written);
                let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                answer
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        if self.drain.has_begun() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
        }
        let unresolved: Vec<&str> = self
            .shared
            .targets
            .iter()
            .filter(|target| target.endpoints().is_empty())
            .map(|target| &*target.hostname)
            .collect();
        if unresolved.is_empty() {
            return text(StatusCode::OK, "ready\n".to_owned());
        }
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not resolved yet: {}\n", unresolved.join(", ")))
    }

    fn breakers(&self) -> Response<Full<Bytes>> {
        let now = self.shared.clock.now();
        let targets = self.shared.all_targets();
        let statuses = targets.iter().flat_map(|target| target.statuses(now));
        let breakers: Vec<_> = statuses.map(|status| breaker_json(&status, now)).collect();
        json(&json!({ "breakers": breakers }))
    }
}

fn breaker_json(status: &BreakerStatus, now: Timestamp) -> serde_json::Value {
    json!({
        "id": status.breaker,
        "server": status.server.to_string(),
        "route": status.route,
        "endpoint": status.endpoint,
        "state": status.state.as_str(),
        "in_state_seconds": now.since(status.since).as_secs_f64(),
        "trips": status.trips,
    })
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, format!("{value:#}\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
