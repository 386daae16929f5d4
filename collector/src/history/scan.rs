//! Reading: the chosen files and the rows still in memory, part by part.
//!
//! The manifest decides which files are opened; polars prunes row groups and pages and aggregates. A question goes through its
//! files a few at a time and between them looks whether it may go on ([`Allowance`]): whether somebody still waits for the
//! answer, whether its time is up, and whether what it has gathered still fits. So what a question costs is bounded by one group of
//! files ([`GROUP_ROWS`] rows) and by what it keeps of them, not by what is stored.
//!
//! A file that is missing or damaged must not take the whole answer with it: when a part fails, each of its files is read alone,
//! those that fail are told, remembered and left out from then on, and the part runs again.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polars::prelude::*;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tripline_model::TraceId;

use super::bloom::Bloom;
use super::bucket::{Bucket, BucketError};
use super::file::{self, filter_path};
use super::kind::Kind;
use super::lookup;
use super::manifest::{Entry, Manifest};
use super::operations::{self, Sums};
use super::query::QueryError;
use super::rows::Rows;

/// Rows in files that are read together.
const GROUP_ROWS: u64 = 1_000_000;
/// Threads that look into filters at once.
const LOOKING: usize = 8;
/// Filters a thread looks into at least: fewer are not worth one.
const FILTERS_A_THREAD: usize = 16;

/// What history consisted of when a query began.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    /// Files.
    pub(super) manifest: Arc<Manifest>,
    /// Rows being written, and rows that wait.
    pub(super) waiting: Vec<Arc<Rows>>,
}

/// What one question may cost.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    /// Cancelled when nobody waits for the answer any more.
    pub(super) given_up: CancellationToken,
    /// When its time is up.
    pub(super) deadline: Instant,
    /// How long that was.
    pub(super) time: Duration,
    /// Bytes it may gather.
    pub(super) bytes: usize,
}

impl Allowance {
    /// Whether a question that holds so many bytes may go on.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn check(&self, held: usize) -> Result<(), QueryError> {
        if self.given_up.is_cancelled() {
            return Err(QueryError::GivenUp);
        }
        if Instant::now() >= self.deadline {
            return Err(QueryError::Timeout(self.time));
        }
        if held > self.bytes { Err(QueryError::Memory(self.bytes)) } else { Ok(()) }
    }
}

/// One question under way.
#[derive(Debug)]
pub(super) struct Question {
    /// What there is to read.
    pub(super) contents: Contents,
    /// Who reads it.
    pub(super) reader: Arc<Reader>,
    /// What it may cost.
    pub(super) allowance: Allowance,
}

impl Question {
    /// What `plan` makes of the rows in memory and of the files of `kind` that `choose` wants, part after part in one frame:
    /// sorting, limiting and adding up must be done once more over that.
    pub(super) fn collect(
        &self,
        kind: Kind,
        choose: impl Fn(&Entry) -> bool,
        plan: impl Fn(LazyFrame) -> LazyFrame,
    ) -> Result<DataFrame, QueryError> {
        let waiting: PolarsResult<Vec<_>> = self.contents.waiting.iter().map(|rows| rows.frame(kind)).collect();
        self.gather(waiting?, self.files(kind, choose), plan)
    }

    /// Every stored span of a trace, in no order.
    pub(super) fn trace(&self, id: TraceId) -> Result<DataFrame, QueryError> {
        let waiting: PolarsResult<Vec<_>> = self.contents.waiting.iter().map(|rows| rows.trace(id)).collect();
        let files = self.reader.that_may_hold(&self.files(Kind::Spans, |_| true), id);
        let mut whole = Gathered::new(&self.allowance);
        waiting?.into_iter().try_for_each(|part| whole.add(part))?;
        for entry in files {
            whole.add(self.reader.trace(entry, id)?)?;
        }
        Ok(whole.rows)
    }

    /// Files of a kind that are wanted and readable, latest first.
    fn files(&self, kind: Kind, choose: impl Fn(&Entry) -> bool) -> Vec<&Entry> {
        let bad = self.reader.bad();
        let wanted = |e: &&Entry| e.kind == kind && !bad.contains(&e.path) && choose(e);
        let mut files: Vec<&Entry> = self.contents.manifest.files.iter().filter(wanted).collect();
        files.sort_by_key(|entry| std::cmp::Reverse(entry.to));
        files
    }

