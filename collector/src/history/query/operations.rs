//! The operations of a service over a range of time, the slowest first: spans counted by name and bucket of duration.
//!
//! Durations fall into the buckets of [`tripline_model::Histogram`] file by file, so that what a question holds does not grow with the
//! spans it counts, and a quantile is within 4.5 % as everywhere else. Sampled spans count as many times as they stand for.

use std::collections::BTreeMap;

use polars::prelude::*;
use tripline_api as api;
use tripline_model::Timestamp;
use tripline_model::histogram::{MAX_INDEX, MIN_INDEX, SCALE};

use super::{MAX_LIMIT, QueryError, between};
use crate::history::History;
use crate::history::frame::Table;
use crate::history::kind::Kind;

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

/// What was counted of one operation.
#[derive(Debug, Default)]
struct Sum {
    spans: u64,
    weight: f64,
    errors: f64,
    micros: f64,
    buckets: BTreeMap<i64, f64>,
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
                let wanted = col("service").eq(lit(service.clone())).and(between("start", *from, *to));
                let count = |rows: LazyFrame| counted(rows.filter(wanted.clone()));
                let choose = |e: &crate::history::manifest::Entry| e.overlaps(*from, *to) && e.may_name(service);
                Ok(added_up(&question.collect(Kind::Spans, choose, count)?)?)
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
    let index = |nanos: i64| {
        let micros = nanos as f64 / 1e3;
        let index = (micros.max(1.0).log2() * f64::from(1 << SCALE)).ceil() as i64 - 1;
        index.clamp(MIN_INDEX.into(), MAX_INDEX.into())
    };
    let place = move |durations: Column| {
        let indices = durations.i64()?.iter().map(|nanos| nanos.map(index));
        Ok(indices.collect::<Int64Chunked>().with_name(durations.name().clone()).into_column())
    };
    duration.map(place, |_, field| Ok(Field::new(field.name().clone(), DataType::Int64)))
}

fn added_up(parts: &DataFrame) -> PolarsResult<BTreeMap<String, Sum>> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let table = Table(parts);
    let (name, bucket, spans) = (table.text("name")?, table.int("bucket")?, table.int("spans")?);
    let (weight, errors, nanos) = (table.float("weight")?, table.float("errors")?, table.float("nanos")?);
    for row in 0..parts.height() {
        let sum = sums.entry(name.owned(row)).or_default();
        sum.spans += spans.at(row);
        sum.weight += weight.at(row);
        sum.errors += errors.at(row);
        sum.micros += nanos.at(row) / 1e3;
        *sum.buckets.entry(bucket.signed(row)).or_default() += weight.at(row);
    }
    Ok(sums)
}

impl Sum {
    fn told(self, name: String) -> api::Operation {
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

    #[test]
    fn weights_count_and_quantiles_stand_in_their_bucket() {
        let frame = df!(
            "name" => ["a", "a", "a"],
            "status" => ["ok", "ok", "error"],
            "duration_ns" => [1_000_000i64, 1_000_000, 100_000_000],
            "weight" => [1.0, 98.0, 1.0],
        );
        let parts = counted(frame.unwrap().lazy()).collect().unwrap();
        let sum = added_up(&parts).unwrap().remove("a").unwrap().told("a".into());
        assert_eq!((sum.spans, sum.requests, sum.error_ratio), (3, 100, 0.01));
        assert!((sum.latency_ms.p50 - 1.0).abs() < 0.05 && (sum.latency_ms.p99 - 1.0).abs() < 0.05, "{sum:?}");
        assert!((sum.mean_ms - 1.99).abs() < 1e-6);
    }
}
