//! The spans of one trace out of one merged file, reading little else.
//!
//! A scan with a filter makes a view of every identifier there is and takes whole columns from the disk to give two rows. Here the
//! dictionary of the trace ids is looked through as it lies in the file, the codes tell which rows have the wanted one, and of the other columns
//! only those pages are read that hold one of these rows. Where pages are stands in the file's offset index
//! (<https://parquet.apache.org/docs/file-format/pageindex/>). Decoding is polars'.
//!
//! Files as flushed have no such index and no dictionary; they are small and new, and a scan does well.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use polars::prelude::*;
use polars_arrow::bitmap::MutableBitmap;
use polars_parquet::parquet::compression::Compression;
use polars_parquet::parquet::encoding::hybrid_rle::HybridRleDecoder;
use polars_parquet::parquet::metadata::{ColumnChunkMetadata, RowGroupMetadata};
use polars_parquet::parquet::page::{ParquetPageHeader, split_buffer};
use polars_parquet::parquet::read::{BasicDecompressor, PageMetaData, PageReader};
use polars_parquet::read::{Filter, column_iter_to_arrays, infer_schema, read_metadata};
use polars_parquet::write::Encoding;
use polars_parquet_format::OffsetIndex;
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;
use tripline_model::TraceId;

use super::upkeep::MAX_MERGED_ROWS;

/// The column that is looked through.
const ID: &str = "trace_id";
/// The header of a page is not longer.
const MOST_HEADER: u64 = 4_096;
/// What the reader of headers and indexes may take for one.
const MOST_MEMORY: usize = 16 << 20;
/// Unfolded at once, of a dictionary.
const PIECE: usize = 64 << 10;

/// Every span of a trace in a file, in its order; a frame without columns when there is none, nothing when the file is not laid
/// out for this.
///
/// # Errors
/// When the file cannot be read or is damaged.
///
/// # Panics
/// When the file is damaged in a way that polars does not expect.
pub(super) fn spans(path: &Path, id: TraceId) -> PolarsResult<Option<DataFrame>> {
    let mut file = File::open(path)?;
    let metadata = read_metadata(&mut file)?;
    let schema = infer_schema(&metadata)?;
    let fields: Vec<&ArrowField> = schema.iter_values().collect();
    let mut whole = DataFrame::default();
    for group in &metadata.row_groups {
        let Some(group) = Group::open(&file, group, &fields)? else { return Ok(None) };
        let Some(rows) = group.rows_of(id)? else { return Ok(None) };
        if rows.is_empty() {
            continue;
        }
        let part = group.take(&rows, id)?;
        if whole.width() == 0 {
            whole = part;
        } else {
            whole.vstack_mut(&part)?;
        }
    }
    Ok(Some(whole))
}

/// A row group of a file.
struct Group<'a> {
    file: &'a File,
    /// Its length in bytes: nothing may lie beyond it.
    length: u64,
    rows: usize,
    columns: Vec<Column<'a>>,
}

struct Column<'a> {
    field: &'a ArrowField,
    chunk: &'a ColumnChunkMetadata,
    pages: Vec<Page>,
}

/// Where a page of values lies.
struct Page {
    bytes: Range<u64>,
    /// Of its row group.
    rows: Range<usize>,
}

impl Column<'_> {
    /// Where the values lie that codes stand for; empty without any.
    fn dictionary(&self) -> Range<u64> {
        let start = self.chunk.byte_range().start;
        start..self.pages.first().map_or(start, |page| page.bytes.start)
    }

    /// Where all pages lie.
    fn codes(&self) -> Range<u64> {
        self.dictionary().end..self.chunk.byte_range().end
    }
}

