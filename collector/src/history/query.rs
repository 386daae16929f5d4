//! The questions that history answers, each as a choice of files and a lazy plan.
//!
//! Every query runs on a blocking thread, at most [`super::Settings::concurrent_queries`] at a time, within a time
//! limit. A query that ran out of time cannot be stopped inside polars: it keeps its place among the concurrent ones until
//! it is done, so that abandoned queries cannot pile up.

use std::sync::Arc;
use std::time::Duration;

use polars::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tripline_api as api;
use tripline_model::{EdgeWindow, Timestamp, TraceId};

use super::frame::moment;
use super::kind::Kind;
use super::manifest::Entry;
use super::scan::{Contents, Reader};
use super::{History, edges, events, incidents, logs, spans};

/// Traces or logs that one answer holds at most.
pub const MAX_LIMIT: usize = 1_000;
/// Spans of one trace that are answered at most.
const MAX_SPANS: usize = 10_000;
/// Spans of a trace may lie this far outside the range in which it is asked for, and still count for its summary.
const TRACE_SLACK: Duration = Duration::from_secs(60);

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It took too long.
    #[error("the query took longer than {} s; ask for a shorter range of time", .0.as_secs())]
    Timeout(Duration),
    /// The cursor is not one of ours.
    #[error("the cursor is not one that an answer held; leave it out to begin anew")]
    Cursor,
    /// polars failed.
    #[error("reading history failed")]
    Read(#[from] PolarsError),
    /// The owner task has ended.
    #[error("history is shutting down")]
    Closed,
}

/// A page of rows, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// From when, inclusive.
    pub from: Timestamp,
    /// Until when, inclusive.
    pub to: Timestamp,
    /// At most so many, [`MAX_LIMIT`] at the utmost.
    pub limit: usize,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Which traces.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TraceQuery {
    /// In which a service has a span.
    pub service: Option<String>,
    /// That took at least so long.
    pub at_least: Duration,
    /// With a span in error (`Some(true)`) or without any (`Some(false)`).
    pub error: Option<bool>,
    /// That started in this range.
    pub page: Page,
}

/// Which log records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Of a service.
    pub service: Option<String>,
    /// Of a trace.
    pub trace: Option<TraceId>,
    /// Whose text or event name has this in it, upper and lower case alike.
    pub text: Option<String>,
    /// In this range.
    pub page: Page,
}

