//! `cargo xtask bench history`: spans, at the rate of 100 million a day of simulated time, and three hours of edge windows, written by the
//! real writer, and what is asked of them. One JSON object a line.
//!
//! `--spans N` how many (2,000,000: half an hour), `--dir DIR` where (a temporary folder), `--reuse` to ask what is there already. Spans are those of the
//! ingest benchmark: client and server spans paired over 177 edges of 60 services, 277 bytes each as OTLP, with random identifiers.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that fails says where")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tripline_collector::batch::Batch;
use tripline_collector::config::Retention;
use tripline_collector::history::{self, History, OperationQuery, Page, Settings, TraceQuery};
use tripline_model::{
    EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind, Protocol, Reporter, SpanId, Timestamp, TraceId,
};
use tripline_otlp::{SpanKind, SpanRecord, SpanStatus, Spans, Value};

const SERVICES: usize = 60;
/// Spans of one request.
const BATCH: u64 = 1_000;
const DAY: u64 = 86_400;
/// Spans a day: files are as they are when so many come, whatever part of the day is written.
const A_DAY: u64 = 100_000_000;
/// Start of the simulated day.
const BEGIN: u64 = 1_795_219_200;
/// How long edge windows are written.
const WINDOWS_FOR: u64 = 3 * 3_600;
/// Traces that are looked up.
const LOOKUPS: usize = 500;

/// The simulated time, in nanoseconds.
static NOW: AtomicU64 = AtomicU64::new(BEGIN * 1_000_000_000);

fn now() -> Timestamp {
    Timestamp::from_nanos(NOW.load(Relaxed))
}

struct Arguments {
    spans: u64,
    dir: Option<PathBuf>,
    reuse: bool,
}

fn main() {
    let arguments = match read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::exit(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(&arguments));
}

fn read(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { spans: 2_000_000, dir: None, reuse: false };
    while let Some(flag) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--spans" => arguments.spans = value()?.parse().map_err(|_| "--spans: expected a number".to_owned())?,
            "--dir" => arguments.dir = Some(value()?.into()),
            "--reuse" => arguments.reuse = true,
            // cargo adds it.
            "--bench" => {}
            _ => return Err(format!("unknown argument {flag}")),
        }
    }
    Ok(arguments)
}

async fn run(arguments: &Arguments) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = arguments.dir.clone().unwrap_or_else(|| temporary.path().join("history"));
    let known = dir.join("known-traces.txt");
    if !arguments.reuse {
        write(arguments.spans, &dir, &known).await;
    }
    NOW.store((BEGIN + DAY + 3_600) * 1_000_000_000, Relaxed);
    let (history, shutdown, owner) = start(&dir);
    let ids = std::fs::read_to_string(&known).unwrap();
    let ids: Vec<TraceId> = ids.lines().filter_map(|line| line.parse().ok()).collect();
    ask(&history, &ids).await;
    shutdown.cancel();
    owner.await.unwrap();
}

fn start(dir: &Path) -> (History, CancellationToken, tokio::task::JoinHandle<()>) {
    let days = Duration::from_secs(400 * DAY);
    let kept = Retention { spans: days, edges: days, disk_bytes: 1 << 50, ..Retention::default() };
    let settings = Settings { now, query_timeout: Duration::from_secs(120), ..Settings::new(dir.to_owned(), kept) };
    let (history, owner) = history::open(settings).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(owner.run(shutdown.clone()));
    (history, shutdown, task)
}

