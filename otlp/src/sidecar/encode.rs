//! A report as an OTLP metrics request.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use tripline_model::{BreakerStatus, EdgeWindow, Histogram, NodeKind, Reporter, ServiceName, SidecarReport, Timestamp};

use super::part::{self, Part};
use crate::attribute::{flag, push_text, text};
use crate::{names, resource};

type HistogramOf = fn(&EdgeWindow) -> &Histogram;

/// One report as one request, with one resource and one scope.
#[must_use]
pub fn encode_report(report: &SidecarReport) -> ExportMetricsServiceRequest {
    let mut metrics = Vec::new();
    for reporter in part::REPORTERS {
        edge_metrics(&mut metrics, report, reporter);
    }
    let end = report.start + report.length;
    breaker_metrics(&mut metrics, &report.breakers, end);
    for (name, unit, value) in
        [(names::METRIC_DROPPED, "{item}", report.dropped), (names::METRIC_SEQUENCE, "{report}", report.sequence)]
    {
        let point = number_point(Vec::new(), (report.start, end), value);
        metrics.push(sum(name.into(), unit, AggregationTemporality::Cumulative, vec![point]));
    }
    let scope = ScopeMetrics { scope: Some(resource::scope()), metrics, schema_url: String::new() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource::of_sidecar(&report.sidecar)),
            scope_metrics: vec![scope],
            schema_url: String::new(),
        }],
    }
}

fn edge_metrics(metrics: &mut Vec<Metric>, report: &SidecarReport, reporter: Reporter) {
    let edges = || report.edges.iter().filter(move |e| e.reporter == reporter);
    let home = &report.sidecar.service;
    let name = |suffix: &str| format!("tripline.{}.{suffix}", part::reporter_word(reporter));
    for metric in &part::METRICS {
        let points: Vec<_> = edges().flat_map(|edge| edge_points(edge, home, metric)).collect();
        if !points.is_empty() {
            metrics.push(sum(name(metric.name), metric.unit, AggregationTemporality::Delta, points));
        }
    }
    let read: [(_, HistogramOf); 2] = [(part::DURATION, |e| &e.latency), (part::SELF_DURATION, |e| &e.self_time)];
    for (suffix, histogram) in read {
        let points: Vec<_> = edges()
            .filter(|edge| !histogram(edge).is_empty())
            .map(|edge| histogram_point(edge, home, histogram(edge)))
            .collect();
        if !points.is_empty() {
            metrics.push(exponential_histogram(name(suffix), points));
        }
    }
}

/// The parts of one metric that are not zero; at least one of the anchor, whose points say what holds for the whole edge.
fn edge_points<'a>(
    edge: &'a EdgeWindow,
    home: &'a ServiceName,
    metric: &'static part::Metric,
) -> impl Iterator<Item = NumberDataPoint> + 'a {
    let anchor = metric.name == part::ANCHOR;
    let all_zero = metric.parts.iter().all(|p| p.of(&edge.counts) == 0);
    let needed = move |p: &Part| p.of(&edge.counts) > 0 || (anchor && all_zero && *p == Part::Succeeded);
    metric.parts.iter().copied().filter(needed).map(move |p| {
        let mut attributes = edge_attributes(edge, home);
        if anchor {
            push_edge_facts(&mut attributes, edge);
        }
        attributes.extend(p.label().map(|(key, value)| text(key, value)));
        number_point(attributes, window(edge), p.of(&edge.counts))
    })
}

/// What identifies the edge, given that its resource is this end.
fn edge_attributes(edge: &EdgeWindow, home: &ServiceName) -> Vec<KeyValue> {
    let (this, other) = match edge.reporter {
        Reporter::Server => (&edge.key.server, &edge.key.client),
        Reporter::Client | Reporter::Spans => (&edge.key.client, &edge.key.server),
    };
    let mut attributes = vec![text(names::SERVICE_PEER_NAME, other.name())];
    push_text(&mut attributes, names::SERVICE_PEER_NAMESPACE, other.namespace());
    attributes.push(text(names::NETWORK_PROTOCOL_NAME, edge.key.protocol.as_str()));
    if this != home {
        attributes.push(text(names::SELF_NAME, this.name()));
        push_text(&mut attributes, names::SELF_NAMESPACE, this.namespace());
    }
    attributes
}