impl History {
    /// Summaries of traces, newest first.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn traces(&self, query: TraceQuery) -> Result<api::TraceList, QueryError> {
        let after = query.page.cursor.as_deref().map(parse_cursor).transpose()?;
        let limit = query.page.limit.clamp(1, MAX_LIMIT);
        let mut traces = self
            .ask(move |contents, reader| {
                let (from, to) = (query.page.from - TRACE_SLACK, query.page.to + TRACE_SLACK);
                let plan = |rows: LazyFrame| {
                    let wanted = wanted_traces(&query, after.as_ref());
                    summarise(rows.filter(between("start", from, to)), query.service.as_deref())
                        .filter(wanted)
                        .sort(["first", "trace_id"], SortMultipleOptions::default().with_order_descending(true))
                        .limit(u32::try_from(limit + 1).unwrap_or(u32::MAX))
                };
                let frame = reader.collect(contents, Kind::Spans, |e| e.overlaps(from, to), plan)?;
                spans::decode_summaries(&frame)
            })
            .await?;
        let next = (traces.len() > limit).then(|| traces.truncate(limit)).and_then(|()| {
            let last = traces.last()?;
            Some(format!("{}.{}", crate::clock::parse_rfc3339(&last.started_at)?.as_nanos(), last.trace_id))
        });
        Ok(api::TraceList { traces, next })
    }

    /// Every span of a trace that was stored, ordered by start; none when there is none.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn trace(&self, id: TraceId) -> Result<Option<api::Trace>, QueryError> {
        let spans = self
            .ask(move |contents, reader| {
                let plan = |rows: LazyFrame| {
                    rows.filter(col("trace_id").eq(lit(id.to_string())))
                        .sort(["start"], SortMultipleOptions::default().with_maintain_order(true))
                        .limit(MAX_SPANS as u32)
                };
                spans::decode(&reader.collect(contents, Kind::Spans, |e| reader.may_hold(e, id), plan)?)
            })
            .await?;
        Ok((!spans.is_empty()).then(|| api::Trace { trace_id: id.to_string(), spans }))
    }

    /// Log records, newest first.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn logs(&self, query: LogQuery) -> Result<api::LogList, QueryError> {
        let after = query.page.cursor.as_deref().map(parse_cursor).transpose()?;
        let limit = query.page.limit.clamp(1, MAX_LIMIT);
        let skip: usize = after.as_ref().and_then(|(_, skip)| skip.parse().ok()).unwrap_or(0).min(MAX_LIMIT * 100);
        let to = after.map_or(query.page.to, |(at, _)| at.min(query.page.to));
        let mut logs = self
            .ask(move |contents, reader| {
                let from = query.page.from;
                let choose = |e: &Entry| {
                    e.overlaps(from, to)
                        && query.service.as_deref().is_none_or(|s| e.may_name(s))
                        && query.trace.is_none_or(|t| reader.may_hold(e, t))
                };
                let plan = |rows: LazyFrame| {
                    rows.filter(between("time", from, to).and(wanted_logs(&query)))
                        .sort(
                            ["time", "service", "trace_id", "body"],
                            SortMultipleOptions::default().with_order_descending(true),
                        )
                        .slice(skip as i64, u32::try_from(limit + 1).unwrap_or(u32::MAX))
                };
                logs::decode(&reader.collect(contents, Kind::Logs, choose, plan)?)
            })
            .await?;
        let is_more = logs.len() > limit;
        logs.truncate(limit);
        // Records of one instant may fall on both sides of the page's end: the cursor says how many to pass over.
        let next = logs.last().map(|(last, _)| *last).filter(|_| is_more).map(|last| {
            let of_last = logs.iter().filter(|(at, _)| *at == last).count();
            let before = if Timestamp::from_nanos(last) == to { skip } else { 0 };
            format!("{last}.{}", of_last + before)
        });
        Ok(api::LogList { logs: logs.into_iter().map(|(_, log)| log).collect(), next })
    }

    /// Windows of edges that start in `[from, to)`, in no order.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn edge_windows(&self, from: Timestamp, to: Timestamp) -> Result<Vec<EdgeWindow>, QueryError> {
        self.ask(move |contents, reader| {
            let plan = |rows: LazyFrame| rows.filter(between("start", from, to).and(col("start").lt(moment(to))));
            edges::decode(&reader.collect(contents, Kind::Edges, |e| e.overlaps(from, to), plan)?)
        })
        .await
    }

    /// Breaker transitions in `[from, to]`, newest first, at most `limit`.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn transitions(
        &self,
        (from, to): (Timestamp, Timestamp),
        limit: usize,
    ) -> Result<Vec<api::Transition>, QueryError> {
        self.ask(move |contents, reader| {
            let plan = |rows: LazyFrame| {
                rows.filter(between("time", from, to))
                    .sort(["time"], SortMultipleOptions::default().with_order_descending(true))
                    .limit(u32::try_from(limit.min(MAX_LIMIT)).unwrap_or(u32::MAX))
            };
            events::decode(&reader.collect(contents, Kind::BreakerEvents, |e| e.overlaps(from, to), plan)?)
        })
        .await
    }

    /// Incidents that were open at some time in `[from, to]`, as last seen, newest first.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn incidents(&self, from: Timestamp, to: Timestamp) -> Result<Vec<api::Incident>, QueryError> {
        self.ask(move |contents, reader| {
            let plan = |rows: LazyFrame| {
                let over = col("resolved_at").lt(moment(from)).fill_null(lit(false));
                rows.filter(col("started_at").lt_eq(moment(to)).and(over.not()))
            };
            incidents::decode_latest(&reader.collect(contents, Kind::Incidents, |e| e.overlaps(from, to), plan)?)
        })
        .await
    }

    /// One incident as last seen; none when it was never stored.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn incident(&self, id: &str) -> Result<Option<api::Incident>, QueryError> {
        let id = id.to_owned();
        self.ask(move |contents, reader| {
            let plan = |rows: LazyFrame| rows.filter(col("id").eq(lit(id.clone())));
            let frame = reader.collect(contents, Kind::Incidents, |_| true, plan)?;
            Ok(incidents::decode_latest(&frame)?.into_iter().next())
        })
        .await
    }

    /// Runs `question` on a blocking thread over what history consists of now.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Contents, &Reader) -> PolarsResult<T> + Send + 'static,
    ) -> Result<T, QueryError> {
        let work = async {
            let place = Arc::clone(&self.queries).acquire_owned().await.map_err(|_| QueryError::Closed)?;
            let contents = contents(&self.questions).await?;
            let reader = Arc::clone(&self.reader);
            let answer = tokio::task::spawn_blocking(move || {
                let _place = place;
                question(&contents, &reader)
            });
            Ok(answer.await.map_err(|_| QueryError::Closed)??)
        };
        self.tally.asked();
        tokio::time::timeout(self.query_timeout, work).await.unwrap_or_else(|_| {
            self.tally.timed_out();
            Err(QueryError::Timeout(self.query_timeout))
        })
    }
}

