//! What is normal: a robust level over the last hour, and a long-run share of failures.

use crate::robust::{SPREAD_FLOOR, median_and_mad};

/// Samples kept of a level.
const SAMPLES: usize = 60;
/// At most this many windows between two samples: 60 samples then reach back an hour.
const MAX_STRIDE: u32 = 12;

/// A level as median and median absolute deviation over up to an hour.
///
/// Samples are taken densely at first; when the ring is full every other one is dropped and the stride doubles, so a
/// young service has a baseline after three windows and an old one remembers an hour in 60 numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Level {
    samples: Vec<f32>,
    next: usize,
    stride: u32,
    skipped: u32,
}

impl Level {
    /// Takes one window's value.
    pub(super) fn learn(&mut self, value: f64) {
        self.skipped += 1;
        if self.skipped < self.stride.max(1) {
            return;
        }
        self.skipped = 0;
        if self.samples.len() < SAMPLES {
            self.samples.push(value as f32);
            if self.samples.len() == SAMPLES && self.stride.max(1) < MAX_STRIDE {
                let mut keep = false;
                self.samples.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.stride = (self.stride.max(1) * 2).min(MAX_STRIDE);
            }
        } else {
            self.samples[self.next % SAMPLES] = value as f32;
            self.next = (self.next + 1) % SAMPLES;
        }
    }

    /// Median and MAD (with its floor), the latter widened while samples are few; none before there are enough of them.
    ///
    /// Three windows say little about how far a service strays: an interval that is to hold the next value as surely as three MAD do after an
    /// hour is seven times as wide after three samples, and a quarter wider after ten. `1 + 6 / (n - 2)^1.5` follows Student's t
    /// (its 99.85 % quantile times the root of 1 + 1/n, over that of many samples) within a seventh.
    pub(super) fn median_and_mad(&self) -> Option<(f64, f64)> {
        let (median, mad) =
            median_and_mad(self.samples.iter().map(|sample| f64::from(*sample)).collect(), SPREAD_FLOOR)?;
        Some((median, mad * (1.0 + 6.0 / (self.samples.len() as f64 - 2.0).powf(1.5))))
    }
}

/// Long-run share of failures, older windows counting less and less.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FailureShare {
    requests: f64,
    failed: f64,
}

impl FailureShare {
    /// Memory of some 30 minutes of five-second windows.
    const DECAY: f64 = 1.0 - 1.0 / 360.0;

    /// Takes one window's counts.
    pub(super) fn learn(&mut self, requests: u64, failed: u64) {
        self.requests = self.requests * Self::DECAY + requests as f64;
        self.failed = self.failed * Self::DECAY + failed as f64;
    }

    /// The share; while nothing is known, two in a hundred: enough services fail so many on any day.
    pub(super) fn get(self) -> f64 {
        const UNKNOWN: f64 = 0.02;
        if self.requests > 0.0 { self.failed / self.requests } else { UNKNOWN }
    }

    /// Whether most of what was ever seen succeeded: who was never well explains nobody's failures.
    pub(super) fn was_healthy(self) -> bool {
        self.requests > 0.0 && self.get() < 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_needs_three_samples_and_ignores_an_outlier() {
        let mut level = Level::default();
        level.learn(10.0);
        level.learn(11.0);
        assert!(level.median_and_mad().is_none());
        level.learn(12.0);
        level.learn(500.0);
        (0..7).for_each(|n| level.learn(f64::from(10 + n % 3)));
        let (median, mad) = level.median_and_mad().unwrap();
        assert!((median - 11.0).abs() < 1e-6 && mad < 2.0, "{median} {mad}");
    }

    #[test]
    fn a_young_level_allows_more() {
        let mut level = Level::default();
        let mut allowed = Vec::new();
        for _ in 0..30 {
            level.learn(10.0);
            allowed.extend(level.median_and_mad().map(|(_, mad)| mad));
        }
        assert!((allowed[0] - 7.0).abs() < 1e-6 && allowed.windows(2).all(|pair| pair[1] < pair[0]), "{allowed:?}");
        assert!(allowed[27] < 1.05);
    }

    #[test]
    fn an_hour_fits_and_an_old_level_fades() {
        let mut level = Level::default();
        (0..720).for_each(|_| level.learn(10.0));
        assert!(level.samples.len() <= SAMPLES);
        (0..720).for_each(|_| level.learn(20.0));
        assert!((level.median_and_mad().unwrap().0 - 20.0).abs() < 1e-6);
    }

    #[test]
    fn equal_samples_still_leave_room() {
        let mut level = Level::default();
        (0..10).for_each(|_| level.learn(10.0));
        assert!(level.median_and_mad().unwrap().1 >= 1.0);
    }
}
