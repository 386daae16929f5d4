//! Requests that the HTTP side answered, by route and status.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;

use super::sample::Sample;

/// Counts of answers. Bounded: routes are those of the table, statuses those that handlers use.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// A mutex: one short increment for each request to a human-paced API; an owner task would cost more.
    counts: Mutex<BTreeMap<(String, u16), u64>>,
}

impl Requests {
    pub(super) fn count(&self, route: &str, status: StatusCode) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((route.to_owned(), status.as_u16())).or_default() += 1;
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = |((route, status), count): (&(String, u16), &u64)| {
            let help = "Requests that the HTTP API and the web UI answered";
            let sample = Sample::counter("tripline_collector_http_requests", help, *count);
            sample.with("route", route.clone()).with("status", status.to_string())
        };
        counts.iter().map(sample).collect()
    }
}
