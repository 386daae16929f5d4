//! How well a node or an edge does: for a node over the requests it answered, for an edge over the requests made on it.
//!
//! | health | condition | source of the threshold |
//! |---|---|---|
//! | failing | at least 10 % failed and at least [`MIN_FAILURES`], or a breaker in front is open | Kiali's default for HTTP 5xx |
//! | degraded | at least 1 % failed and at least [`MIN_FAILURES`], or a breaker is half open | our choice: two nines |
//! | idle | no request | |
//! | healthy | everything else | |
//!
//! The least number of failures keeps a ratio over a handful of requests from flapping. Requests shed on an edge count as
//! failed for the edge's client, never for the server behind it: a server that nobody may call is dark, not guilty.

use tripline_model::{BreakerState, Ratio};

/// Failures below this number never make anything degraded.
pub const MIN_FAILURES: u64 = 3;
const FAILING: f64 = 0.10;
const DEGRADED: f64 = 0.01;

/// How well a node or an edge does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Health {
    /// No traffic in the window.
    #[default]
    Idle,
    /// Traffic, and nothing wrong with it.
    Healthy,
    /// Some requests fail.
    Degraded,
    /// Many requests fail, or a breaker in front is open.
    Failing,
}

impl Health {
    pub(super) fn of(requests: u64, failed: u64, breaker: Option<BreakerState>) -> Self {
        let ratio = Ratio::of(failed, requests).get();
        let enough = failed >= MIN_FAILURES;
        match breaker {
            Some(BreakerState::Open) => Self::Failing,
            _ if enough && ratio >= FAILING => Self::Failing,
            Some(BreakerState::HalfOpen) => Self::Degraded,
            _ if enough && ratio >= DEGRADED => Self::Degraded,
            _ if requests == 0 => Self::Idle,
            _ => Self::Healthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_by_numbers() {
        let cases = [
            (0, 0, None, Health::Idle),
            (100, 0, None, Health::Healthy),
            (4, 2, None, Health::Healthy),
            (100, 3, None, Health::Degraded),
            (100, 10, None, Health::Failing),
            (1000, 9, None, Health::Healthy),
            (100, 0, Some(BreakerState::HalfOpen), Health::Degraded),
            (0, 0, Some(BreakerState::Open), Health::Failing),
            (0, 0, Some(BreakerState::Closed), Health::Idle),
        ];
        for (requests, failed, breaker, expected) in cases {
            assert_eq!(Health::of(requests, failed, breaker), expected, "{requests} {failed} {breaker:?}");
        }
    }
}
