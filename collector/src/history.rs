//! History: everything received, as Parquet files that any tool can read, and the answers from them.
//!
//! One owner task takes batches, edge windows and incidents through a bounded channel and writes them every ten seconds
//! (or when there are many) below the data folder: `spans/dt=2026-11-21/hr=09/L0-….parquet`, likewise `logs`, `edges`,
//! `breaker_events`, `incidents`. Small files are merged, old ones let go ([`upkeep`]); windows of edges are added up to minutes and
//! hours, which are kept longer ([`rollup`]). The manifest names what belongs to
//! history and up to which journal position; that position is published, so that the journal knows what it may forget, and a
//! batch that is delivered again after a crash is recognised by its own position.
//!
//! With an object store ([`bucket`]) the data folder is a cache of it ([`mirror`]).
//!
//! Queries ([`query`]) choose files by the manifest, and rows still in memory answer too: what was acknowledged is found.
//! The only user of polars in the workspace. The schema is documented in `docs/history.md`.

mod bloom;
mod bucket;
mod edges;
mod encoding;
mod events;
mod feed;
mod file;
mod frame;
mod incidents;
mod job;
mod kind;
mod logs;
mod lookup;
mod manifest;
mod mirror;
mod operations;
mod owner;
mod parquet;
mod past;
mod positions;
pub mod query;
mod rebuild;
mod rollup;
mod rows;
mod scan;
mod spans;
mod spans_file;
mod tally;
#[cfg(test)]
mod tests;
mod upkeep;

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tripline_api as api;
use tripline_model::{EdgeWindow, Timestamp};

use crate::batch::Batch;
use crate::config::Retention;

pub use bucket::{Bucket, BucketError};
pub use feed::follow;
pub use file::WriteError;
pub use kind::Kind;
pub use mirror::Remote;
pub use owner::Owner;
pub use past::PANE;
pub use query::{LogQuery, MAX_LIMIT, OperationQuery, Page, QueryError, TraceQuery};
pub use tally::Counters;

#[cfg(test)]
pub(crate) use tests::sample_window;

pub(crate) use manifest::write_durably;
use positions::Positions;
use rows::Rows;
use scan::{Contents, Reader};
use tally::Tally;

/// Batches, and other inputs, that wait for the owner task.
const QUEUE: usize = 512;
/// Questions that wait for the owner task.
const QUESTIONS: usize = 64;

/// How history behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder; made when it is not there.
    pub dir: PathBuf,
    /// How often rows are written.
    pub flush_every: Duration,
    /// Rows at which they are written at once.
    pub flush_rows: usize,
    /// Rows in memory at which no more are taken.
    pub buffer_rows: usize,
    /// Bytes of spans at which they are written at once.
    pub flush_bytes: usize,
    /// Bytes of spans in memory at which no more are taken.
    pub buffer_bytes: usize,
    /// How much is kept.
    pub retention: Retention,
    /// How long a question may take.
    pub query_timeout: Duration,
    /// Bytes that a question may gather.
    pub query_bytes: usize,
    /// Questions that run at a time.
    pub concurrent_queries: usize,
    /// The object store that the data folder is a cache of, if any.
    pub remote: Option<Remote>,
    /// Tells the time; files are named, merged, added up and let go by it.
    pub now: fn() -> Timestamp,
    /// The highest position the journal holds, when there is a journal. A manifest that claims more belongs to another journal;
    /// its position is forgotten, or new batches would be taken for old ones.
    pub journal_end: Option<u64>,
}

impl Settings {
    /// The defaults for a data folder: rows are written every ten seconds.
    #[must_use]
    pub const fn new(dir: PathBuf, retention: Retention) -> Self {
        Self {
            dir,
            flush_every: Duration::from_secs(10),
            flush_rows: 150_000,
            buffer_rows: 450_000,
            flush_bytes: 32 << 20,
            buffer_bytes: 48 << 20,
            retention,
            query_timeout: Duration::from_secs(10),
            query_bytes: 256 << 20,
            concurrent_queries: 2,
            remote: None,
            now: crate::clock::now,
            journal_end: None,
        }
    }

    /// With buffers that leave a third of `bytes`, which all requests share, to those that are on their way.
    #[must_use]
    pub fn within(self, bytes: usize) -> Self {
        let (flush_bytes, buffer_bytes) = (self.flush_bytes.min(bytes / 4), self.buffer_bytes.min(bytes * 3 / 8));
        Self { flush_bytes, buffer_bytes, ..self }
    }
}

