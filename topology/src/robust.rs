//! Robust figures that every judgement rests on: the middle of some values and how far they spread, and how unlikely a
//! number of failures is. Median and MAD, because a baseline that holds one bad window, or an onset that is a minute off, must
//! not move them (BARO, and the comparison of methods at ASE'24).

/// Samples before a level is believed.
pub(crate) const ENOUGH: usize = 3;
/// A spread below this share of the median is taken for this share: a run of equal samples is no proof of constancy.
pub(crate) const SPREAD_FLOOR: f64 = 0.1;

/// The upper median; zero of nothing. Sorts the values.
pub(crate) fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Median and median absolute deviation, the latter at least `floor` of the median; none of too few values.
pub(crate) fn median_and_mad(mut values: Vec<f64>, floor: f64) -> Option<(f64, f64)> {
    if values.len() < ENOUGH {
        return None;
    }
    let median = middle(&mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    Some((median, middle(&mut values).max(floor * median.abs())))
}

/// Binomial z of `failed` out of `asked` where the share `normal` is expected, with one added to the variance, so that a share of zero
/// has a spread, too.
pub(crate) fn binomial_z(asked: f64, failed: f64, normal: f64) -> f64 {
    (failed - asked * normal) / (asked * normal * (1.0 - normal) + 1.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_moves_neither_median_nor_spread() {
        assert_eq!(median_and_mad(vec![10.0, 11.0, 12.0, 500.0, 11.0], 0.0), Some((11.0, 1.0)));
        assert_eq!(median_and_mad(vec![10.0; 5], 0.1), Some((10.0, 1.0)));
        assert_eq!(median_and_mad(vec![10.0; 2], 0.1), None);
    }

    #[test]
    fn failures_are_measured_in_what_chance_would_do() {
        assert_eq!(binomial_z(100.0, 5.0, 0.0), 5.0);
        assert!(binomial_z(1000.0, 20.0, 0.02).abs() < 1e-9);
    }
}
