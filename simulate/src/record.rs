//! A run as a recording, and its truth as JSON: what `tripline simulate` writes.
//!
//! A recording holds less than the sidecars reported: means instead of histograms, failures that started at a service summed over its
//! callers. Requests whose caller left count in neither requests nor failures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tripline_model::{EdgeCounts, EdgeKey, Histogram, Reporter, Timestamp};
use tripline_topology::recording::{BreakerRow, EdgeRow, Name, Row, ServiceRow};

use crate::mesh::{Reported, START};
use crate::plan::Plan;
use crate::truth::{Told, Truth};

#[derive(Default)]
struct Sum {
    counts: EdgeCounts,
    latency: Histogram,
    self_time: Histogram,
}

/// The rows of a recording in order of time: the graph first. All windows have the length of the first.
#[must_use]
pub fn rows(reported: &Reported) -> Vec<Row> {
    let ends = |key: &EdgeKey| (name(&key.client), name(&key.server));
    let mut rows = vec![Row::Graph(reported.edges.iter().map(ends).collect())];
    let length = reported.windows.first().map_or(SECOND, |window| window.length);
    let mut starts: BTreeMap<Timestamp, BTreeMap<(&EdgeKey, Reporter), Sum>> = BTreeMap::new();
    for window in &reported.windows {
        let sum = starts.entry(window.start).or_default().entry((&window.key, window.reporter)).or_default();
        sum.counts.merge(&window.counts);
        sum.latency.merge(&window.latency);
        sum.self_time.merge(&window.self_time);
    }
    let mut transitions = reported.transitions.iter().peekable();
    for (at, sums) in &starts {
        while let Some(transition) = transitions.next_if(|transition| transition.at < *at) {
            rows.push(breaker(transition));
        }
        rows.extend(services((*at, length), sums));
        rows.extend(edges((*at, length), sums));
    }
    rows.extend(transitions.map(breaker));
    rows
}

const SECOND: Duration = Duration::from_secs(1);

fn name(service: &tripline_model::ServiceName) -> Name {
    service.to_string().into()
}

fn breaker(transition: &tripline_model::BreakerTransition) -> Row {
    let (client, server) = (name(&transition.client), name(&transition.server));
    Row::Breaker(Box::new(BreakerRow { client, server, transition: transition.clone() }))
}

/// Milliseconds to the microsecond.
fn mean_ms(histogram: &Histogram) -> Option<f64> {
    histogram.mean().map(|mean| mean.as_micros() as f64 / 1e3)
}

fn services((at, length): (Timestamp, Duration), sums: &BTreeMap<(&EdgeKey, Reporter), Sum>) -> Vec<Row> {
    let mut inbound: BTreeMap<Name, (Sum, u64)> = BTreeMap::new();
    for ((key, reporter), sum) in sums {
        if *reporter == Reporter::Server {
            let (whole, _) = inbound.entry(name(&key.server)).or_default();
            whole.counts.merge(&sum.counts);
            whole.latency.merge(&sum.latency);
            whole.self_time.merge(&sum.self_time);
        }
    }
    for ((key, _), sum) in sums.iter().filter(|((_, reporter), _)| *reporter == Reporter::Client) {
        if let Some((_, calls)) = inbound.get_mut(&name(&key.client)) {
            *calls += sum.counts.requests;
        }
    }
    let row = |(service, (sum, calls)): (Name, (Sum, u64))| {
        let counts = sum.counts;
        let requests = (counts.requests - counts.cancelled) as f64;
        let traced = counts.failed == counts.origin_failures + counts.propagated_failures;
        let mut row = ServiceRow::new(at, length, service, requests);
        row.failures = Some(counts.failed as f64);
        row.failures_own = traced.then_some(counts.origin_failures as f64);
        (row.latency_ms, row.self_ms) = (mean_ms(&sum.latency), mean_ms(&sum.self_time));
        row.latency_p50_ms = quantile_ms(&sum.latency, 0.5);
        row.latency_p95_ms = quantile_ms(&sum.latency, 0.95);
        row.latency_p99_ms = quantile_ms(&sum.latency, 0.99);
        row.calls_out = (requests > 0.0).then(|| calls as f64 / requests);
        Row::Service(row)
    };
    inbound.into_iter().map(row).collect()
}

fn quantile_ms(histogram: &Histogram, q: f64) -> Option<f64> {
    histogram.quantile(q).map(|value| value.as_micros() as f64 / 1e3)
}

fn edges((at, length): (Timestamp, Duration), sums: &BTreeMap<(&EdgeKey, Reporter), Sum>) -> Vec<Row> {
    let mut edges: BTreeMap<&EdgeKey, [Option<&Sum>; 3]> = BTreeMap::new();
    for ((key, reporter), sum) in sums {
        edges.entry(key).or_default()[*reporter as usize] = Some(sum);
    }
    let row = |(key, [client, server, spans]): (&EdgeKey, [Option<&Sum>; 3])| {
        // Spans tell again what sidecars have counted.
        let spans = spans.filter(|_| client.is_none() && server.is_none());
        let counts = client.or(server).or(spans).map_or_else(EdgeCounts::default, |sum| sum.counts);
        let requests = (counts.requests - counts.cancelled) as f64;
        let mut row = EdgeRow::new(at, length, (name(&key.client), name(&key.server)), requests);
        row.failures = Some((counts.failed - counts.shed) as f64);
        row.retries = client.map(|sum| sum.counts.retries as f64);
        row.shed = client.map(|sum| sum.counts.shed as f64);
        row.client_latency_ms = client.or(spans).and_then(|sum| mean_ms(&sum.latency));
        row.server_latency_ms = server.and_then(|sum| mean_ms(&sum.latency));
        row.sampled = spans.map(|sum| sum.latency.count() as f64);
        Row::Edge(row)
    };
    edges.into_iter().map(row).collect()
}

