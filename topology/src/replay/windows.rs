//! Rows of a recording as the windows that sidecars would have sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tripline_model::{
    BreakerTransition, EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind, Protocol, Reporter, ServiceName, Timestamp,
};

use crate::recording::{EdgeRow, Name, Recording, ServiceRow};

/// A service's window: when, how long, which.
type Place = (Timestamp, Duration, Name);

/// Windows by end, start, edge and reporter, and transitions by time.
pub(super) fn of(recording: &Recording) -> (Vec<EdgeWindow>, Vec<BreakerTransition>) {
    let mut services: BTreeMap<Place, ServiceRow> = BTreeMap::new();
    // Rows of single operations only stand in where the whole is not told.
    for row in &recording.services {
        let place = (row.at, row.length, row.service.clone());
        let known = services.get(&place).is_some_and(|known| known.operation.is_none());
        match services.get_mut(&place) {
            Some(sum) if known == row.operation.is_none() => add(sum, row),
            None => drop(services.insert(place, row.clone())),
            Some(_) if known => {}
            Some(sum) => *sum = row.clone(),
        }
    }
    let mut failed_into: BTreeMap<Place, f64> = BTreeMap::new();
    let called: BTreeSet<&Name> = recording.calls.iter().map(|row| &row.server).collect();
    for row in &recording.calls {
        *failed_into.entry((row.at, row.length, row.server.clone())).or_default() += row.failures.unwrap_or(0.0);
    }
    let mut windows = Vec::new();
    for row in &recording.calls {
        let place = (row.at, row.length, row.server.clone());
        let all = failed_into.get(&place).copied().unwrap_or(0.0);
        edge(row, services.get(&place), all, &mut windows);
    }
    let callers = |service: &Name| -> Vec<Name> {
        recording.edges.iter().filter(|(_, server)| server == service).map(|(client, _)| client.clone()).collect()
    };
    for (place, row) in services.iter().filter(|((_, _, service), _)| !called.contains(service)) {
        let clients = callers(&place.2);
        let share = 1.0 / clients.len().max(1) as f64;
        let names: Vec<ServiceName> = clients.iter().map(|client| ServiceName::from(&**client)).collect();
        let names = if names.is_empty() { vec![ServiceName::user()] } else { names };
        windows.extend(names.into_iter().map(|client| inbound(row, client, share)));
    }
    let order = |window: &EdgeWindow| (window.start + window.length, window.start);
    windows.sort_by(|a, b| (order(a), &a.key, a.reporter).cmp(&(order(b), &b.key, b.reporter)));
    let mut transitions: Vec<BreakerTransition> = recording.breakers.iter().map(|row| row.transition.clone()).collect();
    let place = |t: &BreakerTransition| (t.at, t.client_instance.clone(), t.sequence, t.breaker.clone());
    transitions.sort_by_key(place);
    (windows, transitions)
}

/// Adds another row of the same service and window; means are weighted by requests.
fn add(sum: &mut ServiceRow, row: &ServiceRow) {
    let (a, b) = (sum.requests, row.requests);
    let mean = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) if a + b > 0.0 => Some((one * a + other * b) / (a + b)),
        (one, other) => one.or(other),
    };
    let plus = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    };
    (sum.latency_ms, sum.self_ms) = (mean(sum.latency_ms, row.latency_ms), mean(sum.self_ms, row.self_ms));
    sum.failures = plus(sum.failures, row.failures);
    sum.failures_own = plus(sum.failures_own, row.failures_own);
    sum.requests += row.requests;
}

fn whole(count: f64) -> u64 {
    count.max(0.0).round() as u64
}

/// So many requests of the same mean.
fn alike(count: u64, mean_ms: Option<f64>) -> Histogram {
    let Some(mean) = mean_ms.filter(|_| count > 0) else { return Histogram::default() };
    let mean = Duration::from_secs_f64(mean.clamp(0.0, 1e9) / 1e3);
    let mut one = Histogram::default();
    one.record(mean);
    Histogram::from_buckets(one.dense().0, &[count], mean.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)))
}