impl<'a> Group<'a> {
    fn open(file: &'a File, group: &'a RowGroupMetadata, fields: &[&'a ArrowField]) -> PolarsResult<Option<Self>> {
        let length = file.metadata()?.len();
        let (chunks, rows) = (group.parquet_columns(), group.num_rows());
        // More rows are of a file that is damaged, or not ours.
        if chunks.len() != fields.len() || rows as u64 > MAX_MERGED_ROWS {
            return Ok(None);
        }
        let mut whole = Self { file, length, rows, columns: Vec::with_capacity(chunks.len()) };
        for (field, chunk) in fields.iter().zip(chunks) {
            let Some(pages) = whole.pages(chunk)? else { return Ok(None) };
            whole.columns.push(Column { field, chunk, pages });
        }
        Ok(Some(whole))
    }

    /// The rows that have this trace id; nothing when the identifiers are not all in a dictionary.
    fn rows_of(&self, id: TraceId) -> PolarsResult<Option<Vec<usize>>> {
        let Some(column) = self.columns.iter().find(|column| column.field.name == ID) else { return Ok(None) };
        let (dictionary, codes) = (column.dictionary(), column.codes());
        if dictionary.is_empty() || !matches!(column.chunk.compression(), Compression::Zstd) {
            return Ok(None);
        }
        let Some(code) = self.code_of(id, dictionary)? else { return Ok(Some(Vec::new())) };
        let mut pages = self.decompressor(self.bytes(codes)?, column.chunk.num_values(), column);
        let (mut rows, mut before) = (Vec::new(), 0);
        while let Some(page) = pages.next() {
            let page = page?.decompress(&mut pages)?;
            let parts = split_buffer(&page)?;
            let is_there = HybridRleDecoder::new(parts.def, 1, page.num_values()).collect()?;
            if page.encoding() != Encoding::RleDictionary || is_there.contains(&0) {
                return Ok(None);
            }
            let Some((bits, codes)) = parts.values.split_first() else { return Err(damaged()) };
            let codes = HybridRleDecoder::new(codes, u32::from(*bits), page.num_values()).collect()?;
            let places = (before..).zip(&codes).filter(|(_, other)| **other == code);
            rows.extend(places.map(|(row, _)| row));
            before += codes.len();
            pages.reuse_page_buffer(page);
        }
        Ok(Some(rows))
    }

    /// The place of a trace id in the dictionary of its column, which is megabytes: it is read and unfolded piece by piece, and only up
    /// to there.
    fn code_of(&self, id: TraceId, dictionary: Range<u64>) -> PolarsResult<Option<u32>> {
        let mut head = Cursor::new(self.bytes(dictionary.start..dictionary.end.min(dictionary.start + MOST_HEADER))?);
        let header = ParquetPageHeader::read_from_in_protocol(&mut TCompactInputProtocol::new(&mut head, MOST_MEMORY))
            .map_err(|_| damaged())?;
        let count = header.dictionary_page_header.as_ref().map_or(0, |header| header.num_values);
        let folded = Part { file: self.file, rest: dictionary.start + head.position()..dictionary.end };
        let mut values = BufReader::with_capacity(PIECE, zstd::Decoder::new(folded)?);
        // Each is its length, which is that of an identifier, and its bytes.
        let mut value = [0; 4 + size_of::<TraceId>()];
        for code in 0..u32::try_from(count).map_err(|_| damaged())? {
            values.read_exact(&mut value)?;
            if value.ends_with(id.as_bytes()) {
                return Ok(Some(code));
            }
        }
        Ok(None)
    }

    /// All columns of some rows, which are in ascending order.
    fn take(&self, rows: &[usize], id: TraceId) -> PolarsResult<DataFrame> {
        let columns = self.columns.iter().map(|column| {
            let name = column.field.name.clone();
            if name == ID {
                return Ok(Series::new(name, vec![&id.as_bytes()[..]; rows.len()]).into_column());
            }
            Ok(Series::try_from((column.field, self.values(column, rows)?))?.into_column())
        });
        DataFrame::new(rows.len(), columns.collect::<PolarsResult<Vec<_>>>()?)
    }

    /// What a column has in some rows: a chunk made of its dictionary and of those pages alone is what polars gets to decode.
    fn values(&self, column: &Column<'_>, rows: &[usize]) -> PolarsResult<Vec<ArrayRef>> {
        let mut bytes = self.bytes(column.dictionary())?;
        let mut wanted = MutableBitmap::new();
        for page in &column.pages {
            let within = || rows.iter().filter(|row| page.rows.contains(row));
            if within().next().is_some() {
                bytes.extend(self.bytes(page.bytes.clone())?);
                let before = wanted.len();
                wanted.extend_constant(page.rows.len(), false);
                within().for_each(|row| wanted.set(before + row - page.rows.start, true));
            }
        }
        let values = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
        let pages = self.decompressor(bytes, values, column);
        let kind = &column.chunk.descriptor().descriptor.primitive_type;
        let filter = Filter::new_masked(wanted.into());
        Ok(column_iter_to_arrays(vec![pages], vec![kind], column.field.clone(), Some(filter))?.0)
    }

    fn decompressor(&self, bytes: Vec<u8>, values: i64, column: &Column<'_>) -> BasicDecompressor {
        let chunk = column.chunk;
        let about = PageMetaData::new(0, values, chunk.compression(), chunk.descriptor().descriptor.clone());
        let limit = usize::try_from(self.length).unwrap_or(usize::MAX);
        BasicDecompressor::new(
            PageReader::new_with_page_meta(Cursor::new(bytes.into()), about, Vec::new(), limit),
            Vec::new(),
        )
    }

    /// Where the pages of a column lie; nothing when the file does not tell.
    fn pages(&self, chunk: &ColumnChunkMetadata) -> PolarsResult<Option<Vec<Page>>> {
        let (Some(from), Some(length)) = (chunk.offset_index_offset(), chunk.offset_index_length()) else {
            return Ok(None);
        };
        let bytes = self.bytes(range(from, length)?)?;
        let index = OffsetIndex::read_from_in_protocol(&mut TCompactInputProtocol::new(&bytes[..], MOST_MEMORY))
            .map_err(|_| damaged())?;
        let places = &index.page_locations;
        let starts = places.iter().map(|place| usize::try_from(place.first_row_index).map_err(|_| damaged()));
        let mut starts = starts.collect::<PolarsResult<Vec<_>>>()?;
        starts.push(self.rows);
        let page = |(place, rows): (&polars_parquet_format::PageLocation, &[usize])| {
            let &[from, to] = rows else { return Err(damaged()) };
            if from > to || to > self.rows {
                return Err(damaged());
            }
            Ok(Page { bytes: range(place.offset, place.compressed_page_size)?, rows: from..to })
        };
        Ok(Some(places.iter().zip(starts.windows(2)).map(page).collect::<PolarsResult<Vec<_>>>()?))
    }

    fn bytes(&self, range: Range<u64>) -> PolarsResult<Vec<u8>> {
        if range.end > self.length || range.start > range.end {
            return Err(damaged());
        }
        let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(|_| damaged())?];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }
}

