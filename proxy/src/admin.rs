//! The admin port: metrics, health, readiness, the effective configuration, breakers, reload, drain.
//!
//! What changes something is a POST, and is taken from loopback only, wherever the port is bound.
//! Served on the thread that carries no traffic, so that a scrape never delays a request.

use std::convert::Infallible;
use std::net::IpAddr;
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
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tripline_breaker::Forced;
use tripline_model::{BreakerStatus, Timestamp};

use crate::drain::{Drain, DrainStart};
use crate::metrics;
use crate::reload::{self, Ask};
use crate::report::Totals;
use crate::worker::Shared;

/// Connections to the admin port at once.
const MAX_CONNECTIONS: usize = 64;

/// What there is, and how it is asked for.
const PATHS: [(&str, &str); 7] = [
    ("/metrics", "GET"),
    ("/healthz", "GET"),
    ("/readyz", "GET"),
    ("/config", "GET"),
    ("/breakers", "GET, POST"),
    ("/drain", "POST"),
    ("/reload", "POST"),
];

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
    pub(crate) config: watch::Receiver<Arc<serde_json::Value>>,
    /// Asks for a new configuration.
    pub(crate) reload: mpsc::Sender<Ask>,
}

/// Serves until the task is ended.
pub(crate) async fn serve(admin: Admin, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let admin = admin.clone();
                async move { Ok::<_, Infallible>(admin.answer(&request, peer.ip()).await) }
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
    async fn answer(&self, request: &Request<Incoming>, peer: IpAddr) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let Some((_, methods)) = PATHS.iter().find(|(known, _)| *known == path) else {
            let known: Vec<&str> = PATHS.iter().map(|(path, _)| *path).collect();
            return text(StatusCode::NOT_FOUND, format!("there are {}\n", known.join(", ")));
        };
        if !methods.split(", ").any(|method| method == request.method().as_str()) {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, format!("use {methods}\n"));
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
            return refusal;
        }
        if request.method() == Method::POST && !peer.to_canonical().is_loopback() {
            return text(StatusCode::FORBIDDEN, "changes are taken from this machine only\n".to_owned());
        }
        match path {
            "/metrics" => self.metrics(),
            "/readyz" => self.readiness(),
            "/config" => json(&reload::with_reloads(&self.config.borrow(), &self.shared.reloads)),
            "/breakers" if request.method() == Method::POST => self.hold(request.uri().query().unwrap_or_default()),
            "/breakers" => self.breakers(),
            "/drain" => {
                self.start.begin();
                text(StatusCode::ACCEPTED, "draining\n".to_owned())
            }
            "/reload" => self.reload().await,
            _ => text(StatusCode::OK, "ok\n".to_owned()),
        }
    }

    async fn reload(&self) -> Response<Full<Bytes>> {
        let (ask, answer) = oneshot::channel();
        let answered = async {
            self.reload.try_send(ask).ok()?;
            answer.await.ok()
        };
        match answered.await {
            Some(Ok(())) => text(StatusCode::OK, "loaded\n".to_owned()),
            Some(Err(problem)) => text(StatusCode::CONFLICT, format!("refused, the old one stays:\n{problem}\n")),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "a reload is under way\n".to_owned()),
        }
    }

    /// Holds a breaker open or closed, or lets it go: `POST /breakers?id=ID&hold=open`.
    fn hold(&self, query: &str) -> Response<Full<Bytes>> {
        let usage =
            || text(StatusCode::BAD_REQUEST, "expected ?id=ID&hold=open, hold=closed or hold=none\n".to_owned());
        let mut wanted = (None, None);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "id" => wanted.0 = decoded(value),
                "hold" => wanted.1 = Some(value),
                _ => return usage(),
            }
        }
        let (Some(id), Some(hold)) = wanted else { return usage() };
        let forced = match hold {
            "open" => Some(Forced::Open),
            "closed" => Some(Forced::Closed),
            "none" => None,
            _ => return usage(),
        };
        let now = self.shared.clock.now();
        if self.shared.all_targets().iter().any(|target| target.force(&id, forced, now)) {
            tracing::warn!(breaker = id, hold, "an operator holds a breaker");
            return text(StatusCode::OK, format!("{id}: {hold}\n"));
        }
        text(StatusCode::NOT_FOUND, "no breaker of this id that can be held; GET /breakers lists them\n".to_owned())
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
        let plan = self.shared.plan.get();
        let unresolved: Vec<&str> = plan
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
        let breakers: Vec<_> = statuses.map(|(status, forced)| breaker_json(&status, forced, now)).collect();
        json(&json!({ "breakers": breakers }))
    }
}

fn breaker_json(status: &BreakerStatus, forced: Option<Forced>, now: Timestamp) -> serde_json::Value {
    json!({
        "id": status.breaker,
        "server": status.server.to_string(),
        "route": status.route,
        "endpoint": status.endpoint,
        "state": status.state.as_str(),
        "in_state_seconds": now.since(status.since).as_secs_f64(),
        "trips": status.trips,
        "held": forced.map(|forced| if forced == Forced::Open { "open" } else { "closed" }),
    })
}

/// A value of a query, its `%XX` decoded; none when that is no text.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                after
            }
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
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
