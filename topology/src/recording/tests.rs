//! What a recording takes and what it refuses.

use std::time::Duration;

use tripline_model::Timestamp;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn service(at: u64, service: &str, requests: f64) -> ServiceRow {
    ServiceRow::new(Timestamp::from_secs(at), SECOND, service.into(), requests)
}

fn edge(at: u64, client: &str, server: &str, requests: f64) -> EdgeRow {
    EdgeRow::new(Timestamp::from_secs(at), SECOND, (client.into(), server.into()), requests)
}

fn graph(edges: &[(&str, &str)]) -> Row {
    Row::Graph(edges.iter().map(|(client, server)| ((*client).into(), (*server).into())).collect())
}

#[test]
fn impossible_values_are_refused_by_name_and_change_nothing_else() {
    let good = [Row::Service(service(10, "a", 5.0)), Row::Edge(edge(10, "a", "b", 5.0))];
    let bad = [
        (Row::Service(service(10, "a", -1.0)), Rejection::Negative),
        (Row::Service(service(10, "a", f64::NAN)), Rejection::NotFinite),
        (Row::Service(ServiceRow { latency_ms: Some(f64::INFINITY), ..service(10, "a", 1.0) }), Rejection::NotFinite),
        (Row::Service(ServiceRow { failures: Some(6.0), ..service(10, "a", 5.0) }), Rejection::FailuresAboveRequests),
        (Row::Service(ServiceRow { length: Duration::ZERO, ..service(10, "a", 5.0) }), Rejection::BadWindow),
        (Row::Service(service(10, "", 5.0)), Rejection::BadName),
        (Row::Service(service(10, &"n".repeat(600), 5.0)), Rejection::BadName),
        (Row::Edge(edge(10, "b", "a", 5.0)), Rejection::UnknownEdge),
        (
            Row::Edge(EdgeRow { failures: Some(3.0), shed: Some(3.0), ..edge(10, "a", "b", 5.0) }),
            Rejection::FailuresAboveRequests,
        ),
    ];
    let build = |rows: Vec<Row>| {
        let mut builder = RecordingBuilder::new(RecordingLimits::default());
        rows.into_iter().zip(1..).for_each(|(row, line)| {
            let _ = builder.push(line, row);
        });
        builder.finish()
    };
    let all_good: Vec<Row> = [graph(&[("a", "b")])].into_iter().chain(good).collect();
    let clean = build(all_good.clone());
    assert_eq!(clean.rejected_rows(), 0);
    for (row, reason) in bad {
        let dirty = build(all_good.iter().cloned().chain([row]).collect());
        assert_eq!(dirty.rejected, [(reason, Rejected { rows: 1, first_line: 4 })].into());
        assert_eq!(Recording { rejected: Rejections::new(), ..dirty }, clean);
    }
}

#[test]
fn without_a_graph_the_rows_make_it() {
    let mut builder = RecordingBuilder::new(RecordingLimits::default());
    assert_eq!(builder.push(1, Row::Edge(edge(10, "a", "b", 5.0))), Ok(()));
    assert_eq!(builder.finish().edges, [("a".into(), "b".into())].into());
}

#[test]
fn every_bound_holds() {
    let limits = RecordingLimits { nodes: 3, edges: 2, rows: 1, ..RecordingLimits::default() };
    let mut builder = RecordingBuilder::new(limits);
    assert_eq!(builder.push(1, graph(&[("a", "b"), ("b", "a"), ("a", "c")])), Err(Rejection::TooManyEdges));
    assert_eq!(builder.push(2, graph(&[("a", "b"), ("c", "d")])), Err(Rejection::TooManyServices));
    assert_eq!(builder.push(3, graph(&[("a", "b"), ("a", "c")])), Ok(()));
    assert_eq!(builder.push(4, Row::Service(service(10, "a", 1.0))), Ok(()));
    assert_eq!(builder.push(5, Row::Service(service(11, "a", 1.0))), Err(Rejection::TooManyRows));
    let recording = builder.finish();
    assert_eq!((recording.edges.len(), recording.nodes().len(), recording.rejected_rows()), (2, 3, 3));
}
