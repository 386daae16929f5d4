//! The sidecar's own metrics in Prometheus' text form.
//!
//! Written from the running totals of the reports and a few gauges at the moment of the scrape. Labels are bounded: servers
//! come from the configuration, clients are folded by the tally. A breaker's state is always there, 0 when closed, so that
//! silence is never mistaken for health.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tripline_model::{EdgeKey, Histogram, Reporter};

use crate::report::Totals;
use crate::tally::{Refusal, Tally};
use crate::worker::Shared;

/// Upper bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// A scrape.
#[derive(Debug)]
struct Scrape {
    shared: Arc<Shared>,
    totals: Arc<Totals>,
}

/// All metrics as text.
///
/// # Errors
/// [`fmt::Error`] never happens when writing to a string.
pub(crate) fn text(shared: &Arc<Shared>, totals: Arc<Totals>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { shared: Arc::clone(shared), totals }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.requests(&mut encoder)?;
        self.durations(&mut encoder)?;
        self.breakers(&mut encoder)?;
        self.process(&mut encoder)
    }
}

type EdgeCounter = fn(&Tally) -> u64;

impl Scrape {
    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let outcomes: [(&str, EdgeCounter); 4] = [
            ("success", |tally| {
                tally.counts.requests.saturating_sub(tally.counts.failed).saturating_sub(tally.counts.cancelled)
            }),
            ("failure", |tally| tally.counts.failed.saturating_sub(tally.counts.shed)),
            ("shed", |tally| tally.counts.shed),
            ("cancelled", |tally| tally.counts.cancelled),
        ];
        self.by_outcome(encoder, ("tripline_proxy_requests", "Requests that ended, by edge and outcome"), &outcomes)?;
        let attempts: [(&str, EdgeCounter); 4] = [
            ("success", |tally| {
                let failed = tally.counts.answered_failures.saturating_add(tally.counts.transport_failures);
                tally.counts.attempts.saturating_sub(failed)
            }),
            ("failure", |tally| tally.counts.answered_failures.saturating_sub(tally.counts.induced)),
            ("induced", |tally| tally.counts.induced),
            ("no_answer", |tally| tally.counts.transport_failures),
        ];
        self.by_outcome(
            encoder,
            ("tripline_proxy_attempts", "Tries sent to an endpoint, retries included"),
            &attempts,
        )?;
        let plain: [(&str, &str, EdgeCounter); 3] = [
            ("tripline_proxy_retries", "Tries beyond the first of their request", |tally| tally.counts.retries),
            ("tripline_proxy_request", "Bytes of request bodies", |tally| tally.counts.request_bytes),
            ("tripline_proxy_response", "Bytes of response bodies", |tally| tally.counts.response_bytes),
        ];
        for (name, help, count) in plain {
            let unit = (name != "tripline_proxy_retries").then_some(&Unit::Bytes);
            let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
            for (edge, tally) in &self.totals.edges {
                counter(&mut family, &edge_labels(edge), count(tally))?;
            }
        }
        Ok(())
    }

    fn by_outcome(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        outcomes: &[(&str, EdgeCounter)],
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (edge, tally) in &self.totals.edges {
            for (outcome, count) in outcomes {
                let mut labels = edge_labels(edge).to_vec();
                labels.push(("outcome", (*outcome).to_owned()));
                counter(&mut family, &labels, count(tally))?;
            }
        }
        Ok(())
    }

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Time from a request to the end of its answer";
        let unit = Some(&Unit::Seconds);
        let mut family =
            encoder.encode_descriptor("tripline_proxy_request_duration", help, unit, MetricType::Histogram)?;
        for (edge, tally) in &self.totals.edges {
            let (buckets, count) = (classic(&tally.latency), tally.latency.count());
            let labels = edge_labels(edge);
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(tally.latency.sum().as_secs_f64(), count, &buckets, None)?;
        }
        Ok(())
    }

    fn breakers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let labels = |breaker: &tripline_model::BreakerStatus| {
            [
                ("breaker", breaker.breaker.clone()),
                ("server", breaker.server.to_string()),
                ("endpoint", breaker.endpoint.clone()),
            ]
        };
        let help = "State of a breaker: 0 closed, 1 half open, 2 open";
        let mut family = encoder.encode_descriptor("tripline_breaker_state", help, None, MetricType::Gauge)?;
        for breaker in &self.totals.breakers {
            gauge(&mut family, &labels(breaker), i64::from(breaker.state.as_gauge()))?;
        }
        let help = "How often a breaker tripped";
        let mut family = encoder.encode_descriptor("tripline_breaker_trips", help, None, MetricType::Counter)?;
        for breaker in &self.totals.breakers {
            counter(&mut family, &labels(breaker), breaker.trips)?;
        }
        let help = "Trips denied because too many endpoints were ejected already";
        let mut family =
            encoder.encode_descriptor("tripline_breaker_suppressed_trips", help, None, MetricType::Counter)?;
        counter(&mut family, &[], self.shared.events.suppressed_trips())
    }

    fn turned_away(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that a policy did not let pass to the application, by both identities";
        let mut family =
            encoder.encode_descriptor("tripline_proxy_turned_away_requests", help, None, MetricType::Counter)?;
        let server = self.shared.service().to_string();
        for turned in self.shared.plan.get().inbound.counts() {
            for (reason, count) in [("denied", turned.denied), ("rate_limited", turned.limited)] {
                let labels =
                    [("client", turned.client.to_string()), ("server", server.clone()), ("reason", reason.to_owned())];
                counter(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that were refused and belong to no edge";
        let mut family =
            encoder.encode_descriptor("tripline_proxy_refused_requests", help, None, MetricType::Counter)?;
        for (refusal, count) in Refusal::ALL.iter().zip(self.totals.refused) {
            counter(&mut family, &[("reason", refusal.as_str().to_owned())], count)?;
        }
        let help = "Telemetry that had to be dropped";
        let mut family =
            encoder.encode_descriptor("tripline_proxy_telemetry_dropped", help, None, MetricType::Counter)?;
        for (reason, count) in self.shared.plan.get().access_log.iter().flat_map(|log| log.lost()) {
            counter(&mut family, &[("kind", "log_line".to_owned()), ("reason", reason.to_owned())], count)?;
        }
        for (kind, reason, count) in self.shared.dropped.counts() {
            counter(&mut family, &[("kind", kind.to_owned()), ("reason", reason.to_owned())], count)?;
        }
        let help = "Retries that the budget did not allow";
        let mut family = encoder.encode_descriptor("tripline_proxy_denied_retries", help, None, MetricType::Counter)?;
        counter(&mut family, &[], self.shared.events.denied_retries())?;
        let help = "Calls that a FaultInjection made to go wrong";
        let mut family =
            encoder.encode_descriptor("tripline_proxy_injected_faults", help, None, MetricType::Counter)?;
        let injected = &self.shared.injected;
        for (kind, count) in [("delay", &injected.delays), ("abort", &injected.aborts)] {
            counter(&mut family, &[("kind", kind.to_owned())], count.load(Ordering::Relaxed))?;
        }
        self.turned_away(encoder)?;
        let help = "New configurations, by what became of them";
        let mut family = encoder.encode_descriptor("tripline_proxy_reloads", help, None, MetricType::Counter)?;
        for (result, count) in [("loaded", &self.shared.reloads.loaded), ("refused", &self.shared.reloads.refused)] {
            counter(&mut family, &[("result", result.to_owned())], count.load(Ordering::Relaxed))?;
        }
        let plan = self.shared.plan.get();
        let connections = &self.shared.connections;
        let help = "Accepted connections that are open";
        let mut family = encoder.encode_descriptor("tripline_proxy_connections", help, None, MetricType::Gauge)?;
        gauge(&mut family, &[], connections.open.load(Ordering::Relaxed))?;
        for (name, help, count) in [
            ("tripline_proxy_connections_accepted", "Connections accepted", &connections.accepted),
            ("tripline_proxy_connections_failed", "Connections that could not be accepted", &connections.failed),
            (
                "tripline_proxy_connections_tls_refused",
                "Inbound connections refused because of TLS or certificates",
                &connections.tls_refused,
            ),
            ("tripline_proxy_tls_reloads", "Changed certificates taken into use", &plan.tls.reloads.0),
            ("tripline_proxy_tls_reload_failures", "Changed certificates that could not be used", &plan.tls.reloads.1),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter(&mut family, &[], count.load(Ordering::Relaxed))?;
        }
        let help = "How often a limit was hit, by which";
        let mut family = encoder.encode_descriptor("tripline_proxy_limits_hit", help, None, MetricType::Counter)?;
        for (limit, count) in connections.hits.counts() {
            counter(&mut family, &[("limit", limit.to_owned())], count)?;
        }
        let help = "Connections closed in the middle because the time to drain was over";
        let mut family =
            encoder.encode_descriptor("tripline_proxy_connections_cut", help, None, MetricType::Counter)?;
        counter(&mut family, &[], connections.cut.load(Ordering::Relaxed))?;
        let help = "Reports made for the collector";
        let mut family = encoder.encode_descriptor("tripline_proxy_reports", help, None, MetricType::Counter)?;
        counter(&mut family, &[], self.totals.reports)?;
        self.identity(encoder)
    }

    fn identity(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Ports of the outside that the redirect rules leave alone: nothing of what passes there is seen";
        let mut family = encoder.encode_descriptor("tripline_proxy_bypassed_port", help, None, MetricType::Gauge)?;
        for port in &self.shared.bypassed {
            gauge(&mut family, &[("port", port.to_string())], 1)?;
        }
        let sidecar = &self.shared.sidecar;
        let labels = [("version", sidecar.version.clone()), ("service", sidecar.service.to_string())];
        let mut family =
            encoder.encode_descriptor("tripline_proxy_build_info", "What runs here", None, MetricType::Gauge)?;
        gauge(&mut family, &labels, 1)
    }
}

fn counter(family: &mut MetricEncoder<'_>, labels: &[(&'static str, String)], value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(family.encode_family(&labels)?)
}

