//! The questions that history answers, each as a choice of files and a lazy plan.
//!
//! Every query runs on a blocking thread, at most [`super::Settings::concurrent_queries`] at a time, within a limit of time and one
//! of memory. It goes through its files a few at a time and stops between them when its time is up, when it has gathered too much, or
//! when whoever asked is gone (the future was dropped, as it is when a client hangs up). Inside polars it cannot be
//! stopped: until it is done there it keeps its place among the concurrent ones, so that abandoned queries cannot pile up.

mod operations;
mod traces;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use polars::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tripline_api as api;
use tripline_model::{Timestamp, TraceId};

use super::bucket::BucketError;
use super::frame::moment;
use super::kind::Kind;
use super::manifest::Entry;
use super::scan::{Allowance, Contents, Question, id_literal};
use super::{History, events, incidents, logs, spans};

pub use operations::OperationQuery;

/// Traces or logs that one answer holds at most.
pub const MAX_LIMIT: usize = 1_000;
/// Spans of one trace that are answered at most.
const MAX_SPANS: usize = 10_000;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It took too long.
    #[error("the query took longer than {} s; ask for a shorter range of time", .0.as_secs())]
    Timeout(Duration),
    /// It gathered too much.
    #[error("the query needs more than {} MiB; ask for a shorter range of time, or for one service", .0 >> 20)]
    Memory(usize),
    /// Nobody waits for the answer.
    #[error("whoever asked is gone")]
    GivenUp,
    /// The cursor is not one of ours.
    #[error("the cursor is not one that an answer held; leave it out to begin anew")]
    Cursor,
    /// The object store failed.
    #[error("history's object store did not give what was asked for; it is tried again with the next query")]
    Fetch(#[from] BucketError),
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
    /// With a span of this name; of that service, if one is given.
    pub operation: Option<String>,
    /// With a span that has this attribute with this value, both as text; of that service and name, if given.
    pub attribute: Option<(String, String)>,
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
    /// Every span of a trace that was stored, ordered by start; none when there is none.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn trace(&self, id: TraceId) -> Result<Option<api::Trace>, QueryError> {
        let spans = self
            .ask(move |question| {
                let by_start = SortMultipleOptions::default().with_maintain_order(true);
                Ok(spans::decode(&question.trace(id)?.sort(["start"], by_start)?.head(Some(MAX_SPANS)))?)
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
            .ask(move |question| {
                let from = query.page.from;
                let choose = |e: &Entry| {
                    e.overlaps(from, to)
                        && query.service.as_deref().is_none_or(|s| e.may_name(s))
                        && query.trace.is_none_or(|t| question.reader.may_hold(e, t))
                };
                let newest = |rows: LazyFrame| {
                    rows.sort(
                        ["time", "service", "trace_id", "body"],
                        SortMultipleOptions::default().with_order_descending(true),
                    )
                    .limit(u32::try_from(skip + limit + 1).unwrap_or(u32::MAX))
                };
                let wanted = |rows: LazyFrame| newest(rows.filter(between("time", from, to).and(wanted_logs(&query))));
                let found = newest(question.collect(Kind::Logs, choose, wanted)?.lazy()).collect()?;
                Ok(logs::decode(&found.slice(i64::try_from(skip).unwrap_or(i64::MAX), limit + 1))?)
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

    /// Breaker transitions in `[from, to]`, newest first, at most `limit`.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn transitions(
        &self,
        (from, to): (Timestamp, Timestamp),
        limit: usize,
    ) -> Result<Vec<api::Transition>, QueryError> {
        self.ask(move |question| {
            let newest = |rows: LazyFrame| {
                rows.sort(["time"], SortMultipleOptions::default().with_order_descending(true))
                    .limit(u32::try_from(limit.min(MAX_LIMIT)).unwrap_or(u32::MAX))
            };
            let wanted = |rows: LazyFrame| newest(rows.filter(between("time", from, to)));
            let found = question.collect(Kind::BreakerEvents, |e| e.overlaps(from, to), wanted)?;
            Ok(events::decode(&newest(found.lazy()).collect()?)?)
        })
        .await
    }

    /// Incidents that were open at some time in `[from, to]`, as last seen, newest first.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn incidents(&self, from: Timestamp, to: Timestamp) -> Result<Vec<api::Incident>, QueryError> {
        self.ask(move |question| {
            let plan = |rows: LazyFrame| {
                let over = col("resolved_at").lt(moment(from)).fill_null(lit(false));
                rows.filter(col("started_at").lt_eq(moment(to)).and(over.not()))
            };
            Ok(incidents::decode_latest(&question.collect(Kind::Incidents, |e| e.overlaps(from, to), plan)?)?)
        })
        .await
    }

    /// One incident as last seen; none when it was never stored.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn incident(&self, id: &str) -> Result<Option<api::Incident>, QueryError> {
        let id = id.to_owned();
        self.ask(move |question| {
            let plan = |rows: LazyFrame| rows.filter(col("id").eq(lit(id.clone())));
            let frame = question.collect(Kind::Incidents, |_| true, plan)?;
            Ok(incidents::decode_latest(&frame)?.into_iter().next())
        })
        .await
    }

    /// Runs `answer` on a blocking thread over what history consists of now. It is told to stop when this future is dropped.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&Question) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let time = self.query_timeout;
        let given_up = CancellationToken::new();
        let _until_dropped = given_up.clone().drop_guard();
        let allowance = Allowance { given_up, deadline: Instant::now() + time, time, bytes: self.query_bytes };
        let work = async {
            let place = Arc::clone(&self.queries).acquire_owned().await.map_err(|_| QueryError::Closed)?;
            let contents = contents(&self.questions).await?;
            let question = Question { contents, reader: Arc::clone(&self.reader), allowance };
            let tally = Arc::clone(&self.tally);
            let answer = tokio::task::spawn_blocking(move || {
                let _place = place;
                tally.queries_running.fetch_add(1, Relaxed);
                let answer = answer(&question);
                tally.queries_running.fetch_sub(1, Relaxed);
                if matches!(answer, Err(QueryError::GivenUp)) {
                    tally.queries_given_up.fetch_add(1, Relaxed);
                }
                answer
            });
            answer.await.map_err(|_| QueryError::Closed)?
        };
        self.tally.asked();
        let answer = tokio::time::timeout(time, work).await.unwrap_or(Err(QueryError::Timeout(time)));
        if matches!(answer, Err(QueryError::Timeout(_))) {
            self.tally.timed_out();
        }
        answer
    }
}