    fn gather(
        &self,
        waiting: Vec<DataFrame>,
        files: Vec<&Entry>,
        plan: impl Fn(LazyFrame) -> LazyFrame,
    ) -> Result<DataFrame, QueryError> {
        let mut whole = Gathered::new(&self.allowance);
        for frame in waiting {
            whole.add(plan(frame.lazy()).collect()?)?;
        }
        for group in groups(files) {
            whole.add(self.reader.run(group, &plan)?)?;
        }
        Ok(whole.rows)
    }
}

/// Rows of an answer, from one part after the other.
struct Gathered<'a> {
    rows: DataFrame,
    allowance: &'a Allowance,
}

impl<'a> Gathered<'a> {
    fn new(allowance: &'a Allowance) -> Self {
        Self { rows: DataFrame::default(), allowance }
    }

    /// Adds a part; one without columns has no rows.
    fn add(&mut self, part: DataFrame) -> Result<(), QueryError> {
        if self.rows.width() == 0 {
            self.rows = part;
        } else if part.width() > 0 {
            self.rows.vstack_mut(&part)?;
        }
        self.allowance.check(self.rows.estimated_size())
    }
}

/// Files that are read together: as many as have [`GROUP_ROWS`] rows, at least one.
fn groups(files: Vec<&Entry>) -> Vec<Vec<&str>> {
    let mut groups: Vec<(u64, Vec<&str>)> = Vec::new();
    for entry in files {
        match groups.last_mut() {
            Some((rows, paths)) if *rows + entry.rows <= GROUP_ROWS => {
                *rows += entry.rows;
                paths.push(&entry.path);
            }
            _ => groups.push((entry.rows, vec![&entry.path])),
        }
    }
    groups.into_iter().map(|(_, paths)| paths).collect()
}

/// Reads files below one data folder.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
    /// Where files come from that are not in the folder.
    bucket: Option<Bucket>,
    /// Paths of files found unreadable. A mutex, because queries on several threads add to it, seldom; a task of its own would
    /// be a lock with more steps.
    bad: Mutex<BTreeSet<String>>,
}

impl Reader {
    /// Reads below `dir`, and fetches from `bucket` what is not there.
    pub(super) const fn new(dir: PathBuf, bucket: Option<Bucket>) -> Self {
        Self { dir, bucket, bad: Mutex::new(BTreeSet::new()) }
    }

