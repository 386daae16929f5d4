//! The retry budget: what keeps retries from becoming the outage.
//!
//! Over the last 10 s, retries may be at most 20 % of the requests plus 10 a second (Finagle's and Linkerd's numbers).
//! A retry is charged when it is *decided*, not when it leaves its back-off, so that many requests waiting in back-off
//! cannot all be counted as none (envoy#30205). What was charged is not given back when the retry is not sent after all:
//! a budget that errs may only err towards fewer retries.

use std::time::Duration;

use tripline_model::{Ratio, Timestamp};

use crate::window::{Count, Window};

/// How many retries are allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetPolicy {
    /// Share of the requests in the window.
    pub ratio: Ratio,
    /// So many a second in any case, so that a quiet client can retry at all.
    pub per_second: u32,
    /// The window.
    pub window: Duration,
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self { ratio: Ratio::new(0.2), per_second: 10, window: Duration::from_secs(10) }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    requests: u64,
    retries: u64,
}

impl Count for Tries {
    fn plus(self, other: Self) -> Self {
        Self { requests: self.requests + other.requests, retries: self.retries + other.retries }
    }
}

/// The budget of one client towards one service.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    policy: BudgetPolicy,
    window: Window<Tries>,
}

impl RetryBudget {
    /// A budget that nothing was taken from.
    #[must_use]
    pub fn new(policy: BudgetPolicy) -> Self {
        Self { policy, window: Window::new(policy.window) }
    }

    /// Counts a request, not its retries.
    pub fn request(&mut self, now: Timestamp) {
        self.window.at(now).requests += 1;
    }

    /// Decides on one retry: charged at once when the answer is true.
    #[must_use]
    pub fn take(&mut self, now: Timestamp) -> bool {
        let seen = self.window.sum(now);
        let allowed = self.policy.ratio.get() * seen.requests as f64
            + f64::from(self.policy.per_second) * self.policy.window.as_secs_f64();
        let granted = (seen.retries + 1) as f64 <= allowed;
        if granted {
            self.window.at(now).retries += 1;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quiet_client_may_retry_a_little_and_a_busy_one_a_fifth() {
        let now = Timestamp::from_secs(1000);
        let mut budget = RetryBudget::new(BudgetPolicy { per_second: 1, ..BudgetPolicy::default() });
        assert_eq!((0..100).filter(|_| budget.take(now)).count(), 10);
        (0..1000).for_each(|_| budget.request(now));
        assert_eq!((0..1000).filter(|_| budget.take(now)).count(), 200);
        assert!(budget.take(Timestamp::from_secs(1010)), "the window has passed");
    }

    proptest! {
        #[test]
        fn retries_never_exceed_the_share(events in prop::collection::vec((0u64..2_000, any::<bool>()), 1..300)) {
            let policy = BudgetPolicy { per_second: 0, ..BudgetPolicy::default() };
            let mut budget = RetryBudget::new(policy);
            let (mut now, mut requests, mut retries) = (10_000_000, 0u64, 0u64);
            for (step, retry) in events {
                now += step;
                if retry {
                    retries += u64::from(budget.take(Timestamp::from_millis(now)));
                } else {
                    budget.request(Timestamp::from_millis(now));
                    requests += 1;
                }
                // A retry stays in the window longer than the requests that paid for it, so the share holds for ever.
                prop_assert!(retries as f64 <= 0.2 * requests as f64 + 1e-9);
            }
        }
    }
}
