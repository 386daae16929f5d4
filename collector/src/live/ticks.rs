//! How long the ticks of the live task took, counted in buckets: a single number, read now and then, would miss the longest.

use std::time::Duration;

/// Upper bounds of the buckets in milliseconds, ascending. The project's bar for a hundred thousand edges, 60 ms, is among them.
pub(crate) const BOUNDS_MS: [u32; 15] = [1, 2, 5, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 500, 1_000];

/// Ticks since the start, each with the view that was made after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticks {
    /// By bucket, not cumulated; the last is for everything above the last bound.
    pub(crate) counts: [u64; BOUNDS_MS.len() + 1],
    /// All of them together.
    pub(crate) took: Duration,
}

impl Ticks {
    /// Counts one.
    pub(super) fn note(&mut self, took: Duration) {
        let bucket = BOUNDS_MS.partition_point(|bound| Duration::from_millis((*bound).into()) < took);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.took = self.took.saturating_add(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_counted_in_the_bucket_that_it_just_fits() {
        let mut ticks = Ticks::default();
        for micros in [0, 1_000, 1_001, 60_000, 60_001, 7_000_000] {
            ticks.note(Duration::from_micros(micros));
        }
        let used: Vec<(usize, u64)> = ticks.counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!(used, [(0, 2), (1, 1), (7, 1), (8, 1), (15, 1)]);
        assert_eq!(ticks.took, Duration::from_micros(7_122_002));
    }
}
