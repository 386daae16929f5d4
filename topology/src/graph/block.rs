//! Ten seconds of one reporter on one edge, packed.
//!
//! | part | bytes |
//! |---|---|
//! | its length, and its number modulo 65,536 | 2, 2 |
//! | counts of the block | 5 to 12 when all is well |
//! | length and counts of its seconds, while it is young | 5 to 8 for each with traffic |
//! | counts that only people and history ask for | as many as differ from zero |
//! | latency, self time | about one for each bucket in use |

use tripline_model::{EdgeCounts, EdgeWindow};

use super::brief::Brief;
use super::packed::{Buckets, Reader, counts, merged, put_counts, put_histogram, put_number};

/// Length of a block.
pub(super) const SECS: u32 = 10;
/// So many old blocks become one.
pub(super) const GROUP: u32 = 3;
/// Bytes of a block before its counts.
pub(super) const HEAD: usize = 4;

/// One block, packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    /// Its start over [`SECS`].
    pub(super) number: u32,
    body: &'a [u8],
}

/// What is asked for less often than a brief.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rest {
    pub(super) answered_failures: u64,
    pub(super) induced: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

/// One block taken apart; histograms and seconds stay packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened<'a> {
    pub(super) number: u32,
    /// The first second of it with traffic.
    pub(super) first: u8,
    pub(super) brief: Brief,
    pub(super) seconds: &'a [u8],
    pub(super) rest: Rest,
    pub(super) latency: Buckets<'a>,
    pub(super) self_time: Buckets<'a>,
}

/// Flags of a block: which counts of the rest follow in the lowest four bits, then which histograms.
const LATENCY: u8 = 0x10;
const SELF_TIME: u8 = 0x20;

/// How much of a window a block keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// Each second by itself.
    pub(super) seconds: bool,
    /// What only history asks for.
    pub(super) history: bool,
}

impl<'a> Block<'a> {
    /// The block at the front of `bytes`, of which `newest` is the newest.
    pub(super) fn read(bytes: &'a [u8], newest: u32) -> Option<Self> {
        let ([a, b, c, d], rest) = bytes.split_first_chunk::<HEAD>()?;
        let (length, number) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        let behind = (newest as u16).wrapping_sub(number);
        Some(Self { number: newest.saturating_sub(behind.into()), body: rest.get(..length.into())? })
    }

    /// All its bytes.
    pub(super) const fn length(&self) -> usize {
        HEAD + self.body.len()
    }

    pub(super) const fn start(&self) -> u32 {
        self.number.saturating_mul(SECS)
    }

    /// The first second with traffic: where it is when its seconds have gone.
    pub(super) fn first_second(&self) -> u32 {
        self.start() + u32::from(self.body.first().copied().unwrap_or(0) & 0x0f)
    }

