//! Simple methods to compare with: the largest deviation, and walking down the worst calls.
//!
//! Both are told when the fault was there and look at the same windows as the detector, 60 s before against the fault's first
//! 60 s. `constant` needs no windows: it always names whoever is at fault most often in that topology, in
//! hindsight, which is the best that any constant answer could do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tripline_model::{EdgeKey, NodeKind, Reporter, ServiceName, Timestamp};

use crate::mesh::Reported;

/// How far to look before and after.
const SPAN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    requests: f64,
    failed: f64,
    answered: f64,
    seconds: f64,
    squares: f64,
}

/// Deviation of each edge: the larger of the z of its failures and the z of its latency.
fn deviations(reported: &Reported, from: Timestamp) -> (BTreeMap<EdgeKey, f64>, BTreeSet<ServiceName>) {
    let mut sums: BTreeMap<(EdgeKey, Reporter), [Sums; 2]> = BTreeMap::new();
    let mut entries = BTreeSet::new();
    for window in &reported.windows {
        let late = window.start >= from;
        if window.start < from - SPAN || window.start >= from + SPAN {
            continue;
        }
        if window.client_kind == NodeKind::User {
            entries.insert(window.key.server.clone());
        }
        let sums = &mut sums.entry((window.key.clone(), window.reporter)).or_default()[usize::from(late)];
        let mean = window.latency.mean().map_or(0.0, |mean| mean.as_secs_f64());
        sums.requests += window.counts.requests as f64;
        sums.failed += window.counts.failed as f64;
        if !window.latency.is_empty() {
            sums.answered += 1.0;
            sums.seconds += mean;
            sums.squares += mean * mean;
        }
    }
    let mut found = BTreeMap::new();
    for ((key, _), [before, after]) in sums {
        let normal = before.failed / before.requests.max(1.0);
        let spread = (after.requests * normal * (1.0 - normal) + 1.0).sqrt();
        let failing = (after.failed - after.requests * normal) / spread;
        let usual = before.seconds / before.answered.max(1.0);
        let variance = (before.squares / before.answered.max(1.0) - usual * usual).max(0.0);
        let slower = after.seconds / after.answered.max(1.0) - usual;
        let slow = slower / variance.sqrt().max(0.05 * usual).max(1e-6);
        found.entry(key).or_insert_with(|| failing.max(slow));
    }
    (found, entries)
}

/// Services by the largest deviation of a call to them.
#[must_use]
pub fn max_z(reported: &Reported, from: Timestamp) -> Vec<ServiceName> {
    let mut worst: BTreeMap<ServiceName, f64> = BTreeMap::new();
    for (key, z) in deviations(reported, from).0 {
        let known = worst.entry(key.server).or_insert(f64::MIN);
        *known = known.max(z);
    }
    let mut ranked: Vec<(ServiceName, f64)> = worst.into_iter().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ranked.into_iter().map(|(service, _)| service).collect()
}

/// From the worst entry point along the worst call that deviates by more than 5, the last one first.
#[must_use]
pub fn walk(reported: &Reported, from: Timestamp) -> Vec<ServiceName> {
    let (deviations, entries) = deviations(reported, from);
    let worst = |pick: &dyn Fn(&EdgeKey) -> bool| {
        deviations
            .iter()
            .filter(|(key, z)| pick(key) && **z > 5.0)
            .max_by(|a, b| a.1.total_cmp(b.1))
            .map(|(key, _)| key.server.clone())
    };
    let mut way: Vec<ServiceName> = Vec::new();
    let mut next = worst(&|key| entries.contains(&key.server));
    while let Some(service) = next {
        way.push(service.clone());
        next = worst(&|key| key.client == service && !way.contains(&key.server));
    }
    way.reverse();
    way
}
