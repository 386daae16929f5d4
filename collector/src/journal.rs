//! The write-ahead journal: every request that is acknowledged is on disk first.
//!
//! # Layout
//! A folder of segments named after their first position, `00000000000000000042.journal`. A segment is eight bytes of
//! magic and then frames (see [`frame`]); the n-th frame of a segment has position `first + n`. Positions grow by one and
//! are never given out twice. A new segment starts when one has 64 MiB; it and the folder are synced before the first
//! frame goes in. Behind the last frame zeros fill its block, and at least enough of them for a head of no length.
//!
//! # Committing
//! [`Journal::append`] gathers, [`Journal::commit`] writes and syncs everything appended since the last commit: whoever owns the
//! journal gathers requests for a moment and pays for one sync. Blocks go to the disk past the system's cache ([`crate::blocks`]). When
//! a write or a sync fails, the file is cut back to what was there before, so that a refused request leaves nothing behind. After a failed sync the kernel may have thrown the
//! pages away and forgotten about it (Rebello et al., "Can Applications Recover from fsync Failures?", 2020), so such a
//! segment is cut to its last commit and never written again.
//!
//! # After a crash
//! The last segment is read through; at the first frame that is cut short or whose checksum is wrong it is truncated.
//! Nothing acknowledged can lie behind that frame, because a commit syncs everything before it. A bad frame in an older
//! segment is real damage: the rest of that segment is skipped, counted and told. [`Journal::replay`] gives back
//! everything after the position that history has made durable on its own.
//!
//! # Bounds
//! Segments that history no longer needs are deleted ([`Journal::release`]); the active one always stays, so that the next
//! position is known although all else is gone. Past `Options::max_bytes` appending is refused, as it is when the disk is
//! full; senders then keep what they have and try again.

mod disk;
mod frame;
mod replay;
mod segment;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

pub use disk::{Disk, RealDisk};
pub use frame::Record;
pub use replay::{Replay, Replayed};

use segment::Segment;

/// Bounds of a journal.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A segment that has this many bytes is followed by a new one.
    pub segment_bytes: u64,
    /// All segments together have at most this many bytes, give or take one record.
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, max_bytes: 8 << 30 }
    }
}

/// What opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Segments on disk.
    pub segments: usize,
    /// Bytes cut off the end of the last segment: written before the crash, never acknowledged.
    pub torn_bytes: u64,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the journal in {}; check that `data_dir` exists and may be written", .folder.display())]
pub struct OpenError {
    folder: PathBuf,
    source: io::Error,
}

/// Why a record was not taken. Senders keep it and try again.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No space left on the device.
    #[error("the disk of the journal in {} is full; free space there or set `data_dir` to another disk", .0.display())]
    DiskFull(PathBuf),
    /// The journal has reached its own bound.
    #[error(
        "the journal holds {0} bytes that history has not written yet; check the disk of `data_dir`, or raise \
         `limits.journal_bytes`"
    )]
    Full(u64),
    /// Anything else that a disk can answer.
    #[error("cannot write the journal in {}", .folder.display())]
    Write {
        /// Where.
        folder: PathBuf,
        /// What the disk answered.
        source: io::Error,
    },
    /// A body longer than any receiver accepts.
    #[error("a record of {0} bytes is too long for the journal")]
    TooLong(usize),
}

/// The journal; one owner.
#[derive(Debug)]
pub struct Journal<D: Disk = RealDisk> {
    disk: D,
    folder: PathBuf,
    options: Options,
    sealed: VecDeque<Sealed>,
    sealed_bytes: u64,
    active: Segment<D>,
    /// Set after a failure that leaves the active segment in doubt; the next append starts a new one.
    doubtful: bool,
}

/// A segment that is no longer written.
#[derive(Debug, Clone)]
struct Sealed {
    path: PathBuf,
    first: u64,
    bytes: u64,
}

impl Journal<RealDisk> {
    /// Opens or makes the journal in `folder`.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read or written.
    pub fn open(folder: &Path, options: Options) -> Result<(Self, Recovered), OpenError> {
        Self::open_on(RealDisk, folder, options)
    }
}

impl<D: Disk> Journal<D> {
    fn open_on(disk: D, folder: &Path, options: Options) -> Result<(Self, Recovered), OpenError> {
        let opened = Self::try_open(disk, folder, options);
        opened.map_err(|source| OpenError { folder: folder.to_owned(), source })
    }