    /// Its seconds; when these have gone, itself.
    pub(super) fn panes(self) -> impl Iterator<Item = Brief> + use<'a> {
        let mut reader = Reader { bytes: self.body };
        let (_, whole) = counts(&mut reader);
        let length = reader.number() as usize;
        let (start, first) = (self.start(), self.first_second());
        let whole = (length == 0).then_some(Brief { start: first, ..whole });
        let mut seconds = Reader { bytes: reader.take(length) };
        let seconds = std::iter::from_fn(move || {
            (!seconds.is_empty()).then(|| {
                let (second, brief) = counts(&mut seconds);
                Brief { start: start + u32::from(second), ..brief }
            })
        });
        whole.into_iter().chain(seconds)
    }

    /// Whether all of it lies in `[from, to)`.
    pub(super) const fn is_within(&self, (from, to): (u32, u32)) -> bool {
        from <= self.start() && self.start() + SECS <= to
    }

    /// Adds what it counted in `[from, to)`.
    pub(super) fn add_to(&self, sum: &mut Brief, (from, to): (u32, u32)) {
        if self.is_within((from, to)) {
            sum.add(&counts(&mut Reader { bytes: self.body }).1);
            return;
        }
        let inside = |pane: &Brief| pane.start >= from && pane.start < to;
        self.panes().filter(inside).for_each(|pane| sum.add(&pane));
    }

    pub(super) fn open(&self) -> Opened<'a> {
        let (mut opened, flags, mut reader) = self.open_counts();
        if flags & LATENCY != 0 {
            opened.latency = reader.histogram();
        }
        if flags & SELF_TIME != 0 {
            opened.self_time = reader.histogram();
        }
        opened
    }

    /// Without its self times, and its latencies to be gone through once: where a histogram ends is only known at its end.
    pub(super) fn open_once(&self) -> Opened<'a> {
        let (opened, flags, reader) = self.open_counts();
        let latency = if flags & LATENCY == 0 { Buckets::EMPTY } else { Buckets::until_zero(reader) };
        Opened { latency, ..opened }
    }

    /// All but the histograms, which of them follow, and what they are read from.
    fn open_counts(&self) -> (Opened<'a>, u8, Reader<'a>) {
        let mut reader = Reader { bytes: self.body };
        let (first, brief) = counts(&mut reader);
        let length = reader.number() as usize;
        let seconds = reader.take(length);
        let flags = reader.byte();
        let mut next = |at: u8| if flags & 1 << at == 0 { 0 } else { reader.number() };
        let rest =
            Rest { answered_failures: next(0), induced: next(1), request_bytes: next(2), response_bytes: next(3) };
        let (latency, self_time) = (Buckets::EMPTY, Buckets::EMPTY);
        (Opened { number: self.number, first, brief, seconds, rest, latency, self_time }, flags, reader)
    }

    /// Writes it as it is.
    pub(super) fn copy(&self, out: &mut Vec<u8>) {
        let at = begin(out, self.number);
        out.extend_from_slice(self.body);
        end(out, at);
    }
}

impl<'a> Opened<'a> {
    /// An empty one, of the second at which it begins.
    pub(super) fn at(second: u32) -> Self {
        Self {
            number: second / SECS,
            first: (second % SECS) as u8,
            brief: Brief::default(),
            seconds: &[],
            rest: Rest::default(),
            latency: Buckets::EMPTY,
            self_time: Buckets::EMPTY,
        }
    }

    /// All counts for a span of which `brief` is what it counted in it. What is kept for the block only counts where its first second lies within.
    pub(super) fn counts(&self, brief: &Brief, (from, to): (u32, u32)) -> EdgeCounts {
        let first = self.number * SECS + u32::from(self.first);
        let rest = if first >= from && first < to { self.rest } else { Rest::default() };
        let answered = u64::from(brief.attempts.saturating_sub(brief.transport_failures)).min(rest.answered_failures);
        EdgeCounts {
            requests: brief.requests.into(),
            failed: brief.failed.into(),
            cancelled: brief.cancelled.into(),
            shed: brief.shed.into(),
            attempts: brief.attempts.into(),
            retries: brief.retries.into(),
            answered_failures: answered,
            transport_failures: brief.transport_failures.into(),
            induced: rest.induced.min(answered),
            origin_failures: brief.origin_failures.into(),
            propagated_failures: brief.propagated_failures.into(),
            request_bytes: rest.request_bytes,
            response_bytes: rest.response_bytes,
        }
    }

