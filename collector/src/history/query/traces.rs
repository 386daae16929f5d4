//! Summaries of traces, newest first, looked for backwards in time until there are enough.
//!
//! A trace is summarised from all of its spans, which no index holds together, so spans must be grouped. That is done for one slice of
//! time after the other, the newest first, each with about [`SLICE_ROWS`] rows: a page of the newest traces costs one slice, however
//! much is stored. A trace belongs to the slice in which its first span starts; spans that start up to [`SLACK`] outside of the slice
//! still count for it.

use std::time::Duration;

use polars::prelude::*;
use tripline_api as api;
use tripline_model::{Timestamp, TraceId};

use super::{MAX_LIMIT, QueryError, TraceQuery, between, parse_cursor};
use crate::history::frame::moment;
use crate::history::kind::Kind;
use crate::history::manifest::Entry;
use crate::history::scan::{Question, id_literal};
use crate::history::{History, spans};

/// Spans of a trace may lie this far outside the slice it belongs to.
const SLACK: Duration = Duration::from_secs(60);
/// Rows that a slice of time should have.
const SLICE_ROWS: f64 = 400_000.0;
/// The shortest slice.
const SHORTEST: Duration = Duration::from_secs(60);

impl History {
    /// Summaries of traces, newest first.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn traces(&self, query: TraceQuery) -> Result<api::TraceList, QueryError> {
        let after = query.page.cursor.as_deref().map(cursor).transpose()?;
        let limit = query.page.limit.clamp(1, MAX_LIMIT);
        let mut traces = self.ask(move |question| page(question, &query, after, limit + 1)).await?;
        let next = (traces.len() > limit).then(|| traces.truncate(limit)).and_then(|()| {
            let last = traces.last()?;
            Some(format!("{}.{}", crate::clock::parse_rfc3339(&last.started_at)?.as_nanos(), last.trace_id))
        });
        Ok(api::TraceList { traces, next })
    }
}

fn cursor(text: &str) -> Result<(Timestamp, TraceId), QueryError> {
    let (at, id) = parse_cursor(text)?;
    Ok((at, id.parse().map_err(|_| QueryError::Cursor)?))
}

fn page(
    question: &Question,
    query: &TraceQuery,
    after: Option<(Timestamp, TraceId)>,
    enough: usize,
) -> Result<Vec<api::TraceSummary>, QueryError> {
    let until = after.map_or(query.page.to, |(at, _)| at.min(query.page.to));
    let spans = question.contents.manifest.files.iter().filter(|e| e.kind == Kind::Spans);
    let files: Vec<&Entry> = spans.filter(|e| e.overlaps(query.page.from, until)).collect();
    let mut found = Vec::new();
    let mut end = until;
    loop {
        let start = slice_start(&files, (query.page.from, end));
        found.extend(slice(question, query, after, (start, end), enough - found.len())?);
        if found.len() >= enough || start <= query.page.from {
            return Ok(found);
        }
        // Starts are whole nanoseconds, and slices hold both of their ends.
        end = start - Duration::from_nanos(1);
    }
}

/// The `most` newest traces that start in `[from, to]`, newest first.
fn slice(
    question: &Question,
    query: &TraceQuery,
    after: Option<(Timestamp, TraceId)>,
    (from, to): (Timestamp, Timestamp),
    most: usize,
) -> Result<Vec<api::TraceSummary>, QueryError> {
    let (first, last) = (from - SLACK, to + SLACK);
    let marked = |rows: LazyFrame| {
        let columns = ["trace_id", "service", "name", "start", "duration_ns", "status", "parent_span_id"];
        let columns: Vec<Expr> = columns.into_iter().map(col).chain([is_wanted(query).alias("is_wanted")]).collect();
        rows.filter(between("start", first, last)).select(columns)
    };
    let rows = question.collect(Kind::Spans, |e| e.overlaps(first, last), marked)?;
    let newest_first = SortMultipleOptions::default().with_order_descending(true);
    let chosen = outline(rows.clone().lazy())
        .filter(wanted_traces(query, after).and(between("first", from, to)))
        .sort(["first", "trace_id"], newest_first.clone())
        .limit(IdxSize::try_from(most).unwrap_or(IdxSize::MAX))
        .select([col("trace_id")]);
    let by_id = || [col("trace_id")];
    let traces = summarise(rows.lazy().join(chosen, by_id(), by_id(), JoinArgs::new(JoinType::Inner)))
        .sort(["first", "trace_id"], newest_first);
    Ok(spans::decode_summaries(&traces.collect()?)?)
}

