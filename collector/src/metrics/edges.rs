//! Series of the edges: those that Grafana's service graph reads, and our own that tell retries and shed requests apart.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use tokio::sync::watch;
use tripline_model::EdgeCounts;

use super::encode;
use super::sample::Sample;
use super::totals::{BOUNDS, Edge, Latencies, Total, Totals, bound};

/// Writes the totals at each scrape.
#[derive(Debug)]
pub(super) struct Edges(pub(super) watch::Receiver<Arc<Totals>>);

/// Name without `_total`, help, which count.
type Counter = (&'static str, &'static str, fn(&EdgeCounts) -> u64);

const COUNTERS: [Counter; 8] = [
    ("traces_service_graph_request", "Requests from client to server", |c| c.requests),
    ("traces_service_graph_request_failed", "Requests from client to server that failed", |c| c.failed),
    ("tripline_edge_attempts", "Tries that were sent, first ones and retries", |c| c.attempts),
    ("tripline_edge_retries", "Tries beyond the first of their request", |c| c.retries),
    ("tripline_edge_shed", "Requests that an open breaker or a limit refused to send", |c| c.shed),
    ("tripline_edge_cancelled", "Requests whose caller left before the end", |c| c.cancelled),
    ("tripline_edge_answered_failures", "Tries that the server answered with a failure", |c| c.answered_failures),
    ("tripline_edge_transport_failures", "Tries without an answer: refused, reset, timed out", |c| {
        c.transport_failures
    }),
];

/// Name, help, which latencies.
type Timer = (&'static str, &'static str, fn(&Total) -> &Latencies);

const TIMERS: [Timer; 2] = [
    ("traces_service_graph_request_server_seconds", "Time of requests as the server saw it", |t| &t.server_latency),
    ("traces_service_graph_request_client_seconds", "Time of requests as the client saw it", |t| &t.client_latency),
];

impl Collector for Edges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let totals = Arc::clone(&self.0.borrow());
        for (name, help, read) in COUNTERS {
            if totals.edges.is_empty() {
                break;
            }
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (edge, total) in &totals.edges {
                let value = read(&total.counts);
                family.encode_family(&labels(edge))?.encode_counter::<[(&str, &str); 0], u64, f64>(&value, None)?;
            }
        }
        for (name, help, read) in TIMERS {
            let with_latency = || totals.edges.iter().filter(|(_, total)| read(total).count > 0);
            if with_latency().next().is_none() {
                continue;
            }
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (edge, total) in with_latency() {
                let latencies = read(total);
                let buckets: [(f64, u64); BOUNDS + 1] =
                    std::array::from_fn(|at| (bound(at), latencies.buckets.get(at).copied().unwrap_or(0)));
                let labels = labels(edge);
                let mut metric = family.encode_family(&labels)?;
                metric.encode_histogram::<[(&str, &str); 0]>(latencies.sum, latencies.count, &buckets, None)?;
            }
        }
        let folded = "Edge windows counted under the overflow edge because there are too many edges";
        let lost = "Sets of edge windows that were lost before they were added up";
        encode::samples(
            &mut encoder,
            vec![
                Sample::counter("tripline_collector_metrics_windows_folded", folded, totals.folded),
                Sample::counter("tripline_collector_metrics_windows_lost", lost, totals.lost),
            ],
        )
    }
}

fn labels(edge: &Edge) -> [(&'static str, String); 3] {
    [
        ("client", edge.client.to_string()),
        ("server", edge.server.to_string()),
        ("connection_type", edge.connection_type.to_owned()),
    ]
}
