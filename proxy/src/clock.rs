//! The only place of the sidecar that reads a clock.
//!
//! Time is the wall clock at the start plus tokio's monotonic clock since: it never runs backwards, so that durations,
//! windows and breakers agree, and tests can pause it. The two clocks cannot be read at once, and on a busy machine the
//! process may be put aside between the two readings; that would date every event of this sidecar too early, by
//! milliseconds, and turn the order of trips around. So the closest of a few pairs of readings is taken.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tripline_model::Timestamp;

/// Pairs of readings to choose from.
const READINGS: usize = 8;

/// Tells the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    wall: Timestamp,
}

impl Clock {
    /// Joins the wall clock and the monotonic one.
    pub(crate) fn start() -> Self {
        let mut best = Self::read();
        for _ in 1..READINGS {
            let next = Self::read();
            if next.1 < best.1 {
                best = next;
            }
        }
        best.0
    }

    /// A reading, and how far apart its two clocks may have been read.
    fn read() -> (Self, Duration) {
        let started = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "the shell that gives everyone else their `now`")]
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let apart = started.elapsed();
        let nanos = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        (Self { started, wall: Timestamp::from_nanos(nanos) }, apart)
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        self.wall + self.started.elapsed()
    }

    /// The point on tokio's clock that `at` is.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.started + at.since(self.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_started_at_different_times_agree() {
        let clocks: Vec<Clock> = (0..50).map(|_| Clock::start()).collect();
        let now: Vec<Timestamp> = clocks.iter().map(Clock::now).collect();
        let (first, last) = (now.iter().min().copied().unwrap(), now.iter().max().copied().unwrap());
        assert!(last.since(first) < Duration::from_millis(5), "{:?} apart", last.since(first));
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_tokio_s_clock() {
        let clock = Clock::start();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.now().since(before), Duration::from_secs(7));
        assert_eq!(clock.instant(clock.now()), Instant::now());
    }
}
