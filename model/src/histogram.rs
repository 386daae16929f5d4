//! A mergeable latency histogram: exponential buckets that equal OTLP's exponential histogram at scale 3.
//!
//! Bucket `i` holds durations in `(base^i, base^(i+1)]` microseconds with `base = 2^(1/8)`, about 1.0905, so a quantile
//! read back is at most 4.5 % off. That is the least scale under the 5 % that the sidecar promises, and two
//! histograms of one scale merge by adding. Indices are kept in [`MIN_INDEX`]`..=`[`MAX_INDEX`], some 1 us to 1.2 h, so a
//! histogram is never larger than 256 counters; what lies outside counts in the outermost bucket.
//!
//! Storage is dense between the lowest and the highest bucket in use: a second of one edge rarely spans 40.

use std::sync::LazyLock;
use std::time::Duration;

/// OTLP's `scale` of every histogram here: buckets per doubling are `2^SCALE`.
pub const SCALE: i32 = 3;
/// The lowest bucket index, of durations up to 1.09 us.
pub const MIN_INDEX: i32 = 0;
/// The highest bucket index, of durations above 1.1 h.
pub const MAX_INDEX: i32 = 255;

/// Durations counted in exponential buckets; merging is exact, associative and commutative.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Index of `counts[0]`; meaningless while `counts` is empty.
    offset: i32,
    counts: Vec<u32>,
    total: u64,
    sum_micros: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.add(index_of(micros), 1);
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// Adds everything that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.add_dense(other.offset, &other.counts, other.sum());
    }

    /// Adds counts of buckets that lie side by side, of which the first has the index `offset`, and the sum of what they counted. The first and the last are not
    /// zero and lie in [`MIN_INDEX`]`..=`[`MAX_INDEX`].
    pub fn add_dense(&mut self, offset: i32, counts: &[u32], sum: Duration) {
        self.sum_micros = self.sum_micros.saturating_add(u64::try_from(sum.as_micros()).unwrap_or(u64::MAX));
        if counts.is_empty() {
            return;
        }
        self.total = self.total.saturating_add(counts.iter().map(|count| u64::from(*count)).sum());
        if self.counts.is_empty() {
            self.offset = offset;
            self.counts.extend_from_slice(counts);
            return;
        }
        if let Ok(missing @ 1..) = usize::try_from(self.offset.saturating_sub(offset)) {
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = offset;
        }
        let from = usize::try_from(offset - self.offset).unwrap_or(0);
        if self.counts.len() < from + counts.len() {
            self.counts.resize(from + counts.len(), 0);
        }
        self.counts.iter_mut().skip(from).zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
    }

    /// Rebuilds a histogram from its parts, as they stand in an OTLP data point of scale 3 in microseconds: the index of the first
    /// bucket, the counts from there, the sum. Buckets outside the kept range count in the outermost one.
    #[must_use]
    pub fn from_buckets(offset: i32, counts: &[u64], sum: Duration) -> Self {
        let mut histogram = Self::default();
        for (index, count) in (offset..=MAX_INDEX + 1).zip(counts) {
            histogram.add(index.clamp(MIN_INDEX, MAX_INDEX), u32::try_from(*count).unwrap_or(u32::MAX));
        }
        histogram.sum_micros = u64::try_from(sum.as_micros()).unwrap_or(u64::MAX);
        histogram
    }

    /// Non-empty buckets as (index, count), in ascending order.
    pub fn buckets(&self) -> impl Iterator<Item = (i32, u32)> + '_ {
        (self.offset..).zip(self.counts.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// Index of the first stored bucket and the dense counts from there, as OTLP carries them.
    #[must_use]
    pub fn dense(&self) -> (i32, &[u32]) {
        (self.offset, &self.counts)
    }

    /// How many durations were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Whether nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Their sum, to the microsecond.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros)
    }

    /// Their mean; none when empty.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        self.sum_micros.checked_div(self.total).map(Duration::from_micros)
    }

    /// The `q`-quantile, `q` in 0..=1, within 4.5 % of the true one; none when empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        self.quantiles([q]).map(|[quantile]| quantile)
    }

    /// Several quantiles in one pass, in ascending order, each as [`Self::quantile`] gives it.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, ascending: [f64; N]) -> Option<[Duration; N]> {
        quantiles(self.buckets(), self.total, ascending)
    }

    fn add(&mut self, index: i32, count: u32) {
        if count == 0 {
            return;
        }
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let missing = usize::try_from(self.offset - index).unwrap_or(0);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let at = usize::try_from(index - self.offset).unwrap_or(0);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].saturating_add(count);
        self.total = self.total.saturating_add(u64::from(count));
    }
}

