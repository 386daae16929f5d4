//! What a circuit breaker is seen to do: its states, why it changed, and the event that tells so.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::edge::UnknownWord;
use crate::{ServiceName, Timestamp, TraceId};

/// The state of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum BreakerState {
    /// Traffic flows.
    #[default]
    Closed,
    /// A few probes pass, the rest is rejected.
    HalfOpen,
    /// Calls are rejected.
    Open,
}

impl BreakerState {
    /// Its written form: `closed`, `half_open`, `open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// Its number in exported gauges: 0 closed, 1 half open, 2 open.
    #[must_use]
    pub const fn as_gauge(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }

    /// Back from the number in an exported gauge; none for any other number.
    #[must_use]
    pub const fn from_gauge(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Closed),
            1 => Some(Self::HalfOpen),
            2 => Some(Self::Open),
            _ => None,
        }
    }
}

/// Why a breaker changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransitionReason {
    /// So many failures in a row.
    ConsecutiveFailures,
    /// Too large a share of failures in the window.
    FailureRatio,
    /// Too large a share of slow answers in the window.
    SlowRatio,
    /// Too many calls at once.
    Concurrency,
    /// An operator said so.
    Forced,
    /// Enough probes succeeded.
    ProbeSucceeded,
    /// A probe failed.
    ProbeFailed,
    /// It was open long enough.
    TimeElapsed,
}

impl TransitionReason {
    const ALL: [Self; 8] = [
        Self::ConsecutiveFailures,
        Self::FailureRatio,
        Self::SlowRatio,
        Self::Concurrency,
        Self::Forced,
        Self::ProbeSucceeded,
        Self::ProbeFailed,
        Self::TimeElapsed,
    ];

    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::FailureRatio => "failure_ratio",
            Self::SlowRatio => "slow_ratio",
            Self::Concurrency => "concurrency",
            Self::Forced => "forced",
            Self::ProbeSucceeded => "probe_succeeded",
            Self::ProbeFailed => "probe_failed",
            Self::TimeElapsed => "time_elapsed",
        }
    }
}

/// Where the failures that moved a breaker came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FailureOrigin {
    /// Answers of the server.
    #[default]
    Remote,
    /// Made on this side: timeouts, refused or reset connections.
    Local,
    /// Answers that the server marked as caused by an open breaker further on.
    Induced,
}

impl FailureOrigin {
    /// Its written form: `remote`, `local`, `induced`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Local => "local",
            Self::Induced => "induced",
        }
    }
}

macro_rules! written {
    ($name:ident, $what:literal, $all:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                $all.into_iter()
                    .find(|word| word.as_str() == text)
                    .ok_or_else(|| UnknownWord { what: $what, text: text.into() })
            }
        }
    };
}

written!(BreakerState, "breaker state", [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open]);
written!(TransitionReason, "breaker reason", TransitionReason::ALL);
written!(FailureOrigin, "failure origin", [FailureOrigin::Remote, FailureOrigin::Local, FailureOrigin::Induced]);

/// One change of one breaker's state, with the numbers that caused it. Never sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerTransition {
    /// Stable name of the breaker within its sidecar, for example `shop/checkout>shop/payments/default@10.0.0.7:8080`.
    pub breaker: String,
    /// Who calls through it.
    pub client: ServiceName,
    /// Which process of the client.
    pub client_instance: String,
    /// Who is called.
    pub server: ServiceName,
    /// The route it guards; empty when it guards all.
    pub route: String,
    /// The endpoint it guards, `address:port`; empty when it guards the whole service.
    pub endpoint: String,
    /// When, by the sidecar's clock.
    pub at: Timestamp,
    /// State before.
    pub from: BreakerState,
    /// State after.
    pub to: BreakerState,
    /// Why.
    pub reason: TransitionReason,
    /// Attempts in the breaker's window.
    pub window_total: u64,
    /// Failed ones among them.
    pub window_failed: u64,
    /// Slow ones among them.
    pub window_slow: u64,
    /// The limit that was reached: a number of failures, or a share in 0..=1.
    pub threshold: f64,
    /// The last status or error seen, for example `503` or `timeout`.
    pub last_error: String,
    /// Where most of the failures came from.
    pub origin: FailureOrigin,
    /// How long it had been in `from`.
    pub time_in_from: Duration,
    /// Counts the transitions of this sidecar from 1, so that a gap or a repeat is noticed.
    pub sequence: u64,
    /// Up to three traces of failed attempts.
    pub traces: Vec<TraceId>,
}

/// The state of one breaker at the end of a window. Always reported, also when closed, so that silence is never
/// mistaken for health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerStatus {
    /// As in [`BreakerTransition::breaker`].
    pub breaker: String,
    /// Who is called.
    pub server: ServiceName,
    /// The route it guards; empty when it guards all.
    pub route: String,
    /// The endpoint it guards; empty when it guards the whole service.
    pub endpoint: String,
    /// Its state.
    pub state: BreakerState,
    /// Since when.
    pub since: Timestamp,
    /// How often it has tripped since the sidecar started.
    pub trips: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for reason in TransitionReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        for state in [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open] {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(BreakerState::from_gauge(i64::from(state.as_gauge())), Some(state));
        }
        assert!("ajar".parse::<BreakerState>().is_err());
    }
}