/// The truth of a run, as `truth.json` has it. Times are Unix seconds.
#[must_use]
pub fn truth(plan: &Plan, seed: u64, told: &Told) -> Value {
    json!({
        "plan": plan.name,
        "seed": seed,
        "start": seconds(START),
        "seconds": plan.seconds,
        "well_without_faults": told.fit,
        "faults": told.truths.iter().map(one).collect::<Vec<_>>(),
    })
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1e3
}

fn one(truth: &Truth) -> Value {
    let texts = |keys: &mut dyn Iterator<Item = String>| keys.collect::<Vec<_>>();
    json!({
        "kind": truth.kind,
        "service": truth.service.to_string(),
        "edge": truth.edge.as_ref().map(|edge| [edge.client.to_string(), edge.server.to_string()]),
        "from": seconds(truth.span.0),
        "to": seconds(truth.span.1),
        "harm_from": truth.hurt.map(|(from, _)| seconds(from)),
        "harm_to": truth.hurt.map(|(_, to)| seconds(to)),
        "outlasted": truth.outlasted(),
        "edges": truth.edges.iter().map(|(key, onset)| json!({
            "client": key.client.to_string(), "server": key.server.to_string(), "onset": seconds(*onset),
        })).collect::<Vec<_>>(),
        "path": truth.path.iter().map(|key| [key.client.to_string(), key.server.to_string()]).collect::<Vec<_>>(),
        "services": texts(&mut truth.services.iter().map(ToString::to_string)),
    })
}

#[cfg(test)]
mod tests {
    use tripline_model::EdgeWindow;
    use tripline_topology::detect::Settings;
    use tripline_topology::recording::{RecordingBuilder, RecordingLimits};
    use tripline_topology::replay::replay;

    use super::*;
    use crate::suite;
    use crate::truth::run_with_truth;

    #[test]
    fn a_recording_keeps_how_many_spans_stand_for_its_counts() {
        let (mut case, _) = suite::quiet(23);
        case.plan.seconds = 600;
        assert_eq!(case.plan.sampled, 0.1);
        let mut builder = RecordingBuilder::new(RecordingLimits::default());
        for (line, row) in rows(&crate::run(&case.plan, case.seed)).into_iter().enumerate() {
            if let Row::Edge(row) = &row {
                assert_eq!(row.sampled.map(|seen| (seen * 10.0).round()), Some(row.requests));
            }
            assert_eq!(builder.push(line as u64, row), Ok(()));
        }
        assert_eq!(replay(&builder.finish(), Settings::default()).notices, []);
    }

    #[test]
    fn spans_do_not_stand_in_the_place_of_what_a_sidecar_counted() {
        let mut plan = suite::case(1).plan;
        plan.seconds = 5;
        let mut reported = crate::run(&plan, 1);
        let counted = reported.windows.iter().find(|window| window.reporter == Reporter::Server).unwrap().clone();
        let latency = Histogram::default();
        reported.windows.push(EdgeWindow { reporter: Reporter::Spans, latency, ..counted.clone() });
        let row = rows(&reported).into_iter().find_map(|row| match row {
            Row::Edge(row) if row.at == counted.start && *row.server == *name(&counted.key.server) => Some(row),
            _ => None,
        });
        let row = row.unwrap();
        assert!(row.sampled.is_none() && row.server_latency_ms.is_some(), "{row:?}");
    }

    #[test]
    fn a_recorded_run_is_taken_whole_and_gives_its_fault_again() {
        let seed = (0..200)
            .find(|seed| suite::case(*seed).plan.faults.iter().all(|f| f.kind == crate::plan::FaultKind::Errors))
            .unwrap();
        let case = suite::case(seed);
        let told = run_with_truth(&case.plan, seed);
        let mut builder = RecordingBuilder::new(RecordingLimits::default());
        for (line, row) in rows(&told.reported).into_iter().enumerate() {
            assert_eq!(builder.push(line as u64, row), Ok(()));
        }
        let recording = builder.finish();
        assert_eq!(recording.rejected_rows(), 0);
        let replayed = replay(&recording, Settings::default());
        let origins: Vec<String> =
            replayed.incidents.iter().filter_map(|i| i.origin().map(|origin| origin.service.to_string())).collect();
        assert_eq!(origins, [case.plan.faults[0].service.clone()]);
        let written = truth(&case.plan, seed, &told);
        assert_eq!(written["faults"][0]["service"], case.plan.faults[0].service.as_str());
    }
}
