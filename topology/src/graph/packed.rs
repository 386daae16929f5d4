//! Counts and histograms as few bytes, for there are a hundred panes of each of a hundred thousand edges.
//!
//! Numbers are little-endian base 128: seven bits a byte, the highest bit set on all but the last. What one reporter counted in a second is mostly
//! requests that were each attempted and timed once and did not fail: a tag, their number and their time, five bytes. Whatever differs from that is
//! flagged in the tag and follows.
//!
//! | tag | means |
//! |---|---|
//! | low four bits | second within the block |
//! | [`EXTRA`] | a byte with a bit for each count that is not zero, then those counts |
//! | [`UNEVEN`] | attempts, timed and self-timed requests follow |
//! | [`SELF_TIMED`] | microseconds of self time follow; if not uneven, each request has one |
//! | [`ATTEMPTED`] | if not uneven: as many attempts as requests, else none |
//!
//! A histogram is a byte for each bucket that is not empty: the distance from the bucket before in the high four bits, its count in the low; 15 means that
//! the rest follows as a number. A zero byte ends it.

use std::time::Duration;

use tripline_model::Histogram;
use tripline_model::histogram::{self, MAX_INDEX};

use super::brief::{Brief, narrow};

const EXTRA: u8 = 0x10;
const UNEVEN: u8 = 0x20;
const SELF_TIMED: u8 = 0x40;
const ATTEMPTED: u8 = 0x80;
/// Largest value of four bits; as a distance or a count it says that more follows.
const MORE: u8 = 15;

/// Appends a number.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads from the front. Past the end everything is zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *byte
    }

    pub(super) fn number(&mut self) -> u64 {
        let first = self.byte();
        if first < 0x80 {
            return first.into();
        }
        let (mut value, mut shift) = (u64::from(first & 0x7f), 7);
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 || shift >= 63 {
                return value;
            }
            shift += 7;
        }
    }

    fn count(&mut self) -> u32 {
        narrow(self.number())
    }

    /// The next `length` bytes, or as many as there are.
    pub(super) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    /// The next histogram, still packed.
    pub(super) fn histogram(&mut self) -> Buckets<'a> {
        let all = self.bytes;
        let mut buckets = Buckets { reader: *self, index: -1 };
        for _ in buckets.by_ref() {}
        self.bytes = buckets.reader.bytes;
        Buckets { reader: Reader { bytes: &all[..all.len() - self.bytes.len()] }, index: -1 }
    }
}

/// Appends what [`counts`] reads.
pub(super) fn put_counts(out: &mut Vec<u8>, second: u8, brief: &Brief) {
    let extra = extra(brief);
    let has_extra = extra.iter().any(|count| *count > 0);
    let self_timed = brief.self_timed > 0 || brief.self_micros > 0;
    let attempted = brief.requests > 0 && brief.attempts == brief.requests;
    let even = (attempted || brief.attempts == 0)
        && brief.timed == brief.requests
        && brief.self_timed == if self_timed { brief.requests } else { 0 };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags =
        flag(has_extra, EXTRA) | flag(!even, UNEVEN) | flag(self_timed, SELF_TIMED) | flag(attempted, ATTEMPTED);
    out.push(second & 0x0f | flags);
    put_number(out, brief.requests.into());
    if has_extra {
        let set = extra.iter().enumerate().filter(|(_, count)| **count > 0);
        out.push(set.fold(0, |bits, (at, _)| bits | 1 << at));
        extra.iter().filter(|count| **count > 0).for_each(|count| put_number(out, (*count).into()));
    }
    if !even {
        [brief.attempts, brief.timed, brief.self_timed].into_iter().for_each(|count| put_number(out, count.into()));
    }
    put_number(out, brief.micros);
    if self_timed {
        put_number(out, brief.self_micros);
    }
}