/// Why history could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open history in {dir}; check that the folder can be written", dir = dir.display())]
pub struct OpenError {
    /// The data folder.
    pub dir: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// Something to be kept, beside batches.
#[derive(Debug, Clone)]
enum Input {
    /// Finished windows of edges.
    Windows(Arc<Vec<EdgeWindow>>),
    /// An incident as it is now.
    Incident(Arc<api::Incident>),
}

/// A hold on history. Cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    batches: mpsc::Sender<Arc<Batch>>,
    inputs: mpsc::Sender<Input>,
    questions: mpsc::Sender<oneshot::Sender<Contents>>,
    durable: watch::Receiver<u64>,
    reader: Arc<Reader>,
    tally: Arc<Tally>,
    queries: Arc<Semaphore>,
    query_timeout: Duration,
    query_bytes: usize,
}

/// Opens a data folder. Blocks: reads the manifest, and every file when there is none. The [`Owner`] is to be run as a root task.
///
/// # Errors
/// When the folder cannot be made, read or written.
pub fn open(settings: Settings) -> Result<(History, Owner), OpenError> {
    let mut manifest =
        rebuild::open(&settings.dir).map_err(|source| OpenError { dir: settings.dir.clone(), source })?;
    if settings.journal_end.is_some_and(|end| manifest.positions.highest() > end) {
        tracing::warn!("history was fed from another journal before; its position is forgotten");
        manifest.positions = Positions::default();
    }
    let workshop = spans_file::workshop().map_err(|source| OpenError { dir: settings.dir.clone(), source })?;
    let workshop = Arc::new(Mutex::new(workshop));
    if settings.remote.is_some() && manifest.id == 0 {
        manifest.id = rand::random::<u64>().max(1);
        let stored = manifest::store(&settings.dir, &manifest);
        stored.map_err(|source| OpenError { dir: settings.dir.clone(), source })?;
    }
    let tally = Arc::new(Tally::default());
    tally.files.store(manifest.files.len() as u64, Relaxed);
    tally.bytes.store(manifest.files.iter().map(|e| e.bytes).sum(), Relaxed);
    let (batches, batches_taken) = mpsc::channel(QUEUE);
    let (inputs, inputs_taken) = mpsc::channel(QUEUE);
    let (questions, questions_taken) = mpsc::channel(QUESTIONS);
    let (durable_told, durable) = watch::channel(manifest.positions.done());
    let reader =
        Arc::new(Reader::new(settings.dir.clone(), settings.remote.as_ref().map(|remote| remote.bucket.clone())));
    let history = History {
        batches,
        inputs,
        questions,
        durable,
        reader: Arc::clone(&reader),
        tally: Arc::clone(&tally),
        queries: Arc::new(Semaphore::new(settings.concurrent_queries.max(1))),
        query_timeout: settings.query_timeout,
        query_bytes: settings.query_bytes,
    };
    let owner = Owner {
        settings,
        batches: batches_taken,
        inputs: inputs_taken,
        questions: questions_taken,
        durable: durable_told,
        reader,
        tally,
        manifest: Arc::new(manifest),
        workshop,
        manifests: None,
        rows: Rows::default(),
        writing: None,
        retired: std::collections::VecDeque::new(),
        may_merge: false,
    };
    Ok((history, owner))
}

/// An error with its causes, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl History {
    /// Takes what was received; bounded: full means that history is too slow or its disk is full, and that the receiver must refuse.
    #[must_use]
    pub fn batches(&self) -> mpsc::Sender<Arc<Batch>> {
        self.batches.clone()
    }

    /// Gives history finished windows of edges to keep; waits while it is too slow. False when it has ended.
    pub async fn keep_windows(&self, windows: Arc<Vec<EdgeWindow>>) -> bool {
        self.keep(Input::Windows(windows)).await
    }

    /// Gives history something else to keep; waits while it is too slow. False when it has ended.
    async fn keep(&self, input: Input) -> bool {
        self.inputs.send(input).await.is_ok()
    }

    /// The highest journal position up to which every batch is in Parquet.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.tally.read(self.reader.bad().len() as u64)
    }
}
