//! What is normal: a robust level over the last hour, and a long-run share of failures.

use crate::robust::{ENOUGH, SPREAD_FLOOR};

/// Samples kept of a level.
pub(super) const SAMPLES: usize = 40;
/// At most this many windows of five seconds between two samples: 40 samples then reach back an hour.
pub(super) const MAX_STRIDE: u8 = 18;

/// A level as median and median absolute deviation over up to an hour.
///
/// Samples are taken densely at first; when the ring is full every other one is dropped and the stride doubles, so a
/// young service has a baseline after three windows and an old one remembers 30 to 60 minutes in 40 numbers. Median and
/// deviation are kept ready: a sample costs one insertion into the sorted order, a question nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Level {
    /// None until the first sample: most edges of a large mesh are too quiet to have a level.
    ring: Option<Box<Ring>>,
    len: u8,
    /// Where the oldest sample is, once the ring is full.
    next: u8,
    stride: u8,
    skipped: u8,
    median: f32,
    /// Without the allowance for few samples.
    deviation: f32,
}

/// Bytes of the samples of one level.
pub(super) const RING_BYTES: usize = size_of::<Ring>();

/// Samples as they came, and their places sorted by value.
#[derive(Debug, Clone, PartialEq)]
struct Ring {
    samples: [f32; SAMPLES],
    order: [u8; SAMPLES],
}

impl Level {
    /// Takes one window's value. Levels with different `phase`s take their samples in different windows once they are old, so that
    /// the work of a large mesh does not come all at once.
    pub(super) fn learn(&mut self, value: f64, phase: u8) {
        self.skipped += 1;
        if self.skipped < self.stride.max(1) {
            return;
        }
        self.skipped = 0;
        let ring = self.ring.get_or_insert_with(|| Box::new(Ring { samples: [0.0; SAMPLES], order: [0; SAMPLES] }));
        let value = value as f32;
        if usize::from(self.len) == SAMPLES {
            ring.replace(self.next, value);
            self.next = (self.next + 1) % SAMPLES as u8;
        } else {
            ring.insert(self.len, value);
            self.len += 1;
            if usize::from(self.len) == SAMPLES && self.stride.max(1) < MAX_STRIDE {
                self.len = ring.thin_out();
                self.stride = (self.stride.max(1) * 2).min(MAX_STRIDE);
                self.skipped = phase % self.stride;
            }
        }
        (self.median, self.deviation) = ring.middle(usize::from(self.len));
    }

    /// Median and MAD (with its floor), the latter widened while samples are few; none before there are enough of them.
    ///
    /// Three windows say little about how far a service strays: an interval that is to hold the next value as surely as three MAD do after an
    /// hour is seven times as wide after three samples, and a quarter wider after ten. `1 + 6 / (n - 2)^1.5` follows Student's t
    /// (its 99.85 % quantile times the root of 1 + 1/n, over that of many samples) within a seventh.
    pub(super) fn median_and_mad(&self) -> Option<(f64, f64)> {
        if usize::from(self.len) < ENOUGH {
            return None;
        }
        let (median, deviation) = (f64::from(self.median), f64::from(self.deviation));
        let few = f64::from(self.len) - 2.0;
        let mad = deviation.max(SPREAD_FLOOR * median.abs());
        Some((median, mad * (1.0 + 6.0 / (few * few.sqrt()))))
    }

    /// Its samples, oldest first, with how many windows lie between two and how many have passed since the last.
    pub(super) fn samples(&self) -> (Vec<f32>, u8, u8) {
        let len = usize::from(self.len);
        let start = if len == SAMPLES { usize::from(self.next) } else { 0 };
        let samples = self.ring.as_ref().map_or(&[][..], |ring| &ring.samples[..len]);
        let (late, early) = samples.split_at(start.min(len));
        ([early, late].concat(), self.stride.max(1), self.skipped)
    }

    /// A level that goes on where another one was when its samples were taken down. More than [`SAMPLES`] are cut.
    pub(super) fn of_samples(samples: &[f32], stride: u8, skipped: u8) -> Self {
        let mut level = Self { stride: stride.clamp(1, MAX_STRIDE), skipped, ..Self::default() };
        let newest = &samples[samples.len().saturating_sub(SAMPLES)..];
        if !newest.is_empty() {
            let mut ring = Ring { samples: [0.0; SAMPLES], order: [0; SAMPLES] };
            for value in newest {
                ring.insert(level.len, *value);
                level.len += 1;
            }
            (level.median, level.deviation) = ring.middle(newest.len());
            level.ring = Some(Box::new(ring));
        }
        level
    }
}

impl Ring {
    /// Adds a sample behind the `len` that are there.
    fn insert(&mut self, len: u8, value: f32) {
        let len = usize::from(len);
        self.samples[len] = value;
        let at = self.order[..len].partition_point(|place| self.samples[usize::from(*place)] <= value);
        self.order.copy_within(at..len, at + 1);
        self.order[at] = len as u8;
    }

    /// Puts a sample in the place of another; all places are taken.
    fn replace(&mut self, place: u8, value: f32) {
        let from = self.order.iter().position(|known| *known == place).unwrap_or(0);
        self.order.copy_within(from + 1.., from);
        self.samples[usize::from(place)] = value;
        let known = &self.order[..SAMPLES - 1];
        let at = known.partition_point(|place| self.samples[usize::from(*place)] <= value);
        self.order.copy_within(at..SAMPLES - 1, at + 1);
        self.order[at] = place;
    }

