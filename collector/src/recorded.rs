//! Edge windows and breaker transitions as `GET /api/v1/recording` writes them, and back.
//!
//! Both ways stand here, so that what the command line judges again is what the collector kept: nothing is lost but what is finer than
//! a microsecond of a histogram's sum and a millisecond of the time in a breaker's state. A value that names no known protocol,
//! reporter, kind, state or reason is refused; whether its numbers can be true together is asked by whoever counts it.

use std::time::Duration;

use tripline_api as api;
use tripline_model::{
    BreakerState, BreakerTransition, EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind, Reporter, TraceId,
};

use crate::clock::{parse_rfc3339, rfc3339};

/// Longest window that is read back.
const LONGEST: f64 = 86_400.0;

/// A value of the API that stands for nothing we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a recorded {what} cannot be read: {field} is \"{text}\"")]
pub struct Unreadable {
    what: &'static str,
    field: &'static str,
    text: String,
}

/// A window as the API writes it.
#[must_use]
pub fn window(window: &EdgeWindow) -> api::RecordedWindow {
    let counts = &window.counts;
    api::RecordedWindow {
        start: rfc3339(window.start),
        seconds: window.length.as_secs_f64(),
        client: window.key.client.to_string(),
        server: window.key.server.to_string(),
        protocol: window.key.protocol.to_string(),
        reporter: reporter(window.reporter).into(),
        client_kind: kind(window.client_kind),
        server_kind: kind(window.server_kind),
        secured: window.secured,
        counts: api::RecordedCounts {
            requests: counts.requests,
            failed: counts.failed,
            cancelled: counts.cancelled,
            shed: counts.shed,
            attempts: counts.attempts,
            retries: counts.retries,
            answered_failures: counts.answered_failures,
            transport_failures: counts.transport_failures,
            induced: counts.induced,
            origin_failures: counts.origin_failures,
            propagated_failures: counts.propagated_failures,
            request_bytes: counts.request_bytes,
            response_bytes: counts.response_bytes,
        },
        latency: histogram(&window.latency),
        self_time: histogram(&window.self_time),
    }
}

/// The window that the API wrote.
///
/// # Errors
/// When a word in it is not known, or its time is none.
pub fn read_window(window: &api::RecordedWindow) -> Result<EdgeWindow, Unreadable> {
    let bad = |field, text: &str| Unreadable { what: "window", field, text: text.chars().take(80).collect() };
    let seconds = window.seconds;
    if !(0.001..=LONGEST).contains(&seconds) {
        return Err(bad("seconds", &seconds.to_string()));
    }
    let counts = &window.counts;
    Ok(EdgeWindow {
        key: EdgeKey {
            client: window.client.as_str().into(),
            server: window.server.as_str().into(),
            protocol: window.protocol.parse().map_err(|_| bad("protocol", &window.protocol))?,
        },
        reporter: REPORTERS
            .into_iter()
            .find(|known| reporter(*known) == window.reporter)
            .ok_or_else(|| bad("reporter", &window.reporter))?,
        client_kind: read_kind(window.client_kind),
        server_kind: read_kind(window.server_kind),
        start: parse_rfc3339(&window.start).ok_or_else(|| bad("start", &window.start))?,
        length: Duration::from_secs_f64(seconds),
        counts: EdgeCounts {
            requests: counts.requests,
            failed: counts.failed,
            cancelled: counts.cancelled,
            shed: counts.shed,
            attempts: counts.attempts,
            retries: counts.retries,
            answered_failures: counts.answered_failures,
            transport_failures: counts.transport_failures,
            induced: counts.induced,
            origin_failures: counts.origin_failures,
            propagated_failures: counts.propagated_failures,
            request_bytes: counts.request_bytes,
            response_bytes: counts.response_bytes,
        },
        latency: read_histogram(&window.latency),
        self_time: read_histogram(&window.self_time),
        secured: window.secured,
    })
}

