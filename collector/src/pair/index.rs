//! Finds slots by identifier: a table of numbers in lines of a processor's cache.
//!
//! An entry is a slot's number and 16 bits of its identifier's hash; the identifier itself stands in the slot. Entries need not be
//! taken out: numbers only grow, and one before the ring's first is as good as empty. So each look-up touches two neighbouring
//! lines and, when it finds something, the slot, where a table that holds identifiers touched four lines and grew four times as large.
//! [`Index::touch`] asks for the lines of many look-ups at once, before the first of them is made, so that waiting for memory
//! happens once and not for each.
//!
//! A group of sixteen entries that is full makes the table grow; at its largest, the oldest entry of the group gives way, and
//! its slot is not found any more. With 500,000 slots that happens to fewer than one in a million.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::waiting::SpanKey;

/// Bits of an entry that are a part of the hash; the others are the number.
const TAG_BITS: u32 = 16;
const TAG: u64 = (1 << TAG_BITS) - 1;
/// Lines to begin with, and at most: 16 MiB.
const LEAST_LINES: usize = 1 << 8;
const MOST_LINES: usize = 1 << 18;

/// One line of a processor's cache.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

/// The table.
#[derive(Debug)]
pub(super) struct Index {
    lines: Vec<Line>,
    hashing: IdHashing,
}

impl Default for Index {
    fn default() -> Self {
        Self { lines: vec![Line::default(); LEAST_LINES], hashing: IdHashing::default() }
    }
}

/// A place in the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    line: usize,
    entry: usize,
}

impl Index {
    /// The number of the slot for which `is_it`; `first` is the number of the oldest slot.
    #[inline]
    pub(super) fn find(&self, key: SpanKey, first: u64, is_it: impl Fn(u64) -> bool) -> Option<(u64, Place)> {
        let hash = self.hash(key);
        let home = self.home(hash);
        for line in [home, home ^ 1] {
            for (entry, value) in self.lines.get(line)?.0.iter().enumerate() {
                let number = value >> TAG_BITS;
                if value & TAG == hash & TAG && number >= first && is_it(number) {
                    return Some((number, Place { line, entry }));
                }
            }
        }
        None
    }

    /// Adds a slot. False when its group is full of slots from `first` on and the table can still grow: then all are to be added again
    /// after [`Index::grow`].
    #[inline]
    pub(super) fn add(&mut self, key: SpanKey, number: u64, first: u64) -> bool {
        let hash = self.hash(key);
        let home = self.home(hash);
        let mut oldest = (u64::MAX, Place { line: home, entry: 0 });
        for line in [home, home ^ 1] {
            let Some(entries) = self.lines.get(line) else { return true };
            for (entry, value) in entries.0.iter().enumerate() {
                let number = value >> TAG_BITS;
                if number < oldest.0 {
                    oldest = (number, Place { line, entry });
                }
            }
            if oldest.0 < first {
                break;
            }
        }
        if oldest.0 >= first && self.lines.len() < MOST_LINES {
            return false;
        }
        self.set(oldest.1, number << TAG_BITS | hash & TAG);
        true
    }

    /// Lets a place stand for another slot, whose identifier has the same hash; 0 for none.
    pub(super) fn replace(&mut self, place: Place, number: u64) {
        let tag = self.lines.get(place.line).and_then(|line| line.0.get(place.entry)).map_or(0, |value| value & TAG);
        self.set(place, if number == 0 { 0 } else { number << TAG_BITS | tag });
    }

    /// Twice the size, empty.
    pub(super) fn grow(&mut self) {
        self.lines = vec![Line::default(); self.lines.len() * 2];
    }

    /// Asks for the lines of a look-up; what comes back is of no use but to be mixed with others, so that it is asked for.
    #[inline]
    pub(super) fn touch(&self, key: SpanKey) -> u64 {
        self.lines.get(self.home(self.hash(key))).map_or(0, |line| line.0[0])
    }

    fn set(&mut self, place: Place, value: u64) {
        if let Some(entry) = self.lines.get_mut(place.line).and_then(|line| line.0.get_mut(place.entry)) {
            *entry = value;
        }
    }

    fn hash(&self, key: SpanKey) -> u64 {
        self.hashing.hash_one(key)
    }

    /// By bits that are not the tag's.
    const fn home(&self, hash: u64) -> usize {
        (hash >> TAG_BITS) as usize & (self.lines.len() - 1)
    }
}

impl Hash for SpanKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let trace = u128::from_ne_bytes(*self.trace.as_bytes());
        state.write_u64(trace as u64);
        state.write_u64((trace >> 64) as u64);
        state.write_u64(u64::from_ne_bytes(*self.span.as_bytes()));
    }
}

/// Hashes identifiers: three multiplications, keyed by chance, so that nobody can aim collisions at us.
#[derive(Debug, Clone)]
struct IdHashing {
    seed: u64,
}

impl Default for IdHashing {
    fn default() -> Self {
        Self { seed: RandomState::new().hash_one(0) }
    }
}

impl BuildHasher for IdHashing {
    type Hasher = IdHasher;
    fn build_hasher(&self) -> IdHasher {
        IdHasher(self.seed)
    }
}

/// One hash in the making.
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ self.0.rotate_left(23);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, VecDeque};
    use tripline_model::{SpanId, TraceId};

    fn key(number: u64) -> SpanKey {
        let trace = TraceId::from_bytes((u128::from(number) + 1).to_be_bytes()).expect("not zero");
        SpanKey { trace, span: SpanId::from_bytes((number + 1).to_be_bytes()).expect("not zero") }
    }

    /// Against a map that forgets nothing it should not: as many slots as there can be, each gone when its time has come.
    #[test]
    fn what_is_in_the_ring_is_found_and_nothing_else() {
        let (mut index, mut ring, mut first, mut lost) = (Index::default(), VecDeque::new(), 1_u64, 0);
        let mut expected = HashMap::new();
        for number in 1..=1_200_000_u64 {
            ring.push_back(key(number));
            if ring.len() > 500_000 {
                let gone: SpanKey = ring.pop_front().expect("full");
                expected.remove(&(gone.trace, gone.span));
                first += 1;
            }
            expected.insert((key(number).trace, key(number).span), number);
            while !index.add(key(number), number, first) {
                index.grow();
                for (older, key) in (first..number).zip(&ring) {
                    index.add(*key, older, first);
                }
            }
        }
        for number in 1..=1_200_000_u64 {
            let is_it = |found: u64| ring.get((found - first) as usize) == Some(&key(number));
            let found = index.find(key(number), first, is_it).map(|(number, _)| number);
            let key = (key(number).trace, key(number).span);
            lost += u32::from(found.is_none() && expected.contains_key(&key));
            assert!(found.is_none() || found == expected.get(&key).copied());
        }
        assert!(lost <= 1, "{lost} were lost");
    }
}
