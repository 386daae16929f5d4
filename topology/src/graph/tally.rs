//! What one reporter counted on one edge: blocks of ten seconds, and within the younger ones each second by itself.
//!
//! A mesh of a hundred thousand busy edges has twenty million panes. So they are kept as bytes ([`super::packed`], [`super::block`]), in one allocation for
//! each reporter of an edge, oldest block first. What the detector asks for, counts between two moments, skips from block to block, adds whole ones, and
//! looks at seconds only where a moment lies within a block.
//!
//! Histograms are by block: over a span that begins or ends within one they are those of the blocks that it touches, while counts stay
//! exact. What history has taken over is not needed any more: self time, bytes, and latencies that a better reporter has as well.

use std::time::Duration;

use tripline_model::{EdgeCounts, EdgeWindow, Histogram, Timestamp};

use super::block::{Block, GROUP, Kept, Opened, SECS};
use super::brief::{Brief, narrow};
use super::packed::{Buckets, Dense};

/// Seconds are kept for this long; a graph over a minute is exact to the second.
pub(crate) const FINE_SECS: u32 = 75;
/// Blocks are of ten seconds for this long, then of thirty.
const SINGLE_SECS: u32 = 180;
/// How far back anything is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(600);
/// Blocks between the oldest and the newest, at most: their numbers are kept modulo 65,536.
const MAX_BLOCKS: u32 = 60_000;
/// Memory for blocks grows in steps of so many bytes.
const STEP: usize = 64;

/// Counts and latencies over some span of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sum {
    /// The counts. Answered and induced failures and bytes are known for blocks of ten seconds; bytes until history has taken them over.
    pub counts: EdgeCounts,
    /// As the reporter saw it, of the blocks of ten seconds that the span touches.
    pub latency: Histogram,
    /// Time outside the server's own calls, of the same blocks; until history has taken it over.
    pub self_time: Histogram,
}

impl Sum {
    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.latency.merge(&other.latency);
        self.self_time.merge(&other.self_time);
    }
}

/// The blocks of one reporter.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    blocks: Vec<u8>,
    /// Number of the newest block.
    newest: u32,
    /// Where that one is, and the one before it: most questions are about these two.
    newest_at: u32,
    before_at: u32,
    thinned: Thinned,
}

/// How far a tally has been thinned out: the first block that was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Thinned {
    /// Those before have no seconds any more.
    coarse: u32,
    /// Those before have nothing any more that only history asks for.
    told: u32,
    /// Those before are one in three.
    grouped: u32,
}

impl Thinned {
    /// Whether less is left of a block after `later`.
    fn differs(&self, later: &Self, number: u32) -> bool {
        (self.coarse..later.coarse).contains(&number) || (self.told..later.told).contains(&number)
    }

    /// What is left of a block. `is_known` says whether a better reporter counted at the time.
    fn of<'a>(&self, block: Opened<'a>, is_known: bool) -> Opened<'a> {
        let mut rest = block.rest;
        (rest.request_bytes, rest.response_bytes) = (0, 0);
        Opened {
            seconds: if block.number < self.coarse { &[] } else { block.seconds },
            latency: if is_known { Buckets::EMPTY } else { block.latency },
            self_time: Buckets::EMPTY,
            rest,
            ..block
        }
    }
}

impl Tally {
    /// Adds a window to the second and the block it starts in. What is older than the newest by a week is left out.
    pub(super) fn count(&mut self, window: &EdgeWindow) {
        let second = narrow(window.start.as_secs());
        let number = second / SECS;
        if self.blocks.is_empty() || number > self.newest.saturating_add(MAX_BLOCKS) {
            self.blocks.clear();
            (self.newest, self.newest_at, self.before_at) = (number, 0, 0);
        } else if number.saturating_add(MAX_BLOCKS) < self.newest {
            return;
        }
        let (at, known) = self.find(number);
        let length = known.map_or(0, |block| block.length());
        let kept = Kept { seconds: number >= self.thinned.coarse, history: number >= self.thinned.told };
        let mut block = Vec::with_capacity(256);
        known.map_or_else(|| Opened::at(second), |block| block.open()).write_with(&mut block, window, kept);
        self.put(at, length, &block);
        if number > self.newest {
            (self.newest, self.newest_at, self.before_at) = (number, at as u32, self.newest_at);
        } else if number < self.newest {
            // A block may become shorter: counts that are even again take fewer bytes.
            let moved = |place: u32| place + block.len() as u32 - length as u32;
            self.newest_at = moved(self.newest_at);
            if (at as u32) < self.before_at {
                self.before_at = moved(self.before_at);
            }
        }
    }

