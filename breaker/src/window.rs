//! A sliding window in ten exact buckets.
//!
//! Exact counts instead of a moving average: an average lets one tight burst of successes hide an outage, and it says
//! nothing when traffic is low (linkerd2-proxy dropped its average for that reason, linkerd2-proxy#4561). The window is
//! as long as nine to ten buckets, because the current one is still filling.

use std::time::Duration;

use tripline_model::Timestamp;

/// Buckets of a window.
pub const BUCKETS: usize = 10;

/// What a bucket holds.
pub trait Count: Copy + Default {
    /// Adds another bucket.
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

/// Counts of the last `length`.
#[derive(Debug, Clone)]
pub struct Window<T> {
    buckets: [T; BUCKETS],
    bucket_nanos: u64,
    /// Number of the current bucket since the epoch; it never goes back, whatever the clock does.
    current: u64,
}

impl<T: Count> Window<T> {
    /// An empty window; lengths below ten nanoseconds are ten nanoseconds.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        Self { buckets: [T::default(); BUCKETS], bucket_nanos: (nanos / BUCKETS as u64).max(1), current: 0 }
    }

    /// The bucket that `now` falls into; older ones are forgotten on the way.
    pub fn at(&mut self, now: Timestamp) -> &mut T {
        self.advance(now);
        let slot = (self.current % BUCKETS as u64) as usize;
        &mut self.buckets[slot]
    }

    /// Everything counted in the window that ends at `now`.
    pub fn sum(&mut self, now: Timestamp) -> T {
        self.advance(now);
        self.buckets.iter().fold(T::default(), |sum, bucket| sum.plus(*bucket))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets = [T::default(); BUCKETS];
    }

    fn advance(&mut self, now: Timestamp) {
        let number = now.as_nanos() / self.bucket_nanos;
        let passed = number.saturating_sub(self.current).min(BUCKETS as u64);
        for step in 0..passed {
            self.buckets[((number - step) % BUCKETS as u64) as usize] = T::default();
        }
        self.current = self.current.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Count for u64 {
        fn plus(self, other: Self) -> Self {
            self + other
        }
    }

    #[test]
    fn counts_leave_after_the_window() {
        let mut window = Window::<u64>::new(Duration::from_secs(10));
        *window.at(Timestamp::from_secs(100)) += 3;
        *window.at(Timestamp::from_secs(105)) += 4;
        assert_eq!(window.sum(Timestamp::from_secs(109)), 7);
        assert_eq!(window.sum(Timestamp::from_secs(110)), 4);
        assert_eq!(window.sum(Timestamp::from_secs(1000)), 0);
    }

    #[test]
    fn a_clock_that_jumps_back_loses_nothing() {
        let mut window = Window::<u64>::new(Duration::from_secs(10));
        *window.at(Timestamp::from_secs(100)) += 1;
        *window.at(Timestamp::from_secs(50)) += 1;
        assert_eq!(window.sum(Timestamp::from_secs(100)), 2);
    }

    proptest! {
        #[test]
        fn equals_counting_by_hand(steps in prop::collection::vec(0u64..4_000, 1..200)) {
            let mut window = Window::<u64>::new(Duration::from_secs(10));
            let mut now = 1_000_000;
            let mut seen = Vec::new();
            for step in steps {
                now += step;
                *window.at(Timestamp::from_millis(now)) += 1;
                seen.push(now);
                let first = (now / 1000).saturating_sub(9);
                let by_hand = seen.iter().filter(|at| **at / 1000 >= first).count() as u64;
                prop_assert_eq!(window.sum(Timestamp::from_millis(now)), by_hand);
            }
        }
    }
}
