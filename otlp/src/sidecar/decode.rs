//! Reports read back from OTLP metrics requests.
//!
//! A report is taken whole or not at all: half a window would be counts that never were. Metrics, attributes and outcomes
//! that a newer sidecar may add are passed over; a known one that cannot be true rejects its report, which the sidecar then
//! must not send again. Nothing here grows beyond [`MAX_EDGES`] and [`MAX_BREAKERS`] per report.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
};
use thiserror::Error;
use tripline_model::edge::UnknownWord;
use tripline_model::{
    BreakerState, BreakerStatus, EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind, Reporter, ServiceName, Sidecar,
    SidecarReport, Timestamp,
};

use super::part::{self, Part};
use crate::attribute::{get_flag, get_text};
use crate::resource::Identity;
use crate::{names, value};

/// Most edge windows of one report.
pub const MAX_EDGES: usize = 4096;
/// Most breakers of one report.
pub const MAX_BREAKERS: usize = 4096;
/// Longest breaker id, route or endpoint kept, in bytes; longer ones are cut.
const MAX_BREAKER_TEXT_BYTES: usize = 512;

/// What one metrics request holds of sidecars' reports.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DecodedReports {
    /// The reports, in the order of their resources.
    pub reports: Vec<SidecarReport>,
    /// Why the others were refused, one error for each resource that says it is a sidecar.
    pub rejected: Vec<ReportError>,
}

/// Why a report was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReportError {
    /// Repeats could not be recognised without it.
    #[error("report of {0} has no service.instance.id")]
    NoInstance(ServiceName),
    /// Repeats could not be recognised without it.
    #[error("report of {0} has no tripline.report.sequence")]
    NoSequence(ServiceName),
    /// An edge or breaker does not name its other end.
    #[error("a point of {0} has no service.peer.name")]
    NoPeer(String),
    /// A breaker has no name.
    #[error("a point of {0} has no tripline.breaker.id")]
    NoBreaker(String),
    /// Not a number, negative, or no state of a breaker.
    #[error("a point of {0} has no value that it can have")]
    Value(String),
    /// Only scale 3 merges with what the others report.
    #[error("a point of {metric} has scale {scale}, expected 3")]
    Scale {
        /// The histogram.
        metric: String,
        /// What it has.
        scale: i32,
    },
    /// A protocol that this version does not know.
    #[error("a point of {metric} does not tell its protocol")]
    Protocol {
        /// Whose point.
        metric: String,
        /// What was read.
        source: UnknownWord,
    },
    /// Counts that cannot be true together.
    #[error("counts of edge {0} contradict each other")]
    Implausible(EdgeKey),
    /// Past [`MAX_EDGES`] or [`MAX_BREAKERS`].
    #[error("report of {service} has more than {limit} {what}")]
    TooMany {
        /// Who reports.
        service: ServiceName,
        /// How many are allowed.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
}

/// The reports in a metrics request; a request without `tripline.role=proxy` on a resource yields none.
#[must_use]
pub fn decode_reports(request: &ExportMetricsServiceRequest) -> DecodedReports {
    let mut decoded = DecodedReports::default();
    for resource in &request.resource_metrics {
        let identity = Identity::of(resource.resource.as_ref());
        if identity.from_sidecar {
            match decode_resource(identity, resource) {
                Ok(report) => decoded.reports.push(report),
                Err(error) => decoded.rejected.push(error),
            }
        }
    }
    decoded
}

fn decode_resource(identity: Identity, resource: &ResourceMetrics) -> Result<SidecarReport, ReportError> {
    if identity.instance.is_empty() {
        return Err(ReportError::NoInstance(identity.service));
    }
    let mut reading = Reading::new(identity.service.clone());
    for metric in resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
        reading.metric(metric)?;
    }
    let Some((sequence, start, end)) = reading.sequence else {
        return Err(ReportError::NoSequence(identity.service));
    };
    if let Some(edge) = reading.edges.iter().find(|e| !e.counts.is_plausible()) {
        return Err(ReportError::Implausible(edge.key.clone()));
    }
    for breaker in &mut reading.breakers {
        breaker.trips = reading.trips.get(&breaker.breaker).copied().unwrap_or(0);
    }
    Ok(SidecarReport {
        sidecar: Sidecar {
            service: identity.service,
            instance: identity.instance.as_ref().into(),
            version: identity.version.as_ref().into(),
        },
        sequence,
        start,
        length: end.since(start),
        edges: reading.edges,
        breakers: reading.breakers,
        dropped: reading.dropped,
    })
}

/// What identifies one window of one edge within a report.
type WindowKey = (Reporter, EdgeKey, u64, u64);

/// A report while its metrics are read.
struct Reading {
    home: ServiceName,
    edges: Vec<EdgeWindow>,
    edge_index: HashMap<WindowKey, usize>,
    breakers: Vec<BreakerStatus>,
    trips: HashMap<String, u64>,
    dropped: u64,
    sequence: Option<(u64, Timestamp, Timestamp)>,
}

