//! What one evaluation costs, and what an edge takes in memory: 100, 1,000 and 10,000 services with ten calls each.
//!
//! Every edge carries four requests a second, reported by both ends. First all is quiet; then a tenth of the services (at most 1,000) hang
//! together as one cascade: half of the requests to the last of them fail, all its dependents pass that on, and every breaker between them opens within
//! three seconds. Baselines are full from the start, because they are restored. Times are by the wall, for all cores
//! take part: run it on a machine that has nothing else to do.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::json;
use tripline_model::{
    BreakerState, BreakerTransition, EdgeCounts, EdgeKey, EdgeWindow, FailureOrigin, Histogram, NodeKind, Protocol,
    Reporter, ServiceName, Timestamp, TransitionReason,
};
use tripline_topology::detect::{BYTES_PER_EDGE, BaselineOf, BaselineState, Detector, LevelState, Settings};
use tripline_topology::{BreakerInfo, Limits, ServiceGraph};

const CALLS: usize = 10;
/// Calls of a service of the cascade to others of it.
const INSIDE: usize = 4;
const SECOND: Duration = Duration::from_secs(1);
const QUIET: u64 = 100;
const CASCADE: u64 = 100;

/// Bars of the project: milliseconds quiet and in a cascade, bytes an edge.
const BARS: (f64, f64, f64) = (20.0, 60.0, 1_536.0);

struct Load {
    graph: ServiceGraph,
    detector: Detector,
    names: Vec<ServiceName>,
    /// Client, server, and whether it is part of the cascade.
    edges: Vec<(EdgeKey, bool)>,
    calm: Histogram,
    second: u64,
}

/// Prints a line for each size up to `most` services, and phase.
pub(crate) fn print(settings: Settings, most: usize) {
    for services in [100_usize, 1_000, 10_000].into_iter().filter(|services| *services <= most) {
        let empty = resident();
        let mut load = Load::new(services, settings);
        load.flow(false, 6);
        load.restore();
        // The first windows are judged here, so that every watch exists.
        let (_, first) = load.evaluations(false, 11);
        let edges = load.edges.len() as f64;
        let (quiet, _) = load.evaluations(false, QUIET);
        load.trip();
        let (cascade, incidents) = load.evaluations(true, CASCADE);
        let bars = services == 10_000;
        for (phase, took, bar) in [("quiet", &quiet, BARS.0), ("cascade", &cascade, BARS.1)] {
            let (p50, p99, longest) = (at(took, 0.5), at(took, 0.99), at(took, 1.0));
            println!(
                "{}",
                json!({"bench": "topology", "figure": "milliseconds_per_evaluation", "phase": phase, "services": services, "edges": load.edges.len(),
                       "p50": p50, "p99": p99, "longest": longest, "of": took.len(), "incidents": if phase == "quiet" { first } else { incidents },
                       "bar_p99": bars.then_some(bar), "met": bars.then_some(p99 <= bar)})
            );
        }
        let of_detector = BYTES_PER_EDGE as f64;
        println!(
            "{}",
            json!({"bench": "topology", "figure": "bytes_per_edge", "services": services, "edges": load.edges.len(),
                   "detection_with_baselines": of_detector, "bar": bars.then_some(BARS.2), "met": bars.then_some(of_detector <= BARS.2),
                   "all_with_panes_of_177_s": ((resident() - empty) / edges).round()})
        );
    }
}

impl Load {
    fn new(services: usize, settings: Settings) -> Self {
        let names: Vec<ServiceName> = (0..services).map(|at| ServiceName::new("shop", &format!("s{at:05}"))).collect();
        let mut calm = Histogram::default();
        (0..4).for_each(|at| calm.record(Duration::from_micros(9_000 + at * 500)));
        let mut load = Self {
            graph: ServiceGraph::new(Limits {
                nodes: services + 10,
                edges: services * CALLS + 100,
                ..Limits::default()
            }),
            detector: Detector::new(settings),
            names,
            edges: Vec::new(),
            calm,
            second: 1_000_000,
        };
        load.lay_out();
        load
    }

