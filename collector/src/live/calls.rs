//! Collects calls that were paired from spans into windows of one second per edge.

use std::collections::BTreeMap;
use std::time::Duration;

use tripline_model::{EdgeCounts, EdgeKey, EdgeWindow, Histogram, Reporter, Timestamp};

use crate::pair::Call;

/// Windows collected between two ticks at most; beyond, calls are dropped. A hostile sender fills it, a real one never does.
const MAX_WINDOWS: usize = 100_000;
const SECOND: Duration = Duration::from_secs(1);

/// Calls of the second since the last tick, by edge and second of their start.
#[derive(Debug, Default)]
pub(super) struct CallWindows {
    windows: BTreeMap<(EdgeKey, u64), EdgeWindow>,
}

impl CallWindows {
    /// Adds a call to its window.
    pub(super) fn count(&mut self, call: &Call) {
        let second = call.start.as_secs();
        let key = (call.key.clone(), second);
        if self.windows.len() >= MAX_WINDOWS && !self.windows.contains_key(&key) {
            return;
        }
        let window = self.windows.entry(key).or_insert_with(|| EdgeWindow {
            key: call.key.clone(),
            reporter: Reporter::Spans,
            client_kind: call.client_kind,
            server_kind: call.server_kind,
            start: Timestamp::from_secs(second),
            length: SECOND,
            counts: EdgeCounts::default(),
            latency: Histogram::default(),
            self_time: Histogram::default(),
            secured: false,
        });
        window.counts.merge(&call.counts);
        if call.counts.requests > 0 {
            window.latency.record(call.latency);
        }
    }

    /// Everything collected.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = EdgeWindow> + use<> {
        std::mem::take(&mut self.windows).into_values()
    }
}
