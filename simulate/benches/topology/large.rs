//! What the live graph of a large mesh takes, without a collector around it: memory an edge, and the tick of a second with everything in it.
//!
//! The mesh is that of `suite::large`: 10,000 services, half of those that call anyone call four, one in ten 23, one in a hundred 252; 13 % entries, 39 %
//! call nobody; at most 100,000 edges. Every edge carries 1 to 20 requests in every second, reported by both ends with latencies (log-normal,
//! sigma 0.4), self times and bytes, for eleven minutes, so that all that is ever kept is there.
//!
//! Memory is that of the process above what it was before the first window, so what the allocator wastes is in it. In the last minute the detector
//! runs as well, and each second's tick is measured by the wall, for all cores take part: tidying up, judging, finished windows for history, and the
//! summary of the last minute.

use std::time::Duration;

use serde_json::json;
use tripline_model::{
    EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind, Protocol, Reporter, ServiceName, Timestamp,
};
use tripline_simulate::suite;
use tripline_topology::detect::{Detector, Settings};
use tripline_topology::layout::layout;
use tripline_topology::{GraphSummary, Limits, ServiceGraph};

use crate::speed::{at, by_the_wall, resident};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Seconds without the detector, and with it.
const FILLING: u64 = 610;
const TICKING: u64 = 60;
/// Different windows that edges draw from.
const POOL: usize = 509;

/// Bars of the project: milliseconds of a tick, bytes an edge.
const BARS: (f64, f64) = (60.0, 1_024.0);

struct Large {
    graph: ServiceGraph,
    summary: GraphSummary,
    edges: Vec<EdgeKey>,
    /// Counts, latencies, self times.
    pool: Vec<(EdgeCounts, Histogram, Histogram)>,
    user: ServiceName,
    second: u64,
}

/// Milliseconds of each part of a tick.
#[derive(Default)]
struct Ticks {
    tidy: Vec<f64>,
    judge: Vec<f64>,
    drain: Vec<f64>,
    summary: Vec<f64>,
    all: Vec<f64>,
}

/// Prints the figures; `services` at most 10,000.
pub(crate) fn print(settings: Settings, services: usize) {
    let mut large = Large::new(services);
    let edges = large.edges.len();
    let before = resident();
    let began = by_the_wall();
    for _ in 0..FILLING {
        large.flow();
        large.graph.tidy(large.now());
        drop(large.graph.drain_windows(large.now()));
    }
    let micros = (by_the_wall() - began) * 1e6 / (FILLING as f64 * 2.0 * edges as f64);
    let bytes = (resident() - before) / edges as f64;
    let bars = services >= 10_000;
    println!(
        "{}",
        json!({"bench": "topology", "figure": "graph_bytes_per_edge", "services": services, "edges": edges, "requests_a_second": "1 to 20",
               "value": bytes.round(), "bar": bars.then_some(BARS.1), "met": bars.then_some(bytes <= BARS.1), "microseconds_a_window": (micros * 1e3).round() / 1e3})
    );
    let mut detector = Detector::new(settings);
    let mut ticks = Ticks::default();
    for _ in 0..TICKING {
        large.flow();
        large.tick(&mut detector, &mut ticks);
    }
    for (part, took) in [
        ("tidy", &ticks.tidy),
        ("judge", &ticks.judge),
        ("drain", &ticks.drain),
        ("summary", &ticks.summary),
        ("all", &ticks.all),
    ] {
        let (p50, p99) = (at(took, 0.5), at(took, 0.99));
        let bar = (bars && part == "all").then_some(BARS.0);
        println!(
            "{}",
            json!({"bench": "topology", "figure": "milliseconds_per_tick", "part": part, "services": services, "edges": edges, "p50": p50, "p99": p99,
                   "of": took.len(), "bar_p99": bar, "met": bar.map(|bar| p99 <= bar)})
        );
    }
    large.print_layout();
}