async fn contents(questions: &mpsc::Sender<oneshot::Sender<Contents>>) -> Result<Contents, QueryError> {
    let (answer, asked) = oneshot::channel();
    questions.send(answer).await.map_err(|_| QueryError::Closed)?;
    asked.await.map_err(|_| QueryError::Closed)
}

fn wanted_logs(query: &LogQuery) -> Expr {
    let mut wanted = lit(true);
    if let Some(service) = &query.service {
        wanted = wanted.and(col("service").eq(lit(service.clone())));
    }
    if let Some(trace) = query.trace {
        wanted = wanted.and(col("trace_id").eq(id_literal(trace)));
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

/// Rows that start in `[from, to)`.
pub(super) fn starts_in((from, to): (Timestamp, Timestamp)) -> Expr {
    col("start").gt_eq(moment(from)).and(col("start").lt(moment(to)))
}

fn between(column: &str, from: Timestamp, to: Timestamp) -> Expr {
    col(column).gt_eq(moment(from)).and(col(column).lt_eq(moment(to)))
}

/// `NANOSECONDS.REST`.
fn parse_cursor(cursor: &str) -> Result<(Timestamp, String), QueryError> {
    let (at, rest) = cursor.split_once('.').ok_or(QueryError::Cursor)?;
    Ok((Timestamp::from_nanos(at.parse().map_err(|_| QueryError::Cursor)?), rest.to_owned()))
}
