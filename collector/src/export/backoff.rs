//! How long to wait before a target is asked again. Pure; the jitter is given.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// The pause after attempt number `attempt`, from 0. `asked` is what the target asked for; `jitter` is in 0..1 and
/// spreads the pause over its second half, so that many collectors do not come back at the same moment.
pub(super) fn pause(attempt: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    match asked {
        // Never sooner than asked, and bounded: a target must not be able to stop us for a day.
        Some(asked) => asked.min(10 * LONGEST).max(FIRST),
        None => {
            let whole = FIRST.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST);
            whole / 2 + (whole / 2).mul_f64(jitter.clamp(0.0, 1.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let at_most = |attempt| pause(attempt, None, 1.0).as_millis();
        assert_eq!([0, 1, 2, 6, 40].map(at_most), [500, 1000, 2000, 30_000, 30_000]);
        assert_eq!(pause(1, None, 0.0).as_millis(), 500);
        assert_eq!(pause(9, Some(Duration::from_secs(2)), 0.0), Duration::from_secs(2));
        assert_eq!(pause(0, Some(Duration::from_secs(86_400)), 0.0), Duration::from_secs(300));
    }
}