    fn try_open(disk: D, folder: &Path, options: Options) -> io::Result<(Self, Recovered)> {
        std::fs::create_dir_all(folder)?;
        let mut found = segment::list(folder)?;
        let mut recovered = Recovered { segments: found.len(), torn_bytes: 0 };
        let mut active = None;
        // Only the newest can be torn; one that was just being made holds nothing, and the one before it is newest.
        while let Some((first, path)) = found.pop() {
            let (segment, torn) = Segment::recover(&disk, path, first)?;
            recovered.torn_bytes += torn;
            if segment.is_some() {
                active = segment;
                break;
            }
        }
        let active = active.map_or_else(|| Segment::create(&disk, folder, 1), Ok)?;
        let (folder, sealed) = (folder.to_owned(), VecDeque::new());
        let mut journal = Self { disk, folder, options, sealed, sealed_bytes: 0, active, doubtful: false };
        for (first, path) in found {
            let bytes = std::fs::metadata(&path)?.len();
            journal.seal(Sealed { path, first, bytes });
        }
        Ok((journal, recovered))
    }

    fn seal(&mut self, segment: Sealed) {
        self.sealed_bytes += segment.bytes;
        self.sealed.push_back(segment);
    }

    /// The position that the next record gets.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.active.next()
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sealed_bytes + self.active.len()
    }

    /// Writes `record` and tells its position; it is safe only after [`Journal::commit`].
    ///
    /// # Errors
    /// When it cannot be written; then nothing of it stays behind.
    pub fn append(&mut self, record: &Record) -> Result<u64, AppendError> {
        if self.bytes() >= self.options.max_bytes {
            return Err(AppendError::Full(self.bytes()));
        }
        let head = frame::head(record).ok_or(AppendError::TooLong(record.body.len()))?;
        if self.doubtful {
            self.start_segment().map_err(|error| self.write_error(error))?;
        }
        self.active.append(&self.disk, &head, &record.body).map_err(|error| self.write_error(error))
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// When the disk refuses; then everything appended since the last commit is taken back, and must be refused.
    pub fn commit(&mut self) -> Result<(), AppendError> {
        if let Err(error) = self.active.commit(&self.disk) {
            self.doubtful = true;
            if let Err(cut) = self.active.cut_to_committed(&self.disk) {
                tracing::warn!(error = %cut, "cannot take refused records back; they may be seen again after a restart");
            }
            return Err(self.write_error(error));
        }
        if self.active.len() >= self.options.segment_bytes
            && let Err(error) = self.start_segment()
        {
            // The records are safe where they are; the segment just grows until a new file can be made.
            tracing::warn!(%error, "cannot start a new journal segment");
        }
        Ok(())
    }

    /// Deletes the segments that hold nothing after `durable`, and says how many these were.
    pub fn release(&mut self, durable: u64) -> usize {
        let mut deleted = 0;
        while let Some(oldest) = self.sealed.front() {
            let next = self.sealed.get(1).map_or_else(|| self.active.first(), |segment| segment.first);
            if next > durable.saturating_add(1) {
                break;
            }
            if let Err(error) = std::fs::remove_file(&oldest.path) {
                tracing::warn!(path = %oldest.path.display(), %error, "cannot delete a journal segment");
                break;
            }
            self.sealed_bytes = self.sealed_bytes.saturating_sub(oldest.bytes);
            self.sealed.pop_front();
            deleted += 1;
        }
        deleted
    }

    /// Everything committed after position `after`, in order.
    #[must_use]
    pub fn replay(&self, after: u64) -> Replay {
        let sealed = self.sealed.iter().map(|segment| (segment.first, segment.path.clone()));
        let all = sealed.chain([(self.active.first(), self.active.path().to_owned())]);
        Replay::new(all.collect(), self.active.committed_next(), after)
    }

    fn start_segment(&mut self) -> io::Result<()> {
        let fresh = Segment::create(&self.disk, &self.folder, self.active.next())?;
        let old = std::mem::replace(&mut self.active, fresh);
        self.doubtful = false;
        if old.path() != self.active.path() {
            self.seal(Sealed { path: old.path().to_owned(), first: old.first(), bytes: old.len() });
        }
        Ok(())
    }

    fn write_error(&self, source: io::Error) -> AppendError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::DiskFull(self.folder.clone()),
            _ => AppendError::Write { folder: self.folder.clone(), source },
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
