//! The numbers of an edge as points of metrics: one table, read by encoding and decoding alike.

use tripline_model::{EdgeCounts, Reporter};

use crate::names;

/// A metric of an edge's counts: what follows the reporter in its name, its unit, its parts.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) parts: &'static [Part],
}

/// The metric whose points carry what holds for a whole edge, and of which each edge has at least one.
pub(super) const ANCHOR: &str = "requests";
pub(super) const DURATION: &str = "duration";
pub(super) const SELF_DURATION: &str = "self_duration";

pub(super) const METRICS: [Metric; 6] = [
    Metric { name: ANCHOR, unit: "{request}", parts: &[Part::Succeeded, Part::Failed, Part::Shed, Part::Cancelled] },
    Metric {
        name: "attempts",
        unit: "{attempt}",
        parts: &[Part::AttemptSucceeded, Part::AttemptFailed, Part::AttemptInduced, Part::AttemptUnanswered],
    },
    Metric { name: "retries", unit: "{attempt}", parts: &[Part::Retries] },
    Metric { name: "failures", unit: "{request}", parts: &[Part::OwnFailures, Part::PropagatedFailures] },
    Metric { name: "request.bytes", unit: "By", parts: &[Part::RequestBytes] },
    Metric { name: "response.bytes", unit: "By", parts: &[Part::ResponseBytes] },
];

/// One number of [`EdgeCounts`], disjoint from the other parts of its metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Succeeded,
    Failed,
    Shed,
    Cancelled,
    AttemptSucceeded,
    AttemptFailed,
    AttemptInduced,
    AttemptUnanswered,
    Retries,
    OwnFailures,
    PropagatedFailures,
    RequestBytes,
    ResponseBytes,
}

impl Part {
    /// The attribute that tells it from the other parts of its metric.
    pub(super) const fn label(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Succeeded | Self::AttemptSucceeded => Some((names::OUTCOME, "success")),
            Self::Failed | Self::AttemptFailed => Some((names::OUTCOME, "failure")),
            Self::Shed => Some((names::OUTCOME, "shed")),
            Self::Cancelled => Some((names::OUTCOME, "cancelled")),
            Self::AttemptInduced => Some((names::OUTCOME, "induced")),
            Self::AttemptUnanswered => Some((names::OUTCOME, "no_answer")),
            Self::OwnFailures => Some((names::FAILURE_ORIGIN, "own")),
            Self::PropagatedFailures => Some((names::FAILURE_ORIGIN, "propagated")),
            Self::Retries | Self::RequestBytes | Self::ResponseBytes => None,
        }
    }

    pub(super) const fn of(self, counts: &EdgeCounts) -> u64 {
        match self {
            Self::Succeeded => counts.requests.saturating_sub(counts.failed).saturating_sub(counts.cancelled),
            Self::Failed => counts.failed.saturating_sub(counts.shed),
            Self::Shed => counts.shed,
            Self::Cancelled => counts.cancelled,
            Self::AttemptSucceeded => {
                counts.attempts.saturating_sub(counts.answered_failures).saturating_sub(counts.transport_failures)
            }
            Self::AttemptFailed => counts.answered_failures.saturating_sub(counts.induced),
            Self::AttemptInduced => counts.induced,
            Self::AttemptUnanswered => counts.transport_failures,
            Self::Retries => counts.retries,
            Self::OwnFailures => counts.origin_failures,
            Self::PropagatedFailures => counts.propagated_failures,
            Self::RequestBytes => counts.request_bytes,
            Self::ResponseBytes => counts.response_bytes,
        }
    }

    /// Adds a part that was read to the counts it belongs to.
    pub(super) fn add(self, counts: &mut EdgeCounts, value: u64) {
        let fields: &mut [&mut u64] = match self {
            Self::Succeeded => &mut [&mut counts.requests],
            Self::Failed => &mut [&mut counts.requests, &mut counts.failed],
            Self::Shed => &mut [&mut counts.requests, &mut counts.failed, &mut counts.shed],
            Self::Cancelled => &mut [&mut counts.requests, &mut counts.cancelled],
            Self::AttemptSucceeded => &mut [&mut counts.attempts],
            Self::AttemptFailed => &mut [&mut counts.attempts, &mut counts.answered_failures],
            Self::AttemptInduced => &mut [&mut counts.attempts, &mut counts.answered_failures, &mut counts.induced],
            Self::AttemptUnanswered => &mut [&mut counts.attempts, &mut counts.transport_failures],
            Self::Retries => &mut [&mut counts.retries],
            Self::OwnFailures => &mut [&mut counts.origin_failures],
            Self::PropagatedFailures => &mut [&mut counts.propagated_failures],
            Self::RequestBytes => &mut [&mut counts.request_bytes],
            Self::ResponseBytes => &mut [&mut counts.response_bytes],
        };
        for field in fields {
            **field = field.saturating_add(value);
        }
    }
}

/// A reporter's place in a metric's name.
pub(super) const fn reporter_word(reporter: Reporter) -> &'static str {
    match reporter {
        Reporter::Client => "client",
        Reporter::Server => "server",
        Reporter::Spans => "spans",
    }
}

pub(super) const REPORTERS: [Reporter; 3] = [Reporter::Client, Reporter::Server, Reporter::Spans];
