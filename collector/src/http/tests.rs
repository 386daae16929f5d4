//! The HTTP side over real sockets.

mod api;
mod pages;
mod past;
mod streams;

use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::Value;
use tokio::net::TcpListener;
use tripline_api::{ApiError, DemoFault, DemoFaultKind, DemoFaultList, DemoFaultRequest, ErrorBody};

use super::*;
use crate::config::{Retention, Secret};
use crate::history::{self, Settings};
use crate::metrics;

/// The HTTP side of a collector whose view the test makes.
struct Server {
    address: SocketAddr,
    feed: sample::Feed,
    history: History,
    shutdown: CancellationToken,
    client: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Parts)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (live, feed) = sample::live();
        let (history, owner) =
            history::open(Settings::new(folder.path().join("history"), Retention::default())).unwrap();
        let (metrics, task) = metrics::prepare(&live, Vec::new());
        let shutdown = CancellationToken::new();
        tokio::spawn(task);
        tokio::spawn(owner.run(shutdown.clone()));
        let mut parts = Parts {
            live,
            history: history.clone(),
            metrics,
            mesh: MeshStore::open(folder.path().join("mesh.json")).unwrap(),
            demo: None,
            assets: None,
            token: None,
            checks: Vec::new(),
            limits: Limits::default(),
            shutdown: shutdown.clone(),
        };
        change(&mut parts);
        let (router, task) = prepare(parts);
        tokio::spawn(task);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { address, feed, history, shutdown, client, folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// Status and body of a GET.
    async fn json(&self, path: &str) -> (u16, Value) {
        let answer = self.get(path).await;
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} is not JSON: {text}")))
    }

    /// Status and body of a POST of JSON.
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.client.post(self.url(path)).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

/// A demo that knows one service.
#[derive(Debug, Default)]
struct Demo(Mutex<Vec<DemoFault>>);

impl DemoControl for Demo {
    fn start(&self, request: DemoFaultRequest) -> Result<DemoFault, ApiError> {
        if request.service != "cart" {
            let error = ErrorBody { code: "not_found".into(), message: "no such service".into() };
            return Err(ApiError { error });
        }
        let fault = DemoFault {
            service: "shop/cart".into(),
            kind: request.kind,
            started_at: String::new(),
            ends_at: format!("in {} s", request.seconds),
            active: true,
        };
        self.0.lock().unwrap().push(fault.clone());
        Ok(fault)
    }

    fn list(&self) -> DemoFaultList {
        DemoFaultList { faults: self.0.lock().unwrap().clone(), services: vec!["shop/cart".into()] }
    }
}
