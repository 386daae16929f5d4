//! What the collector's history kept of a range of time, fetched page by page.

use std::io::IsTerminal;

use anyhow::{Context, ensure};
use tripline_api::RecordedRange;
use tripline_collector::clock::{parse_rfc3339, rfc3339};
use tripline_collector::recorded::{read_transition, read_window};
use tripline_model::{BreakerTransition, EdgeWindow, Timestamp};

use crate::args::ApiArguments;
use crate::client::Client;
use crate::style::tell;

/// Windows and transitions kept in memory at most: a day of a small mesh, ten minutes of a thousand services.
const MAX_ROWS: usize = 2_000_000;

/// Windows by end and start, transitions by time.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Ten-second windows of all edges and reporters.
    pub(crate) windows: Vec<EdgeWindow>,
    /// Breaker transitions.
    pub(crate) transitions: Vec<BreakerTransition>,
}

/// Asks the collector for everything between two times.
///
/// # Errors
/// When it cannot be reached, has nothing of that time, or has more than fits.
pub(crate) async fn fetch(api: &ApiArguments, (from, to): (Timestamp, Timestamp)) -> anyhow::Result<Past> {
    ensure!(from < to, "--from must be before --to");
    let client = Client::new(api)?;
    let (from_text, to_text) = (rfc3339(from), rfc3339(to));
    let mut past = Past::default();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("from", from_text.as_str()), ("to", to_text.as_str())];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page: RecordedRange = client.get("recording", &query).await?;
        past.add(&page)?;
        let rows = past.windows.len() + past.transitions.len();
        ensure!(rows <= MAX_ROWS, "more than {MAX_ROWS} rows in that time: ask for a shorter range");
        let Some(next) = page.next else { break };
        let at = parse_rfc3339(&next).context("the collector answered with a cursor that is no time")?;
        let before = cursor.as_deref().and_then(parse_rfc3339);
        ensure!(before.is_none_or(|before| before < at), "the collector's pages do not go on");
        if std::io::stderr().is_terminal() {
            tell(format_args!("{rows} rows, up to {next}"));
        }
        cursor = Some(next);
    }
    ensure!(
        !past.windows.is_empty(),
        "the collector's history has nothing between {from_text} and {to_text}; what is younger than half a minute is not in it yet"
    );
    past.windows.sort_by(|a, b| {
        let order = |w: &EdgeWindow| (w.start + w.length, w.start);
        (order(a), &a.key, a.reporter).cmp(&(order(b), &b.key, b.reporter))
    });
    past.transitions.sort_by(|a, b| {
        let order = |t: &BreakerTransition| (t.at, t.client_instance.clone(), t.sequence);
        order(a).cmp(&order(b))
    });
    Ok(past)
}

impl Past {
    fn add(&mut self, page: &RecordedRange) -> anyhow::Result<()> {
        for window in &page.windows {
            self.windows.push(read_window(window)?);
        }
        for transition in &page.transitions {
            self.transitions.push(read_transition(transition)?);
        }
        Ok(())
    }
}