    /// Writes it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let at = begin(out, self.number);
        put_counts(out, self.first, &self.brief);
        put_number(out, self.seconds.len() as u64);
        out.extend_from_slice(self.seconds);
        self.rest.put(out, self.flags());
        if !self.latency.is_empty() {
            put_histogram(out, self.latency);
        }
        if !self.self_time.is_empty() {
            put_histogram(out, self.self_time);
        }
        end(out, at);
    }

    /// Writes old blocks as one that begins where the first does. Seconds and self times, which old blocks have no more, are left out.
    pub(super) fn write_group(group: &[Self], out: &mut Vec<u8>) {
        let Some((first, others)) = group.split_first() else { return };
        let mut sum = Self { seconds: &[], self_time: Buckets::EMPTY, ..*first };
        let mut latencies = [Buckets::EMPTY; GROUP as usize - 1];
        for (other, latency) in others.iter().zip(&mut latencies) {
            sum.brief.add(&other.brief);
            sum.rest.merge(&other.rest);
            *latency = other.latency;
        }
        let at = begin(out, sum.number);
        put_counts(out, sum.first, &sum.brief);
        put_number(out, 0);
        let [second, third] = latencies;
        let is_timed = ![sum.latency, second, third].into_iter().all(Buckets::is_empty);
        sum.rest.put(out, if is_timed { LATENCY } else { 0 });
        if is_timed {
            put_histogram(out, merged(merged(sum.latency, second), third));
        }
        end(out, at);
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        flag(!self.latency.is_empty(), LATENCY) | flag(!self.self_time.is_empty(), SELF_TIME)
    }

    /// Writes it with a window added.
    pub(super) fn write_with(mut self, out: &mut Vec<u8>, window: &EdgeWindow, kept: Kept) {
        let brief = Brief::of(window);
        let second = (brief.start % SECS) as u8;
        let at = begin(out, self.number);
        self.first = self.first.min(second);
        self.brief.add(&brief);
        put_counts(out, self.first, &self.brief);
        if kept.seconds {
            self.put_seconds(out, second, &brief);
        } else {
            put_number(out, self.seconds.len() as u64);
            out.extend_from_slice(self.seconds);
        }
        self.rest.add(&window.counts, kept);
        let history = window.self_time.buckets().filter(|_| kept.history);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(!window.latency.is_empty(), LATENCY)
            | flag(kept.history && !window.self_time.is_empty(), SELF_TIME)
            | self.flags();
        self.rest.put(out, flags);
        if flags & LATENCY != 0 {
            put_histogram(out, merged(self.latency, window.latency.buckets()));
        }
        if flags & SELF_TIME != 0 {
            put_histogram(out, merged(self.self_time, history));
        }
        end(out, at);
    }

    /// Its seconds with `brief` added to one of them, with their length before them.
    fn put_seconds(&self, out: &mut Vec<u8>, second: u8, brief: &Brief) {
        let mut reader = Reader { bytes: self.seconds };
        let (mut before, mut sum) = (0, *brief);
        while !reader.is_empty() {
            let mut next = reader;
            let (known, count) = counts(&mut next);
            if known > second {
                break;
            }
            reader = next;
            if known == second {
                sum.add(&count);
                break;
            }
            before = self.seconds.len() - reader.bytes.len();
        }
        let mut own = Vec::with_capacity(32);
        put_counts(&mut own, second, &sum);
        put_number(out, (before + own.len() + reader.bytes.len()) as u64);
        out.extend_from_slice(self.seconds.get(..before).unwrap_or_default());
        out.extend_from_slice(&own);
        out.extend_from_slice(reader.bytes);
    }
}

impl Rest {
    fn add(&mut self, counts: &EdgeCounts, kept: Kept) {
        self.answered_failures = self.answered_failures.saturating_add(counts.answered_failures);
        self.induced = self.induced.saturating_add(counts.induced);
        if kept.history {
            self.request_bytes = self.request_bytes.saturating_add(counts.request_bytes);
            self.response_bytes = self.response_bytes.saturating_add(counts.response_bytes);
        }
    }

    const fn merge(&mut self, other: &Self) {
        self.answered_failures = self.answered_failures.saturating_add(other.answered_failures);
        self.induced = self.induced.saturating_add(other.induced);
        self.request_bytes = self.request_bytes.saturating_add(other.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
    }

    /// Writes it behind its flags.
    fn put(&self, out: &mut Vec<u8>, histograms: u8) {
        let fields = [self.answered_failures, self.induced, self.request_bytes, self.response_bytes];
        let set = fields.iter().enumerate().filter(|(_, count)| **count > 0);
        out.push(set.fold(histograms, |bits, (at, _)| bits | 1 << at));
        fields.into_iter().filter(|count| *count > 0).for_each(|count| put_number(out, count));
    }
}

/// Begins a block; answers where.
fn begin(out: &mut Vec<u8>, number: u32) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&(number as u16).to_le_bytes());
    at
}

/// Notes the length of the block that begins at `at`. Ten seconds of the largest numbers and two full histograms are less than 8 kB.
fn end(out: &mut [u8], at: usize) {
    let length = out.len().saturating_sub(at + HEAD) as u16;
    if let Some(head) = out.get_mut(at..at + 2) {
        head.copy_from_slice(&length.to_le_bytes());
    }
}
