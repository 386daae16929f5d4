//! Whose clock is wrong: the fewest rows whose removal leaves time in order.

use std::time::Duration;

use tripline_model::Timestamp;

/// How many of its own windows a row may be late.
const LATE_WINDOWS: u32 = 2;

/// For each row, whether it keeps time: it is in the longest non-decreasing subsequence, or less than two of its windows away from it.
pub(super) fn keeps_time(rows: &[(Timestamp, Duration)]) -> Vec<bool> {
    let mut keeps = in_longest_run(rows);
    // What the clock read at each row's place: of the last row before it that is in the run, and before the first of those its own.
    let mut now = keeps.iter().position(|kept| *kept).and_then(|first| rows.get(first)).map(|(time, _)| *time);
    for (at, (time, length)) in rows.iter().enumerate() {
        let Some(kept) = keeps.get_mut(at) else { continue };
        if *kept {
            now = Some(now.map_or(*time, |now| now.max(*time)));
        } else if let Some(now) = now {
            let apart = now.since(*time).max(time.since(now));
            *kept = apart <= *length * LATE_WINDOWS;
        }
    }
    keeps
}

/// Membership in the longest non-decreasing subsequence (patience sorting, n log n); of several, the one that ends earliest.
fn in_longest_run(rows: &[(Timestamp, Duration)]) -> Vec<bool> {
    let time = |at: usize| rows.get(at).map(|(time, _)| *time).unwrap_or_default();
    // tails[k]: the row with the earliest time that ends a run of k + 1 rows.
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(rows.len());
    for at in 0..rows.len() {
        let length = tails.partition_point(|tail| time(*tail) <= time(at));
        before.push(length.checked_sub(1).and_then(|shorter| tails.get(shorter).copied()));
        match tails.get_mut(length) {
            Some(tail) => *tail = at,
            None => tails.push(at),
        }
    }
    let mut kept = vec![false; rows.len()];
    let mut next = tails.last().copied();
    while let Some(at) = next {
        if let Some(kept) = kept.get_mut(at) {
            *kept = true;
        }
        next = before.get(at).copied().flatten();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(seconds: &[u64]) -> Vec<bool> {
        let rows: Vec<_> = seconds.iter().map(|at| (Timestamp::from_secs(*at), Duration::from_secs(1))).collect();
        keeps_time(&rows)
    }

    #[test]
    fn a_row_two_windows_late_is_kept_and_a_later_one_is_not() {
        assert_eq!(kept(&[10, 11, 12, 10, 13]), [true; 5]);
        assert_eq!(kept(&[10, 11, 12, 9, 13]), [true, true, true, false, true]);
    }

    #[test]
    fn a_clock_an_hour_off_loses_its_own_rows_only() {
        assert_eq!(kept(&[10, 3610, 11, 12, 3612, 13]), [true, false, true, true, false, true]);
        assert_eq!(kept(&[7209, 7210, 3610, 7211, 7212]), [true, true, false, true, true]);
    }

    #[test]
    fn a_pause_in_the_recording_is_no_fault() {
        assert_eq!(kept(&[10, 11, 90_000, 90_001]), [true; 4]);
    }

    proptest! {
        #[test]
        fn an_ordered_recording_loses_nothing(mut seconds in prop::collection::vec(0u64..100_000, 0..50)) {
            seconds.sort_unstable();
            prop_assert!(kept(&seconds).into_iter().all(|kept| kept));
        }
    }
}