impl Reading {
    fn new(home: ServiceName) -> Self {
        Self {
            home,
            edges: Vec::new(),
            edge_index: HashMap::new(),
            breakers: Vec::new(),
            trips: HashMap::new(),
            dropped: 0,
            sequence: None,
        }
    }

    fn metric(&mut self, metric: &Metric) -> Result<(), ReportError> {
        match (metric.name.as_str(), metric.data.as_ref()) {
            (names::METRIC_BREAKER_STATE, Some(Data::Gauge(gauge))) => {
                gauge.data_points.iter().try_for_each(|p| self.breaker(metric, p))
            }
            (names::METRIC_BREAKER_TRIPS, Some(Data::Sum(sum))) => {
                sum.data_points.iter().try_for_each(|p| self.breaker_trips(metric, p))
            }
            (names::METRIC_DROPPED, Some(Data::Sum(sum))) => {
                self.dropped = sum.data_points.last().map_or(Ok(0), |p| amount(metric, p))?;
                Ok(())
            }
            (names::METRIC_SEQUENCE, Some(Data::Sum(sum))) => {
                let Some(point) = sum.data_points.last() else { return Ok(()) };
                self.sequence = Some((amount(metric, point)?, start_of(point), end_of(point)));
                Ok(())
            }
            (_, Some(data)) => self.edge_metric(metric, data),
            (_, None) => Ok(()),
        }
    }

    fn edge_metric(&mut self, metric: &Metric, data: &Data) -> Result<(), ReportError> {
        let Some((reporter, suffix)) = reporter_and_suffix(&metric.name) else { return Ok(()) };
        match data {
            Data::Sum(sum) => {
                let Some(known) = part::METRICS.iter().find(|m| m.name == suffix) else { return Ok(()) };
                sum.data_points.iter().try_for_each(|p| self.edge_point(metric, reporter, known, p))
            }
            Data::ExponentialHistogram(histogram) if [part::DURATION, part::SELF_DURATION].contains(&suffix) => {
                histogram.data_points.iter().try_for_each(|p| self.histogram(metric, (reporter, suffix), p))
            }
            _ => Ok(()),
        }
    }