/// The transition that the API wrote. Trace ids that are none are left out.
///
/// # Errors
/// When a word in it is not known, or its time is none.
pub fn read_transition(transition: &api::Transition) -> Result<BreakerTransition, Unreadable> {
    let bad = |field, text: &str| Unreadable { what: "transition", field, text: text.chars().take(80).collect() };
    let state = |field, state: api::BreakerState| match state {
        api::BreakerState::Closed => Ok(BreakerState::Closed),
        api::BreakerState::HalfOpen => Ok(BreakerState::HalfOpen),
        api::BreakerState::Open => Ok(BreakerState::Open),
        api::BreakerState::None => Err(bad(field, state.as_str())),
    };
    Ok(BreakerTransition {
        breaker: transition.breaker.clone(),
        client: transition.client.as_str().into(),
        client_instance: transition.client_instance.clone(),
        server: transition.server.as_str().into(),
        route: transition.route.clone(),
        endpoint: transition.endpoint.clone(),
        at: parse_rfc3339(&transition.at).ok_or_else(|| bad("at", &transition.at))?,
        from: state("from", transition.from)?,
        to: state("to", transition.to)?,
        reason: transition.reason.parse().map_err(|_| bad("reason", &transition.reason))?,
        window_total: transition.window_total,
        window_failed: transition.window_failed,
        window_slow: transition.window_slow,
        threshold: transition.threshold,
        last_error: transition.last_error.clone(),
        origin: transition.origin.parse().map_err(|_| bad("origin", &transition.origin))?,
        time_in_from: Duration::from_millis(transition.time_in_from_ms),
        sequence: transition.sequence,
        traces: transition.traces.iter().filter_map(|id| id.parse::<TraceId>().ok()).collect(),
    })
}

const REPORTERS: [Reporter; 3] = [Reporter::Client, Reporter::Server, Reporter::Spans];

const fn reporter(reporter: Reporter) -> &'static str {
    match reporter {
        Reporter::Client => "client",
        Reporter::Server => "server",
        Reporter::Spans => "spans",
    }
}

const fn kind(kind: NodeKind) -> api::NodeKind {
    match kind {
        NodeKind::Service => api::NodeKind::Service,
        NodeKind::Gateway => api::NodeKind::Gateway,
        NodeKind::External => api::NodeKind::External,
        NodeKind::Database => api::NodeKind::Database,
        NodeKind::Queue => api::NodeKind::Queue,
        NodeKind::User => api::NodeKind::User,
    }
}

const fn read_kind(kind: api::NodeKind) -> NodeKind {
    match kind {
        api::NodeKind::Service => NodeKind::Service,
        api::NodeKind::Gateway => NodeKind::Gateway,
        api::NodeKind::External => NodeKind::External,
        api::NodeKind::Database => NodeKind::Database,
        api::NodeKind::Queue => NodeKind::Queue,
        api::NodeKind::User => NodeKind::User,
    }
}

fn histogram(histogram: &Histogram) -> api::RecordedHistogram {
    let (offset, counts) = histogram.dense();
    let sum_us = u64::try_from(histogram.sum().as_micros()).unwrap_or(u64::MAX);
    api::RecordedHistogram { offset, counts: counts.iter().copied().map(u64::from).collect(), sum_us }
}

fn read_histogram(histogram: &api::RecordedHistogram) -> Histogram {
    Histogram::from_buckets(histogram.offset, &histogram.counts, Duration::from_micros(histogram.sum_us))
}

#[cfg(test)]
mod tests {
    use tripline_model::Timestamp;

    use super::*;
    use crate::history::sample_window;
    use crate::http::sample;
    use crate::live::convert;

    #[test]
    fn a_window_reads_back_whole_for_every_reporter_and_kind() {
        for (at, reporter) in REPORTERS.into_iter().enumerate() {
            let kinds = [NodeKind::User, NodeKind::Gateway, NodeKind::Database];
            let mut before =
                EdgeWindow { reporter, client_kind: kinds[at], ..sample_window(Timestamp::from_secs(at as u64 * 10)) };
            before.latency.record(Duration::from_millis(7));
            before.self_time.record(Duration::from_micros(90));
            let written = serde_json::to_string(&window(&before)).unwrap();
            assert_eq!(read_window(&serde_json::from_str(&written).unwrap()), Ok(before));
        }
    }

    #[test]
    fn a_transition_reads_back_whole() {
        let wire = api::Transition { time_in_from_ms: 70, window_slow: 2, ..sample::transition(3) };
        let read = read_transition(&wire).unwrap();
        assert_eq!((read.sequence, read.time_in_from, read.window_slow), (3, Duration::from_millis(70), 2));
        assert_eq!(convert::transition(&read), wire);
    }

    #[test]
    fn what_is_not_known_is_refused_by_field() {
        let good = window(&sample_window(Timestamp::from_secs(0)));
        let refused = |bad: api::RecordedWindow| read_window(&bad).unwrap_err().to_string();
        let told = refused(api::RecordedWindow { protocol: "smoke".into(), ..good.clone() });
        assert!(told.contains("protocol") && told.contains("smoke"), "{told}");
        assert!(refused(api::RecordedWindow { seconds: f64::NAN, ..good.clone() }).contains("seconds"));
        assert!(refused(api::RecordedWindow { start: "then".into(), ..good }).contains("start"));
        let bad = api::Transition { to: api::BreakerState::None, ..sample::transition(1) };
        assert!(read_transition(&bad).unwrap_err().to_string().contains("to is"));
    }
}
