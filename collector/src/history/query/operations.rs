//! The operations of a service over a range of time, the slowest first: spans counted by name and bucket of duration.
//!
//! Durations fall into the buckets of [`tripline_model::Histogram`] file by file, so that what a question holds does not grow with the
//! spans it counts, and a quantile is within 4.5 % as everywhere else. Sampled spans count as many times as they stand for. Beside a merged
//! file lies what it adds up to ([`operations`]); spans are read only of files that have none, or that the range cuts through.

use std::collections::BTreeSet;

use polars::prelude::*;
use tripline_api as api;
use tripline_model::Timestamp;

use super::{MAX_LIMIT, QueryError, between};
use crate::history::History;
use crate::history::frame::Table;
use crate::history::kind::Kind;
use crate::history::manifest::Entry;
use crate::history::operations::{self, Sum, Sums};
use crate::history::scan::Question;

/// Which operations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperationQuery {
    /// Of which service, by node id.
    pub service: String,
    /// Whose spans started from here on.
    pub from: Timestamp,
    /// Until then, inclusive.
    pub to: Timestamp,
    /// At most so many, [`MAX_LIMIT`] at the utmost.
    pub limit: usize,
}

impl History {
    /// The operations of a service, by their 99th percentile, slowest first.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn operations(&self, query: OperationQuery) -> Result<Vec<api::Operation>, QueryError> {
        let limit = query.limit.clamp(1, MAX_LIMIT);
        let sums = self
            .ask(move |question| {
                let OperationQuery { service, from, to, .. } = &query;
                let mut sums = Sums::new();
                let counted_before = add_counted(question, &query, &mut sums)?;
                let wanted = col("service").eq(lit(service.clone())).and(between("start", *from, *to));
                let count = |rows: LazyFrame| counted(rows.filter(wanted.clone()));
                let choose =
                    |e: &Entry| e.overlaps(*from, *to) && e.may_name(service) && !counted_before.contains(&e.path);
                add_up(&question.collect(Kind::Spans, choose, count)?, &mut sums)?;
                Ok(sums)
            })
            .await?;
        let mut operations: Vec<api::Operation> = sums.into_iter().map(|(name, sum)| sum.told(name)).collect();
        let slowest = |o: &api::Operation| (o.latency_ms.p99, o.latency_ms.p50);
        operations.sort_by(|a, b| {
            let by_latency = slowest(b).partial_cmp(&slowest(a)).unwrap_or(std::cmp::Ordering::Equal);
            by_latency.then_with(|| a.name.cmp(&b.name))
        });
        operations.truncate(limit);
        Ok(operations)
    }
}

/// One row for each name and bucket.
fn counted(spans: LazyFrame) -> LazyFrame {
    let is_error = col("status").eq(lit("error"));
    spans.group_by([col("name"), bucket(col("duration_ns")).alias("bucket")]).agg([
        len().cast(DataType::Int64).alias("spans"),
        col("weight").sum().alias("weight"),
        col("weight").filter(is_error).sum().alias("errors"),
        (col("weight") * col("duration_ns").cast(DataType::Float64)).sum().alias("nanos"),
    ])
}

/// The histogram's bucket of a duration in nanoseconds.
fn bucket(duration: Expr) -> Expr {
    let place = move |durations: Column| {
        let indices = durations.i64()?.iter().map(|nanos| nanos.map(operations::bucket));
        Ok(indices.collect::<Int64Chunked>().with_name(durations.name().clone()).into_column())
    };
    duration.map(place, |_, field| Ok(Field::new(field.name().clone(), DataType::Int64)))
}

/// Adds what lies counted beside files that are wholly within the range; answers which files these were.
fn add_counted(question: &Question, query: &OperationQuery, sums: &mut Sums) -> Result<BTreeSet<String>, QueryError> {
    let within = |e: &&Entry| e.from >= query.from.as_nanos() && e.to <= query.to.as_nanos();
    let files = question.contents.manifest.files.iter().filter(within);
    let mut done = BTreeSet::new();
    for entry in files.filter(|e| e.kind == Kind::Spans && e.has_operations && e.may_name(&query.service)) {
        question.allowance.check(0)?;
        match question.reader.operations(entry, &query.service, sums) {
            Ok(()) => drop(done.insert(entry.path.clone())),
            // Its spans tell the same.
            Err(error) => tracing::debug!(path = entry.path, %error, "operations beside a file cannot be read"),
        }
    }
    Ok(done)
}

fn add_up(parts: &DataFrame, sums: &mut Sums) -> PolarsResult<()> {
    if parts.width() == 0 {
        return Ok(());
    }
    let table = Table(parts);
    let (name, bucket, spans) = (table.text("name")?, table.int("bucket")?, table.int("spans")?);
    let (weight, errors, nanos) = (table.float("weight")?, table.float("errors")?, table.float("nanos")?);
    for row in 0..parts.height() {
        let part = Sum {
            spans: spans.at(row),
            weight: weight.at(row),
            errors: errors.at(row),
            micros: nanos.at(row) / 1e3,
            buckets: [(bucket.signed(row), weight.at(row))].into(),
        };
        sums.entry(name.owned(row)).or_default().add(&part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_count_and_quantiles_stand_in_their_bucket() {
        let frame = df!(
            "name" => ["a", "a", "a"],
            "status" => ["ok", "ok", "error"],
            "duration_ns" => [1_000_000i64, 1_000_000, 100_000_000],
            "weight" => [1.0, 98.0, 1.0],
        );
        let parts = counted(frame.unwrap().lazy()).collect().unwrap();
        let mut sums = Sums::new();
        add_up(&parts, &mut sums).unwrap();
        let sum = sums.remove("a").unwrap().told("a".into());
        assert_eq!((sum.spans, sum.requests, sum.error_ratio), (3, 100, 0.01));
        assert!((sum.latency_ms.p50 - 1.0).abs() < 0.05 && (sum.latency_ms.p99 - 1.0).abs() < 0.05, "{sum:?}");
        assert!((sum.mean_ms - 1.99).abs() < 1e-6);
    }
}
