//! The few things that a journal asks of a disk, so that tests can let each of them fail.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::blocks;

/// A disk.
pub trait Disk: fmt::Debug + Send {
    /// Makes `path` or opens it for writing; makes sure that it is still there after a crash.
    ///
    /// # Errors
    /// What the disk answers.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// Writes whole blocks, from aligned memory ([`crate::blocks`]), at a place that is a multiple of a block.
    ///
    /// # Errors
    /// What the disk answers; any number of bytes may have been written then.
    fn write(&self, file: &File, blocks: &[u8], at: u64) -> io::Result<()>;

    /// Waits until everything written is safe.
    ///
    /// # Errors
    /// What the disk answers.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// What the disk answers.
    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()>;
}

/// The file system. Where it can, it writes past the system's cache: nobody reads the journal but a start after a crash, and
/// bringing each byte into the cache costs ten times what handing it to the disk does.
#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<File> {
        let file = blocks::open(path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }

    fn write(&self, file: &File, blocks: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(blocks, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }
}