fn gauge(family: &mut MetricEncoder<'_>, labels: &[(&'static str, String)], value: i64) -> fmt::Result {
    ConstGauge::new(value).encode(family.encode_family(&labels)?)
}

fn edge_labels((edge, reporter): &(EdgeKey, Reporter)) -> [(&'static str, String); 4] {
    let half = if *reporter == Reporter::Server { "inbound" } else { "outbound" };
    [
        ("client", edge.client.to_string()),
        ("server", edge.server.to_string()),
        ("protocol", edge.protocol.to_string()),
        ("half", half.to_owned()),
    ]
}

/// The fine buckets folded into the coarse ones that Prometheus shows; a fine one counts where its upper end lies.
fn classic(histogram: &Histogram) -> Vec<(f64, u64)> {
    let mut buckets: Vec<(f64, u64)> = BOUNDS.iter().copied().chain([f64::MAX]).map(|bound| (bound, 0)).collect();
    for (index, count) in histogram.buckets() {
        let upper = (f64::from(index + 1) / f64::from(1 << tripline_model::histogram::SCALE)).exp2() * 1e-6;
        if let Some((_, sum)) = buckets.iter_mut().find(|(bound, _)| upper <= *bound) {
            *sum += u64::from(count);
        }
    }
    buckets
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn coarse_buckets_keep_every_count() {
        let mut histogram = Histogram::default();
        for micros in [1, 900, 1_500, 40_000, 700_000, 3_600_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let buckets = classic(&histogram);
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 6);
        assert_eq!(buckets.last(), Some(&(f64::MAX, 1)));
        assert_eq!(buckets.iter().find(|(bound, _)| *bound == 0.001).map(|(_, count)| *count), Some(2));
    }
}
