//! Which sidecars report, and how their clocks stand.

use std::collections::BTreeMap;
use std::time::Duration;

use tripline_api as api;
use tripline_model::{SidecarReport, Timestamp};

use crate::clock;

/// A sidecar is live while its last report is not older than this.
const LIVE: Duration = Duration::from_secs(5);
/// A silent sidecar is shown for this long.
const SHOWN: Duration = Duration::from_secs(600);
/// Sidecars known at most; more are not listed.
const MAX_SIDECARS: usize = 20_000;

struct Seen {
    version: String,
    last: Timestamp,
    dropped: u64,
    clock_offset_ms: f64,
}

/// Every sidecar that reported lately, by service and instance.
#[derive(Default)]
pub(super) struct Sidecars {
    seen: BTreeMap<(String, String), Seen>,
}

impl Sidecars {
    pub(super) fn note(&mut self, report: &SidecarReport, received_at: Timestamp) {
        let key = (report.sidecar.service.to_string(), report.sidecar.instance.clone());
        if self.seen.len() >= MAX_SIDECARS && !self.seen.contains_key(&key) {
            return;
        }
        let end = report.start + report.length;
        let seen = Seen {
            version: report.sidecar.version.clone(),
            last: received_at,
            dropped: report.dropped,
            clock_offset_ms: (end.as_nanos() as f64 - received_at.as_nanos() as f64) / 1e6,
        };
        self.seen.insert(key, seen);
    }

    pub(super) fn tidy(&mut self, now: Timestamp) {
        self.seen.retain(|_, seen| now.since(seen.last) <= SHOWN);
    }

    pub(super) fn list(&self, now: Timestamp) -> Vec<api::Proxy> {
        self.seen
            .iter()
            .map(|((service, instance), seen)| api::Proxy {
                service: service.clone(),
                instance: instance.clone(),
                version: seen.version.clone(),
                last_seen: clock::rfc3339(seen.last),
                live: now.since(seen.last) <= LIVE,
                dropped: seen.dropped,
                clock_offset_ms: seen.clock_offset_ms,
            })
            .collect()
    }
}