/// A part of a file, read from its beginning.
struct Part<'a> {
    file: &'a File,
    rest: Range<u64>,
}

impl Read for Part<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.rest.end.saturating_sub(self.rest.start)).unwrap_or(usize::MAX);
        let within = into.len().min(rest);
        let read = self.file.read_at(&mut into[..within], self.rest.start)?;
        self.rest.start += read as u64;
        Ok(read)
    }
}

fn range(from: i64, length: i32) -> PolarsResult<Range<u64>> {
    let (from, length) = (u64::try_from(from).map_err(|_| damaged())?, u64::try_from(length).map_err(|_| damaged())?);
    Ok(from..from.saturating_add(length))
}

fn damaged() -> PolarsError {
    PolarsError::ComputeError("the file is damaged: what it says of its pages is not so".into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tripline_otlp::{SpanRecord, Spans};

    use super::super::kind::Kind;
    use super::super::spans_file::{self, tests::record};
    use super::super::{encoding, scan, spans as columns};
    use super::*;

    /// Spans of which three or so are of one trace, in other services.
    fn records(count: u64) -> Vec<SpanRecord> {
        (0..count)
            .map(|number| SpanRecord { trace_id: record(number % count.div_ceil(3)).trace_id, ..record(number) })
            .collect()
    }

    fn merged(records: &[SpanRecord]) -> tempfile::NamedTempFile {
        let frame = columns::encode([Spans::of_records(records)].iter(), |_| true).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        encoding::write(file.as_file(), &frame, (Kind::Spans, 2)).unwrap();
        file
    }

    fn scanned(file: &Path, id: TraceId) -> DataFrame {
        let all = scan::scan(Path::new("/"), &[file.to_str().unwrap()]).unwrap();
        all.filter(col(ID).eq(scan::id_literal(id))).collect().unwrap()
    }

    #[test]
    fn a_trace_is_found_as_a_scan_finds_it() {
        // Several pages, one, and a dictionary of one id, whose codes have no bits.
        for count in [60_000, 500, 3, 1] {
            let records = records(count);
            let file = merged(&records);
            let ids: BTreeSet<TraceId> = records.iter().map(|record| record.trace_id).collect();
            for id in ids.iter().step_by(ids.len().div_ceil(20)) {
                let found = spans(file.path(), *id).unwrap().expect("merged files are laid out for it");
                assert!(found.height() > 0);
                let scanned = scanned(file.path(), *id);
                assert_eq!(found.schema(), scanned.schema());
                assert!(found.equals_missing(&scanned), "{count}: {found}");
            }
            let stranger = TraceId::from_bytes([3; 16]).unwrap();
            assert_eq!(spans(file.path(), stranger).unwrap().map(|found| found.width()), Some(0));
        }
    }
    #[test]
    fn a_file_as_flushed_is_not_laid_out_for_it() {
        let records = records(300);
        let file = tempfile::NamedTempFile::new().unwrap();
        let requests = [Spans::of_records(&records)];
        spans_file::write(file.path(), requests.iter(), &mut spans_file::workshop().unwrap()).unwrap();
        assert_eq!(spans(file.path(), records[0].trace_id).unwrap(), None);
    }

    #[test]
    fn a_damaged_file_gives_an_error_or_what_it_says() {
        let records = records(2_000);
        let file = merged(&records);
        let whole = std::fs::read(file.path()).unwrap();
        let (mut broken, mut random) = (0, 1_u64);
        for _ in 0..400 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut bytes = whole.clone();
            // The last tenth holds the indexes and the footer.
            let from = if random & 1 == 0 { 0 } else { bytes.len() * 9 / 10 };
            let at = from + (random >> 33) as usize % (bytes.len() - from);
            bytes[at] ^= 1 << (random >> 8 & 7);
            if random & 6 == 0 {
                bytes.truncate(at);
            }
            std::fs::write(file.path(), &bytes).unwrap();
            let found = std::panic::catch_unwind(|| spans(file.path(), records[0].trace_id));
            broken += usize::from(!matches!(found, Ok(Ok(Some(_)))));
        }
        assert!(broken > 50, "{broken}");
    }
}