/// Where a slice that ends at `to` begins: not before `from`, and so that it has some [`SLICE_ROWS`] rows, as far as the manifest tells.
fn slice_start(files: &[&Entry], (from, to): (Timestamp, Timestamp)) -> Timestamp {
    let rows = |start: Timestamp| -> f64 {
        let (start, end) = ((start - SLACK).as_nanos(), (to + SLACK).as_nanos());
        let share = |e: &&Entry| {
            let common = end.min(e.to).saturating_sub(start.max(e.from)) as f64;
            let whole = e.to.saturating_sub(e.from).max(1) as f64;
            e.rows as f64 * (common / whole).min(1.0)
        };
        files.iter().filter(|e| e.from <= end && e.to >= start).map(share).sum()
    };
    let mut length = to.since(from);
    while length > SHORTEST && rows(to - length) > SLICE_ROWS {
        length /= 2;
    }
    from.max(to - length)
}

/// Whether a span is one that was asked for.
fn is_wanted(query: &TraceQuery) -> Expr {
    let mut wanted = lit(true);
    if let Some(service) = &query.service {
        wanted = wanted.and(col("service").eq(lit(service.clone())));
    }
    if let Some(operation) = &query.operation {
        wanted = wanted.and(col("name").eq(lit(operation.clone())));
    }
    if let Some((key, value)) = &query.attribute {
        wanted = wanted.and(has_attribute(key, value));
    }
    wanted
}

/// Whether the JSON object in `attributes` holds a key with a value, which may be a text, a number or a truth.
fn has_attribute(key: &str, value: &str) -> Expr {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let (key_text, text) = (quoted(key), quoted(value));
    let (needle, key, value) = (format!("{key_text}:"), key.to_owned(), value.to_owned());
    let holds = move |attributes: &str| {
        // Parsing is dear, and most objects do not even hold both words.
        attributes.contains(&needle)
            && (attributes.contains(&text) || attributes.contains(&value))
            && super::super::frame::attributes_of(attributes).get(&key).is_some_and(|found| *found == value)
    };
    let search = move |texts: Column| {
        let found = texts.str()?.iter().map(|text| text.is_some_and(&holds));
        Ok(found.collect::<BooleanChunked>().with_name(texts.name().clone()).into_column())
    };
    col("attributes").map(search, |_, field| Ok(Field::new(field.name().clone(), DataType::Boolean)))
}

/// One row for each trace, with what decides whether it is one of those asked for.
fn outline(spans: LazyFrame) -> LazyFrame {
    spans.group_by([col("trace_id")]).agg([
        col("start").min().alias("first"),
        end().max().alias("last"),
        is_error().sum().alias("errors"),
        col("is_wanted").any(true).alias("has_wanted"),
    ])
}

/// One row for each trace, with all that is told of it: several times as dear, so only of those that are.
fn summarise(spans: LazyFrame) -> LazyFrame {
    // Clocks differ between hosts, so a child may seem to start first: a root wins over the earliest.
    let from_root = |column: &str| {
        col(column).sort_by([col("parent_span_id").is_not_null(), col("start")], SortMultipleOptions::default()).first()
    };
    spans.group_by([col("trace_id")]).agg([
        col("start").min().alias("first"),
        end().max().alias("last"),
        len().cast(DataType::Int64).alias("spans"),
        is_error().sum().cast(DataType::Int64).alias("errors"),
        from_root("service").alias("root_service"),
        from_root("name").alias("root_name"),
        col("service").unique().alias("services"),
    ])
}

/// When a span ended, in nanoseconds.
fn end() -> Expr {
    col("start").cast(DataType::Int64) + col("duration_ns")
}

fn is_error() -> Expr {
    col("status").eq(lit("error"))
}

fn wanted_traces(query: &TraceQuery, after: Option<(Timestamp, TraceId)>) -> Expr {
    let mut wanted = col("has_wanted");
    if !query.at_least.is_zero() {
        let least = i64::try_from(query.at_least.as_nanos()).unwrap_or(i64::MAX);
        wanted = wanted.and((col("last") - col("first").cast(DataType::Int64)).gt_eq(lit(least)));
    }
    if let Some(error) = query.error {
        wanted = wanted.and(col("errors").gt(lit(0)).eq(lit(error)));
    }
    if let Some((at, id)) = after {
        let first = || col("first");
        let same = first().eq(moment(at)).and(col("trace_id").lt(id_literal(id)));
        wanted = wanted.and(first().lt(moment(at)).or(same));
    }
    wanted
}
