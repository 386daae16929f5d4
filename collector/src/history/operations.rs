//! What a file of spans adds up to by operation, kept beside it, so that a question about a day's operations reads kilobytes and not spans.
//!
//! When files are merged, their spans are counted once by service, name and bucket of duration. The counts lie beside the merged file as
//! one JSON object a line, compressed with zstd: some 15 KB for half a million spans of sixty operations. A question whose range of time
//! holds the whole file adds these up; where the range cuts through a file, where a file was flushed and not merged yet, or where a
//! file has more than [`MOST_OPERATIONS`] operations, its spans are read. Both ways end in the same [`Sum`], so the answer is the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use polars::prelude::*;
use serde::{Deserialize, Serialize};
use tripline_api as api;
use tripline_model::histogram::{MAX_INDEX, MIN_INDEX, SCALE};

use super::frame::Table;

/// Operations that are counted for a file at most: some megabytes.
const MOST_OPERATIONS: usize = 10_000;
/// Unfolded bytes of the counts that are read of a file at most; what is larger was not written by us.
const MOST_BYTES: u64 = 64 << 20;
/// How well the counts are compressed: they are small, and written once.
const ZSTD: i32 = 9;

/// What was counted of one operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sum {
    /// Spans.
    pub(super) spans: u64,
    /// Requests that they stand for.
    pub(super) weight: f64,
    /// Those in error.
    pub(super) errors: f64,
    /// Duration of all requests, in microseconds.
    pub(super) micros: f64,
    /// Requests by bucket of [`tripline_model::Histogram`].
    pub(super) buckets: BTreeMap<i64, f64>,
}

/// Sums by name of operation.
pub(super) type Sums = BTreeMap<String, Sum>;

/// One line of the counts. `service` is its first field: lines of other services are passed over unread.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    service: String,
    name: String,
    sum: Sum,
}

/// Where the counts of a file lie.
pub(super) fn path_of(path: &str) -> String {
    format!("{path}.operations")
}

/// The counts of spans that are sorted by service and name, as bytes of a file; none when there are too many operations.
pub(super) fn count(spans: &DataFrame) -> PolarsResult<Option<Vec<u8>>> {
    let table = Table(spans);
    let (service, name, status) = (table.text("service")?, table.text("name")?, table.text("status")?);
    let (duration, weight) = (table.int("duration_ns")?, table.float("weight")?);
    let mut lines: Vec<Line> = Vec::new();
    for row in 0..spans.height() {
        let is_same = lines.last().is_some_and(|line| line.service == service.at(row) && line.name == name.at(row));
        if !is_same {
            if lines.len() == MOST_OPERATIONS {
                return Ok(None);
            }
            lines.push(Line { service: service.owned(row), name: name.owned(row), sum: Sum::default() });
        }
        let Some(line) = lines.last_mut() else { continue };
        line.sum.add_span(duration.signed(row), weight.at(row), status.at(row) == "error");
    }
    let mut text = Vec::new();
    for line in &lines {
        serde_json::to_writer(&mut text, line).map_err(io::Error::other)?;
        text.push(b'\n');
    }
    Ok(Some(zstd::bulk::compress(&text, ZSTD)?))
}

/// Adds the counts of a service that lie beside a file to `sums`.
///
/// # Errors
/// When they are not there, or not ours; `sums` is as it was then.
pub(super) fn add_of_file(path: &Path, service: &str, sums: &mut Sums) -> io::Result<()> {
    let unfolded = io::Read::take(zstd::stream::read::Decoder::new(File::open(path)?)?, MOST_BYTES);
    let (begin, mut found) = (format!("{{\"service\":{},", serde_json::to_string(service)?), Vec::new());
    for line in BufReader::new(unfolded).lines() {
        let line = line?;
        if line.starts_with(&begin) {
            found.push(serde_json::from_str::<Line>(&line)?);
        }
    }
    found.into_iter().for_each(|line| sums.entry(line.name).or_default().add(&line.sum));
    Ok(())
}

/// The histogram's bucket of a duration in nanoseconds.
pub(super) fn bucket(nanos: i64) -> i64 {
    let micros = nanos as f64 / 1e3;
    let index = (micros.max(1.0).log2() * f64::from(1 << SCALE)).ceil() as i64 - 1;
    index.clamp(MIN_INDEX.into(), MAX_INDEX.into())
}

