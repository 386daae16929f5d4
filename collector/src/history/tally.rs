//! What is counted about history itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of history, all since its start; `queries_running`, `files`, `bytes`,
/// `rows_waiting` and `files_bad` are as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Rows written to Parquet.
    pub rows_written: u64,
    /// Flushes that ended well.
    pub flushes: u64,
    /// Flushes and merges that failed; a failed flush is tried again.
    pub write_failures: u64,
    /// Merges that ended well.
    pub merges: u64,
    /// Files let go by retention.
    pub files_expired: u64,
    /// Edge windows and incident states that were lost because history was too slow.
    pub inputs_dropped: u64,
    /// Batches that were in Parquet already.
    pub batches_repeated: u64,
    /// Journal positions that never came.
    pub positions_skipped: u64,
    /// Questions asked.
    pub queries: u64,
    /// Questions that took too long.
    pub query_timeouts: u64,
    /// Questions that stopped because whoever asked was gone.
    pub queries_given_up: u64,
    /// Questions that are being answered now.
    pub queries_running: u64,
    /// Files now.
    pub files: u64,
    /// Bytes on disk now.
    pub bytes: u64,
    /// Rows in memory now.
    pub rows_waiting: u64,
    /// Files that cannot be read.
    pub files_bad: u64,
}

/// The same while it is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) rows_written: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) write_failures: AtomicU64,
    pub(super) merges: AtomicU64,
    pub(super) files_expired: AtomicU64,
    pub(super) inputs_dropped: AtomicU64,
    pub(super) batches_repeated: AtomicU64,
    pub(super) positions_skipped: AtomicU64,
    queries: AtomicU64,
    query_timeouts: AtomicU64,
    pub(super) queries_given_up: AtomicU64,
    pub(super) queries_running: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) rows_waiting: AtomicU64,
}

impl Tally {
    pub(super) fn asked(&self) {
        self.queries.fetch_add(1, Relaxed);
    }

    pub(super) fn timed_out(&self) {
        self.query_timeouts.fetch_add(1, Relaxed);
    }

    /// Everything as of now.
    pub(super) fn read(&self, files_bad: u64) -> Counters {
        Counters {
            rows_written: self.rows_written.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            write_failures: self.write_failures.load(Relaxed),
            merges: self.merges.load(Relaxed),
            files_expired: self.files_expired.load(Relaxed),
            inputs_dropped: self.inputs_dropped.load(Relaxed),
            batches_repeated: self.batches_repeated.load(Relaxed),
            positions_skipped: self.positions_skipped.load(Relaxed),
            queries: self.queries.load(Relaxed),
            query_timeouts: self.query_timeouts.load(Relaxed),
            queries_given_up: self.queries_given_up.load(Relaxed),
            queries_running: self.queries_running.load(Relaxed),
            files: self.files.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            rows_waiting: self.rows_waiting.load(Relaxed),
            files_bad,
        }
    }
}