    /// Whether nothing of the last ten minutes is in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The seconds that start in `[from, to)`, in whole seconds; of old blocks the whole, at its first second.
    pub(super) fn seconds(&self, from: u32, to: u32) -> impl Iterator<Item = Brief> {
        let panes = self.touched((from, to)).flat_map(Block::panes);
        panes.filter(move |pane| pane.start >= from && pane.start < to)
    }

    /// Their sum.
    pub(super) fn brief(&self, from: u32, to: u32) -> Brief {
        let mut sum = Brief { start: from, ..Brief::default() };
        self.touched((from, to)).for_each(|block| block.add_to(&mut sum, (from, to)));
        sum
    }

    /// Whether a request was counted in `[from, to)`.
    pub(super) fn counted(&self, from: u32, to: u32) -> bool {
        self.brief(from, to).requests > 0
    }

    /// Everything from `[from, to)`.
    pub(super) fn sum(&self, from: Timestamp, to: Timestamp) -> Sum {
        let mut sum = Sum::default();
        if self.is_empty() {
            return sum;
        }
        let (mut latency, mut self_time) = (Dense::new(), Dense::new());
        for (counts, opened) in self.opened(from, to) {
            sum.counts.merge(&counts);
            if !opened.latency.is_empty() {
                latency.add(opened.latency, opened.brief.micros);
            }
            if !opened.self_time.is_empty() {
                self_time.add(opened.self_time, opened.brief.self_micros);
            }
        }
        (sum.latency, sum.self_time) = (latency.histogram(), self_time.histogram());
        sum
    }

    /// Like [`Self::sum`], without self times; what was timed is added to `latency`.
    pub(super) fn traffic(&self, from: Timestamp, to: Timestamp, latency: &mut Dense) -> EdgeCounts {
        let span = (narrow(from.as_secs()), narrow(to.as_secs()));
        let mut sum = EdgeCounts::default();
        for block in self.touched(span) {
            let opened = block.open_once();
            let mut brief = Brief::default();
            if block.is_within(span) {
                brief = opened.brief;
            } else {
                block.add_to(&mut brief, span);
            }
            if brief.requests > 0 || brief.attempts > 0 {
                sum.merge(&opened.counts(&brief, span));
                latency.add(opened.latency, opened.brief.micros);
            }
        }
        sum
    }

    /// Like [`Self::sum`], counts only.
    pub(super) fn counts(&self, from: Timestamp, to: Timestamp) -> EdgeCounts {
        let mut sum = EdgeCounts::default();
        self.opened(from, to).for_each(|(counts, _)| sum.merge(&counts));
        sum
    }