    /// The last tenth is the cascade: each of it calls four of the next few of it and six outside. The others call each other.
    fn lay_out(&mut self) {
        let services = self.names.len();
        let first = services - (services / 10).min(1_000);
        let edge = |client: &ServiceName, server: &ServiceName| EdgeKey {
            client: client.clone(),
            server: server.clone(),
            protocol: Protocol::Http,
        };
        let user = ServiceName::user();
        for at in (first..services).step_by(20) {
            self.edges.push((edge(&user, &self.names[at]), true));
        }
        for client in 0..services {
            for call in 0..CALLS {
                let inside = client >= first && call < INSIDE;
                let server = if inside {
                    client + 1 + call * call
                } else {
                    (client * 7 + call * 131 + call * call * 17 + 1) % first
                };
                if server < services && server != client {
                    self.edges.push((edge(&self.names[client], &self.names[server]), inside));
                }
            }
        }
        self.edges.sort();
        self.edges.dedup();
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.second)
    }

    /// Some seconds of traffic.
    fn flow(&mut self, broken: bool, seconds: u64) {
        let last = self.names.last().cloned();
        for _ in 0..seconds {
            let start = self.now();
            self.second += 1;
            for (key, inside) in &self.edges {
                let failed = if broken && *inside { 2 } else { 0 };
                let origin = Some(&key.server) == last.as_ref();
                for reporter in [Reporter::Client, Reporter::Server] {
                    let own = if reporter == Reporter::Server { failed } else { 0 };
                    let window = EdgeWindow {
                        key: key.clone(),
                        reporter,
                        client_kind: if key.client.namespace().is_empty() { NodeKind::User } else { NodeKind::Service },
                        server_kind: NodeKind::Service,
                        start,
                        length: SECOND,
                        counts: EdgeCounts {
                            requests: 4,
                            attempts: 4,
                            failed,
                            answered_failures: failed,
                            origin_failures: if origin { own } else { 0 },
                            propagated_failures: if origin { 0 } else { own },
                            ..EdgeCounts::default()
                        },
                        latency: self.calm.clone(),
                        self_time: self.calm.clone(),
                        secured: false,
                    };
                    self.graph.observe(&window, start + SECOND);
                }
            }
            self.graph.tidy(self.now());
        }
    }

    /// Full baselines for every edge and service.
    fn restore(&mut self) {
        let level = |seconds: f32| LevelState {
            samples: (0..40).map(|at| seconds * (0.95 + 0.0025 * at as f32)).collect(),
            stride: 18,
            skipped: 0,
        };
        let edges = self.edges.iter().enumerate().map(|(at, (key, _))| BaselineState {
            of: BaselineOf::Edge(key.clone()),
            requests: 7_000.0,
            failed: 0.0,
            latency: LevelState { skipped: (at % 18) as u8, ..level(0.00975) },
            served: LevelState { skipped: (at % 18) as u8, ..level(0.00975) },
            gap: LevelState { skipped: (at % 18) as u8, ..level(0.0) },
        });
        let now = self.now();
        let restored = self.detector.restore(edges, now, now);
        assert_eq!(restored.taken, self.edges.len(), "{restored:?}");
    }

    /// Milliseconds of each evaluation, and incidents in the end.
    fn evaluations(&mut self, broken: bool, times: u64) -> (Vec<f64>, usize) {
        let took = (0..times)
            .map(|_| {
                self.flow(broken, 1);
                let began = by_the_wall();
                self.detector.evaluate(&self.graph, self.now() + Duration::from_millis(300));
                (by_the_wall() - began) * 1e3
            })
            .collect();
        (took, self.detector.incidents().count())
    }

    /// Every breaker inside the cascade opens.
    fn trip(&mut self) {
        let inside: Vec<EdgeKey> =
            self.edges.iter().filter(|(_, inside)| *inside).map(|(key, _)| key.clone()).collect();
        for (number, key) in inside.into_iter().enumerate().filter(|(_, key)| !key.client.namespace().is_empty()) {
            let at = self.now() + Duration::from_millis(number as u64 % 3_000);
            let transition = BreakerTransition {
                breaker: key.to_string(),
                client: key.client.clone(),
                client_instance: "1".into(),
                server: key.server.clone(),
                route: String::new(),
                endpoint: String::new(),
                at,
                from: BreakerState::Closed,
                to: BreakerState::Open,
                reason: TransitionReason::ConsecutiveFailures,
                window_total: 10,
                window_failed: 5,
                window_slow: 0,
                threshold: 5.0,
                last_error: "503".into(),
                origin: FailureOrigin::Remote,
                time_in_from: Duration::ZERO,
                sequence: number as u64,
                traces: Vec::new(),
            };
            let info = BreakerInfo {
                breaker: transition.breaker.clone(),
                client_instance: "1".into(),
                route: String::new(),
                endpoint: String::new(),
                state: BreakerState::Open,
                since: at,
                trips: 1,
                last_reason: Some(transition.reason),
            };
            self.graph.observe_breaker(&key, info, self.now());
            self.detector.observe(&transition, key);
        }
    }
}

/// The value below which a share `q` of `values` lies, by nearest rank.
pub(crate) fn at(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).map_or(0.0, |value| (value * 100.0).round() / 100.0)
}

/// Seconds by the wall, from some moment on.
#[expect(clippy::disallowed_methods, reason = "the bench times what all cores do; nothing here runs in a paused clock")]
pub(crate) fn by_the_wall() -> f64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed().as_secs_f64()
}

/// Bytes of memory in use.
pub(crate) fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0) * 4_096.0
}
