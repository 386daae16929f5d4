//! The spans that wait: found by their identifiers, in the order of their arrival.
//!
//! Slots lie in a ring in the order of arrival, which is the order of expiry too, and are known by a number that only grows.
//! Children whose parent has not come are chained through their slots, newest first: a number before the ring's first
//! means that the rest of the chain has expired, so expiry never has to search a chain.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use tripline_model::{SpanId, TraceId};

use super::slot::Slot;

/// A span within its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanKey {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
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
pub(super) struct IdHashing {
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
pub(super) struct IdHasher(u64);

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

/// Slots of spans.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    ring: VecDeque<Slot>,
    /// Number of the ring's first slot; numbers begin at 1.
    first: u64,
    numbers: HashMap<SpanKey, u64, IdHashing>,
    /// The newest child of a span that has not come.
    orphans: HashMap<SpanKey, u64, IdHashing>,
    /// Slots at the ring's beginning that have lingered.
    pub(super) lingered: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    /// The slot of a span.
    pub(super) fn find(&mut self, key: SpanKey) -> Option<&mut Slot> {
        let number = *self.numbers.get(&key)?;
        self.get(number)
    }

    /// The slot of a number; none when it has expired.
    pub(super) fn get(&mut self, number: u64) -> Option<&mut Slot> {
        let index = number.checked_sub(self.first.max(1))?;
        self.ring.get_mut(usize::try_from(index).ok()?)
    }

    /// The slot at a place counted from the oldest.
    pub(super) fn at(&mut self, index: usize) -> Option<&mut Slot> {
        self.ring.get_mut(index)
    }

    /// Adds a slot; answers its number.
    pub(super) fn add(&mut self, slot: Slot) -> u64 {
        self.first = self.first.max(1);
        let number = self.first + self.ring.len() as u64;
        self.numbers.insert(slot.key, number);
        self.ring.push_back(slot);
        number
    }

    /// Lets a span wait for another; answers the number that its slot has to keep as `next_orphan`.
    pub(super) fn wait_for(&mut self, parent: SpanKey, child: u64) -> u64 {
        self.orphans.insert(parent, child).unwrap_or(0)
    }

    /// The newest span that waits for this one, which has come now.
    pub(super) fn take_orphans(&mut self, parent: SpanKey) -> u64 {
        if self.orphans.is_empty() { 0 } else { self.orphans.remove(&parent).unwrap_or(0) }
    }

    /// The oldest slot.
    pub(super) fn oldest(&self) -> Option<&Slot> {
        self.ring.front()
    }

    /// Takes the oldest slot out; tells with it whether it still waited for its parent.
    pub(super) fn pop(&mut self) -> Option<Slot> {
        let slot = self.ring.pop_front()?;
        let number = self.first.max(1);
        self.first = number + 1;
        self.lingered = self.lingered.saturating_sub(1);
        self.numbers.remove(&slot.key);
        if let Some(parent) = slot.awaits
            && self.orphans.get(&parent) == Some(&number)
        {
            self.orphans.remove(&parent);
        }
        Some(slot)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.numbers.is_empty() && self.orphans.is_empty()
    }
}
