//! The law of the sidecar's telemetry: decoding undoes encoding. And what hostile reports get.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use proptest::prelude::*;
use prost::Message as _;
use tripline_model::{
    BreakerState, BreakerStatus, EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind, Protocol, Reporter, ServiceName,
    Sidecar, SidecarReport, Timestamp,
};

use super::{MAX_EDGES, ReportError, decode_reports, encode_report};
use crate::names;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn histogram(micros: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    micros.iter().for_each(|m| histogram.record(Duration::from_micros(*m)));
    histogram
}

fn edge(reporter: Reporter, client: &str, server: &str) -> EdgeWindow {
    EdgeWindow {
        key: EdgeKey { client: client.into(), server: server.into(), protocol: Protocol::Http },
        reporter,
        client_kind: NodeKind::Service,
        server_kind: NodeKind::Service,
        start: START,
        length: Duration::from_secs(1),
        counts: EdgeCounts {
            requests: 120,
            failed: 2,
            attempts: 121,
            retries: 1,
            answered_failures: 3,
            request_bytes: 40_000,
            response_bytes: 900_000,
            ..EdgeCounts::default()
        },
        latency: histogram(&(0..120).map(|i| 800 + i * i).collect::<Vec<_>>()),
        self_time: Histogram::default(),
        secured: true,
    }
}

pub(crate) fn typical() -> SidecarReport {
    let home = ServiceName::new("shop", "checkout");
    let mut inbound = edge(Reporter::Server, "shop/web", "shop/checkout");
    inbound.self_time = histogram(&[300; 100]);
    SidecarReport {
        sidecar: Sidecar { service: home, instance: "checkout-7d9f8b6c5-x2k4q".into(), version: "0.1.0".into() },
        sequence: 42,
        start: START,
        length: Duration::from_secs(1),
        edges: vec![
            edge(Reporter::Client, "shop/checkout", "shop/payments"),
            edge(Reporter::Client, "shop/checkout", "shop/inventory"),
            inbound,
        ],
        breakers: (0..5)
            .map(|i| BreakerStatus {
                breaker: format!("shop/checkout>shop/payments@10.0.0.{i}:8080"),
                server: "shop/payments".into(),
                route: String::new(),
                endpoint: format!("10.0.0.{i}:8080"),
                state: BreakerState::Closed,
                since: Timestamp::from_secs(1_799_000_000),
                trips: 0,
            })
            .collect(),
        dropped: 0,
    }
}

fn only(request: &ExportMetricsServiceRequest) -> SidecarReport {
    let decoded = decode_reports(request);
    assert_eq!(decoded.rejected, []);
    assert_eq!(decoded.reports.len(), 1);
    decoded.reports.into_iter().next().unwrap()
}

#[test]
fn a_typical_report_comes_back_and_stays_small() {
    let report = typical();
    let request = encode_report(&report);
    assert_eq!(only(&request), report);
    let size = request.encoded_len();
    assert!(size < 6 * 1024, "{size} bytes");
}

#[test]
fn telemetry_of_others_yields_no_report() {
    let mut request = encode_report(&typical());
    request.resource_metrics[0].resource.as_mut().unwrap().attributes.retain(|a| a.key != names::ROLE);
    assert_eq!(decode_reports(&request), super::DecodedReports::default());
}

#[test]
fn outcomes_add_up_for_any_reader() {
    let request = encode_report(&typical());
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let metric = metrics.iter().find(|m| m.name == "tripline.client.requests").unwrap();
    let Some(Data::Sum(sum)) = &metric.data else { panic!("expected a sum") };
    let total: i64 = sum.data_points.iter().map(|p| if let Some(Value::AsInt(v)) = p.value { v } else { 0 }).sum();
    assert_eq!(total, 240);
}

/// Changes one thing of a typical report's first metric and tells why it is refused.
fn refused(change: impl Fn(&mut opentelemetry_proto::tonic::metrics::v1::NumberDataPoint)) -> ReportError {
    let mut request = encode_report(&typical());
    let metric = &mut request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Sum(sum)) = &mut metric.data else { panic!("expected a sum") };
    change(&mut sum.data_points[0]);
    let decoded = decode_reports(&request);
    assert_eq!(decoded.reports, []);
    decoded.rejected.into_iter().next().unwrap()
}

#[test]
fn impossible_points_refuse_the_report() {
    assert!(matches!(refused(|p| p.value = Some(Value::AsInt(-1))), ReportError::Value(_)));
    assert!(matches!(refused(|p| p.value = Some(Value::AsDouble(1.0))), ReportError::Value(_)));
    assert!(matches!(refused(|p| p.attributes.retain(|a| a.key != names::SERVICE_PEER_NAME)), ReportError::NoPeer(_)));
    assert!(matches!(
        refused(|p| p.attributes.retain(|a| a.key != names::NETWORK_PROTOCOL_NAME)),
        ReportError::Protocol { .. }
    ));
}

#[test]
fn contradicting_counts_refuse_the_report() {
    let mut report = typical();
    report.edges[0].counts = EdgeCounts { requests: 1, retries: 5, ..EdgeCounts::default() };
    let decoded = decode_reports(&encode_report(&report));
    assert!(matches!(decoded.rejected.as_slice(), [ReportError::Implausible(_)]));
}

