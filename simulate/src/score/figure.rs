//! Figures with what they are worth: shares with Wilson's interval, means and quantiles with a bootstrap's, all of 95 %.

use tripline_breaker::jitter::SplitMix;

/// Samples of a bootstrap.
const SAMPLES: usize = 1_000;
/// The quantile of the normal distribution that 95 % lie within.
const Z: f64 = 1.959_964;

/// A number with its interval of confidence and the number of observations it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The number; zero without observations.
    pub value: f64,
    /// Lower end of the interval of 95 %.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Observations.
    pub of: usize,
}

/// `part` of `whole`, with Wilson's interval (Wilson 1927), which holds near 0 and 1 and for few observations.
#[must_use]
pub fn share(part: usize, whole: usize) -> Figure {
    if whole == 0 {
        return Figure { value: 0.0, low: 0.0, high: 1.0, of: 0 };
    }
    let n = whole as f64;
    let p = part as f64 / n;
    let centre = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Figure { value: p, low: (centre - half).max(0.0), high: (centre + half).min(1.0), of: whole }
}

/// The mean, with a percentile bootstrap.
#[must_use]
pub fn mean(values: &[f64]) -> Figure {
    bootstrap(values, |values| values.iter().sum::<f64>() / values.len().max(1) as f64)
}

/// The `q`-quantile, nearest rank, with a percentile bootstrap.
#[must_use]
pub fn quantile(values: &[f64], q: f64) -> Figure {
    bootstrap(values, |values| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len().max(1));
        sorted.get(rank - 1).copied().unwrap_or(0.0)
    })
}

fn bootstrap(values: &[f64], statistic: impl Fn(&[f64]) -> f64) -> Figure {
    if values.is_empty() {
        return Figure { value: 0.0, low: 0.0, high: 0.0, of: 0 };
    }
    // Seeded, so that the same observations give the same interval.
    let mut random = SplitMix::new(values.len() as u64);
    let mut drawn: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let sample: Vec<f64> =
                values.iter().map(|_| values[(random.next_u64() % values.len() as u64) as usize]).collect();
            statistic(&sample)
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |q: f64| drawn[((q * SAMPLES as f64) as usize).min(SAMPLES - 1)];
    Figure { value: statistic(values), low: at(0.025), high: at(0.975), of: values.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_as_in_the_tables() {
        let figure = share(95, 100);
        assert!((figure.low - 0.8882).abs() < 5e-4 && (figure.high - 0.9785).abs() < 5e-4, "{figure:?}");
        assert_eq!(share(0, 0).of, 0);
        assert!(share(10, 10).low > 0.7 && share(10, 10).high <= 1.0);
    }

    #[test]
    fn an_interval_holds_its_number_and_narrows() {
        let few: Vec<f64> = (0..10).map(f64::from).collect();
        let many: Vec<f64> = (0..1000).map(|at| f64::from(at % 10)).collect();
        let (few, many) = (mean(&few), mean(&many));
        assert!(few.low < 4.5 && few.high > 4.5 && (few.value - 4.5).abs() < 1e-9);
        assert!(many.high - many.low < few.high - few.low);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5).value, 2.0);
    }
}
