//! The spans that wait: found by their identifiers, in the order of their arrival.
//!
//! Slots lie in a ring in the order of arrival, which is the order of expiry too, and are known by a number that only grows.
//! Children whose parent has not come are chained through their slots, newest first: a number before the ring's first
//! means that the rest of the chain has expired, so expiry never has to search a chain.

use std::collections::VecDeque;

use tripline_model::{SpanId, TraceId};

use super::index::Index;
use super::slot::Slot;

/// A span within its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanKey {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
}

/// Slots of spans.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    ring: VecDeque<Slot>,
    /// Number of the ring's first slot; numbers begin at 1.
    first: u64,
    numbers: Index,
    /// The newest child of a span that has not come.
    orphans: Index,
    /// Slots at the ring's beginning that have lingered.
    pub(super) lingered: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    /// The slot of a span.
    pub(super) fn find(&mut self, key: SpanKey) -> Option<&mut Slot> {
        let (first, ring) = (self.first.max(1), &self.ring);
        let (number, _) =
            self.numbers.find(key, first, |number| at(ring, first, number).is_some_and(|slot| slot.key == key))?;
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
        let key = slot.key;
        self.ring.push_back(slot);
        while !self.numbers.add(key, number, self.first) {
            self.numbers.grow();
            for (number, slot) in (self.first..number).zip(&self.ring) {
                self.numbers.add(slot.key, number, self.first);
            }
        }
        number
    }

    /// Lets a span wait for another; answers the number that its slot has to keep as `next_orphan`.
    pub(super) fn wait_for(&mut self, parent: SpanKey, child: u64) -> u64 {
        if let Some((newest, place)) = self.orphan_of(parent) {
            self.orphans.replace(place, child);
            return newest;
        }
        while !self.orphans.add(parent, child, self.first) {
            self.orphans.grow();
            // Oldest first, so that of several the newest stays.
            for (number, slot) in (self.first..child).zip(&self.ring) {
                let Some(awaited) = slot.awaits else { continue };
                let (first, ring) = (self.first, &self.ring);
                let is_it = |number| at(ring, first, number).is_some_and(|slot| slot.awaits == Some(awaited));
                match self.orphans.find(awaited, first, is_it) {
                    Some((_, place)) => self.orphans.replace(place, number),
                    None => drop(self.orphans.add(awaited, number, first)),
                }
            }
        }
        0
    }

    /// The newest span that waits for this one, which has come now.
    pub(super) fn take_orphans(&mut self, parent: SpanKey) -> u64 {
        let Some((newest, place)) = self.orphan_of(parent) else { return 0 };
        self.orphans.replace(place, 0);
        newest
    }

    /// Asks memory for what [`Self::find`] and [`Self::take_orphans`] of a span, and finding its parent, will look at.
    #[inline]
    pub(super) fn touch(&self, key: SpanKey, parent: Option<SpanId>) -> u64 {
        let of_parent = parent.map_or(0, |span| {
            let parent = SpanKey { trace: key.trace, span };
            self.numbers.touch(parent) ^ self.orphans.touch(parent)
        });
        self.numbers.touch(key) ^ self.orphans.touch(key) ^ of_parent
    }

    /// The oldest slot.
    pub(super) fn oldest(&self) -> Option<&Slot> {
        self.ring.front()
    }

    /// Takes the oldest slot out; tells with it whether it still waited for its parent.
    pub(super) fn pop(&mut self) -> Option<Slot> {
        let slot = self.ring.pop_front()?;
        self.first = self.first.max(1) + 1;
        self.lingered = self.lingered.saturating_sub(1);
        Some(slot)
    }

    fn orphan_of(&self, parent: SpanKey) -> Option<(u64, super::index::Place)> {
        let (first, ring) = (self.first.max(1), &self.ring);
        self.orphans
            .find(parent, first, |number| at(ring, first, number).is_some_and(|slot| slot.awaits == Some(parent)))
    }
}

fn at(ring: &VecDeque<Slot>, first: u64, number: u64) -> Option<&Slot> {
    ring.get(usize::try_from(number.checked_sub(first)?).ok()?)
}
