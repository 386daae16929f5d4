//! When users come and what they want: a Poisson process over the visits of the shop.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::shop::{VISITS, Visit};

/// One user.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When, from the start of the load.
    pub after: Duration,
    /// What for.
    pub visit: &'static Visit,
}

/// Users in the order of their coming, without end. Equal seeds give equal users.
#[derive(Debug)]
pub struct Arrivals {
    random: StdRng,
    mean_gap_seconds: f64,
    elapsed_seconds: f64,
}

impl Arrivals {
    /// `rate` users a second on average, at least one in a thousand seconds.
    #[must_use]
    pub fn new(rate: f64, seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), mean_gap_seconds: 1.0 / rate.max(0.001), elapsed_seconds: 0.0 }
    }

    /// The next user.
    pub fn next_arrival(&mut self) -> Arrival {
        // Gaps of a Poisson process are exponential; 1 - u keeps the logarithm away from zero.
        let gap = -(1.0 - self.random.random::<f64>()).ln() * self.mean_gap_seconds;
        self.elapsed_seconds += gap;
        let mut left = self.random.random_range(0..100);
        let visit = VISITS.iter().find(|visit| {
            let chosen = left < visit.percent;
            left = left.saturating_sub(visit.percent);
            chosen
        });
        Arrival { after: Duration::from_secs_f64(self.elapsed_seconds), visit: visit.unwrap_or(&VISITS[0]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_mix_are_as_asked() {
        let mut arrivals = Arrivals::new(200.0, 1);
        let users: Vec<Arrival> = std::iter::repeat_with(|| arrivals.next_arrival()).take(40_000).collect();
        let seconds = users.last().expect("users").after.as_secs_f64();
        // 40,000 exponential gaps: the standard deviation of their sum is half a percent.
        assert!((195.0..205.0).contains(&(40_000.0 / seconds)), "{seconds}");
        assert!(users.windows(2).all(|pair| pair[0].after <= pair[1].after));
        for visit in &VISITS {
            let share = users.iter().filter(|user| user.visit.path == visit.path).count() as f64 / 400.0;
            assert!((share - f64::from(visit.percent)).abs() < 1.5, "{}: {share} %", visit.path);
        }
    }
}
