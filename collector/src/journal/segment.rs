//! One file of the journal while it is written.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::frame::{self, Frame, HEAD};
use crate::blocks::{BLOCK, Blocks};

/// The first bytes of each segment; the last one is the version of the format.
pub(super) const MAGIC: [u8; 8] = *b"TRIPJNL\x01";

const EXTENSION: &str = "journal";
/// Whole blocks are handed to the disk at the latest when so many bytes have come together.
const HAND_OVER: usize = 1 << 20;

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
    /// What the disk has not got yet: everything from `handed_over` on, which is where a block begins.
    blocks: Blocks,
    handed_over: u64,
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
        let file = disk.open(&path)?;
        disk.truncate(&file, 0)?;
        let start = Mark { bytes: MAGIC.len() as u64, next: first };
        let mut blocks = Blocks::with_capacity(2 * HAND_OVER);
        blocks.push(&MAGIC);
        let mut segment = Self {
            file,
            path,
            first,
            written: start,
            committed: start,
            blocks,
            handed_over: 0,
            disk: std::marker::PhantomData,
        };
        segment.commit(disk)?;
        Ok(segment)
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
        // Zeros fill the last block; they are no record that was cut short.
        let torn = bytes_before_zeros(&path, end.bytes)?;
        if torn > 0 {
            disk.truncate(&file, end.bytes)?;
        }
        // What was only written before a crash of this process may still be in memory alone.
        disk.sync(&file)?;
        let (blocks, handed_over) = last_block(&path, end.bytes)?;
        let mark = std::marker::PhantomData;
        let segment = Self { file, path, first, written: end, committed: end, blocks, handed_over, disk: mark };
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

    /// The position after the last one that is safe.
    pub(super) const fn committed_next(&self) -> u64 {
        self.committed.next
    }

    pub(super) fn append(&mut self, disk: &D, head: &[u8], body: &[u8]) -> io::Result<u64> {
        let before = self.blocks.len();
        self.blocks.push(head);
        self.blocks.push(body);
        if self.blocks.len() >= HAND_OVER {
            if let Err(error) = disk.write(&self.file, self.blocks.whole(), self.handed_over) {
                self.blocks.truncate(before);
                return Err(error);
            }
            self.handed_over += self.blocks.forget_whole() as u64;
        }
        let position = self.written.next;
        self.written = Mark { bytes: self.written.bytes + (head.len() + body.len()) as u64, next: position + 1 };
        Ok(position)
    }

    /// Writes and syncs everything, and zeros behind it, enough for a head that says that there is no more.
    pub(super) fn commit(&mut self, disk: &D) -> io::Result<()> {
        disk.write(&self.file, self.blocks.padded(HEAD), self.handed_over)?;
        disk.sync(&self.file)?;
        self.handed_over += self.blocks.forget_whole() as u64;
        self.committed = self.written;
        Ok(())
    }

    /// Takes back everything since the last commit, after which the segment cannot be written any more. The positions count as not
    /// given out even when the cut fails: replay trusts the next segment's first position, not what is left here.
    pub(super) fn cut_to_committed(&mut self, disk: &D) -> io::Result<()> {
        self.written = self.committed;
        disk.truncate(&self.file, self.written.bytes)
    }
}

/// How many bytes of the file stand behind its first `end`, trailing zeros left out.
fn bytes_before_zeros(path: &Path, end: u64) -> io::Result<u64> {
    let file = File::open(path)?;
    let (mut place, mut at, mut last) = (vec![0; 1 << 16], end, end);
    loop {
        let read = file.read_at(&mut place, at)?;
        if read == 0 {
            return Ok(last - end);
        }
        if let Some(index) = place.get(..read).and_then(|read| read.iter().rposition(|byte| *byte != 0)) {
            last = at + index as u64 + 1;
        }
        at += read as u64;
    }
}

/// The part of a block that a segment of `end` bytes ends with, and where that block begins.
fn last_block(path: &Path, end: u64) -> io::Result<(Blocks, u64)> {
    let begin = end - end % BLOCK as u64;
    let mut part = vec![0; (end - begin) as usize];
    File::open(path)?.read_exact_at(&mut part, begin)?;
    let mut blocks = Blocks::with_capacity(2 * HAND_OVER);
    blocks.push(&part);
    Ok((blocks, begin))
}
