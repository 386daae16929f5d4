//! When a breaker trips, how long it stays open and how it probes.
//!
//! Defaults: open on 5 failures in a row (Envoy's and Finagle's number), or on half of at least 20 attempts in 10 s
//! (Hystrix), or when 80 % of at least 20 were slow; open for 1 s, doubling to 60 s, with full jitter; at most 3 probes
//! at once, 2 successes close. Slow is what takes longer than 12 s: four fifths of the 15 s after which App Mesh gives a
//! request up, so that only a service that is about to time out everywhere is slow by default. Whoever knows the service
//! says better.
//!
//! App Mesh's `outlierDetection` maps onto it: `maxServerErrors` is [`Policy::consecutive_failures`] and switches the
//! ratio rule off (App Mesh had none), `interval` is the window that events report, `baseEjectionDuration` is the first
//! open time without jitter (App Mesh promised at least that much), and `maxEjectionPercent` limits how many endpoints
//! of one service may be open at once, which is the balancer's business. Unlike App Mesh, an endpoint does not come back
//! at full traffic when the time is over: it is probed first.

use std::time::Duration;

use tripline_model::Ratio;

/// The rules of one breaker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Trips after so many failures in a row; 0 switches the rule off.
    pub consecutive_failures: u32,
    /// Trips on a share of failures in the window.
    pub failures: Option<RatioRule>,
    /// Trips on a share of slow answers in the window.
    pub slow: Option<SlowRule>,
    /// Length of the window, in ten buckets.
    pub window: Duration,
    /// First open time.
    pub open_first: Duration,
    /// Longest open time.
    pub open_longest: Duration,
    /// How the open time is scattered, so that the breakers of many clients do not probe in step.
    pub jitter: Jitter,
    /// Most probes under way at once while half open; at least 1.
    pub probes: u32,
    /// After so long a probe that nobody recorded counts as lost and frees its place.
    pub probe_deadline: Duration,
    /// So many successful probes close the breaker; at least 1.
    pub successes_to_close: u32,
}

/// A share of the attempts in the window, once there are enough of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioRule {
    /// Trips when the share is at least this.
    pub threshold: Ratio,
    /// Attempts in the window below which the share says nothing.
    pub volume: u64,
}

/// A share of slow answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowRule {
    /// An answer that took longer is slow.
    pub longer_than: Duration,
    /// How many of them trip.
    pub share: RatioRule,
}

/// How an open time is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Exactly the planned time.
    None,
    /// Evenly between a tenth of the planned time and all of it; the tenth keeps a trip from being a blink.
    Full,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failures: Some(RatioRule { threshold: Ratio::new(0.5), volume: 20 }),
            slow: Some(SlowRule {
                longer_than: Duration::from_secs(12),
                share: RatioRule { threshold: Ratio::new(0.8), volume: 20 },
            }),
            window: Duration::from_secs(10),
            open_first: Duration::from_secs(1),
            open_longest: Duration::from_secs(60),
            jitter: Jitter::Full,
            probes: 3,
            probe_deadline: Duration::from_secs(15),
            successes_to_close: 2,
        }
    }
}

impl Policy {
    /// The planned open time of the `streak`-th trip in a row, from 0, before jitter.
    #[must_use]
    pub fn open_time(&self, streak: u32) -> Duration {
        let longest = self.open_longest.max(self.open_first);
        self.open_first.checked_mul(1 << streak.min(20)).map_or(longest, |time| time.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_time_doubles_up_to_the_longest() {
        let policy = Policy::default();
        let times: Vec<u64> = (0..8).map(|streak| policy.open_time(streak).as_secs()).collect();
        assert_eq!(times, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.open_time(u32::MAX), Duration::from_secs(60));
    }

    #[test]
    fn a_first_time_above_the_longest_wins() {
        let policy = Policy { open_first: Duration::from_secs(90), ..Policy::default() };
        assert_eq!(policy.open_time(0), Duration::from_secs(90));
        assert_eq!(policy.open_time(3), Duration::from_secs(90));
    }
}
