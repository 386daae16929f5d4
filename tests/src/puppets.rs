//! Three services without a process, whose sidecars' reports a test makes up: `user > web > pay > db`.
//!
//! What is sent is what real sidecars send, over a real socket, one report a second for each service; only the numbers are chosen. So a
//! test knows exactly what happened, and a baseline of a quiet minute is as quiet as can be.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tripline_model::{
    EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind, Protocol, Reporter, Sidecar, SidecarReport, Timestamp,
};
use tripline_otlp::sidecar::encode_report;

/// Requests a second at the entry, each of which goes down the whole chain.
pub const RATE: u64 = 50;
/// Who calls whom, the users first.
const CHAIN: [&str; 4] = ["user", "shop/web", "shop/pay", "shop/db"];
/// What each service needs for itself, in milliseconds.
pub const OWN_MS: u64 = 5;

/// How the last service of the chain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mood {
    /// Milliseconds added to each of its answers.
    pub slower_ms: u64,
    /// Failures among its [`RATE`] answers of a second.
    pub failing: u64,
}

/// The services, reporting until they are dropped.
pub struct Puppets {
    mood: watch::Sender<Mood>,
    task: JoinHandle<()>,
}

impl Drop for Puppets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Puppets {
    /// Lets them report to the collector that takes OTLP over HTTP on this port. Reports that it does not take are lost.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn start(otlp_http: u16) -> Result<Self> {
        let (mood, moods) = watch::channel(Mood::default());
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
        let url = format!("http://127.0.0.1:{otlp_http}/v1/metrics");
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                let now = moods.borrow().to_owned();
                for place in 1..CHAIN.len() {
                    let body = encode_report(&report(place, now)).encode_to_vec();
                    let request = client.post(&url).header("content-type", "application/x-protobuf").body(body);
                    // A collector that is being restarted misses a second, as it would of real sidecars without a queue.
                    let _answer = request.send().await;
                }
            }
        });
        Ok(Self { mood, task })
    }

    /// Changes how the last service does, from its next report on.
    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

/// The last full second of the service at this place of the chain.
fn report(place: usize, mood: Mood) -> SidecarReport {
    static SEQUENCE: AtomicU64 = AtomicU64::new(1);
    let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let start = Timestamp::from_secs(since_epoch.as_secs().saturating_sub(1));
    let mut edges = vec![window(place, Reporter::Server, (start, mood))];
    if place + 1 < CHAIN.len() {
        edges.push(window(place + 1, Reporter::Client, (start, mood)));
    }
    let service = CHAIN[place];
    SidecarReport {
        sidecar: Sidecar { service: service.into(), instance: format!("{service}-1"), version: "0".into() },
        sequence: SEQUENCE.fetch_add(1, Relaxed),
        start,
        length: Duration::from_secs(1),
        edges,
        breakers: Vec::new(),
        dropped: 0,
    }
}

/// A second of the edge into the service at this place.
fn window(place: usize, reporter: Reporter, (start, mood): (Timestamp, Mood)) -> EdgeWindow {
    let last = CHAIN.len() - 1;
    let below = (last - place) as u64 + 1;
    let own = OWN_MS + if place == last { mood.slower_ms } else { 0 };
    let alike = |milliseconds: u64| {
        let mut histogram = Histogram::default();
        (0..RATE).for_each(|_| histogram.record(Duration::from_millis(milliseconds)));
        histogram
    };
    let is_server = reporter == Reporter::Server;
    let (origin, propagated) = if place == last { (mood.failing, 0) } else { (0, mood.failing) };
    EdgeWindow {
        key: EdgeKey { client: CHAIN[place - 1].into(), server: CHAIN[place].into(), protocol: Protocol::Http },
        reporter,
        client_kind: if place == 1 { NodeKind::User } else { NodeKind::Service },
        server_kind: NodeKind::Service,
        start,
        length: Duration::from_secs(1),
        counts: EdgeCounts {
            requests: RATE,
            failed: mood.failing,
            attempts: if is_server { 0 } else { RATE },
            answered_failures: if is_server { 0 } else { mood.failing },
            origin_failures: if is_server { origin } else { 0 },
            propagated_failures: if is_server { propagated } else { 0 },
            ..EdgeCounts::default()
        },
        latency: alike(OWN_MS * below + mood.slower_ms),
        self_time: if is_server { alike(own) } else { Histogram::default() },
        secured: false,
    }
}