/// Writes everything, and some trace ids to ask for.
async fn write(spans: u64, dir: &Path, known: &Path) {
    let (history, shutdown, owner) = start(dir);
    let mut random = StdRng::seed_from_u64(7);
    let edges = edges(&mut random);
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let (mut made, mut ids) = (0.0, String::new());
    let batches = spans / BATCH;
    for number in 0..batches {
        let second = DAY * number * BATCH / A_DAY;
        NOW.store((BEGIN + second) * 1_000_000_000, Relaxed);
        let before = thread_seconds();
        let records = records(&mut random, &edges, Timestamp::from_secs(BEGIN + second));
        let spans = Spans::of_records(&records);
        made += thread_seconds() - before;
        if number % (batches / (2 * LOOKUPS as u64)).max(1) == 0 {
            ids.push_str(&format!("{}\n", records[0].trace_id));
        }
        let (position, received_at) = (number + 1, Timestamp::from_secs(BEGIN + second));
        let batch =
            Batch { position, received_at, reports: Vec::new(), transitions: Vec::new(), spans, logs: Vec::new() };
        history.batches().send(Arc::new(batch)).await.unwrap();
    }
    settled(&history).await;
    let cpu = cpu_seconds() - cpu - made;
    let counters = history.counters();
    println!(
        "{}",
        json!({"bench": "history", "what": "write", "spans": batches * BATCH, "files": counters.files, "merges": counters.merges,
            "bytes": counters.bytes, "bytes_per_span": counters.bytes as f64 / (batches * BATCH) as f64,
            "cpu_us_per_span": cpu * 1e6 / (batches * BATCH) as f64, "seconds": begun.elapsed().as_secs_f64()})
    );
    std::fs::write(known, ids).unwrap();
    windows(&history, &mut random, &edges).await;
    shutdown.cancel();
    owner.await.unwrap();
}

/// Waits until rows are written and everything that can be merged is merged.
async fn settled(history: &History) {
    NOW.store((BEGIN + DAY + 3_600) * 1_000_000_000, Relaxed);
    let mut last = history.counters();
    let mut still = 0;
    while still < 3 {
        sleep(Duration::from_secs(11)).await;
        let counters = history.counters();
        let same =
            (counters.rows_written, counters.merges, counters.files) == (last.rows_written, last.merges, last.files);
        still = if same && counters.rows_waiting == 0 { still + 1 } else { 0 };
        last = counters;
    }
}

async fn windows(history: &History, random: &mut StdRng, edges: &[(usize, usize)]) {
    for step in 0..WINDOWS_FOR / 10 {
        let start = Timestamp::from_secs(BEGIN + step * 10);
        NOW.store((BEGIN + step * 10 + 12) * 1_000_000_000, Relaxed);
        let both = edges.iter().flat_map(|edge| [(edge, Reporter::Client), (edge, Reporter::Server)]);
        let windows: Vec<EdgeWindow> = both.map(|(edge, reporter)| window(random, *edge, (reporter, start))).collect();
        assert!(history.keep_windows(Arc::new(windows)).await);
    }
    let before = history.counters().bytes;
    settled(history).await;
    let rows = WINDOWS_FOR / 10 * edges.len() as u64 * 2;
    println!(
        "{}",
        json!({"bench": "history", "what": "edge windows, added up", "windows_of_10_s": rows,
            "bytes_per_window": history.counters().bytes.saturating_sub(before) as f64 / rows as f64})
    );
}

fn window(random: &mut StdRng, edge: (usize, usize), (reporter, start): (Reporter, Timestamp)) -> EdgeWindow {
    let mut latency = Histogram::default();
    let requests = random.random_range(50..200);
    (0..requests).for_each(|_| latency.record(Duration::from_micros(random.random_range(500..50_000))));
    let name = |service: usize| format!("shop/svc-{service:03}");
    EdgeWindow {
        key: EdgeKey {
            client: name(edge.0).as_str().into(),
            server: name(edge.1).as_str().into(),
            protocol: Protocol::Http,
        },
        reporter,
        client_kind: NodeKind::Service,
        server_kind: NodeKind::Service,
        start,
        length: Duration::from_secs(10),
        counts: EdgeCounts { requests, attempts: requests, response_bytes: requests * 900, ..EdgeCounts::default() },
        self_time: latency.clone(),
        latency,
        secured: true,
    }
}

fn edges(random: &mut StdRng) -> Vec<(usize, usize)> {
    let three = |client: usize| [(); 3].map(|()| (client, 0));
    let all = (0..SERVICES - 1).flat_map(three);
    all.map(|(client, _)| (client, random.random_range(client + 1..SERVICES))).collect()
}

