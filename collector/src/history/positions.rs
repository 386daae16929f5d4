//! Which journal positions are safely in Parquet, although batches may arrive out of order.
//!
//! `done` is the promise to the journal: everything up to it is in Parquet, the journal may forget it. Positions that were
//! written ahead of a gap wait in `ahead`. A gap that is still there after [`PATIENCE`] flushes belongs to a batch that never
//! came (the journal found it damaged, or our manifest was lost and the journal begins later): it is skipped and counted, or the
//! journal would grow without end.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Flushes for which a gap is waited for.
const PATIENCE: u32 = 6;
/// Positions remembered ahead of a gap.
const MAX_AHEAD: usize = 10_000;

/// Positions whose rows are in Parquet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Positions {
    done: u64,
    #[serde(default)]
    ahead: BTreeSet<u64>,
    #[serde(default)]
    stalled: u32,
}

impl Positions {
    /// All up to `done`.
    pub(super) fn up_to(done: u64) -> Self {
        Self { done, ..Self::default() }
    }

    /// Every position up to this one is in Parquet.
    pub(super) const fn done(&self) -> u64 {
        self.done
    }

    /// The highest position known to be in Parquet.
    pub(super) fn highest(&self) -> u64 {
        self.ahead.last().copied().unwrap_or(self.done)
    }

    /// Whether the rows of `position` are in Parquet; never for 0, which means that there is no journal.
    pub(super) fn holds(&self, position: u64) -> bool {
        position != 0 && (position <= self.done || self.ahead.contains(&position))
    }

    /// Takes in the positions that one flush has written; returns how many positions were given up.
    pub(super) fn flushed(&mut self, positions: impl Iterator<Item = u64>) -> u64 {
        self.ahead.extend(positions.filter(|position| *position > self.done));
        self.advance();
        if self.ahead.is_empty() {
            self.stalled = 0;
            return 0;
        }
        self.stalled += 1;
        if self.stalled <= PATIENCE && self.ahead.len() <= MAX_AHEAD {
            return 0;
        }
        self.stalled = 0;
        let next = self.ahead.first().copied().unwrap_or(self.done + 1);
        let skipped = next - self.done - 1;
        self.done = next - 1;
        self.advance();
        skipped
    }

    fn advance(&mut self) {
        while self.ahead.first() == Some(&(self.done + 1)) {
            self.ahead.pop_first();
            self.done += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_gap_holds_the_promise_back_until_it_is_filled() {
        let mut positions = Positions::up_to(10);
        assert_eq!(positions.flushed([11, 13].into_iter()), 0);
        assert_eq!((positions.done(), positions.highest()), (11, 13));
        assert!(positions.holds(13) && !positions.holds(12) && !positions.holds(0));
        positions.flushed([12].into_iter());
        assert_eq!(positions.done(), 13);
    }

    #[test]
    fn a_gap_that_stays_is_given_up_and_counted() {
        let mut positions = Positions::default();
        positions.flushed([501].into_iter());
        let skipped: u64 = (0..PATIENCE).map(|_| positions.flushed(std::iter::empty())).sum();
        assert_eq!((skipped, positions.done()), (500, 501));
    }

    #[test]
    fn no_journal_has_no_positions() {
        let mut positions = Positions::default();
        positions.flushed([0, 0].into_iter());
        assert_eq!(positions, Positions::default());
    }

    proptest! {
        #[test]
        fn any_order_ends_at_the_same_place(
            order in Just((1..=40u64).collect::<Vec<_>>()).prop_shuffle(),
            chunk in 8usize..40,
        ) {
            let mut positions = Positions::default();
            for flush in order.chunks(chunk) {
                positions.flushed(flush.iter().copied());
            }
            prop_assert_eq!(positions.done(), 40);
        }
    }
}