impl Sum {
    fn add_span(&mut self, duration_ns: i64, weight: f64, is_error: bool) {
        self.spans += 1;
        self.weight += weight;
        self.errors += if is_error { weight } else { 0.0 };
        self.micros += weight * duration_ns as f64 / 1e3;
        *self.buckets.entry(bucket(duration_ns)).or_default() += weight;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.spans += other.spans;
        self.weight += other.weight;
        self.errors += other.errors;
        self.micros += other.micros;
        for (bucket, weight) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += weight;
        }
    }

    /// As the API tells it.
    pub(super) fn told(self, name: String) -> api::Operation {
        let quantile = |q: f64| self.quantile(q);
        api::Operation {
            latency_ms: api::Latency { p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99) },
            mean_ms: if self.weight > 0.0 { self.micros / self.weight / 1e3 } else { 0.0 },
            requests: self.weight.round() as u64,
            error_ratio: if self.weight > 0.0 { (self.errors / self.weight).clamp(0.0, 1.0) } else { 0.0 },
            spans: self.spans,
            name,
        }
    }

    /// In milliseconds: the geometric middle of the bucket that holds it.
    fn quantile(&self, q: f64) -> f64 {
        let rank = q * self.weight;
        let mut seen = 0.0;
        let holds = |(_, weight): &(&i64, &f64)| {
            seen += **weight;
            // Sums of fractions end a little below what they should.
            seen >= rank * (1.0 - 1e-9)
        };
        let index = self.buckets.iter().find(holds).map(|(index, _)| *index);
        index.map_or(0.0, |index| ((index as f64 + 0.5) / f64::from(1 << SCALE)).exp2() / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans() -> DataFrame {
        df!(
            "service" => ["a", "a", "a", "a\"b"],
            "name" => ["x", "x", "y", "x"],
            "status" => ["ok", "error", "unset", "ok"],
            "duration_ns" => [1_000_000i64, 100_000_000, 5_000, 0],
            "weight" => [98.0, 2.0, 1.0, 1.0],
        )
        .unwrap()
    }

    #[test]
    fn what_was_counted_reads_back_for_one_service() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), count(&spans()).unwrap().unwrap()).unwrap();
        let mut sums = Sums::new();
        // Twice, as if two files held the same.
        add_of_file(file.path(), "a", &mut sums).unwrap();
        add_of_file(file.path(), "a", &mut sums).unwrap();
        assert_eq!(sums.keys().collect::<Vec<_>>(), ["x", "y"]);
        let told = sums.remove("x").unwrap().told("x".into());
        assert_eq!((told.spans, told.requests, told.error_ratio), (4, 200, 0.02));
        assert!((told.mean_ms - 2.98).abs() < 1e-9 && (told.latency_ms.p50 - 1.0).abs() < 0.05, "{told:?}");
        add_of_file(file.path(), "a\"b", &mut sums).unwrap();
        assert_eq!(sums.remove("x").unwrap().spans, 1);
    }

    #[test]
    fn counts_that_are_damaged_change_nothing() {
        let (file, whole) = (tempfile::NamedTempFile::new().unwrap(), count(&spans()).unwrap().unwrap());
        for damaged in [&b"nonsense"[..], &whole[..whole.len() - 1], b""] {
            std::fs::write(file.path(), damaged).unwrap();
            let mut sums = Sums::new();
            let read = add_of_file(file.path(), "a", &mut sums);
            assert!(sums.is_empty() && (read.is_err() || damaged.is_empty()), "{damaged:?}");
        }
    }

    #[test]
    fn too_many_operations_are_not_counted() {
        let names: Vec<String> = (0..=MOST_OPERATIONS).map(|number| format!("{number:06}")).collect();
        let many = |names: &[String]| {
            let (one, text) = (vec![1.0; names.len()], vec!["a"; names.len()]);
            let duration = vec![1i64; names.len()];
            df!("service" => &text, "name" => names, "status" => &text, "duration_ns" => duration, "weight" => one)
        };
        assert!(count(&many(&names).unwrap()).unwrap().is_none());
        assert!(count(&many(&names[1..]).unwrap()).unwrap().is_some());
    }
}
