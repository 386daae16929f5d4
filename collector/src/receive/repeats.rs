//! Recognising what was already taken in.
//!
//! A sidecar that got no acknowledgement sends the same report or transition again, with the same sequence number. Per
//! process (instance) the highest number and the [`WINDOW`] before it are remembered; numbers further back count as seen,
//! because a sidecar keeps at most 120 unacknowledged reports. Past [`INSTANCES`] processes the half that has been silent
//! longest is forgotten: what they sent again after that would be counted twice, which needs a sidecar that was silent
//! while thousands of others started.

use std::collections::HashMap;

/// Numbers remembered behind the highest.
const WINDOW: u64 = 256;
/// Processes remembered.
const INSTANCES: usize = 16_384;

/// What was seen, of one kind of item.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    // The standard hasher, which no sender can aim collisions at.
    seen: HashMap<Box<str>, Seen>,
    tick: u64,
}

#[derive(Debug, Default)]
struct Seen {
    highest: u64,
    /// Bit n of word w: number `highest - (64 w + n)`.
    before: [u64; (WINDOW / 64) as usize],
    tick: u64,
}

impl Repeats {
    /// Notes a number of a process; true when it is new.
    pub(super) fn is_new(&mut self, instance: &str, sequence: u64) -> bool {
        self.tick += 1;
        if !self.seen.contains_key(instance) {
            if self.seen.len() >= INSTANCES {
                self.forget_half();
            }
            self.seen.insert(instance.into(), Seen::default());
        }
        let Some(seen) = self.seen.get_mut(instance) else { return true };
        seen.tick = self.tick;
        seen.note(sequence)
    }

    fn forget_half(&mut self) {
        let mut ticks: Vec<u64> = self.seen.values().map(|seen| seen.tick).collect();
        let middle = ticks.len() / 2;
        let (_, median, _) = ticks.select_nth_unstable(middle);
        let median = *median;
        self.seen.retain(|_, seen| seen.tick >= median);
    }
}

impl Seen {
    fn note(&mut self, sequence: u64) -> bool {
        if sequence > self.highest {
            self.shift(sequence - self.highest);
            self.highest = sequence;
        }
        let back = self.highest - sequence;
        let word = usize::try_from(back / 64).ok().and_then(|index| self.before.get_mut(index));
        let Some(word) = word else { return false };
        let bit = 1 << (back % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn shift(&mut self, by: u64) {
        let (words, bits) = (usize::try_from(by / 64).unwrap_or(usize::MAX), by % 64);
        let old = self.before;
        let word = |index: Option<usize>| index.and_then(|index| old.get(index)).copied().unwrap_or(0);
        for (index, place) in self.before.iter_mut().enumerate() {
            let whole = index.checked_sub(words);
            let low = word(whole) << bits;
            let high = if bits == 0 { 0 } else { word(whole.and_then(|index| index.checked_sub(1))) >> (64 - bits) };
            *place = low | high;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against a set that forgets nothing: within the window exact, behind it always "seen".
        #[test]
        fn numbers_are_new_once(steps in prop::collection::vec(prop_oneof![0u64..40, 0u64..700], 1..200)) {
            let mut repeats = Repeats::default();
            let (mut all, mut highest) = (BTreeSet::new(), 0);
            for number in steps {
                highest = highest.max(number);
                let expected = highest - number < WINDOW && all.insert(number);
                prop_assert_eq!(repeats.is_new("a", number), expected, "{}", number);
            }
        }
    }

    #[test]
    fn processes_do_not_disturb_each_other_and_are_bounded() {
        let mut repeats = Repeats::default();
        assert!(repeats.is_new("a", 1) && repeats.is_new("b", 1));
        for stranger in 0..3 * INSTANCES {
            assert!(repeats.is_new(&stranger.to_string(), u64::MAX));
            assert!(stranger % 1000 != 0 || !repeats.is_new("a", 1), "whoever speaks is not forgotten");
        }
        assert!(repeats.seen.len() <= INSTANCES);
    }
}