    /// Keeps every other sample of a full ring; answers how many are left.
    fn thin_out(&mut self) -> u8 {
        let kept = SAMPLES / 2;
        for at in 0..kept {
            self.samples[at] = self.samples[2 * at + 1];
        }
        let samples = self.samples;
        let order = &mut self.order[..kept];
        (0..).zip(order.iter_mut()).for_each(|(place, slot)| *slot = place);
        order.sort_by(|a, b| samples[usize::from(*a)].total_cmp(&samples[usize::from(*b)]));
        kept as u8
    }

    /// The upper median and the upper median of the deviations from it, walking outwards from the middle.
    fn middle(&self, len: usize) -> (f32, f32) {
        let sorted = |at: usize| self.samples[usize::from(self.order[at])];
        let middle = len / 2;
        let median = sorted(middle);
        let (mut below, mut above, mut deviation) = (middle, middle + 1, 0.0);
        for _ in 0..middle {
            let down = if below > 0 { median - sorted(below - 1) } else { f32::INFINITY };
            let up = if above < len { sorted(above) - median } else { f32::INFINITY };
            if down <= up {
                (deviation, below) = (down, below - 1);
            } else {
                (deviation, above) = (up, above + 1);
            }
        }
        (median, deviation)
    }
}

/// Long-run share of failures, older windows counting less and less.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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

    /// Requests and failed ones, faded.
    pub(super) const fn counts(self) -> (f64, f64) {
        (self.requests, self.failed)
    }

    /// From what [`Self::counts`] gave.
    pub(super) const fn of_counts((requests, failed): (f64, f64)) -> Self {
        Self { requests, failed }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn learn(level: &mut Level, values: impl IntoIterator<Item = f64>) {
        values.into_iter().for_each(|value| level.learn(value, 0));
    }

    #[test]
    fn a_level_needs_three_samples_and_ignores_an_outlier() {
        let mut level = Level::default();
        learn(&mut level, [10.0, 11.0]);
        assert!(level.median_and_mad().is_none());
        learn(&mut level, [12.0, 500.0]);
        learn(&mut level, (0..7).map(|n| f64::from(10 + n % 3)));
        let (median, mad) = level.median_and_mad().unwrap();
        assert!((median - 11.0).abs() < 1e-6 && mad < 2.0, "{median} {mad}");
    }

    #[test]
    fn a_young_level_allows_more() {
        let mut level = Level::default();
        let mut allowed = Vec::new();
        for _ in 0..30 {
            level.learn(10.0, 0);
            allowed.extend(level.median_and_mad().map(|(_, mad)| mad));
        }
        assert!((allowed[0] - 7.0).abs() < 1e-6 && allowed.windows(2).all(|pair| pair[1] < pair[0]), "{allowed:?}");
        assert!(allowed[27] < 1.05);
    }

    #[test]
    fn an_hour_fits_and_an_old_level_fades() {
        let mut level = Level::default();
        learn(&mut level, (0..720).map(|_| 10.0));
        assert!(usize::from(level.len) <= SAMPLES);
        learn(&mut level, (0..720).map(|_| 20.0));
        assert!((level.median_and_mad().unwrap().0 - 20.0).abs() < 1e-6);
    }

    #[test]
    fn equal_samples_still_leave_room() {
        let mut level = Level::default();
        learn(&mut level, (0..10).map(|_| 10.0));
        assert!(level.median_and_mad().unwrap().1 >= 1.0);
    }

    proptest! {
        /// What is kept ready is what sorting all samples would give.
        #[test]
        fn the_running_median_is_that_of_the_samples(values in prop::collection::vec(0.0_f64..1e3, 1..2_000), phase in 0_u8..18) {
            let mut level = Level::default();
            for value in values {
                level.learn(value, phase);
            }
            let (samples, ..) = level.samples();
            let naive = crate::robust::median_and_mad(samples.iter().map(|v| f64::from(*v)).collect(), 0.0);
            let ready = level.median_and_mad().map(|_| (f64::from(level.median), f64::from(level.deviation)));
            prop_assert_eq!(ready.map(|r| r.0), naive.map(|n| n.0));
            if let Some((ready, naive)) = ready.zip(naive) {
                prop_assert!((ready.1 - naive.1).abs() < 1e-3, "{} {}", ready.1, naive.1);
            }
        }

        /// A level that was taken down and put back is the level that went on.
        #[test]
        fn a_level_put_back_goes_on(before in prop::collection::vec(0.0_f64..1e3, 0..1_500), after in prop::collection::vec(0.0_f64..1e3, 0..300)) {
            let mut whole = Level::default();
            learn(&mut whole, before);
            let (samples, stride, skipped) = whole.samples();
            let mut back = Level::of_samples(&samples, stride, skipped);
            learn(&mut whole, after.iter().copied());
            learn(&mut back, after.iter().copied());
            prop_assert_eq!(whole.samples(), back.samples());
            prop_assert_eq!(whole.median_and_mad(), back.median_and_mad());
        }
    }
}