    /// Files found unreadable.
    pub(super) fn bad(&self) -> BTreeSet<String> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads each file alone and remembers those that cannot be read; tells whether there were any.
    pub(super) fn probe<'a>(&self, paths: impl Iterator<Item = &'a str>) -> bool {
        let mut found = false;
        for path in paths {
            if self.fetch(std::iter::once(path)).is_err() {
                // That the store does not answer says nothing of the file.
                continue;
            }
            if let Err(error) = guarded(|| file::read(&self.dir.join(path))) {
                tracing::error!(path, %error, "a history file cannot be read and is left out of every answer");
                self.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
                found = true;
            }
        }
        found
    }

    /// Whether a file may hold spans or logs of a trace; yes when it has no readable filter.
    pub(super) fn may_hold(&self, entry: &Entry, trace: TraceId) -> bool {
        let filter = filter_path(&entry.path);
        let _absent_means_yes = self.fetch(std::iter::once(filter.as_str()));
        Bloom::file_may_hold(&self.dir.join(filter), trace).unwrap_or(true)
    }

    /// Those of some files that may hold a trace. Looking waits for the disk, so some threads do.
    fn that_may_hold<'a>(&self, files: &[&'a Entry], trace: TraceId) -> Vec<&'a Entry> {
        let look = |files: &[&'a Entry]| -> Vec<&'a Entry> {
            files.iter().copied().filter(|entry| self.may_hold(entry, trace)).collect()
        };
        if files.len() <= FILTERS_A_THREAD {
            return look(files);
        }
        let share = files.len().div_ceil(LOOKING).max(FILTERS_A_THREAD);
        std::thread::scope(|scope| {
            let threads: Vec<_> = files.chunks(share).map(|files| scope.spawn(move || look(files))).collect();
            // A thread that panicked says nothing of its files; they may all hold it.
            let found = threads.into_iter().zip(files.chunks(share));
            found.flat_map(|(thread, files)| thread.join().unwrap_or_else(|_| files.to_vec())).collect()
        })
    }

    /// The spans of a trace in one file.
    fn trace(&self, entry: &Entry, id: TraceId) -> Result<DataFrame, QueryError> {
        self.fetch(std::iter::once(entry.path.as_str()))?;
        // A file that is damaged, or let go in the meantime, is told where every other question tells it.
        match guarded(|| lookup::spans(&self.dir.join(&entry.path), id)) {
            Ok(Some(spans)) => Ok(spans),
            Ok(None) | Err(_) => self.run(vec![&entry.path], |rows| rows.filter(col("trace_id").eq(id_literal(id)))),
        }
    }

    /// Adds what lies counted beside a file of spans.
    pub(super) fn operations(&self, entry: &Entry, service: &str, sums: &mut Sums) -> io::Result<()> {
        let counts = operations::path_of(&entry.path);
        self.fetch(std::iter::once(counts.as_str())).map_err(io::Error::other)?;
        operations::add_of_file(&self.dir.join(counts), service, sums)
    }

    /// Brings files into the folder that are only in the object store.
    pub(super) fn fetch<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Result<(), BucketError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        for path in paths {
            if !self.dir.join(path).exists() {
                bucket.fetch(&self.dir, path)?;
            }
        }
        Ok(())
    }

    /// What `plan` makes of some files together, without those that cannot be read.
    fn run(&self, mut paths: Vec<&str>, plan: impl Fn(LazyFrame) -> LazyFrame) -> Result<DataFrame, QueryError> {
        let run = |paths: &[&str]| -> Result<DataFrame, QueryError> {
            self.fetch(paths.iter().copied())?;
            Ok(guarded(|| plan(scan(&self.dir, paths)?).collect())?)
        };
        let mut result = run(&paths);
        if self.bucket.is_some() && matches!(result, Err(QueryError::Read(_))) {
            // A copy may have been let go between fetching and reading it.
            result = run(&paths);
        }
        match result {
            Err(QueryError::Read(_)) if self.probe(paths.iter().copied()) => {
                let bad = self.bad();
                paths.retain(|path| !bad.contains(*path));
                if paths.is_empty() { Ok(DataFrame::default()) } else { run(&paths) }
            }
            result => result,
        }
    }
}

/// Files of one kind as one lazy frame.
pub(super) fn scan(dir: &Path, paths: &[&str]) -> PolarsResult<LazyFrame> {
    let paths: PolarsResult<Vec<PlRefPath>> =
        paths.iter().map(|path| PlRefPath::try_from_path(&dir.join(path))).collect();
    let hive_options = HiveOptions { enabled: Some(false), ..HiveOptions::default() };
    let args = ScanArgsParquet { glob: false, cache: false, hive_options, ..ScanArgsParquet::default() };
    LazyFrame::scan_parquet_files(paths?.into(), args)
}

/// An identifier as an expression that compares with a column of them.
pub(super) fn id_literal(id: TraceId) -> Expr {
    lit(id.as_bytes().to_vec())
}

/// Turns a panic within polars, which some damaged files cause, into an error.
fn guarded<T>(work: impl FnOnce() -> PolarsResult<T>) -> PolarsResult<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(PolarsError::ComputeError("panicked while reading a file".into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance() -> Allowance {
        let time = Duration::from_secs(60);
        Allowance { given_up: CancellationToken::new(), deadline: Instant::now() + time, time, bytes: 100 }
    }

    #[test]
    fn a_question_ends_when_nobody_waits_when_time_is_up_and_when_it_holds_too_much() {
        let fine = allowance();
        assert!(fine.check(100).is_ok());
        assert!(matches!(fine.check(101), Err(QueryError::Memory(100))));
        let late = Allowance { deadline: Instant::now(), ..allowance() };
        assert!(matches!(late.check(0), Err(QueryError::Timeout(_))));
        fine.given_up.cancel();
        assert!(matches!(fine.check(0), Err(QueryError::GivenUp)));
    }
}
