//! How the columns of a file are encoded and compressed.
//!
//! polars writes a file with one encoding for each type and one compression for all columns. That costs a third more disk than
//! need be, because the columns differ:
//!
//! * **Identifiers** are random: nothing compresses them. They are bytes, not hexadecimal text. The spans of a file are one row
//!   group, so that a trace id, which several of them share, is stored once, in the dictionary of its column. Of span ids the lengths,
//!   which are all the same, are stored apart from the bytes.
//! * **Times and durations** are differences to the row before, in as many bits as they need. Within a service and operation rows are
//!   sorted by time.
//! * **Attributes** repeat themselves; they alone are worth a slower compression, and only once, when files are merged for good.
//!
//! What is flushed under load is compressed quickly.

use std::io::Write;

use polars::polars_utils::compression::ZstdLevel;
use polars::prelude::*;
use polars_parquet::write::{
    CompressedPage, CompressionOptions, Encoding, ParquetType, Version, WriteOptions, array_to_columns, compress,
    get_dtype_encoding,
};

use super::kind::Kind;

/// The level of files that are not merged again.
const LAST_LEVEL: u8 = 2;

/// Writes `frame` as a whole Parquet file of rows of `kind`, merged `level` times.
pub(super) fn write(out: impl Write, frame: &DataFrame, (kind, level): (Kind, u8)) -> PolarsResult<()> {
    let writer = ParquetWriter::new(out).with_statistics(statistics()).with_compression(ParquetCompression::Zstd(None));
    let mut writer = writer.batched(frame.schema())?;
    let types: Vec<ParquetType> = writer.parquet_schema().fields().to_vec();
    let names: Vec<&str> = frame.get_column_names().into_iter().map(PlSmallStr::as_str).collect();
    let step = row_group(kind);
    for from in (0..frame.height()).step_by(step) {
        let group = frame.slice(i64::try_from(from).unwrap_or(i64::MAX), step);
        let mut columns = Vec::with_capacity(names.len());
        for ((array, of), name) in group.rechunk_to_arrow(CompatLevel::newest()).iter().zip(&types).zip(&names) {
            let options = WriteOptions {
                statistics: statistics(),
                version: Version::V1,
                compression: compression(name, level),
                data_page_size: page_bytes(name),
            };
            let encodings = encodings(name, get_dtype_encoding(array.dtype()));
            for pages in array_to_columns(array, of.clone(), options, &encodings)? {
                let pages = pages.map(|page| Ok(compress(page?, Vec::new(), options.compression)?));
                columns.push(pages.collect::<PolarsResult<Vec<CompressedPage>>>()?);
            }
        }
        writer.write_row_group(group.height() as u64, &columns)?;
    }
    writer.finish()?;
    Ok(())
}

/// Rows that are read or passed over together.
const fn row_group(kind: Kind) -> usize {
    match kind {
        // Merged files are no larger: one row group each, for the sake of the trace ids.
        Kind::Spans => super::upkeep::MAX_MERGED_ROWS as usize,
        // Sorted by time: a graph of one minute reads one or two of them.
        Kind::Edges | Kind::EdgesMinute | Kind::EdgesHour => 16_384,
        Kind::Logs | Kind::BreakerEvents | Kind::Incidents => 65_536,
    }
}

const fn statistics() -> StatisticsOptions {
    StatisticsOptions {
        min_value: true,
        max_value: true,
        distinct_count: false,
        null_count: true,
        binary_statistics_truncate_length: Some(64),
    }
}

fn encodings(name: &str, usual: Vec<Encoding>) -> Vec<Encoding> {
    match name {
        "start" | "time" | "duration_ns" => vec![Encoding::DeltaBinaryPacked],
        "span_id" | "parent_span_id" => vec![Encoding::DeltaLengthByteArray],
        _ => usual,
    }
}

/// How much is unfolded for the sake of one row, about; `None` is a mebibyte, in which attributes are smallest.
fn page_bytes(name: &str) -> Option<usize> {
    matches!(name, "span_id" | "parent_span_id" | "start" | "duration_ns").then_some(128 << 10)
}

fn compression(name: &str, level: u8) -> CompressionOptions {
    let zstd = match (level, name) {
        (LAST_LEVEL.., "attributes" | "body") => 12,
        (LAST_LEVEL.., _) => 3,
        _ => 1,
    };
    CompressionOptions::Zstd(ZstdLevel::try_new(zstd).ok())
}
