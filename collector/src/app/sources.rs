//! What the parts that the composition root owns hand in to `/metrics` and `/readyz`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tripline_otlp::wire::Signal;

use crate::export::Exporters;
use crate::history::History;
use crate::http::Check;
use crate::metrics::{Sample, Source};
use crate::receive::{Counters, Reason};

/// The signals of OTLP and their labels.
const SIGNALS: [(Signal, &str); 3] = [(Signal::Traces, "traces"), (Signal::Metrics, "metrics"), (Signal::Logs, "logs")];

/// The numbers of the receivers and the journal.
pub(super) fn receivers(counters: Arc<Counters>) -> Source {
    Box::new(move || {
        let c = &counters;
        let mut samples = Vec::new();
        for (signal, name) in SIGNALS {
            let (requests, bytes) = (c.requests(signal), c.bytes(signal));
            let help = "Requests acknowledged";
            samples.push(Sample::counter("tripline_collector_requests", help, requests).with("signal", name));
            let help = "Bytes of acknowledged requests, decompressed";
            samples.push(Sample::counter("tripline_collector_request_bytes", help, bytes).with("signal", name));
        }
        let items = [("reports", &c.reports), ("transitions", &c.transitions), ("spans", &c.spans), ("logs", &c.logs)];
        for (item, counter) in items {
            let sample = Sample::counter("tripline_collector_received", "Items taken in", counter.load(Relaxed));
            samples.push(sample.with("item", item));
        }
        for reason in Reason::ALL {
            let sample = Sample::counter("tripline_collector_refused", "Requests refused", c.refused(reason));
            samples.push(sample.with("reason", reason.as_str()));
        }
        let plain = [
            ("tripline_collector_rejected_items", "Items left out of otherwise good requests", &c.rejected_items),
            ("tripline_collector_xray_datagrams", "X-Ray datagrams received", &c.xray_datagrams),
            ("tripline_collector_xray_left_out", "X-Ray segments in progress or without a service", &c.xray_left_out),
            ("tripline_collector_xray_dropped", "Spans from X-Ray datagrams dropped", &c.xray_dropped),
            ("tripline_collector_repeated_reports", "Sidecar reports seen before", &c.repeated_reports),
            ("tripline_collector_repeated_transitions", "Breaker transitions seen before", &c.repeated_transitions),
            ("tripline_collector_journal_commits", "Syncs of the journal", &c.journal_commits),
            ("tripline_collector_journal_torn_bytes", "Bytes found torn at the start", &c.journal_torn_bytes),
            ("tripline_collector_journal_lost", "Records found damaged", &c.journal_lost),
            ("tripline_collector_journal_replayed", "Records read back at the start", &c.journal_replayed),
        ];
        samples.extend(plain.map(|(name, help, counter)| Sample::counter(name, help, counter.load(Relaxed))));
        let bytes = c.journal_bytes.load(Relaxed) as f64;
        samples.push(Sample::gauge("tripline_collector_journal_disk_bytes", "Bytes of the journal on disk", bytes));
        samples
    })
}

/// The numbers of each second endpoint.
pub(super) fn exporters(exporters: Exporters) -> Source {
    Box::new(move || {
        let each = |(endpoint, c): (&str, &crate::export::Counters)| {
            let dropped = |reason: &str, count: u64| {
                Sample::counter("tripline_collector_export_dropped", "Requests dropped", count).with("reason", reason)
            };
            [
                Sample::counter(
                    "tripline_collector_export_sent",
                    "Requests that the endpoint took",
                    c.sent.load(Relaxed),
                ),
                Sample::counter("tripline_collector_export_retries", "Attempts made again", c.retries.load(Relaxed)),
                dropped("full", c.dropped_full.load(Relaxed)),
                dropped("refused", c.dropped_refused.load(Relaxed)),
                dropped("expired", c.dropped_expired.load(Relaxed)),
            ]
            .map(|sample| sample.with("endpoint", endpoint))
        };
        exporters.counters().flat_map(each).collect()
    })
}

/// Whether history keeps up with the journal.
pub(super) fn journal_check(history: &History) -> Check {
    let history = history.clone();
    Check::new("history", move || {
        let counters = history.counters();
        if counters.write_failures > 0 && counters.flushes == 0 {
            return Err("nothing could be written yet; check the disk of `data_dir`".into());
        }
        Ok(())
    })
}