/// Counts with the second within their block; they start at nought.
pub(super) fn counts(reader: &mut Reader<'_>) -> (u8, Brief) {
    let tag = reader.byte();
    let requests = reader.count();
    let mut brief = Brief { requests, timed: requests, ..Brief::default() };
    if tag & EXTRA != 0 {
        let set = reader.byte();
        let mut next = |at: u8| if set & 1 << at == 0 { 0 } else { reader.count() };
        brief.failed = next(0);
        brief.cancelled = next(1);
        brief.shed = next(2);
        brief.retries = next(3);
        brief.transport_failures = next(4);
        brief.origin_failures = next(5);
        brief.propagated_failures = next(6);
    }
    if tag & UNEVEN == 0 {
        brief.attempts = if tag & ATTEMPTED == 0 { 0 } else { requests };
        brief.self_timed = if tag & SELF_TIMED == 0 { 0 } else { requests };
    } else {
        (brief.attempts, brief.timed, brief.self_timed) = (reader.count(), reader.count(), reader.count());
    }
    brief.micros = reader.number();
    if tag & SELF_TIMED != 0 {
        brief.self_micros = reader.number();
    }
    (tag & 0x0f, brief)
}

/// The counts that are mostly zero, in the order of their bits.
const fn extra(brief: &Brief) -> [u32; 7] {
    [
        brief.failed,
        brief.cancelled,
        brief.shed,
        brief.retries,
        brief.transport_failures,
        brief.origin_failures,
        brief.propagated_failures,
    ]
}

/// A packed histogram: non-empty buckets as (index, count), ascending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets<'a> {
    reader: Reader<'a>,
    index: i32,
}

impl Buckets<'_> {
    /// One without buckets.
    pub(super) const EMPTY: Self = Buckets { reader: Reader { bytes: &[] }, index: -1 };

    /// The histogram in front of `reader`, of which it is not known yet where it ends: what comes after its end has no meaning.
    pub(super) const fn until_zero(reader: Reader<'_>) -> Buckets<'_> {
        Buckets { reader, index: -1 }
    }

    /// Whether it has no bucket.
    pub(super) fn is_empty(mut self) -> bool {
        self.next().is_none()
    }
}

impl Iterator for Buckets<'_> {
    type Item = (i32, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let byte = self.reader.byte();
        if byte == 0 {
            return None;
        }
        let mut part = |small: u8| {
            let more = if small == MORE { self.reader.count() } else { 0 };
            u32::from(small).saturating_add(more)
        };
        let (distance, count) = (part(byte >> 4), part(byte & 0x0f));
        self.index = self.index.saturating_add(i32::try_from(distance).unwrap_or(i32::MAX));
        Some((self.index, count))
    }
}

/// Two histograms, each given by its buckets in ascending order, as one.
pub(super) fn merged(
    one: impl Iterator<Item = (i32, u32)>,
    other: impl Iterator<Item = (i32, u32)>,
) -> impl Iterator<Item = (i32, u32)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek().copied(), other.peek().copied()) {
        (Some((a, count)), Some((b, more))) if a == b => {
            one.next();
            other.next();
            Some((a, count.saturating_add(more)))
        }
        (Some((a, _)), Some((b, _))) if a > b => other.next(),
        (None, _) => other.next(),
        (Some(_), _) => one.next(),
    })
}

/// Appends a histogram, given by its buckets in ascending order.
pub(super) fn put_histogram(out: &mut Vec<u8>, buckets: impl Iterator<Item = (i32, u32)>) {
    let mut last = -1;
    for (index, count) in buckets {
        let distance = u32::try_from(index - last).unwrap_or(0);
        last = index;
        let small = |value: u32| value.min(MORE.into()) as u8;
        out.push(small(distance) << 4 | small(count));
        for value in [distance, count] {
            if let Some(more) = value.checked_sub(MORE.into()) {
                put_number(out, more.into());
            }
        }
    }
    out.push(0);
}

/// Adds histograms up: a counter for each bucket, and which of them are in use.
#[derive(Debug)]
pub(crate) struct Dense {
    counts: [u32; BUCKETS],
    /// The lowest bucket in use, and the one behind the highest.
    low: usize,
    end: usize,
    micros: u64,
}

/// As many as a [`Histogram`] has at most.
const BUCKETS: usize = MAX_INDEX as usize + 1;

impl Dense {
    pub(crate) const fn new() -> Self {
        Self { counts: [0; BUCKETS], low: BUCKETS, end: 0, micros: 0 }
    }

    /// Adds a packed histogram and the sum of what it counted, in microseconds.
    pub(super) fn add(&mut self, buckets: Buckets<'_>, micros: u64) {
        self.micros = self.micros.saturating_add(micros);
        for (index, count) in buckets {
            let at = usize::try_from(index).unwrap_or(0);
            if let Some(sum) = self.counts.get_mut(at) {
                *sum = sum.saturating_add(count);
                (self.low, self.end) = (self.low.min(at), self.end.max(at + 1));
            }
        }
    }