/// Several quantiles of durations that are counted in `buckets`, given as (index, count) in ascending order, `total` in all; none when that is nought.
#[must_use]
pub fn quantiles<const N: usize>(
    mut buckets: impl Iterator<Item = (i32, u32)>,
    total: u64,
    ascending: [f64; N],
) -> Option<[Duration; N]> {
    let (mut index, mut seen) = (0, 0);
    let mut quantiles = [Duration::ZERO; N];
    for (quantile, q) in quantiles.iter_mut().zip(ascending) {
        let rank = (q.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        while seen < rank {
            let (next, count) = buckets.next()?;
            (index, seen) = (next, seen + u64::from(count));
        }
        *quantile = middle(index);
    }
    Some(quantiles)
}

/// The bucket of a duration in microseconds.
fn index_of(micros: u64) -> i32 {
    if micros <= 1 {
        return MIN_INDEX;
    }
    // Buckets are open below and closed above, hence the ceiling; `-1` because bucket i ends at base^(i+1).
    let index = ((micros as f64).log2() * f64::from(1 << SCALE)).ceil() as i32 - 1;
    index.clamp(MIN_INDEX, MAX_INDEX)
}

/// The geometric middle of a bucket, the value that halves its relative error.
fn middle(index: i32) -> Duration {
    static MIDDLES: LazyLock<[Duration; MAX_INDEX as usize + 1]> = LazyLock::new(|| {
        let of = |index: usize| (index as f64 + 0.5) / f64::from(1 << SCALE);
        std::array::from_fn(|index| Duration::from_secs_f64(of(index).exp2() * 1e-6))
    });
    let index = usize::try_from(index).unwrap_or(0).min(MIDDLES.len() - 1);
    MIDDLES.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(micros: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        micros.iter().for_each(|m| histogram.record(Duration::from_micros(*m)));
        histogram
    }

    fn merged(a: &Histogram, b: &Histogram) -> Histogram {
        let mut sum = a.clone();
        sum.merge(b);
        sum
    }

    #[test]
    fn empty_has_no_quantile_and_no_mean() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::default().mean(), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_five_percent(micros in prop::collection::vec(100u64..60_000_000, 1..200), q in 0.0f64..=1.0) {
            let mut sorted = micros.clone();
            sorted.sort_unstable();
            let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
            let (truth, read) = (sorted[rank - 1] as f64, of(&micros).quantile(q).unwrap().as_secs_f64() * 1e6);
            prop_assert!((read / truth - 1.0).abs() <= 0.05, "{read} for {truth}");
        }

        #[test]
        fn several_quantiles_are_each_by_itself(micros in prop::collection::vec(0u64..100_000_000, 0..50), mut qs in prop::array::uniform4(0.0f64..=1.0)) {
            qs.sort_by(f64::total_cmp);
            let histogram = of(&micros);
            let alone: Vec<Duration> = qs.iter().filter_map(|q| histogram.quantile(*q)).collect();
            prop_assert_eq!(histogram.quantiles(qs).map_or_else(Vec::new, Vec::from), alone);
        }

        #[test]
        fn merging_is_associative_and_commutative(
            a in prop::collection::vec(0u64..100_000_000, 0..50),
            b in prop::collection::vec(0u64..100_000_000, 0..50),
            c in prop::collection::vec(0u64..100_000_000, 0..50),
        ) {
            let (a, b, c) = (of(&a), of(&b), of(&c));
            let left = merged(&merged(&a, &b), &c);
            let right = merged(&a, &merged(&c, &b));
            prop_assert_eq!(left.buckets().collect::<Vec<_>>(), right.buckets().collect::<Vec<_>>());
            prop_assert_eq!((left.count(), left.sum()), (right.count(), right.sum()));
        }

        #[test]
        fn parts_rebuild_the_whole(micros in prop::collection::vec(0u64..100_000_000, 0..50)) {
            let whole = of(&micros);
            let (offset, counts) = whole.dense();
            let counts: Vec<u64> = counts.iter().map(|c| u64::from(*c)).collect();
            prop_assert_eq!(Histogram::from_buckets(offset, &counts, whole.sum()), whole);
        }

        #[test]
        fn hostile_parts_stay_bounded(offset in any::<i32>(), counts in prop::collection::vec(any::<u64>(), 0..600)) {
            let histogram = Histogram::from_buckets(offset, &counts, Duration::from_secs(1));
            prop_assert!(histogram.dense().1.len() <= 256);
        }
    }
}
