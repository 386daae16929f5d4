//! `GET /api/v1/recording`: what history keeps of a range of time, page by page, for whoever wants to judge it again.
//!
//! A page covers a range of its own and holds everything that starts in it. Its length follows from how much there is: history is asked for
//! ten seconds, then for twice as long each time, until the page has [`PAGE_ROWS`] rows. So an hour of a small mesh
//! is one page, and a page of a large one is ten seconds.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use tripline_api as api;
use tripline_model::Timestamp;

use super::App;
use super::answer::{Answer, Params, Refusal};
use super::params::{PageParams, range, time};
use crate::clock::{parse_rfc3339, rfc3339};
use crate::history::{History, MAX_LIMIT, PANE, QueryError};
use crate::recorded;

/// Rows after which a page ends.
const PAGE_ROWS: usize = 20_000;
/// Longest range that is asked of history at once.
const LONGEST: Duration = Duration::from_secs(1_800);
/// Transitions of one page; of more, those are kept that were last.
const MAX_TRANSITIONS: usize = 50_000;

/// Everything kept of a range of time: windows of all edges, and breaker transitions. The last half minute is not in it yet.
#[utoipa::path(get, path = "/api/v1/recording", params(PageParams), responses(
    (status = 200, body = api::RecordedRange), (status = 400, body = api::ApiError), (status = 504, body = api::ApiError)))]
pub(super) async fn recording(
    State(app): State<App>,
    Params(params): Params<PageParams>,
) -> Answer<api::RecordedRange> {
    let (from, to) = range(params.from.as_deref(), params.to.as_deref())?;
    let from = match params.cursor.as_deref() {
        None => from.window_start(PANE),
        Some(cursor) => time("cursor", cursor)?.window_start(PANE),
    };
    if from > to {
        return Err(Refusal::bad_request("cursor: expected one of an answer for the same range"));
    }
    Ok(Json(page(&app.parts.history, from, to).await?))
}

async fn page(history: &History, from: Timestamp, to: Timestamp) -> Result<api::RecordedRange, QueryError> {
    let (mut windows, mut end, mut length) = (Vec::new(), from, PANE);
    while end < to && windows.len() < PAGE_ROWS {
        let next = (end + length).min(to);
        windows.extend(history.edge_windows(end, next).await?);
        (end, length) = (next, (length * 2).min(LONGEST));
    }
    windows.sort_by(|a, b| (a.start, &a.key, a.reporter).cmp(&(b.start, &b.key, b.reporter)));
    Ok(api::RecordedRange {
        from: rfc3339(from),
        to: rfc3339(end),
        windows: windows.iter().map(recorded::window).collect(),
        transitions: transitions(history, from, end).await?,
        next: (end < to).then(|| rfc3339(end)),
    })
}

/// All transitions in `[from, to)`, oldest first. History answers the newest first and a bounded number at a time.
async fn transitions(history: &History, from: Timestamp, to: Timestamp) -> Result<Vec<api::Transition>, QueryError> {
    let mut all: Vec<api::Transition> = Vec::new();
    let instant = Duration::from_nanos(1);
    let mut last = to - instant;
    while from <= last && all.len() < MAX_TRANSITIONS {
        let mut newest_first = history.transitions((from, last), MAX_LIMIT).await?;
        let is_full = newest_first.len() >= MAX_LIMIT;
        let oldest = newest_first.last().map(|transition| transition.at.clone());
        if let Some(oldest) = oldest.filter(|_| is_full) {
            // Others of the same instant may not have fitted: they come with the next question, unless they are all there is.
            let before = newest_first.iter().filter(|transition| transition.at != oldest).count();
            let whole = before > 0;
            newest_first.truncate(if whole { before } else { newest_first.len() });
            let at = parse_rfc3339(&oldest).unwrap_or(from);
            last = if whole { at } else { at - instant };
        } else {
            last = from - instant;
        }
        all.extend(newest_first);
        if !is_full {
            break;
        }
    }
    all.reverse();
    Ok(all)
}
