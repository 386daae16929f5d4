//! Numbers of each edge that only grow, added up from finished ten-second windows.
//!
//! Several reporters may describe the same traffic of an edge in the same ten seconds. Counts are taken from the best of
//! them (the client's sidecar before the server's before spans), chosen for each window anew, so a sidecar that comes or
//! goes never makes a counter jump back. Latency as the client saw it comes from the client's report, as the server saw
//! it from the server's; spans stand in for either.
//!
//! The histogram's bounds are powers of two microseconds (0.5 ms to 33.5 s), which are bounds of [`Histogram`]'s own buckets:
//! the counts in them are exact, not interpolated.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{broadcast, watch};
use tripline_model::{EdgeCounts, EdgeWindow, Histogram, NodeKind, Protocol, Reporter, ServiceName, Timestamp};

/// Edges with series of their own; traffic of further ones is added up as one edge between overflow nodes.
const MAX_EDGES: usize = 5_000;
/// Bounds are `2^9` to `2^25` microseconds.
const FIRST_POWER: i32 = 9;
/// How many bounds, the last not included: 0.000512 s to 33.554432 s.
pub(super) const BOUNDS: usize = 17;
/// Buckets of [`Histogram`] in one doubling.
const PER_DOUBLING: i32 = 1 << tripline_model::histogram::SCALE;

/// What makes an edge one set of series, in Grafana's terms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) client: ServiceName,
    pub(super) server: ServiceName,
    /// Empty, `database`, `messaging_system` or `virtual_node`.
    pub(super) connection_type: &'static str,
}

/// Latencies in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Latencies {
    pub(super) sum: f64,
    pub(super) count: u64,
    /// Counts in each bucket, not cumulated; the last is for everything above the last bound.
    pub(super) buckets: [u64; BOUNDS + 1],
}

/// What one edge has had since the start.
#[derive(Debug, Clone, Default)]
pub(super) struct Total {
    pub(super) counts: EdgeCounts,
    pub(super) client_latency: Latencies,
    pub(super) server_latency: Latencies,
}

/// All edges since the start.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) edges: BTreeMap<Edge, Total>,
    /// Windows that were counted under the overflow edge.
    pub(super) folded: u64,
    /// Window sets that were lost because this task was too slow.
    pub(super) lost: u64,
}

/// Adds up what `windows` brings and publishes it, until the live task ends.
pub(super) async fn add_up(
    published: watch::Sender<Arc<Totals>>,
    mut windows: broadcast::Receiver<Arc<Vec<EdgeWindow>>>,
) {
    loop {
        let finished = match windows.recv().await {
            Ok(windows) => Ok(windows),
            Err(broadcast::error::RecvError::Lagged(lost)) => Err(lost),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        // They are copied only while a scrape reads them.
        published.send_modify(|totals| {
            let totals = Arc::make_mut(totals);
            match finished {
                Ok(windows) => totals.add(&windows),
                Err(lost) => totals.lost += lost,
            }
        });
    }
}

impl Totals {
    /// Adds windows that finished together.
    pub(super) fn add(&mut self, windows: &[EdgeWindow]) {
        let mut best: BTreeMap<(&tripline_model::EdgeKey, Timestamp), &EdgeWindow> = BTreeMap::new();
        for window in windows {
            let best = best.entry((&window.key, window.start)).or_insert(window);
            if window.reporter < best.reporter {
                *best = window;
            }
        }
        for window in windows {
            let is_best = best.get(&(&window.key, window.start)).is_some_and(|best| best.reporter == window.reporter);
            let total = self.total(window);
            if is_best {
                total.counts.merge(&window.counts);
            }
            match window.reporter {
                Reporter::Client => total.client_latency.add(&window.latency),
                Reporter::Server => total.server_latency.add(&window.latency),
                Reporter::Spans if is_best => {
                    total.client_latency.add(&window.latency);
                    total.server_latency.add(&window.latency);
                }
                Reporter::Spans => {}
            }
        }
    }

    fn total(&mut self, window: &EdgeWindow) -> &mut Total {
        let edge = Edge {
            client: window.key.client.clone(),
            server: window.key.server.clone(),
            connection_type: connection_type(window),
        };
        if self.edges.len() < MAX_EDGES || self.edges.contains_key(&edge) {
            return self.edges.entry(edge).or_default();
        }
        self.folded += 1;
        let overflow = ServiceName::overflow();
        self.edges.entry(Edge { client: overflow.clone(), server: overflow, connection_type: "" }).or_default()
    }
}

/// In Tempo's words.
const fn connection_type(window: &EdgeWindow) -> &'static str {
    match (window.key.protocol, window.server_kind) {
        (Protocol::Database, _) | (_, NodeKind::Database) => "database",
        (Protocol::Messaging, _) | (_, NodeKind::Queue) => "messaging_system",
        _ if matches!(window.server_kind, NodeKind::External) || matches!(window.client_kind, NodeKind::User) => {
            "virtual_node"
        }
        _ => "",
    }
}

