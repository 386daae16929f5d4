//! What was received and what was not, counted since the start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tripline_otlp::wire::Signal;

use super::Reason;

/// Counters of the receivers and the journal. Shared; each grows only.
#[derive(Debug, Default)]
pub struct Counters {
    requests: [AtomicU64; 3],
    bytes: [AtomicU64; 3],
    refused: [AtomicU64; Reason::ALL.len()],
    /// Sidecar reports taken in.
    pub reports: AtomicU64,
    /// Breaker transitions taken in.
    pub transitions: AtomicU64,
    /// Spans taken in.
    pub spans: AtomicU64,
    /// Log records taken in.
    pub logs: AtomicU64,
    /// Items left out of otherwise good requests because they can never be good.
    pub rejected_items: AtomicU64,
    /// X-Ray datagrams that arrived.
    pub xray_datagrams: AtomicU64,
    /// X-Ray segments in progress, and subsegments sent alone, which were left out.
    pub xray_left_out: AtomicU64,
    /// Spans from X-Ray datagrams that were dropped because the collector was too busy.
    pub xray_dropped: AtomicU64,
    /// Sidecar reports that had been seen before.
    pub repeated_reports: AtomicU64,
    /// Breaker transitions that had been seen before.
    pub repeated_transitions: AtomicU64,
    /// Syncs of the journal.
    pub journal_commits: AtomicU64,
    /// Bytes of the journal on disk now.
    pub journal_bytes: AtomicU64,
    /// Bytes found torn at the end of the journal at the start.
    pub journal_torn_bytes: AtomicU64,
    /// Records found damaged when the journal was read back.
    pub journal_lost: AtomicU64,
    /// Records read back from the journal at the start.
    pub journal_replayed: AtomicU64,
}

impl Counters {
    /// Requests acknowledged.
    #[must_use]
    pub fn requests(&self, signal: Signal) -> u64 {
        self.requests[signal as usize].load(Relaxed)
    }

    /// Bytes of acknowledged requests, decompressed.
    #[must_use]
    pub fn bytes(&self, signal: Signal) -> u64 {
        self.bytes[signal as usize].load(Relaxed)
    }

    /// Requests refused for this reason.
    #[must_use]
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize].load(Relaxed)
    }

    pub(super) fn count_request(&self, signal: Signal, bytes: usize) {
        self.requests[signal as usize].fetch_add(1, Relaxed);
        self.bytes[signal as usize].fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn count_refusal(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Relaxed);
    }
}
