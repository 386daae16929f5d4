//! Reading: the chosen files and the rows still in memory as one lazy frame.
//!
//! The manifest decides which files are opened; polars prunes row groups by their statistics and aggregates. A file that
//! is missing or damaged must not take the whole answer with it: when a query fails, each of its files is read alone, those that
//! fail are told, remembered and left out from then on, and the query runs again.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::*;
use tripline_model::TraceId;

use super::bloom::Bloom;
use super::file::{self, filter_path};
use super::kind::Kind;
use super::manifest::{Entry, Manifest};
use super::rows::Rows;

/// What history consisted of when a query began.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    /// Files.
    pub(super) manifest: Arc<Manifest>,
    /// Rows being written, and rows that wait.
    pub(super) waiting: Vec<Arc<Rows>>,
}

/// Reads files below one data folder.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
    /// Paths of files found unreadable. A mutex, because queries on several threads add to it, seldom; a task of its own would
    /// be a lock with more steps.
    bad: Mutex<BTreeSet<String>>,
}

impl Reader {
    /// Reads below `dir`.
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir, bad: Mutex::new(BTreeSet::new()) }
    }

    /// Files found unreadable.
    pub(super) fn bad(&self) -> BTreeSet<String> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads each file alone and remembers those that cannot be read; tells whether there were any.
    pub(super) fn probe<'a>(&self, paths: impl Iterator<Item = &'a String>) -> bool {
        let mut found = false;
        for path in paths {
            if let Err(error) = guarded(|| file::read(&self.dir.join(path))) {
                tracing::error!(path, %error, "a history file cannot be read and is left out of every answer");
                self.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
                found = true;
            }
        }
        found
    }

    /// Whether a file may hold spans or logs of a trace; yes when it has no readable filter.
    pub(super) fn may_hold(&self, entry: &Entry, trace: TraceId) -> bool {
        let filter = std::fs::read(self.dir.join(filter_path(&entry.path)));
        filter.map_or(true, |bytes| Bloom::from_bytes(bytes).may_hold(trace))
    }

    /// Runs `plan` over the rows in memory and in the files of `kind` that `choose` wants.
    pub(super) fn collect(
        &self,
        contents: &Contents,
        kind: Kind,
        choose: impl Fn(&Entry) -> bool,
        plan: impl Fn(LazyFrame) -> LazyFrame,
    ) -> PolarsResult<DataFrame> {
        let bad = self.bad();
        let chosen = contents.manifest.files.iter().filter(|e| e.kind == kind && !bad.contains(&e.path) && choose(e));
        let mut paths: Vec<String> = chosen.map(|e| e.path.clone()).collect();
        let mut frames = vec![Rows::default().frame(kind)?.lazy()];
        for rows in &contents.waiting {
            frames.push(rows.frame(kind)?.lazy());
        }
        let run = |paths: &[String]| guarded(|| plan(self.join(paths, &frames)?).collect());
        match run(&paths) {
            Err(_) if self.probe(paths.iter()) => {
                let bad = self.bad();
                paths.retain(|path| !bad.contains(path));
                run(&paths)
            }
            result => result,
        }
    }

    fn join(&self, paths: &[String], frames: &[LazyFrame]) -> PolarsResult<LazyFrame> {
        let mut frames = frames.to_vec();
        if !paths.is_empty() {
            let paths: PolarsResult<Vec<PlRefPath>> =
                paths.iter().map(|path| PlRefPath::try_from_path(&self.dir.join(path))).collect();
            let hive_options = HiveOptions { enabled: Some(false), ..HiveOptions::default() };
            let args = ScanArgsParquet { glob: false, cache: false, hive_options, ..ScanArgsParquet::default() };
            frames.push(LazyFrame::scan_parquet_files(paths?.into(), args)?);
        }
        concat(frames, UnionArgs::default())
    }
}

/// Turns a panic within polars, which some damaged files cause, into an error.
fn guarded<T>(work: impl FnOnce() -> PolarsResult<T>) -> PolarsResult<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(PolarsError::ComputeError("panicked while reading a file".into())))
}
