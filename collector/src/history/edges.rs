//! Edge windows as columns and back, without loss, so that any past graph can be folded again.

use std::time::Duration;

use polars::prelude::*;
use tripline_model::{EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind, Reporter};

use super::frame::{Columns, Table, Texts};

const LATENCY: [&str; 3] = ["latency_offset", "latency_counts", "latency_sum_us"];
const SELF_TIME: [&str; 3] = ["self_offset", "self_counts", "self_sum_us"];

/// One column for each count: its name, how to read it, how to write it.
type Count = (&'static str, fn(&EdgeCounts) -> u64, fn(&mut EdgeCounts, u64));
const COUNTS: [Count; 13] = [
    ("requests", |c| c.requests, |c, n| c.requests = n),
    ("failed", |c| c.failed, |c, n| c.failed = n),
    ("cancelled", |c| c.cancelled, |c, n| c.cancelled = n),
    ("shed", |c| c.shed, |c, n| c.shed = n),
    ("attempts", |c| c.attempts, |c, n| c.attempts = n),
    ("retries", |c| c.retries, |c, n| c.retries = n),
    ("answered_failures", |c| c.answered_failures, |c, n| c.answered_failures = n),
    ("transport_failures", |c| c.transport_failures, |c, n| c.transport_failures = n),
    ("induced", |c| c.induced, |c, n| c.induced = n),
    ("origin_failures", |c| c.origin_failures, |c, n| c.origin_failures = n),
    ("propagated_failures", |c| c.propagated_failures, |c, n| c.propagated_failures = n),
    ("request_bytes", |c| c.request_bytes, |c, n| c.request_bytes = n),
    ("response_bytes", |c| c.response_bytes, |c, n| c.response_bytes = n),
];

/// Encodes edge windows; columns as `docs/history.md` lists them.
pub(super) fn encode(windows: &[&EdgeWindow]) -> PolarsResult<DataFrame> {
    let each = || windows.iter();
    let mut columns = Columns::of_height(windows.len());
    columns
        .time("start", each().map(|w| w.start))
        .int("length_ms", each().map(|w| u64::try_from(w.length.as_millis()).unwrap_or(u64::MAX)))
        .text("client", each().map(|w| w.key.client.to_string()))
        .text("server", each().map(|w| w.key.server.to_string()))
        .text("protocol", each().map(|w| w.key.protocol.as_str()))
        .text("reporter", each().map(|w| reporter(w.reporter)))
        .text("client_kind", each().map(|w| w.client_kind.as_str()))
        .text("server_kind", each().map(|w| w.server_kind.as_str()))
        .flag("secured", each().map(|w| w.secured));
    for (name, read, _) in COUNTS {
        columns.int(name, each().map(|w| read(&w.counts)));
    }
    for (name, q) in [("latency_p50_ms", 0.5), ("latency_p90_ms", 0.9), ("latency_p99_ms", 0.99)] {
        columns.float(name, each().map(|w| w.latency.quantile(q).unwrap_or_default().as_secs_f64() * 1e3));
    }
    columns.histogram(LATENCY, each().map(|w| &w.latency)).histogram(SELF_TIME, each().map(|w| &w.self_time));
    columns.finish()
}

/// Decodes edge windows in the order of `frame`; a row that names no known protocol, reporter or kind is left out.
pub(super) fn decode(frame: &DataFrame) -> PolarsResult<Vec<EdgeWindow>> {
    let table = Table(frame);
    let (start, length, secured) = (table.int("start")?, table.int("length_ms")?, table.flag("secured")?);
    let [client, server, protocol] = [table.text("client")?, table.text("server")?, table.text("protocol")?];
    let [reporter, client_kind, server_kind] =
        [table.text("reporter")?, table.text("client_kind")?, table.text("server_kind")?];
    let counts = COUNTS.iter().map(|(name, ..)| table.int(name)).collect::<PolarsResult<Vec<_>>>()?;
    let (latency, self_time) = (histograms(&table, LATENCY)?, histograms(&table, SELF_TIME)?);
    let window = |row: usize| {
        let mut sums = EdgeCounts::default();
        COUNTS.iter().zip(&counts).for_each(|((_, _, write), column)| write(&mut sums, column.at(row)));
        Some(EdgeWindow {
            key: EdgeKey {
                client: client.at(row).into(),
                server: server.at(row).into(),
                protocol: protocol.at(row).parse().ok()?,
            },
            reporter: reporter_of(reporter.at(row))?,
            client_kind: kind_of(&client_kind, row)?,
            server_kind: kind_of(&server_kind, row)?,
            start: start.time(row),
            length: Duration::from_millis(length.at(row)),
            counts: sums,
            latency: latency(row),
            self_time: self_time(row),
            secured: secured.at(row),
        })
    };
    Ok((0..frame.height()).filter_map(window).collect())
}

fn histograms(table: &Table<'_>, [offset, counts, sum]: [&str; 3]) -> PolarsResult<impl Fn(usize) -> Histogram> {
    let (offset, counts, sum) = (table.int(offset)?, table.list(counts)?, table.int(sum)?);
    Ok(move |row| {
        let series = counts.get_as_series(row).unwrap_or_default();
        let counts: Vec<u64> =
            series.u32().map(|counts| counts.iter().flatten().map(u64::from).collect()).unwrap_or_default();
        let offset = i32::try_from(offset.signed(row)).unwrap_or_default();
        Histogram::from_buckets(offset, &counts, Duration::from_micros(sum.at(row)))
    })
}

const fn reporter(reporter: Reporter) -> &'static str {
    match reporter {
        Reporter::Client => "client",
        Reporter::Server => "server",
        Reporter::Spans => "spans",
    }
}

fn reporter_of(word: &str) -> Option<Reporter> {
    [Reporter::Client, Reporter::Server, Reporter::Spans].into_iter().find(|r| reporter(*r) == word)
}

fn kind_of(words: &Texts, row: usize) -> Option<NodeKind> {
    const ALL: [NodeKind; 6] =
        [NodeKind::Service, NodeKind::Gateway, NodeKind::External, NodeKind::Database, NodeKind::Queue, NodeKind::User];
    ALL.into_iter().find(|kind| kind.as_str() == words.at(row))
}
