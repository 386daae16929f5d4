//! The few things that a journal asks of a disk, so that tests can let each of them fail.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::Path;

/// A disk.
pub trait Disk: fmt::Debug + Send {
    /// Makes `path` anew or opens it for writing at its end; makes sure that it is still there after a crash.
    ///
    /// # Errors
    /// What the disk answers.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// Writes both parts at the end.
    ///
    /// # Errors
    /// What the disk answers; any number of bytes may have been written then.
    fn append(&self, file: &mut File, head: &[u8], body: &[u8]) -> io::Result<()>;

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

/// The file system.
#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<File> {
        // Appending mode: after a cut the next write goes to the new end by itself.
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }

    fn append(&self, file: &mut File, head: &[u8], body: &[u8]) -> io::Result<()> {
        let written = loop {
            match file.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        let (head_rest, body_rest) = match written.checked_sub(head.len()) {
            Some(of_body) => (&[][..], body.get(of_body..).unwrap_or_default()),
            None => (head.get(written..).unwrap_or_default(), body),
        };
        file.write_all(head_rest)?;
        file.write_all(body_rest)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }
}