    fn edge_point(
        &mut self,
        metric: &Metric,
        reporter: Reporter,
        known: &part::Metric,
        point: &NumberDataPoint,
    ) -> Result<(), ReportError> {
        let Some(part) = known.parts.iter().find(|p| has_label(**p, &point.attributes)) else { return Ok(()) };
        let value = amount(metric, point)?;
        let edge = self.edge(metric, reporter, (start_of(point), end_of(point)), &point.attributes)?;
        part.add(&mut edge.counts, value);
        if known.name == part::ANCHOR {
            read_edge_facts(edge, &point.attributes);
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        metric: &Metric,
        (reporter, suffix): (Reporter, &str),
        point: &ExponentialHistogramDataPoint,
    ) -> Result<(), ReportError> {
        if point.scale != tripline_model::histogram::SCALE {
            return Err(ReportError::Scale { metric: name_of(metric), scale: point.scale });
        }
        let window = (Timestamp::from_nanos(point.start_time_unix_nano), Timestamp::from_nanos(point.time_unix_nano));
        let edge = self.edge(metric, reporter, window, &point.attributes)?;
        let into = if suffix == part::DURATION { &mut edge.latency } else { &mut edge.self_time };
        // A float becomes an integer saturating, NaN becomes zero.
        let sum = std::time::Duration::from_micros(point.sum.unwrap_or_default() as u64);
        if let Some(buckets) = &point.positive {
            into.merge(&Histogram::from_buckets(buckets.offset, &buckets.bucket_counts, sum));
        }
        Ok(())
    }

    fn edge(
        &mut self,
        metric: &Metric,
        reporter: Reporter,
        (start, end): (Timestamp, Timestamp),
        attributes: &[KeyValue],
    ) -> Result<&mut EdgeWindow, ReportError> {
        let key = edge_key(&self.home, metric, reporter, attributes)?;
        let index = match self.edge_index.get(&(reporter, key.clone(), start.as_nanos(), end.as_nanos())) {
            Some(index) => *index,
            None if self.edges.len() >= MAX_EDGES => {
                return Err(ReportError::TooMany { service: self.home.clone(), limit: MAX_EDGES, what: "edges" });
            }
            None => {
                self.edge_index.insert((reporter, key.clone(), start.as_nanos(), end.as_nanos()), self.edges.len());
                self.edges.push(empty_window(key, reporter, (start, end)));
                self.edges.len() - 1
            }
        };
        Ok(&mut self.edges[index])
    }

    fn breaker(&mut self, metric: &Metric, point: &NumberDataPoint) -> Result<(), ReportError> {
        if self.breakers.len() >= MAX_BREAKERS {
            let service = self.home.clone();
            return Err(ReportError::TooMany { service, limit: MAX_BREAKERS, what: "breakers" });
        }
        let text = |key| value::cut(get_text(&point.attributes, key).unwrap_or_default(), MAX_BREAKER_TEXT_BYTES);
        let state = match point.value {
            Some(Value::AsInt(number)) => BreakerState::from_gauge(number),
            _ => None,
        };
        self.breakers.push(BreakerStatus {
            breaker: breaker_id(metric, &point.attributes)?,
            server: peer(metric, &point.attributes)?,
            route: text(names::BREAKER_ROUTE).into(),
            endpoint: text(names::BREAKER_ENDPOINT).into(),
            state: state.ok_or_else(|| ReportError::Value(name_of(metric)))?,
            since: start_of(point),
            trips: 0,
        });
        Ok(())
    }

    fn breaker_trips(&mut self, metric: &Metric, point: &NumberDataPoint) -> Result<(), ReportError> {
        if self.trips.len() >= MAX_BREAKERS {
            let service = self.home.clone();
            return Err(ReportError::TooMany { service, limit: MAX_BREAKERS, what: "breakers" });
        }
        self.trips.insert(breaker_id(metric, &point.attributes)?, amount(metric, point)?);
        Ok(())
    }
}

fn empty_window(key: EdgeKey, reporter: Reporter, (start, end): (Timestamp, Timestamp)) -> EdgeWindow {
    EdgeWindow {
        key,
        reporter,
        client_kind: NodeKind::Service,
        server_kind: NodeKind::Service,
        start,
        length: end.since(start),
        counts: EdgeCounts::default(),
        latency: Histogram::default(),
        self_time: Histogram::default(),
        secured: false,
    }
}

fn read_edge_facts(edge: &mut EdgeWindow, attributes: &[KeyValue]) {
    let kind = |key| get_text(attributes, key).and_then(node_kind).unwrap_or_default();
    let (this, other) = (kind(names::SELF_KIND), kind(names::PEER_KIND));
    (edge.client_kind, edge.server_kind) = match edge.reporter {
        Reporter::Server => (other, this),
        Reporter::Client | Reporter::Spans => (this, other),
    };
    edge.secured = get_flag(attributes, names::SECURED);
}

fn edge_key(
    home: &ServiceName,
    metric: &Metric,
    reporter: Reporter,
    attributes: &[KeyValue],
) -> Result<EdgeKey, ReportError> {
    let other = peer(metric, attributes)?;
    let this = match get_text(attributes, names::SELF_NAME) {
        Some(name) => ServiceName::new(get_text(attributes, names::SELF_NAMESPACE).unwrap_or_default(), name),
        None => home.clone(),
    };
    let protocol = get_text(attributes, names::NETWORK_PROTOCOL_NAME)
        .unwrap_or_default()
        .parse()
        .map_err(|source| ReportError::Protocol { metric: name_of(metric), source })?;
    Ok(match reporter {
        Reporter::Server => EdgeKey { client: other, server: this, protocol },
        Reporter::Client | Reporter::Spans => EdgeKey { client: this, server: other, protocol },
    })
}

fn peer(metric: &Metric, attributes: &[KeyValue]) -> Result<ServiceName, ReportError> {
    let name = get_text(attributes, names::SERVICE_PEER_NAME).ok_or_else(|| ReportError::NoPeer(name_of(metric)))?;
    Ok(ServiceName::new(get_text(attributes, names::SERVICE_PEER_NAMESPACE).unwrap_or_default(), name))
}

fn breaker_id(metric: &Metric, attributes: &[KeyValue]) -> Result<String, ReportError> {
    get_text(attributes, names::BREAKER_ID)
        .map(|id| value::cut(id, MAX_BREAKER_TEXT_BYTES).into())
        .ok_or_else(|| ReportError::NoBreaker(name_of(metric)))
}

fn reporter_and_suffix(metric: &str) -> Option<(Reporter, &str)> {
    let (word, suffix) = metric.strip_prefix("tripline.")?.split_once('.')?;
    let reporter = part::REPORTERS.into_iter().find(|r| part::reporter_word(*r) == word)?;
    Some((reporter, suffix))
}

fn has_label(part: Part, attributes: &[KeyValue]) -> bool {
    part.label().is_none_or(|(key, value)| get_text(attributes, key) == Some(value))
}

fn node_kind(word: &str) -> Option<NodeKind> {
    [NodeKind::Service, NodeKind::Gateway, NodeKind::External, NodeKind::Database, NodeKind::Queue, NodeKind::User]
        .into_iter()
        .find(|kind| kind.as_str() == word)
}

fn amount(metric: &Metric, point: &NumberDataPoint) -> Result<u64, ReportError> {
    match point.value {
        Some(Value::AsInt(number)) => u64::try_from(number).map_err(|_| ReportError::Value(name_of(metric))),
        _ => Err(ReportError::Value(name_of(metric))),
    }
}

fn start_of(point: &NumberDataPoint) -> Timestamp {
    Timestamp::from_nanos(point.start_time_unix_nano)
}

fn end_of(point: &NumberDataPoint) -> Timestamp {
    Timestamp::from_nanos(point.time_unix_nano)
}

fn name_of(metric: &Metric) -> String {
    value::cut(&metric.name, value::MAX_KEY_BYTES).into()
}
