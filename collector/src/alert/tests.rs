//! Alerts over real sockets: a webhook that fails at first, and a real Alertmanager.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tripline_api as api;

use super::*;
use crate::config::{Alert, Url};
use crate::http::sample;
use crate::live::Notice;

/// Alerts that run, and the channel that feeds them.
struct Running {
    alerts: Alerts,
    feed: sample::Feed,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(receivers: Alert) -> Self {
        let (live, feed) = sample::live();
        let settings =
            Settings { resend_every: Duration::from_millis(300), ..Settings::new(receivers, "http://ui".into()) };
        let (alerts, teller) = prepare(settings, &live).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(teller.run(shutdown.clone()));
        Self { alerts, feed, shutdown, task }
    }

    fn tell(&self, notice: Notice, incident: api::Incident) {
        self.feed.live.notifications.send(Notification { notice, incident }).unwrap();
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A webhook that answers 503 to its first `failures` posts and keeps the others.
struct Hook {
    failures: Mutex<u32>,
    taken: Mutex<Vec<Value>>,
}

async fn hook(failures: u32) -> (Arc<Hook>, Url) {
    async fn take(State(hook): State<Arc<Hook>>, Json(body): Json<Value>) -> StatusCode {
        let mut failures = hook.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        hook.taken.lock().unwrap().push(body);
        StatusCode::NO_CONTENT
    }
    let hook = Arc::new(Hook { failures: Mutex::new(failures), taken: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/hook", post(take)).with_state(Arc::clone(&hook));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (hook, Url::parse(&format!("http://{address}/hook")).unwrap())
}

fn to_webhook(url: Url) -> Alert {
    Alert { webhooks: vec![config::Webhook { url, headers: Vec::new() }], alertmanagers: Vec::new() }
}

#[tokio::test]
async fn a_webhook_that_fails_is_told_again_in_order() {
    let (hook, url) = hook(2).await;
    let running = Running::start(to_webhook(url));
    running.tell(Notice::Opened, sample::incident("A", api::Phase::Starting));
    running.tell(Notice::Resolved, sample::incident("A", api::Phase::Resolved));
    let taken = until("two posts", || async {
        let taken = hook.taken.lock().unwrap().clone();
        (taken.len() == 2).then_some(taken)
    })
    .await;
    assert_eq!((&taken[0]["notice"], &taken[1]["notice"]), (&"opened".into(), &"resolved".into()));
    assert_eq!((&taken[0]["incident"]["id"], &taken[0]["url"]), (&"A".into(), &"http://ui/incidents/A".into()));
    let counters = running.alerts.counters().remove(0);
    assert_eq!((counters.delivered, counters.failures, counters.dropped), (2, 2, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_dead_receiver_costs_its_own_alerts_only() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (hook, url) = hook(0).await;
    let mut receivers = to_webhook(url);
    receivers.alertmanagers.push(Url::parse(&format!("http://{unused}")).unwrap());
    let running = Running::start(receivers);
    running.tell(Notice::Opened, sample::incident("A", api::Phase::Starting));
    until("the living one", || async { (hook.taken.lock().unwrap().len() == 1).then_some(()) }).await;
    until("a failure of the dead one", || async { (running.alerts.counters()[1].failures > 0).then_some(()) }).await;
    running.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_into_a_queue_is_dropped_and_counted() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let running = Running::start(to_webhook(Url::parse(&format!("http://{unused}")).unwrap()));
    for n in 0..QUEUE + 50 {
        running.tell(Notice::Opened, sample::incident(&n.to_string(), api::Phase::Starting));
        tokio::task::yield_now().await;
    }
    until("drops", || async { (running.alerts.counters()[0].dropped >= 40).then_some(()) }).await;
    running.shutdown.cancel();
}

const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";

/// Debian's Alertmanager on a free port; killed when dropped.
struct RealAlertmanager {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl RealAlertmanager {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").unwrap();
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let process = Command::new(ALERTMANAGER)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { process, address, _folder: folder };
        until("alertmanager is ready", || async { running.get("/-/ready").await.map(drop) }).await;
        running
    }

    async fn get(&self, path: &str) -> Option<String> {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await.ok()?;
        if answer.status().is_success() { answer.text().await.ok() } else { None }
    }

    async fn alerts(&self) -> Vec<Value> {
        serde_json::from_str(&self.get("/api/v2/alerts").await.unwrap()).unwrap()
    }
}

impl Drop for RealAlertmanager {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn a_real_alertmanager_sees_one_alert_updated_and_resolved() {
    if !Path::new(ALERTMANAGER).exists() {
        eprintln!("SKIPPED: {ALERTMANAGER} is not there; install it with: apt-get install prometheus-alertmanager");
        return;
    }
    let alertmanager = RealAlertmanager::start().await;
    let url = Url::parse(&format!("http://{}", alertmanager.address)).unwrap();
    let running = Running::start(Alert { webhooks: Vec::new(), alertmanagers: vec![url] });
    let mut incident = sample::incident("A", api::Phase::Starting);
    incident.started_at = clock_text();
    running.tell(Notice::Opened, incident.clone());
    let seen = |alerts: Vec<Value>| (alerts.len() == 1).then(|| alerts[0].clone());
    let first = until("one alert", || async { seen(alertmanager.alerts().await) }).await;
    assert_eq!(
        (&first["labels"]["service"], &first["annotations"]["level"]),
        (&"shop/payments-db".into(), &"cascade".into())
    );

    // Without a notification: the view has changed, the next re-send carries it.
    incident.level = api::Level::Amplifying;
    incident.suspected_origins[0].service = "shop/other".into();
    running.feed.show(vec![incident.clone()]);
    let updated = until("the update", || async {
        seen(alertmanager.alerts().await).filter(|alert| alert["annotations"]["level"] == "amplifying")
    })
    .await;
    assert_eq!(updated["fingerprint"], first["fingerprint"], "the same alert");

    (incident.phase, incident.resolved_at) = (api::Phase::Resolved, Some(clock_text()));
    running.tell(Notice::Resolved, incident);
    until("it is resolved", || async { alertmanager.alerts().await.is_empty().then_some(()) }).await;
    assert_eq!(running.alerts.counters()[0].failures, 0);
    running.stop().await;
}

fn clock_text() -> String {
    crate::clock::rfc3339(crate::clock::now())
}