/// Pairs of a client's and a server's span that begin within a second before `at`.
fn records(random: &mut StdRng, edges: &[(usize, usize)], at: Timestamp) -> Vec<SpanRecord> {
    let mut records = Vec::with_capacity(BATCH as usize);
    for _ in 0..BATCH / 2 {
        let (client, server) = edges[random.random_range(0..edges.len())];
        let trace = TraceId::from_bytes(random.random()).unwrap();
        let [root, outer, inner] = [(); 3].map(|()| SpanId::from_bytes(random.random()).unwrap());
        let start = at - Duration::from_nanos(random.random_range(0..1_000_000_000));
        let code = if random.random_bool(0.02) { 500 } else { 200 };
        let half = |service: usize, kind, ids: (SpanId, SpanId), random: &mut StdRng| SpanRecord {
            trace_id: trace,
            span_id: ids.0,
            parent: Some(ids.1),
            service: format!("shop/svc-{service:03}").as_str().into(),
            instance: format!("svc-{service:03}-0").into(),
            environment: "".into(),
            from_sidecar: false,
            name: "GET /api/v1/items/{id}".into(),
            kind,
            start,
            end: start + Duration::from_nanos(random.random_range(100_000..100_000_000)),
            status: if code == 500 { SpanStatus::Error } else { SpanStatus::Unset },
            status_message: String::new(),
            attributes: attributes(random, (server, code)),
            events: Vec::new(),
            links: Vec::new(),
            weight: 1.0,
        };
        records.push(half(client, SpanKind::Client, (outer, root), random));
        records.push(half(server, SpanKind::Server, (inner, outer), random));
    }
    records
}

fn attributes(random: &mut StdRng, (server, code): (usize, i64)) -> Vec<(String, Value)> {
    let text = |text: String| Value::Text(text);
    [
        ("http.request.method", text("GET".into())),
        ("url.path", text(format!("/api/v1/items/{}", random.random_range(0..1_000_000)))),
        ("server.address", text(format!("svc-{server:03}"))),
        ("server.port", Value::Int(8080)),
        ("http.response.status_code", Value::Int(code)),
        ("network.protocol.version", text("1.1".into())),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

async fn ask(history: &History, ids: &[TraceId]) {
    let (from, to) = (Timestamp::from_secs(BEGIN), Timestamp::from_secs(BEGIN + DAY));
    let chosen: Vec<TraceId> = ids.iter().copied().take(LOOKUPS).collect();
    let mut times = Vec::new();
    for id in &chosen {
        let begun = Instant::now();
        let trace = history.trace(*id).await.unwrap().unwrap();
        times.push(begun.elapsed());
        assert_eq!(trace.spans.len(), 2);
    }
    tell("trace by id", times);
    let mut times = Vec::new();
    let mut random = StdRng::seed_from_u64(11);
    for _ in 0..LOOKUPS / 5 {
        let begun = Instant::now();
        assert!(history.trace(TraceId::from_bytes(random.random()).unwrap()).await.unwrap().is_none());
        times.push(begun.elapsed());
    }
    tell("trace that is not there", times);
    let mut times = Vec::new();
    for service in 0..20 {
        let query = OperationQuery { service: format!("shop/svc-{:03}", service * 3), from, to, limit: 20 };
        let begun = Instant::now();
        assert!(!history.operations(query).await.unwrap().is_empty());
        times.push(begun.elapsed());
    }
    tell("slowest operations of a service over 24 h", times);
    let mut times = Vec::new();
    for _ in 0..50 {
        let at = Timestamp::from_secs(BEGIN + random.random_range(60..WINDOWS_FOR));
        let begun = Instant::now();
        let (_, windows) = history.windows_at(at, Duration::from_secs(60)).await.unwrap();
        times.push(begun.elapsed());
        assert!(!windows.is_empty());
    }
    tell("edge windows of a past minute", times);
    let mut times = Vec::new();
    for minute in 1..10 {
        let page = Page { from, to: Timestamp::from_secs(BEGIN + minute * 60), limit: 50, cursor: None };
        let query = TraceQuery { service: Some("shop/svc-007".into()), page, ..TraceQuery::default() };
        let begun = Instant::now();
        let list = history.traces(query).await.unwrap();
        times.push(begun.elapsed());
        assert!(!list.traces.is_empty());
    }
    tell("the newest 50 traces of a service", times);
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |q: f64| times[((times.len() as f64 * q).ceil() as usize).clamp(1, times.len()) - 1].as_secs_f64() * 1e3;
    println!(
        "{}",
        json!({"bench": "history", "what": what, "asked": times.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0)})
    );
}

/// CPU seconds of this process so far.
fn cpu_seconds() -> f64 {
    stat_seconds("/proc/self/stat")
}

/// CPU seconds of this thread so far.
fn thread_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn stat_seconds(path: &str) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
