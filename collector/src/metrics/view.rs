//! Series from the published view: breakers, incidents, sidecars, the live task's own counters.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use tokio::sync::watch;
use tripline_api::{BreakerState, Level};

use super::encode;
use super::sample::Sample;
use crate::live::ticks::{BOUNDS_MS, Ticks};
use crate::live::{Counters, View};

/// Breakers with series of their own; open ones come first, so those beyond are closed.
const MAX_BREAKERS: usize = 10_000;
/// Incidents with series of their own.
const MAX_INCIDENTS: usize = 100;

/// Writes the view at each scrape.
#[derive(Debug)]
pub(super) struct Views(pub(super) watch::Receiver<Arc<View>>);

impl Collector for Views {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let view = Arc::clone(&self.0.borrow());
        let mut samples = own(&view.counters);
        samples.extend(breakers(&view));
        samples.extend(incidents(&view));
        samples.extend(sizes(&view));
        encode::samples(&mut encoder, samples)?;
        ticks(&mut encoder, &view.counters.ticks)
    }
}

fn ticks(encoder: &mut DescriptorEncoder<'_>, ticks: &Ticks) -> Result<(), fmt::Error> {
    let help = "Time that ticks of the live graph took, with their views";
    let mut metric = encoder.encode_descriptor("tripline_collector_tick_seconds", help, None, MetricType::Histogram)?;
    let bounds = BOUNDS_MS.iter().map(|bound| f64::from(*bound) / 1e3).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(ticks.counts).collect();
    let count = ticks.counts.iter().sum();
    metric.encode_histogram::<[(&str, &str); 0]>(ticks.took.as_secs_f64(), count, &buckets, None)
}

fn own(counters: &Counters) -> Vec<Sample> {
    let refused = "Edge windows that the graph refused";
    let windows = |reason: &str, count| {
        Sample::counter("tripline_collector_windows_refused", refused, count).with("reason", reason)
    };
    let spans = |fate: &str, count| {
        Sample::counter("tripline_collector_span_halves", "Span halves by what became of them", count)
            .with("fate", fate)
    };
    vec![
        Sample::counter("tripline_collector_windows", "Edge windows taken into the graph", counters.windows),
        windows("implausible", counters.windows_implausible),
        windows("out_of_time", counters.windows_out_of_time),
        Sample::counter(
            "tripline_collector_windows_folded",
            "Edge windows that the graph counted under its overflow nodes",
            counters.windows_folded,
        ),
        Sample::counter(
            "tripline_collector_transitions",
            "Breaker transitions taken into the graph",
            counters.transitions,
        ),
        spans("paired", counters.spans_paired),
        spans("unpaired", counters.spans_unpaired),
        spans("evicted", counters.spans_evicted),
        spans("repeated", counters.spans_repeated),
        Sample::counter(
            "tripline_collector_peers_retracted",
            "Guessed peers taken back because the real server showed up",
            counters.peers_retracted,
        ),
        Sample::counter(
            "tripline_collector_calls_dropped",
            "Calls told by spans that fell on too many edges and seconds at once",
            counters.calls_dropped,
        ),
    ]
}

/// A breaker's state is always exported, 0 when closed, so that silence is never mistaken for health.
fn breakers(view: &View) -> Vec<Sample> {
    let mut samples = Vec::with_capacity(view.breakers.len().min(MAX_BREAKERS) * 2 + 1);
    for breaker in view.breakers.iter().take(MAX_BREAKERS) {
        let labelled = |sample: Sample| {
            sample
                .with("client", breaker.client.clone())
                .with("client_instance", breaker.client_instance.clone())
                .with("server", breaker.server.clone())
                .with("route", breaker.route.clone())
                .with("endpoint", breaker.endpoint.clone())
                .with("breaker", breaker.id.clone())
        };
        let state = "State of a breaker: 0 closed, 1 half open, 2 open";
        samples.push(labelled(Sample::gauge("tripline_breaker_state", state, number(breaker.state))));
        let trips = "How often a breaker opened since its sidecar started";
        samples.push(labelled(Sample::counter("tripline_breaker_trips", trips, breaker.trips)));
    }
    let beyond = view.breakers.len().saturating_sub(MAX_BREAKERS);
    let help = "Breakers without series of their own because there are too many";
    samples.push(Sample::gauge("tripline_collector_metrics_breakers_left_out", help, beyond as f64));
    samples
}

const fn number(state: BreakerState) -> f64 {
    match state {
        BreakerState::None | BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    }
}

fn incidents(view: &View) -> Vec<Sample> {
    let open = || view.incidents.iter().filter(|incident| !incident.is_resolved());
    let of_level = |level: &Level| {
        let count = open().filter(|incident| incident.level == *level).count();
        Sample::gauge("tripline_incidents_open", "Incidents that are not resolved", count as f64)
            .with("level", level.as_str())
    };
    let mut samples: Vec<Sample> = Level::ALL.iter().map(of_level).collect();
    for incident in open().take(MAX_INCIDENTS) {
        let info = Sample::gauge("tripline_incident_info", "An unresolved incident; always 1", 1.0)
            .with("incident", incident.id.clone())
            .with("level", incident.level.as_str())
            .with("phase", incident.phase.as_str())
            .with("suspected_origin", incident.origin().unwrap_or_default());
        samples.push(info);
        let ratio = "Share of the entry points' requests that failed since an incident started";
        let ratio = Sample::gauge(
            "tripline_incident_affected_request_ratio",
            ratio,
            incident.blast_radius.affected_request_ratio,
        );
        samples.push(ratio.with("incident", incident.id.clone()));
        let services = incident.blast_radius.services.len() as f64;
        let services =
            Sample::gauge("tripline_incident_affected_services", "Services that an incident hurts", services);
        samples.push(services.with("incident", incident.id.clone()));
    }
    samples
}

fn sizes(view: &View) -> Vec<Sample> {
    let live = view.proxies.iter().filter(|proxy| proxy.live).count();
    let proxies = |state: &str, count: usize| {
        let help =
            "Sidecars that reported within the last five seconds (live), or only within the last ten minutes (silent)";
        Sample::gauge("tripline_proxies", help, count as f64).with("state", state)
    };
    let dropped: u64 = view.proxies.iter().map(|proxy| proxy.dropped).sum();
    vec![
        Sample::gauge("tripline_graph_nodes", "Nodes of the live graph", view.graph.nodes.len() as f64),
        Sample::gauge("tripline_graph_edges", "Edges of the live graph", view.graph.edges.len() as f64),
        proxies("live", live),
        proxies("silent", view.proxies.len() - live),
        Sample::gauge(
            "tripline_proxies_dropped_items",
            "Telemetry items that the sidecars known now had to drop since they started",
            dropped as f64,
        ),
    ]
}