fn push_edge_facts(attributes: &mut Vec<KeyValue>, edge: &EdgeWindow) {
    let (this, other) = match edge.reporter {
        Reporter::Server => (edge.server_kind, edge.client_kind),
        Reporter::Client | Reporter::Spans => (edge.client_kind, edge.server_kind),
    };
    for (key, kind) in [(names::SELF_KIND, this), (names::PEER_KIND, other)] {
        if kind != NodeKind::Service {
            attributes.push(text(key, kind.as_str()));
        }
    }
    if edge.secured {
        attributes.push(flag(names::SECURED));
    }
}

fn breaker_metrics(metrics: &mut Vec<Metric>, breakers: &[BreakerStatus], end: Timestamp) {
    let states: Vec<_> = breakers.iter().map(|b| breaker_point(b, end)).collect();
    if !states.is_empty() {
        let data = Data::Gauge(Gauge { data_points: states });
        metrics.push(metric(names::METRIC_BREAKER_STATE.into(), "1", data));
    }
    let trips: Vec<_> = breakers
        .iter()
        .filter(|b| b.trips > 0)
        .map(|b| number_point(vec![text(names::BREAKER_ID, &*b.breaker)], (Timestamp::default(), end), b.trips))
        .collect();
    if !trips.is_empty() {
        metrics.push(sum(names::METRIC_BREAKER_TRIPS.into(), "{trip}", AggregationTemporality::Cumulative, trips));
    }
}

fn breaker_point(breaker: &BreakerStatus, end: Timestamp) -> NumberDataPoint {
    let mut attributes =
        vec![text(names::BREAKER_ID, &*breaker.breaker), text(names::SERVICE_PEER_NAME, breaker.server.name())];
    push_text(&mut attributes, names::SERVICE_PEER_NAMESPACE, breaker.server.namespace());
    push_text(&mut attributes, names::BREAKER_ROUTE, &breaker.route);
    push_text(&mut attributes, names::BREAKER_ENDPOINT, &breaker.endpoint);
    number_point(attributes, (breaker.since, end), u64::from(breaker.state.as_gauge()))
}

fn window(edge: &EdgeWindow) -> (Timestamp, Timestamp) {
    (edge.start, edge.start + edge.length)
}

fn number_point(attributes: Vec<KeyValue>, (start, end): (Timestamp, Timestamp), value: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: start.as_nanos(),
        time_unix_nano: end.as_nanos(),
        value: Some(Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
        ..NumberDataPoint::default()
    }
}

fn histogram_point(edge: &EdgeWindow, home: &ServiceName, histogram: &Histogram) -> ExponentialHistogramDataPoint {
    let (start, end) = window(edge);
    let (offset, counts) = histogram.dense();
    ExponentialHistogramDataPoint {
        attributes: edge_attributes(edge, home),
        start_time_unix_nano: start.as_nanos(),
        time_unix_nano: end.as_nanos(),
        count: histogram.count(),
        sum: Some(histogram.sum().as_micros() as f64),
        scale: tripline_model::histogram::SCALE,
        positive: Some(Buckets { offset, bucket_counts: counts.iter().copied().map(u64::from).collect() }),
        ..ExponentialHistogramDataPoint::default()
    }
}

fn sum(name: String, unit: &str, temporality: AggregationTemporality, points: Vec<NumberDataPoint>) -> Metric {
    let data = Sum { data_points: points, aggregation_temporality: i32::from(temporality), is_monotonic: true };
    metric(name, unit, Data::Sum(data))
}

fn exponential_histogram(name: String, points: Vec<ExponentialHistogramDataPoint>) -> Metric {
    let data =
        ExponentialHistogram { data_points: points, aggregation_temporality: i32::from(AggregationTemporality::Delta) };
    metric(name, "us", Data::ExponentialHistogram(data))
}

fn metric(name: String, unit: &str, data: Data) -> Metric {
    Metric { name, unit: unit.into(), data: Some(data), ..Metric::default() }
}
