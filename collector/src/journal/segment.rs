//! One file of the journal while it is written.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::frame::{self, Frame};

/// The first bytes of each segment; the last one is the version of the format.
pub(super) const MAGIC: [u8; 8] = *b"TRIPJNL\x01";

const EXTENSION: &str = "journal";

/// The segments in `folder`, oldest first; files of other names are left alone.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let first = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(first) = first.filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION)) {
            found.push((first, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment<D> {
    file: File,
    path: PathBuf,
    first: u64,
    written: Mark,
    committed: Mark,
    disk: std::marker::PhantomData<D>,
}

/// How far a segment reaches.
#[derive(Debug, Clone, Copy)]
struct Mark {
    bytes: u64,
    next: u64,
}

impl<D: Disk> Segment<D> {
    /// A new segment whose first record gets position `first`; whatever a failed attempt left there is cut away.
    pub(super) fn create(disk: &D, folder: &Path, first: u64) -> io::Result<Self> {
        let path = folder.join(format!("{first:020}.{EXTENSION}"));
        let mut file = disk.open(&path)?;
        disk.truncate(&file, 0)?;
        disk.append(&mut file, &MAGIC, &[])?;
        disk.sync(&file)?;
        let start = Mark { bytes: MAGIC.len() as u64, next: first };
        Ok(Self { file, path, first, written: start, committed: start, disk: std::marker::PhantomData })
    }

    /// Opens the segment that was written last before a stop or crash, cuts off what is torn, and says how many bytes
    /// that were. No segment when not even its magic is there: it was being made and held nothing.
    pub(super) fn recover(disk: &D, path: PathBuf, first: u64) -> io::Result<(Option<Self>, u64)> {
        let file = disk.open(&path)?;
        let length = file.metadata()?.len();
        let mut input = BufReader::with_capacity(1 << 20, File::open(&path)?);
        let mut magic = [0; MAGIC.len()];
        if length < MAGIC.len() as u64 {
            std::fs::remove_file(&path)?;
            return Ok((None, length));
        }
        input.read_exact(&mut magic)?;
        if magic != MAGIC {
            let message = format!("{} is no journal segment; move it away to start without it", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut end = Mark { bytes: MAGIC.len() as u64, next: first };
        while let Frame::Whole(record) = frame::read(&mut input, length - end.bytes)? {
            end.bytes += (frame::HEAD + record.body.len()) as u64;
            end.next += 1;
        }
        let torn = length - end.bytes;
        if torn > 0 {
            disk.truncate(&file, end.bytes)?;
        }
        // What was only written before a crash of this process may still be in memory alone.
        disk.sync(&file)?;
        let segment = Self { file, path, first, written: end, committed: end, disk: std::marker::PhantomData };
        Ok((Some(segment), torn))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The position that the next record gets.
    pub(super) const fn next(&self) -> u64 {
        self.written.next
    }

    /// Bytes written.
    pub(super) const fn len(&self) -> u64 {
        self.written.bytes
    }

    pub(super) fn append(&mut self, disk: &D, head: &[u8], body: &[u8]) -> io::Result<u64> {
        disk.append(&mut self.file, head, body)?;
        let position = self.written.next;
        self.written = Mark { bytes: self.written.bytes + (head.len() + body.len()) as u64, next: position + 1 };
        Ok(position)
    }

    pub(super) fn commit(&mut self, disk: &D) -> io::Result<()> {
        disk.sync(&self.file)?;
        self.committed = self.written;
        Ok(())
    }

    /// Takes back what a failed append left.
    pub(super) fn cut_to_written(&mut self, disk: &D) -> io::Result<()> {
        disk.truncate(&self.file, self.written.bytes)
    }

    /// Takes back everything since the last commit. The positions count as not given out even when the cut fails:
    /// replay trusts the next segment's first position, not what is left here.
    pub(super) fn cut_to_committed(&mut self, disk: &D) -> io::Result<()> {
        self.written = self.committed;
        disk.truncate(&self.file, self.written.bytes)
    }
}
