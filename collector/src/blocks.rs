//! Bytes on their way to the disk past the system's cache, in memory that begins where a block may begin.
//!
//! What the collector writes it reads again seldom, and bringing a byte into the system's cache costs ten times what handing it to the
//! disk does. Writing past the cache (`O_DIRECT`) wants whole blocks, from memory aligned like them, at places that are multiples of
//! them. What does not fill its last block is written with zeros behind it and stays in memory, to be written again with what comes
//! next, as the system's cache would do it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a block; no disk that we know of asks for larger ones.
pub(crate) const BLOCK: usize = 4096;

/// Blocks are handed to the disk when so many bytes have come together.
const HAND_OVER: usize = 1 << 20;

/// Makes a file or opens it, to be written past the cache where that is possible.
///
/// # Errors
/// What the system answers.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).read(true);
    match options.clone().custom_flags(libc::O_DIRECT).open(path) {
        // A file system that keeps files in memory has no way past its cache.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => options.open(path),
        other => other,
    }
}

/// A file that is written from its beginning to its end.
#[derive(Debug)]
pub(crate) struct BlockFile {
    file: File,
    blocks: Blocks,
    handed_over: u64,
}

impl BlockFile {
    /// An empty file, in place of any that is there.
    ///
    /// # Errors
    /// What the system answers.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        file.set_len(0)?;
        Ok(Self { file, blocks: Blocks::with_capacity(2 * HAND_OVER), handed_over: 0 })
    }

    /// Bytes written so far.
    pub(crate) const fn len(&self) -> u64 {
        self.handed_over + self.blocks.len() as u64
    }

    /// Writes bytes behind those before.
    ///
    /// # Errors
    /// What the disk answers.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(HAND_OVER) {
            self.blocks.push(part);
            if self.blocks.len() >= HAND_OVER {
                self.file.write_all_at(self.blocks.whole(), self.handed_over)?;
                self.handed_over += self.blocks.forget_whole() as u64;
            }
        }
        Ok(())
    }

    /// Writes the rest and waits until all of it is safe.
    ///
    /// # Errors
    /// What the disk answers.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let len = self.len();
        self.file.write_all_at(self.blocks.padded(0), self.handed_over)?;
        self.file.set_len(len)?;
        self.file.sync_all()
    }
}

/// Bytes that are gathered for the disk.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Never grown in place, or it would move.
    memory: Vec<u8>,
    /// Where the first block begins.
    start: usize,
    len: usize,
}

impl Blocks {
    /// Memory for so many bytes, to begin with.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let memory = vec![0; bytes.next_multiple_of(BLOCK) + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { memory, start, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let end = self.start + self.len + bytes.len();
        // One block more, for the zeros.
        if end + BLOCK > self.memory.len() {
            let mut larger = Self::with_capacity((self.len + bytes.len() + BLOCK).max(2 * self.len));
            larger.push(self.bytes());
            *self = larger;
        }
        let at = self.start + self.len;
        if let Some(place) = self.memory.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    /// Everything, with zeros behind it up to the end of its last block: at least `zeros` of them.
    pub(crate) fn padded(&mut self, zeros: usize) -> &[u8] {
        let padded = (self.len + zeros.min(BLOCK)).next_multiple_of(BLOCK);
        let end = self.start + padded;
        if end > self.memory.len() {
            let mut larger = Self::with_capacity(padded + BLOCK);
            larger.push(self.bytes());
            *self = larger;
        }
        let (from, to) = (self.start + self.len, self.start + padded);
        if let Some(rest) = self.memory.get_mut(from..to) {
            rest.fill(0);
        }
        self.memory.get(self.start..to).unwrap_or_default()
    }

    /// The whole blocks among it.
    pub(crate) fn whole(&self) -> &[u8] {
        let whole = self.len - self.len % BLOCK;
        self.memory.get(self.start..self.start + whole).unwrap_or_default()
    }

    /// Forgets the whole blocks; says how many bytes these were.
    pub(crate) fn forget_whole(&mut self) -> usize {
        let whole = self.len - self.len % BLOCK;
        let from = self.start + whole;
        self.memory.copy_within(from..self.start + self.len, self.start);
        self.len -= whole;
        whole
    }

    /// Forgets everything behind the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain file: what was written block by block is what was pushed.
        #[test]
        fn blocks_hold_what_was_pushed(pieces in prop::collection::vec((0usize..9_000, any::<u8>(), any::<bool>()), 1..20)) {
            let (mut blocks, mut file, mut flushed, mut all) = (Blocks::with_capacity(100), Vec::new(), 0, Vec::new());
            for (length, byte, commits) in pieces {
                blocks.push(&vec![byte; length]);
                all.extend(std::iter::repeat_n(byte, length));
                if commits {
                    let padded = blocks.padded(17);
                    prop_assert_eq!(padded.as_ptr().align_offset(BLOCK), 0);
                    prop_assert_eq!(padded.len() % BLOCK, 0);
                    file.truncate(flushed);
                    file.extend_from_slice(padded);
                    prop_assert_eq!(&file[..all.len()], &all[..]);
                    prop_assert!(file.len() >= all.len() + 17 && file[all.len()..].iter().all(|byte| *byte == 0));
                    flushed += blocks.forget_whole();
                    prop_assert_eq!(flushed + blocks.len(), all.len());
                }
            }
        }
    }
}