async fn contents(questions: &mpsc::Sender<oneshot::Sender<Contents>>) -> Result<Contents, QueryError> {
    let (answer, asked) = oneshot::channel();
    questions.send(answer).await.map_err(|_| QueryError::Closed)?;
    asked.await.map_err(|_| QueryError::Closed)
}

/// One row for each trace.
fn summarise(spans: LazyFrame, service: Option<&str>) -> LazyFrame {
    let is_error = col("status").eq(lit("error"));
    // Clocks differ between hosts, so a child may seem to start first: a root wins over the earliest.
    let from_root = |column: &str| {
        col(column).sort_by([col("parent_span_id").is_not_null(), col("start")], SortMultipleOptions::default()).first()
    };
    let end = col("start").cast(DataType::Int64) + col("duration_ns");
    let wanted = service.map_or(lit(true), |name| col("service").eq(lit(name.to_owned())).any(true));
    spans.group_by([col("trace_id")]).agg([
        col("start").min().alias("first"),
        end.max().alias("last"),
        len().cast(DataType::Int64).alias("spans"),
        is_error.sum().cast(DataType::Int64).alias("errors"),
        from_root("service").alias("root_service"),
        from_root("name").alias("root_name"),
        col("service").unique().alias("services"),
        wanted.alias("has_service"),
    ])
}

fn wanted_traces(query: &TraceQuery, after: Option<&(Timestamp, String)>) -> Expr {
    let mut wanted = between("first", query.page.from, query.page.to).and(col("has_service"));
    if !query.at_least.is_zero() {
        let least = i64::try_from(query.at_least.as_nanos()).unwrap_or(i64::MAX);
        wanted = wanted.and((col("last") - col("first").cast(DataType::Int64)).gt_eq(lit(least)));
    }
    if let Some(error) = query.error {
        wanted = wanted.and(col("errors").gt(lit(0)).eq(lit(error)));
    }
    if let Some((at, id)) = after {
        let first = || col("first");
        let same = first().eq(moment(*at)).and(col("trace_id").lt(lit(id.clone())));
        wanted = wanted.and(first().lt(moment(*at)).or(same));
    }
    wanted
}

fn wanted_logs(query: &LogQuery) -> Expr {
    let mut wanted = lit(true);
    if let Some(service) = &query.service {
        wanted = wanted.and(col("service").eq(lit(service.clone())));
    }
    if let Some(trace) = query.trace {
        wanted = wanted.and(col("trace_id").eq(lit(trace.to_string())));
    }
    if let Some(text) = &query.text {
        let holds = |column: &str| contains(col(column), text.to_lowercase());
        wanted = wanted.and(holds("body").or(holds("event")));
    }
    wanted
}

/// Whether a column's text has `lower_case` in it, whatever its case. Our own, as polars would need its regular expressions.
fn contains(column: Expr, lower_case: String) -> Expr {
    let search = move |texts: Column| {
        let found = texts.str()?.iter().map(|text| text.is_some_and(|text| text.to_lowercase().contains(&lower_case)));
        Ok(found.collect::<BooleanChunked>().with_name(texts.name().clone()).into_column())
    };
    column.map(search, |_, field| Ok(Field::new(field.name().clone(), DataType::Boolean)))
}

fn between(column: &str, from: Timestamp, to: Timestamp) -> Expr {
    col(column).gt_eq(moment(from)).and(col(column).lt_eq(moment(to)))
}

/// `NANOSECONDS.REST`.
fn parse_cursor(cursor: &str) -> Result<(Timestamp, String), QueryError> {
    let (at, rest) = cursor.split_once('.').ok_or(QueryError::Cursor)?;
    Ok((Timestamp::from_nanos(at.parse().map_err(|_| QueryError::Cursor)?), rest.to_owned()))
}
