//! The numbers that parts of the collector hand in.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::sample::Sample;
use super::{Source, encode};
use crate::alert::Alerts;
use crate::history::History;

/// Writes what all parts hand in, at each scrape.
pub(super) struct Sources(pub(super) Vec<Source>);

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sources").field(&self.0.len()).finish()
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        encode::samples(&mut encoder, self.0.iter().flat_map(|source| source()).collect())
    }
}

/// The numbers of history.
#[must_use]
pub fn history(history: History) -> Source {
    Box::new(move || {
        let c = history.counters();
        let gauge = |name, help, value: u64| Sample::gauge(name, help, value as f64);
        vec![
            Sample::counter("tripline_collector_history_rows_written", "Rows written to Parquet", c.rows_written),
            Sample::counter("tripline_collector_history_flushes", "Flushes that ended well", c.flushes),
            Sample::counter("tripline_collector_history_merges", "Merges of files that ended well", c.merges),
            Sample::counter(
                "tripline_collector_history_write_failures",
                "Flushes and merges that failed",
                c.write_failures,
            ),
            Sample::counter("tripline_collector_history_files_expired", "Files let go by retention", c.files_expired),
            Sample::counter(
                "tripline_collector_history_inputs_dropped",
                "Sets of edge windows lost because history was too slow",
                c.inputs_dropped,
            ),
            Sample::counter(
                "tripline_collector_history_batches_repeated",
                "Batches that were in Parquet already",
                c.batches_repeated,
            ),
            Sample::counter(
                "tripline_collector_history_positions_skipped",
                "Journal positions that never came",
                c.positions_skipped,
            ),
            Sample::counter("tripline_collector_history_queries", "Questions asked", c.queries),
            Sample::counter(
                "tripline_collector_history_query_timeouts",
                "Questions that took too long",
                c.query_timeouts,
            ),
            Sample::counter(
                "tripline_collector_history_queries_given_up",
                "Questions that stopped because whoever asked was gone",
                c.queries_given_up,
            ),
            gauge(
                "tripline_collector_history_queries_running",
                "Questions that are being answered now",
                c.queries_running,
            ),
            gauge("tripline_collector_history_files", "Parquet files", c.files),
            gauge("tripline_collector_history_files_bad", "Parquet files that cannot be read", c.files_bad),
            gauge("tripline_collector_history_disk_bytes", "Bytes of history on disk", c.bytes),
            gauge("tripline_collector_history_rows_waiting", "Rows in memory, not yet written", c.rows_waiting),
            gauge(
                "tripline_collector_history_durable_position",
                "Journal position up to which all is in Parquet",
                *history.durable().borrow(),
            ),
        ]
    })
}

/// The numbers of the alert receivers. Receivers of the same kind and host are told apart by their place in the configuration.
#[must_use]
pub fn alerts(alerts: Alerts) -> Source {
    Box::new(move || {
        let each = |(place, c): (usize, crate::alert::Counters)| {
            let labelled = |name, help, value| {
                Sample::counter(name, help, value)
                    .with("kind", c.kind)
                    .with("host", c.host.clone())
                    .with("place", place.to_string())
            };
            [
                labelled("tripline_collector_alerts_delivered", "Posts that an alert receiver took", c.delivered),
                labelled("tripline_collector_alerts_failures", "Posts to an alert receiver that failed", c.failures),
                labelled(
                    "tripline_collector_alerts_dropped",
                    "Notifications that an alert receiver was never told",
                    c.dropped,
                ),
            ]
        };
        alerts.counters().into_iter().enumerate().flat_map(each).collect()
    })
}
