//! Whose clock is wrong: the fewest rows whose removal leaves time in order.

use std::time::Duration;

use tripline_model::Timestamp;

/// How many of its own windows a row may be late.
const LATE_WINDOWS: u32 = 2;

/// For each row, whether it keeps time: it is in the longest non-decreasing subsequence, or less than two of its windows away from it.
pub(super) fn keeps_time(rows: &[(Timestamp, Duration)]) -> Vec<bool> {
    let run = in_longest_run(rows);
    // What the clock read at each row's place, by the last row of the run before it and by the next one after it: a run may leave out
    // a whole window, so one of the two alone can be further away than the row is late.
    let mut after: Vec<Option<Timestamp>> = vec![None; rows.len()];
    let mut next = None;
    for (at, (time, _)) in rows.iter().enumerate().rev() {
        if run.get(at) == Some(&true) {
            next = Some(*time);
        }
        after[at] = next;
    }
    let mut now: Option<Timestamp> = None;
    let mut keeps = run;
    for (at, (time, length)) in rows.iter().enumerate() {
        let Some(kept) = keeps.get_mut(at) else { continue };
        if *kept {
            now = Some(*time);
            continue;
        }
        let near = |other: Timestamp| other.since(*time).max(time.since(other)) <= *length * LATE_WINDOWS;
        *kept = now.is_some_and(near) || after.get(at).copied().flatten().is_some_and(near);
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
    fn a_run_that_leaves_out_a_window_does_not_condemn_its_neighbours() {
        // The longest run goes from 79 to 82; 81 is one second late, and 80 in its place.
        assert_eq!(kept(&[78, 79, 79, 79, 79, 82, 82, 82, 82, 81, 80, 83]), [true; 12]);
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
