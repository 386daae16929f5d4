//! One Parquet file: how it is written, and what the manifest says about it.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use polars::prelude::*;
use tripline_model::{Timestamp, TraceId};
use tripline_otlp::Spans;

use super::bloom::Bloom;
use super::bucket::BucketError;
use super::frame::Table;
use super::kind::Kind;
use super::manifest::{Entry, write_durably};
use super::parquet::Workshop;
use super::{encoding, operations, spans_file};
use crate::clock::rfc3339;

/// Node ids that the manifest lists for a file; a file with more is read for every service.
pub(super) const MAX_SERVICES: usize = 64;

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk.
    #[error("cannot write history; check that its disk is there and not full")]
    Io(#[from] io::Error),
    /// A file that the local disk did not have.
    #[error("cannot fetch what is to be merged")]
    Fetch(#[from] BucketError),
    /// The encoding.
    #[error("cannot encode rows as parquet")]
    Encode(#[from] PolarsError),
}

/// Where a new file goes and what its name says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The data folder.
    pub(super) dir: &'a Path,
    /// What the rows are.
    pub(super) kind: Kind,
    /// Chooses the partition: rows lie in the hour in which they were written, so that a wrong clock cannot make partitions.
    pub(super) written_at: Timestamp,
    /// Number of the file.
    pub(super) number: u64,
    /// The highest journal position in Parquet once this flush is done.
    pub(super) position: u64,
    /// 0 as flushed, 1 and 2 merged.
    pub(super) level: u8,
}

/// The partition for rows written at `at`: `spans/dt=2026-11-21/hr=09`; of windows that were added up, a day.
pub(super) fn folder(kind: Kind, at: Timestamp) -> String {
    let text = rfc3339(at);
    let (date, rest) = text.split_once('T').unwrap_or((&text, ""));
    if matches!(kind, Kind::EdgesMinute | Kind::EdgesHour) {
        return format!("{}/dt={date}", kind.folder());
    }
    format!("{}/dt={date}/hr={}", kind.folder(), rest.get(..2).unwrap_or("00"))
}

/// Sorts and writes `frame`; afterwards the file is on disk, but belongs to history only once the manifest names it.
pub(super) fn write(place: Place<'_>, frame: &DataFrame) -> Result<Entry, WriteError> {
    let Place { dir, kind, written_at, number, position, level } = place;
    // Spans that were just encoded are in their order already, and there are the most of them.
    let sorted;
    let frame = if level == 0 && kind == Kind::Spans {
        frame
    } else {
        sorted = frame.sort(kind.sort_columns().iter().copied(), SortMultipleOptions::default())?;
        &sorted
    };
    let folder = folder(kind, written_at);
    let path = format!("{folder}/L{level}-{number:010}-{position}.parquet");
    let put = put(dir, &path, (kind, level), frame)?;
    let mut entry = describe(kind, frame)?;
    (entry.path, entry.written_at, entry.level) = (path, written_at.as_nanos(), level);
    (entry.bytes, entry.has_operations) = (put.bytes, put.has_operations);
    Ok(entry)
}

/// Writes spans as they came, like [`write`], without going through a frame.
pub(super) fn write_spans<'a>(
    place: Place<'_>,
    requests: impl Iterator<Item = &'a Spans>,
    workshop: &mut Workshop,
) -> Result<Entry, WriteError> {
    let Place { dir, kind, written_at, number, position, level } = place;
    let folder = folder(kind, written_at);
    fs::create_dir_all(dir.join(&folder))?;
    let path = format!("{folder}/L{level}-{number:010}-{position}.parquet");
    let whole = dir.join(&path);
    let beside = whole.with_extension("parquet.tmp");
    let written = spans_file::write(&beside, requests, workshop)?;
    fs::rename(&beside, &whole)?;
    // The filter's folder is synced with it, and is the file's own.
    write_durably(&dir.join(filter_path(&path)), |file| file.write_all(written.traces.as_bytes()))?;
    Ok(Entry {
        kind,
        path,
        written_at: written_at.as_nanos(),
        from: written.from,
        to: written.to,
        rows: written.rows,
        bytes: written.bytes + written.traces.as_bytes().len() as u64,
        level,
        services: written.services,
        has_operations: false,
    })
}

/// What was written.
pub(super) struct Put {
    /// Bytes on disk, of everything together.
    pub(super) bytes: u64,
    /// Whether spans were counted by operation.
    pub(super) has_operations: bool,
}

/// Writes rows that are in their order already, beside them the filter of their trace ids, and, of spans that were merged, what they add up
/// to by operation.
pub(super) fn put(dir: &Path, path: &str, what: (Kind, u8), frame: &DataFrame) -> Result<Put, WriteError> {
    let whole = dir.join(path);
    if let Some(folder) = whole.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut bytes = 0;
    write_durably(&whole, |file| -> Result<(), WriteError> {
        encoding::write(&mut *file, frame, what)?;
        bytes = file.metadata()?.len();
        Ok(())
    })?;
    if what.0.has_traces() {
        let filter = filter_of(frame)?;
        write_durably(&dir.join(filter_path(path)), |file| file.write_all(filter.as_bytes()))?;
        bytes += filter.as_bytes().len() as u64;
    }
    let counts = if matches!(what, (Kind::Spans, 1..)) { operations::count(frame)? } else { None };
    if let Some(counts) = &counts {
        write_durably(&dir.join(operations::path_of(path)), |file| file.write_all(counts))?;
        bytes += counts.len() as u64;
    }
    Ok(Put { bytes, has_operations: counts.is_some() })
}

/// What the rows of a file are about; path, size, level and time of writing are left empty.
pub(super) fn describe(kind: Kind, frame: &DataFrame) -> PolarsResult<Entry> {
    let table = Table(frame);
    let (from, to) = kind.time_columns();
    let (from, to) = (table.int(from)?, table.int(to)?);
    let rows = 0..frame.height();
    Ok(Entry {
        kind,
        path: String::new(),
        written_at: 0,
        from: rows.clone().map(|row| from.at(row)).min().unwrap_or(0),
        to: rows.map(|row| to.at(row)).max().unwrap_or(0),
        rows: frame.height() as u64,
        bytes: 0,
        level: 0,
        services: services_of(kind, frame)?,
        has_operations: false,
    })
}

/// Where the filter of a file's trace ids lies.
pub(super) fn filter_path(path: &str) -> String {
    format!("{path}.bloom")
}

/// Reads a whole file.
pub(super) fn read(path: &Path) -> PolarsResult<DataFrame> {
    ParquetReader::new(fs::File::open(path)?).finish()
}

fn services_of(kind: Kind, frame: &DataFrame) -> PolarsResult<Option<BTreeSet<String>>> {
    let mut services = BTreeSet::new();
    for column in kind.service_columns() {
        let distinct = frame.column(column)?.unique()?;
        if services.len() + distinct.len() > MAX_SERVICES * 2 {
            return Ok(None);
        }
        services.extend(distinct.str()?.iter().flatten().map(str::to_owned));
    }
    Ok((services.len() <= MAX_SERVICES).then_some(services))
}

fn filter_of(frame: &DataFrame) -> PolarsResult<Bloom> {
    let ids = frame.column("trace_id")?.binary()?;
    let distinct: HashSet<TraceId> = ids.iter().flatten().filter_map(TraceId::from_slice).collect();
    let mut filter = Bloom::for_ids(distinct.len());
    distinct.into_iter().for_each(|id| filter.insert(id));
    Ok(filter)
}