fn window(
    (client, server): (ServiceName, &Name),
    (at, length): (Timestamp, Duration),
    reporter: Reporter,
) -> EdgeWindow {
    let client_kind = if client == ServiceName::user() { NodeKind::User } else { NodeKind::Service };
    EdgeWindow {
        key: EdgeKey { client, server: ServiceName::from(&**server), protocol: Protocol::Http },
        reporter,
        client_kind,
        server_kind: NodeKind::Service,
        start: at,
        length,
        counts: EdgeCounts::default(),
        latency: Histogram::default(),
        self_time: Histogram::default(),
        secured: false,
    }
}

/// Both ends of a call, as far as they are known.
fn edge(row: &EdgeRow, server: Option<&ServiceRow>, failed_into: f64, windows: &mut Vec<EdgeWindow>) {
    let (requests, shed) = (whole(row.requests), whole(row.shed.unwrap_or(0.0)));
    let failed = whole(row.failures.unwrap_or(0.0)).min(requests.saturating_sub(shed));
    let retries = whole(row.retries.unwrap_or(0.0));
    let share = if failed_into > 0.0 { row.failures.unwrap_or(0.0) / failed_into } else { 0.0 };
    // What the server says it failed of them; without its word, all.
    let answered =
        server.and_then(|server| server.failures).map_or(failed, |failures| whole(failures * share).min(failed));
    let own = server.and_then(|server| server.failures_own).map(|own| whole(own * share).min(answered));
    let arrived = requests.saturating_sub(shed);
    let who = || (ServiceName::from(&*row.client), &row.server);
    if let Some(sampled) = row.sampled {
        let mut spans = window(who(), (row.at, row.length), Reporter::Spans);
        spans.counts =
            EdgeCounts { requests, failed, attempts: requests, answered_failures: failed, ..EdgeCounts::default() };
        spans.latency = alike(whole(sampled), row.client_latency_ms.or(row.server_latency_ms));
        windows.push(spans);
        return;
    }
    let server_only = row.client_latency_ms.is_none() && row.server_latency_ms.is_some();
    if !server_only {
        let mut client = window(who(), (row.at, row.length), Reporter::Client);
        client.counts = EdgeCounts {
            requests,
            failed: failed + shed,
            shed,
            attempts: arrived + retries,
            retries,
            answered_failures: answered,
            transport_failures: failed - answered,
            ..EdgeCounts::default()
        };
        client.latency = alike(arrived, row.client_latency_ms);
        windows.push(client);
    }
    if row.server_latency_ms.is_some() || server.is_some() {
        let mut inside = window(who(), (row.at, row.length), Reporter::Server);
        inside.counts = EdgeCounts {
            requests: arrived,
            failed: answered,
            origin_failures: own.unwrap_or(0),
            propagated_failures: own.map_or(0, |own| answered - own),
            ..EdgeCounts::default()
        };
        inside.latency = alike(arrived, row.server_latency_ms.or_else(|| server.and_then(|server| server.latency_ms)));
        inside.self_time = alike(arrived, server.and_then(|server| server.self_ms));
        windows.push(inside);
    }
}

/// What a service answered, as if this client had asked for a share of it.
fn inbound(row: &ServiceRow, client: ServiceName, share: f64) -> EdgeWindow {
    let mut inside = window((client, &row.service), (row.at, row.length), Reporter::Server);
    let requests = whole(row.requests * share);
    let failed = whole(row.failures.unwrap_or(0.0) * share).min(requests);
    let own = row.failures_own.map(|own| whole(own * share).min(failed));
    inside.counts = EdgeCounts {
        requests,
        failed,
        origin_failures: own.unwrap_or(0),
        propagated_failures: own.map_or(0, |own| failed - own),
        ..EdgeCounts::default()
    };
    inside.latency = alike(requests, row.latency_ms);
    inside.self_time = alike(requests, row.self_ms);
    inside
}