impl Large {
    fn new(services: usize) -> Self {
        let plan = suite::large(1, services).plan;
        let user = ServiceName::user();
        let key = |client: &ServiceName, server: &str| EdgeKey {
            client: client.clone(),
            server: server.into(),
            protocol: Protocol::Http,
        };
        let mut edges: Vec<EdgeKey> = plan.entries.iter().map(|entry| key(&user, &entry.server)).collect();
        for service in &plan.services {
            let client = ServiceName::from(service.name.as_str());
            edges.extend(service.calls.iter().map(|call| key(&client, &call.server)));
        }
        edges.truncate(services * 10);
        let limits = Limits { nodes: services + 10, edges: edges.len(), ..Limits::default() };
        let pool = (0..POOL).map(pooled).collect();
        let (graph, second) = (ServiceGraph::new(limits), 1_000_000);
        let summary = GraphSummary::of(&graph, MINUTE, Timestamp::from_secs(second));
        Self { graph, summary, edges, pool, user, second }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.second)
    }

    /// A second of traffic on every edge.
    fn flow(&mut self) {
        let start = self.now();
        self.second += 1;
        for (number, key) in self.edges.iter().enumerate() {
            let Some((counts, latency, self_time)) = self.pool.get((number * 31 + self.second as usize) % POOL) else {
                continue;
            };
            let client_kind = if key.client == self.user { NodeKind::User } else { NodeKind::Service };
            let by_client = EdgeWindow {
                key: key.clone(),
                reporter: Reporter::Client,
                client_kind,
                server_kind: NodeKind::Service,
                start,
                length: SECOND,
                counts: *counts,
                latency: latency.clone(),
                self_time: Histogram::default(),
                secured: true,
            };
            self.graph.observe(&by_client, start + SECOND);
            let counts = EdgeCounts { attempts: 0, ..*counts };
            let by_server =
                EdgeWindow { reporter: Reporter::Server, counts, self_time: self_time.clone(), ..by_client };
            self.graph.observe(&by_server, start + SECOND);
        }
    }

    fn tick(&mut self, detector: &mut Detector, ticks: &mut Ticks) {
        let now = self.now() + Duration::from_millis(300);
        let began = by_the_wall();
        self.graph.tidy(now);
        let tidied = by_the_wall();
        detector.evaluate(&self.graph, now);
        let judged = by_the_wall();
        let windows = self.graph.drain_windows(now);
        let drained = by_the_wall();
        self.summary.follow(&self.graph, now);
        let done = by_the_wall();
        assert_eq!(self.summary.edges.len(), self.edges.len());
        drop(windows);
        ticks.tidy.push((tidied - began) * 1e3);
        ticks.judge.push((judged - tidied) * 1e3);
        ticks.drain.push((drained - judged) * 1e3);
        ticks.summary.push((done - drained) * 1e3);
        ticks.all.push((done - began) * 1e3);
    }

    fn print_layout(&self) {
        let nodes: Vec<ServiceName> = self.graph.nodes().map(|(name, _)| name.clone()).collect();
        let edges: Vec<(ServiceName, ServiceName)> =
            self.edges.iter().map(|key| (key.client.clone(), key.server.clone())).collect();
        let (before, began) = (resident(), by_the_wall());
        let placed = layout(&nodes, &edges, &std::collections::BTreeMap::new());
        let took = (by_the_wall() - began) * 1e3;
        println!(
            "{}",
            json!({"bench": "topology", "figure": "milliseconds_per_layout", "nodes": placed.len(), "edges": edges.len(), "value": took.round(),
                   "mib": ((resident() - before) / 1_048_576.0).round()})
        );
    }
}

/// One to twenty requests of about 10 ms, and the time that the server needed for itself.
fn pooled(number: usize) -> (EdgeCounts, Histogram, Histogram) {
    let requests = 1 + (number * 7 % 20) as u64;
    let (mut latency, mut own) = (Histogram::default(), Histogram::default());
    for request in 0..requests {
        // Two uniform draws that never repeat in step, as a normal one (Box and Muller).
        let draw = |step: f64| ((number as f64 * 20.0 + request as f64 + 1.0) * step).fract().max(1e-9);
        let (a, b) = (draw(0.618_033_988_75), draw(0.754_877_666_25));
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        let seconds = 0.010 * (0.4 * normal).exp();
        latency.record(Duration::from_secs_f64(seconds));
        own.record(Duration::from_secs_f64(seconds * (0.2 + 0.6 * b)));
    }
    let counts = EdgeCounts {
        requests,
        attempts: requests,
        request_bytes: requests * 420,
        response_bytes: requests * 2_300,
        ..EdgeCounts::default()
    };
    (counts, latency, own)
}
