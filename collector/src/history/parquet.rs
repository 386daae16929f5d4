//! Writes Parquet files of spans as fast as they come in.
//!
//! polars reads every file and writes all others. But spans come by the million, already as bytes in the shape that the file wants;
//! going through polars' columns costs four times what writing them down costs. So this is as much of the format as spans need and no
//! more: columns of one level without repetition, data pages of version 1, plain or dictionary encoded, each column compressed
//! with zstd or not at all. Identifiers are random and are not worth compressing in files that live for minutes; a merge compresses them.
//!
//! Sources: the Parquet format, version 2.10, and its `parquet.thrift`.

mod column;
mod footer;
mod thrift;

use std::fmt;
use std::io;
use std::path::Path;

pub(super) use column::Column;
use column::Press;

use crate::blocks::BlockFile;
use footer::{Footer, Group};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// UTF-8.
    Text,
    /// Bytes of any kind.
    Bytes,
    /// A signed number of 64 bits.
    Int,
    /// Nanoseconds since 1970, without zone.
    Time,
    /// A floating-point number of 64 bits.
    Float,
    /// True or false.
    Flag,
}

/// How values are laid down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One after the other.
    Plain,
    /// One after the other, compressed.
    Compressed,
    /// Each different value once, and numbers.
    Dictionary,
}

/// One column of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) holds: Type,
    pub(super) layout: Layout,
    /// Whether there are rows without a value.
    pub(super) nullable: bool,
}

/// The least and the greatest value of a column in a row group, as the file writes them.
pub(super) type Bounds = Option<(Vec<u8>, Vec<u8>)>;

/// Memory and machinery that one file leaves to the next: some megabytes that would else be fetched from the system each time.
pub(super) struct Workshop {
    columns: Vec<Column>,
    chunk: Vec<u8>,
    press: Press,
}

impl Workshop {
    /// For files of these columns.
    pub(super) fn new(specs: &'static [Spec]) -> io::Result<Self> {
        let columns = specs.iter().map(|spec| Column::new(*spec)).collect();
        Ok(Self { columns, chunk: Vec::new(), press: Press::new()? })
    }
}

impl fmt::Debug for Workshop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workshop").finish_non_exhaustive()
    }
}

/// A file in the making.
pub(super) struct Writer<'w> {
    file: BlockFile,
    footer: Footer,
    workshop: &'w mut Workshop,
}

const MAGIC: &[u8] = b"PAR1";

impl<'w> Writer<'w> {
    /// Begins a file.
    pub(super) fn create(path: &Path, specs: &'static [Spec], workshop: &'w mut Workshop) -> io::Result<Self> {
        let mut file = BlockFile::create(path)?;
        file.write(MAGIC)?;
        // Whatever a file left behind that could not be finished.
        workshop.columns.iter_mut().for_each(Column::clear);
        Ok(Self { file, footer: Footer::new(specs), workshop })
    }

    /// The columns, to add a value to each.
    pub(super) fn columns(&mut self) -> &mut [Column] {
        &mut self.workshop.columns
    }

    /// Rows of the group at hand.
    pub(super) fn rows(&self) -> usize {
        self.workshop.columns.first().map_or(0, Column::rows)
    }

    /// Writes the rows at hand as one row group.
    pub(super) fn end_group(&mut self) -> io::Result<()> {
        let mut group = Group { rows: self.rows(), chunks: Vec::with_capacity(self.workshop.columns.len()) };
        let Workshop { columns, chunk, press } = &mut *self.workshop;
        for column in columns {
            chunk.clear();
            group.chunks.push(column.take(self.file.len(), chunk, press)?);
            self.file.write(chunk)?;
        }
        self.footer.groups.push(group);
        Ok(())
    }

    /// Writes what is left and the footer; the file is safe on disk then. Answers its size in bytes.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        if self.rows() > 0 {
            self.end_group()?;
        }
        let footer = self.footer.encode();
        self.file.write(&footer)?;
        self.file.write(&(footer.len() as u32).to_le_bytes())?;
        self.file.write(MAGIC)?;
        let bytes = self.file.len();
        self.file.finish()?;
        Ok(bytes)
    }
}