impl Latencies {
    fn add(&mut self, histogram: &Histogram) {
        self.sum += histogram.sum().as_secs_f64();
        self.count += histogram.count();
        for (index, count) in histogram.buckets() {
            // Bucket `index` ends at 2^((index + 1) / 8) us: the first bound at or above that is the next whole power.
            let power = (index + PER_DOUBLING) / PER_DOUBLING;
            let bucket = usize::try_from(power - FIRST_POWER).unwrap_or(0).min(BOUNDS);
            if let Some(bucket) = self.buckets.get_mut(bucket) {
                *bucket += u64::from(count);
            }
        }
    }
}

/// The upper bound of a bucket in seconds; infinite for the last.
pub(super) fn bound(bucket: usize) -> f64 {
    let power = FIRST_POWER + i32::try_from(bucket).unwrap_or(i32::MAX - FIRST_POWER);
    if bucket >= BOUNDS { f64::INFINITY } else { 2f64.powi(power) * 1e-6 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn window(key: &str, reporter: Reporter, requests: u64, millis: &[u64]) -> EdgeWindow {
        let mut latency = Histogram::default();
        millis.iter().for_each(|ms| latency.record(Duration::from_millis(*ms)));
        EdgeWindow {
            key: key.parse().unwrap(),
            reporter,
            client_kind: NodeKind::Service,
            server_kind: NodeKind::Service,
            start: Timestamp::from_secs(100),
            length: Duration::from_secs(10),
            counts: EdgeCounts { requests, ..EdgeCounts::default() },
            latency,
            self_time: Histogram::default(),
            secured: false,
        }
    }

    #[test]
    fn two_reporters_of_one_edge_are_not_added() {
        let mut totals = Totals::default();
        totals.add(&[
            window("a>b:http", Reporter::Server, 9, &[1, 2]),
            window("a>b:http", Reporter::Client, 10, &[3]),
            window("a>b:http", Reporter::Spans, 8, &[4]),
        ]);
        totals.add(&[window("a>b:http", Reporter::Server, 5, &[]), window("a>b:grpc", Reporter::Spans, 2, &[7])]);
        let total = totals.edges.values().next().unwrap();
        assert_eq!((totals.edges.len(), total.counts.requests), (1, 17));
        assert_eq!((total.client_latency.count, total.server_latency.count), (2, 3));
    }

    #[test]
    fn further_edges_are_folded() {
        let mut totals = Totals::default();
        let windows: Vec<_> =
            (0..MAX_EDGES + 7).map(|n| window(&format!("c{n}>s:http"), Reporter::Client, 1, &[])).collect();
        totals.add(&windows);
        assert_eq!((totals.edges.len(), totals.folded), (MAX_EDGES + 1, 7));
        assert_eq!(totals.edges.values().map(|t| t.counts.requests).sum::<u64>(), MAX_EDGES as u64 + 7);
    }

    proptest! {
        #[test]
        fn buckets_are_exact(micros in prop::collection::vec(0u64..60_000_000, 0..50)) {
            let mut histogram = Histogram::default();
            micros.iter().for_each(|m| histogram.record(Duration::from_micros(*m)));
            let mut latencies = Latencies::default();
            latencies.add(&histogram);
            for (bucket, count) in latencies.buckets.iter().enumerate() {
                let below = if bucket == 0 { -1.0 } else { bound(bucket - 1) };
                let truth = micros.iter().filter(|m| { let s = **m as f64 * 1e-6; s > below && s <= bound(bucket) }).count();
                prop_assert_eq!(*count, truth as u64, "bucket {} up to {}", bucket, bound(bucket));
            }
        }
    }
}