    /// Drops what is older than ten minutes, the seconds of what is older than 75 s, and, of what is older than that or ends by `drained_to`, what only
    /// history asks for; after three minutes, blocks become longer. `better` are the reporters that are asked first. `room` is memory to work in.
    pub(super) fn thin_out(&mut self, (now, drained_to): (Timestamp, Timestamp), better: &[&Self], room: &mut Vec<u8>) {
        let oldest = narrow((now - KEPT).as_secs());
        let ago = |seconds: u32| narrow(now.as_secs()).saturating_sub(seconds) / SECS;
        let coarse = ago(FINE_SECS).max(self.thinned.coarse);
        let told = coarse.max(narrow(drained_to.as_secs()) / SECS).max(self.thinned.told);
        let thinned = Thinned { coarse, told, grouped: (ago(SINGLE_SECS) / GROUP * GROUP).max(self.thinned.grouped) };
        let ends = self.each().next().is_some_and(|(_, block)| block.first_second() < oldest);
        if self.blocks.is_empty() || !(ends || thinned != self.thinned) {
            return;
        }
        room.clear();
        let before = std::mem::replace(&mut self.thinned, thinned);
        let (mut newest_at, mut before_at, mut group) = (0, 0, Vec::new());
        for (_, block) in self.each().filter(|(_, block)| block.first_second() >= oldest) {
            let is_next = |known: &Opened<'_>| known.number / GROUP != block.number / GROUP;
            if group.first().is_some_and(is_next) {
                Opened::write_group(&group, room);
                group.clear();
            }
            (newest_at, before_at) = (room.len(), newest_at);
            if (before.grouped..thinned.grouped).contains(&block.number) {
                group.push(block.open());
            } else if before.differs(&thinned, block.number) {
                let is_known = |tally: &&Self| tally.counted(block.start(), block.start() + SECS);
                thinned.of(block.open(), better.iter().any(is_known)).write(room);
            } else {
                block.copy(room);
            }
        }
        Opened::write_group(&group, room);
        (self.newest_at, self.before_at) = (newest_at as u32, before_at as u32);
        self.blocks.clear();
        self.blocks.extend_from_slice(room);
        if self.blocks.capacity() > self.blocks.len() + 4 * STEP {
            self.blocks.shrink_to(self.blocks.len() + STEP);
        }
    }

    /// The blocks in which anything was counted in `[from, to)`, with the counts of that span.
    fn opened(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (EdgeCounts, Opened<'_>)> {
        let span = (narrow(from.as_secs()), narrow(to.as_secs()));
        self.touched(span).filter_map(move |block| {
            let mut brief = Brief::default();
            block.add_to(&mut brief, span);
            let opened = block.open();
            (brief.requests > 0 || brief.attempts > 0).then(|| (opened.counts(&brief, span), opened))
        })
    }

    /// The blocks that a span touches.
    fn touched(&self, (from, to): (u32, u32)) -> impl Iterator<Item = Block<'_>> {
        let (first, end) = (from / SECS, to.div_ceil(SECS));
        let is_late = self.at(self.before_at as usize).is_some_and(|before| first >= before.number);
        let blocks = self.each_from(if is_late { self.before_at as usize } else { 0 }).map(|(_, block)| block);
        blocks.skip_while(move |block| block.number < first).take_while(move |block| block.number < end)
    }

    /// Every block with its place.
    fn each(&self) -> impl Iterator<Item = (usize, Block<'_>)> {
        self.each_from(0)
    }

    /// Those from a place on.
    fn each_from(&self, place: usize) -> impl Iterator<Item = (usize, Block<'_>)> {
        let mut next = place;
        std::iter::from_fn(move || {
            let (at, block) = (next, self.at(next)?);
            next += block.length();
            Some((at, block))
        })
    }

    fn at(&self, at: usize) -> Option<Block<'_>> {
        Block::read(self.blocks.get(at..)?, self.newest)
    }

    /// Where a block is, or belongs.
    fn find(&self, number: u32) -> (usize, Option<Block<'_>>) {
        if number > self.newest || self.blocks.is_empty() {
            return (self.blocks.len(), None);
        }
        if number == self.newest {
            let at = self.newest_at as usize;
            return (at, self.at(at));
        }
        let found = self.each().find(|(_, block)| block.number >= number);
        let at = found.map_or(self.blocks.len(), |(at, _)| at);
        (at, found.map(|(_, block)| block).filter(|block| block.number == number))
    }

    /// Puts a block in the place of `length` bytes.
    fn put(&mut self, at: usize, length: usize, block: &[u8]) {
        let more = block.len().saturating_sub(length);
        if self.blocks.capacity() - self.blocks.len() < more {
            self.blocks.reserve_exact(more.next_multiple_of(STEP));
        }
        if at + length >= self.blocks.len() {
            self.blocks.truncate(at);
            self.blocks.extend_from_slice(block);
        } else {
            self.blocks.splice(at..at + length, block.iter().copied());
        }
    }
}
