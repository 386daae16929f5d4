//! Which of the waiting spans goes when there is no more room, so that a flood of one service's spans does not push out the few of others.
//!
//! Spans wait in two rings ([`Waiting`]), each in the order of arrival. Up to [`FREE`] of them anybody may have in the first. Beyond that, a
//! service that has fewer than its share there is let in, and a service that has more takes the place of the oldest, if
//! that belongs to one which has more than its share too. Else its span goes to the second ring, whose oldest makes room. So under pressure
//! of honest services, which all have more than their share, everything goes in the order of arrival, and under a flood the services beside
//! it keep a share of [`RESERVED`] each for as long as spans wait at all.
//!
//! A share belongs to a service that has been heard of for [`ESTABLISHED`]. All newer ones have one share together, or a
//! sender would only have to invent names. Whoever keeps hundreds of names alive for so long before he floods gets past this: the
//! reserve is full then, and its oldest goes.

use std::time::Duration;

use super::names::{Node, OVERFLOW};
use super::slot::Slot;
use super::waiting::{SpanKey, Waiting};
use tripline_model::SpanId;

/// Spans in the first ring up to which nobody's share matters.
pub(super) const FREE: usize = 350_000;
/// Spans beyond, for services with less than their share.
const RESERVED: usize = 100_000;
/// Spans in the second ring.
const CROWD: usize = 50_000;
/// Spans that wait at most; about 120 MB when full.
pub const MAX_WAITING: usize = FREE + RESERVED + CROWD;
/// The reserve is cut into so many shares, or into as many as there are services that wait, if those are more.
const LEAST_SHARES: usize = 64;
/// How long a service must have been heard of to have a share of its own.
pub(super) const ESTABLISHED: Duration = Duration::from_secs(10 * 60);
/// Whose share the spans of newer services count on.
pub(super) const NEWCOMERS: Node = OVERFLOW;

/// One of the rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ring {
    /// Where everybody's spans are.
    Own,
    /// Where those go that find no room there.
    Crowd,
}

impl Ring {
    pub(super) const BOTH: [Self; 2] = [Self::Own, Self::Crowd];
}

/// The slot of a span: its ring and its number there.
pub(super) type Place = (Ring, u64);

/// The spans that wait.
#[derive(Debug, Default)]
pub(super) struct Rings {
    own: Waiting,
    crowd: Waiting,
    shares: Shares,
}

/// Spans in the first ring, by whose share they count on.
#[derive(Debug, Default)]
struct Shares {
    held: Vec<u32>,
    /// How many of these are not 0.
    holders: usize,
}

impl Rings {
    /// The ring that a span on this share goes to, and the one whose oldest has to make room for it, if any has to.
    pub(super) fn ring_for(&self, share: Node) -> (Ring, Option<Ring>) {
        let waiting = self.own.len();
        if waiting < FREE {
            return (Ring::Own, None);
        }
        if !self.shares.is_exceeded(share) {
            return (Ring::Own, (waiting >= FREE + RESERVED).then_some(Ring::Own));
        }
        if self.own.oldest().is_some_and(|oldest| self.shares.is_exceeded(oldest.share)) {
            return (Ring::Own, Some(Ring::Own));
        }
        (Ring::Crowd, (self.crowd.len() >= CROWD).then_some(Ring::Crowd))
    }

    /// The slot of a span.
    pub(super) fn find(&mut self, key: SpanKey) -> Option<&mut Slot> {
        match self.own.find(key) {
            None if self.crowd.len() > 0 => self.crowd.find(key),
            found => found,
        }
    }

    /// The slot at a place; none when it has expired.
    pub(super) fn get(&mut self, (ring, number): Place) -> Option<&mut Slot> {
        self.ring_mut(ring).get(number)
    }

    /// Adds a slot.
    pub(super) fn add(&mut self, ring: Ring, slot: Slot) -> Place {
        if ring == Ring::Own {
            self.shares.take(slot.share);
        }
        (ring, self.ring_mut(ring).add(slot))
    }

    /// Lets a span wait for another; answers the number that its slot has to keep as `next_orphan`.
    pub(super) fn wait_for(&mut self, parent: SpanKey, (ring, child): Place) -> u64 {
        self.ring_mut(ring).wait_for(parent, child)
    }

    /// The newest span of a ring that waits for this one, which has come now.
    pub(super) fn take_orphans(&mut self, parent: SpanKey, ring: Ring) -> u64 {
        self.ring_mut(ring).take_orphans(parent)
    }

    /// The oldest slot of a ring that has not lingered yet.
    pub(super) fn not_lingered(&mut self, ring: Ring) -> Option<&mut Slot> {
        let ring = self.ring_mut(ring);
        ring.at(ring.lingered)
    }

    /// Notes that it has now.
    pub(super) fn has_lingered(&mut self, ring: Ring) {
        self.ring_mut(ring).lingered += 1;
    }

    /// The oldest slot of a ring.
    pub(super) fn oldest(&self, ring: Ring) -> Option<&Slot> {
        match ring {
            Ring::Own => self.own.oldest(),
            Ring::Crowd => self.crowd.oldest(),
        }
    }

    /// Takes the oldest slot of a ring out.
    pub(super) fn pop(&mut self, ring: Ring) -> Option<Slot> {
        let slot = self.ring_mut(ring).pop()?;
        if ring == Ring::Own {
            self.shares.give_back(slot.share);
        }
        Some(slot)
    }

    /// Asks memory for what looking up a span and its parent will look at.
    #[inline]
    pub(super) fn touch(&self, key: SpanKey, parent: Option<SpanId>) -> u64 {
        let of_crowd = if self.crowd.len() == 0 { 0 } else { self.crowd.touch(key, parent) };
        self.own.touch(key, parent) ^ of_crowd
    }

    fn ring_mut(&mut self, ring: Ring) -> &mut Waiting {
        match ring {
            Ring::Own => &mut self.own,
            Ring::Crowd => &mut self.crowd,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.own.len() + self.crowd.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shares {
    /// Whether as much is held on a share as it gives, or more.
    fn is_exceeded(&self, share: Node) -> bool {
        let held = self.held.get(share as usize).copied().unwrap_or_default() as usize;
        held >= RESERVED / self.holders.max(LEAST_SHARES)
    }

    fn take(&mut self, share: Node) {
        let place = share as usize;
        if place >= self.held.len() {
            // Numbers of names are bounded, and given out one after the other.
            self.held.resize(place + 1, 0);
        }
        if let Some(held) = self.held.get_mut(place) {
            self.holders += usize::from(*held == 0);
            *held += 1;
        }
    }

    fn give_back(&mut self, share: Node) {
        if let Some(held) = self.held.get_mut(share as usize) {
            *held = held.saturating_sub(1);
            self.holders -= usize::from(*held == 0);
        }
    }
}
