//! A tiny seeded random generator (SplitMix64; Steele, Lea, Flood 2014), so that equal seeds give equal runs.

use std::time::Duration;

use crate::policy::Jitter;

/// The generator; its whole state is one number.
#[derive(Debug, Clone)]
pub struct SplitMix(u64);

impl SplitMix {
    /// Starts from a seed; any seed is fine.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, evenly spread over all of `u64`.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A time drawn around `planned`.
    pub fn scatter(&mut self, planned: Duration, jitter: Jitter) -> Duration {
        match jitter {
            Jitter::None => planned,
            Jitter::Full => planned.mul_f64(0.1 + 0.9 * self.unit()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_times_fill_their_range() {
        let mut random = SplitMix::new(7);
        let times: Vec<f64> =
            (0..1000).map(|_| random.scatter(Duration::from_secs(10), Jitter::Full).as_secs_f64()).collect();
        assert!(times.iter().all(|t| (1.0..=10.0).contains(t)));
        assert!(times.iter().any(|t| *t < 1.5) && times.iter().any(|t| *t > 9.5));
        assert_eq!(random.scatter(Duration::from_secs(10), Jitter::None), Duration::from_secs(10));
    }
}