    /// Adds what another one added up.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.micros = self.micros.saturating_add(other.micros);
        let used = other.low..other.end;
        let (Some(sums), Some(counts)) = (self.counts.get_mut(used.clone()), other.counts.get(used)) else { return };
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
        (self.low, self.end) = (self.low.min(other.low), self.end.max(other.end));
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.counts.get_mut(self.low..self.end).unwrap_or_default().fill(0);
        (self.low, self.end, self.micros) = (BUCKETS, 0, 0);
    }

    /// As [`Histogram::quantiles`].
    pub(crate) fn quantiles<const N: usize>(&self, ascending: [f64; N]) -> Option<[Duration; N]> {
        let counts = self.counts.get(self.low..self.end).unwrap_or_default();
        let total = counts.iter().map(|count| u64::from(*count)).sum();
        let low = i32::try_from(self.low).unwrap_or(0);
        histogram::quantiles((low..).zip(counts.iter().copied()), total, ascending)
    }

    /// What was added up.
    pub(super) fn histogram(&self) -> Histogram {
        let mut sum = Histogram::default();
        let counts = self.counts.get(self.low..self.end).unwrap_or_default();
        sum.add_dense(i32::try_from(self.low).unwrap_or(0), counts, Duration::from_micros(self.micros));
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_read_back(second in 0_u8..10, small in prop::array::uniform12(0_u32..4), large in any::<(u32, u64, u64)>()) {
            let [failed, cancelled, shed, attempts, retries, transport_failures, origin_failures, propagated_failures, timed, self_timed, many, timing] = small;
            let requests = if many == 0 { large.0 } else { many };
            let brief = Brief {
                start: 0, requests, failed, cancelled, shed, retries, transport_failures, origin_failures, propagated_failures,
                attempts: if attempts == 0 { requests } else { attempts - 1 },
                timed: if timed == 0 { requests } else { timed },
                self_timed: if self_timed == 0 { requests } else { self_timed - 1 },
                micros: large.1,
                self_micros: if timing == 0 { 0 } else { large.2 },
            };
            let mut bytes = Vec::new();
            put_counts(&mut bytes, second, &brief);
            let mut reader = Reader { bytes: &bytes };
            prop_assert_eq!(counts(&mut reader), (second, brief));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn histograms_read_back_as_their_sum(a in prop::collection::btree_map(0_i32..256, 1_u32..400, 0..40), b in prop::collection::btree_map(0_i32..256, 1_u32..400, 0..40)) {
            let mut bytes = Vec::new();
            let each = |of: &std::collections::BTreeMap<i32, u32>| of.clone().into_iter();
            put_histogram(&mut bytes, merged(each(&a), each(&b)));
            bytes.push(77);
            let mut reader = Reader { bytes: &bytes };
            let mut sum = a;
            b.iter().for_each(|(index, count)| *sum.entry(*index).or_default() += count);
            let (read, mut dense) = (reader.histogram(), Dense::new());
            prop_assert_eq!(reader.byte(), 77);
            dense.add(read, 5);
            dense.add(read, 6);
            let twice: Vec<(i32, u32)> = sum.iter().map(|(index, count)| (*index, 2 * count)).collect();
            prop_assert_eq!(dense.histogram().buckets().collect::<Vec<_>>(), twice);
            prop_assert_eq!(dense.histogram().sum(), Duration::from_micros(11));
            let (mut merged, mut plain) = (Dense::new(), Histogram::default());
            for _ in 0..2 {
                merged.merge(&dense);
                plain.merge(&dense.histogram());
                merged.merge(&Dense::new());
            }
            prop_assert_eq!(merged.histogram(), plain.clone());
            prop_assert_eq!(merged.quantiles([0.1, 0.5, 1.0]), plain.quantiles([0.1, 0.5, 1.0]));
            merged.clear();
            prop_assert_eq!(merged.histogram(), Histogram::default());
            prop_assert_eq!(merged.quantiles([0.5]), None);
            prop_assert_eq!(read.collect::<Vec<_>>(), sum.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_quiet_second_takes_five_bytes() {
        let brief = Brief { requests: 10, attempts: 10, timed: 10, micros: 98_000, ..Brief::default() };
        let mut bytes = Vec::new();
        put_counts(&mut bytes, 3, &brief);
        assert_eq!(bytes.len(), 5);
    }
}