#[test]
fn more_edges_than_allowed_refuse_the_report() {
    let mut report = typical();
    report.edges = (0..=MAX_EDGES).map(|i| edge(Reporter::Client, "shop/checkout", &format!("shop/s{i}"))).collect();
    let decoded = decode_reports(&encode_report(&report));
    assert!(matches!(decoded.rejected.as_slice(), [ReportError::TooMany { .. }]));
}

#[test]
fn a_report_without_identity_or_number_is_refused() {
    let mut report = typical();
    report.sidecar.instance.clear();
    assert!(matches!(decode_reports(&encode_report(&report)).rejected.as_slice(), [ReportError::NoInstance(_)]));
    let mut request = encode_report(&typical());
    request.resource_metrics[0].scope_metrics[0].metrics.retain(|m| m.name != names::METRIC_SEQUENCE);
    assert!(matches!(decode_reports(&request).rejected.as_slice(), [ReportError::NoSequence(_)]));
}

fn service() -> impl Strategy<Value = ServiceName> {
    ("[a-z]{0,3}", "[a-z_]{1,6}").prop_map(|(namespace, name)| ServiceName::new(&namespace, &name))
}

fn kind() -> impl Strategy<Value = NodeKind> {
    prop::sample::select(vec![
        NodeKind::Service,
        NodeKind::Gateway,
        NodeKind::External,
        NodeKind::Database,
        NodeKind::Queue,
        NodeKind::User,
    ])
}

prop_compose! {
    /// Counts that can be true together, built from disjoint parts.
    fn counts()(parts in prop::array::uniform12(prop_oneof![Just(0u64), 0u64..1 << 40])) -> EdgeCounts {
        let [ok, failure, shed, cancelled, fine, answered, induced, unanswered, retries, own, request, response] = parts;
        let failed = failure + shed;
        let attempts = fine + answered + induced + unanswered;
        EdgeCounts {
            requests: ok + failed + cancelled,
            failed,
            cancelled,
            shed,
            attempts,
            retries: retries.min(attempts),
            answered_failures: answered + induced,
            transport_failures: unanswered,
            induced,
            origin_failures: own.min(failed),
            propagated_failures: (failed - own.min(failed)) / 2,
            request_bytes: request,
            response_bytes: response,
        }
    }
}

prop_compose! {
    fn any_edge()(
        ends in (service(), service()),
        protocol in prop::sample::select(vec![
            Protocol::Http, Protocol::Grpc, Protocol::Tcp, Protocol::Database, Protocol::Messaging,
        ]),
        reporter in prop::sample::select(vec![Reporter::Client, Reporter::Server, Reporter::Spans]),
        kinds in (kind(), kind()),
        window in (0u64..1 << 62, 0u64..1 << 40),
        counts in counts(),
        micros in prop::array::uniform2(prop::collection::vec(0u64..10_000_000_000, 0..20)),
        secured in any::<bool>(),
    ) -> EdgeWindow {
        EdgeWindow {
            key: EdgeKey { client: ends.0, server: ends.1, protocol },
            reporter,
            client_kind: kinds.0,
            server_kind: kinds.1,
            start: Timestamp::from_nanos(window.0),
            length: Duration::from_nanos(window.1),
            counts,
            latency: histogram(&micros[0]),
            self_time: histogram(&micros[1]),
            secured,
        }
    }
}

prop_compose! {
    fn any_breaker()(
        texts in ["[a-z>/@:.]{1,30}", "[a-z/*]{0,10}", "[0-9.:]{0,15}"],
        server in service(),
        state in prop::sample::select(vec![BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open]),
        since in any::<u64>(),
        trips in prop_oneof![Just(0u64), 0..=i64::MAX as u64],
    ) -> BreakerStatus {
        let [breaker, route, endpoint] = texts;
        BreakerStatus { breaker, server, route, endpoint, state, since: Timestamp::from_nanos(since), trips }
    }
}

prop_compose! {
    fn any_report()(
        service in service(),
        instance in "[a-z0-9-]{1,20}",
        version in "[0-9.]{0,8}",
        numbers in prop::array::uniform4(0u64..=i64::MAX as u64),
        mut edges in prop::collection::vec(any_edge(), 0..6),
        mut breakers in prop::collection::vec(any_breaker(), 0..6),
    ) -> SidecarReport {
        let [sequence, start, length, dropped] = numbers;
        // What identifies a window or a breaker is unique within a report, and edges travel ordered by who counted them.
        edges.sort_by(|a, b| (a.reporter, &a.key).cmp(&(b.reporter, &b.key)));
        edges.dedup_by(|a, b| (a.reporter, &a.key) == (b.reporter, &b.key));
        breakers.sort_by(|a, b| a.breaker.cmp(&b.breaker));
        breakers.dedup_by(|a, b| a.breaker == b.breaker);
        SidecarReport {
            sidecar: Sidecar { service, instance, version },
            sequence,
            start: Timestamp::from_nanos(start),
            length: Duration::from_nanos(length),
            edges,
            breakers,
            dropped,
        }
    }
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(report in any_report()) {
        let bytes = encode_report(&report).encode_to_vec();
        let request = ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap();
        prop_assert_eq!(only(&request), report);
    }
}
