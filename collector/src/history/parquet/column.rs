//! One column of the row group at hand, and its way into pages.
//!
//! Values of a plain column are gathered in pages of about [`PAGE`] bytes, which lie in a processor's own cache while they are
//! compressed. A dictionary column gathers numbers of values that its caller knows, renumbered in the order of their
//! appearance, and writes them as Parquet's mixture of runs and packed bits.

use std::io;

use super::footer::Chunk;
use super::thrift::{Struct, varint};
use super::{Bounds, Layout, Spec, Type};

/// Numbers of encodings and codecs in the format.
pub(super) const PLAIN: i32 = 0;
pub(super) const RLE: i32 = 3;
pub(super) const DICTIONARY: i32 = 8;
pub(super) const CODEC_NONE: i32 = 0;
pub(super) const CODEC_ZSTD: i32 = 6;

/// Bytes of a page.
const PAGE: usize = 128 * 1024;
/// Equal values in a row that are written as a run and not bit by bit.
const RUN: usize = 16;

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    spec: Spec,
    rows: usize,
    nulls: usize,
    /// The page at hand: its values, how many rows it has, which of them have a value.
    values: Vec<u8>,
    page_rows: usize,
    present: Vec<bool>,
    /// Whether the row at hand has no value.
    absent: bool,
    /// Finished pages of a plain column, each with its rows.
    pages: Vec<(Vec<u8>, usize)>,
    /// Memory of pages, to be used again.
    spare: Vec<Vec<u8>>,
    /// Of a dictionary column: numbers of values, and by the caller's number the own number plus one.
    numbers: Vec<u32>,
    own: Vec<u32>,
    distinct: usize,
    pub(crate) bounds: Bounds,
}

impl Column {
    pub(super) const fn new(spec: Spec) -> Self {
        Self {
            spec,
            rows: 0,
            nulls: 0,
            values: Vec::new(),
            page_rows: 0,
            present: Vec::new(),
            absent: false,
            pages: Vec::new(),
            spare: Vec::new(),
            numbers: Vec::new(),
            own: Vec::new(),
            distinct: 0,
            bounds: None,
        }
    }

    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// A text of a plain column, written by `write` behind what it is given.
    #[inline]
    pub(crate) fn text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.values.len();
        self.values.extend_from_slice(&[0; 4]);
        write(&mut self.values);
        let length = (self.values.len() - at - 4) as u32;
        if let Some(place) = self.values.get_mut(at..at + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        self.end_row();
    }

    /// No value.
    #[inline]
    pub(crate) fn null(&mut self) {
        self.nulls += 1;
        self.absent = true;
        self.end_row();
    }

    /// A number, or the bits of one.
    #[inline]
    pub(crate) fn bits(&mut self, bits: u64) {
        self.values.extend_from_slice(&bits.to_le_bytes());
        self.end_row();
    }

    /// The value of a dictionary column that its caller knows as `number`; `text` is asked for it once.
    #[inline]
    pub(crate) fn number<'t>(&mut self, number: u32, text: impl FnOnce() -> &'t str) {
        let index = number as usize;
        if index >= self.own.len() {
            self.own.resize(index + 1, 0);
        }
        let Some(own) = self.own.get_mut(index) else { return };
        if *own == 0 {
            self.distinct += 1;
            *own = self.distinct as u32;
            let text = text();
            self.values.extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.values.extend_from_slice(text.as_bytes());
        }
        self.numbers.push(*own - 1);
        self.rows += 1;
    }

    #[inline]
    fn end_row(&mut self) {
        self.rows += 1;
        self.page_rows += 1;
        let is_absent = std::mem::take(&mut self.absent);
        if self.spec.nullable {
            self.present.push(!is_absent);
        }
        if self.values.len() >= PAGE {
            self.end_page();
        }
    }

    #[cold]
    fn end_page(&mut self) {
        let mut page = self.spare.pop().unwrap_or_default();
        if self.spec.nullable {
            let mut levels = Vec::new();
            pack(self.present.iter().map(|present| u32::from(*present)), 1, &mut levels);
            page.extend_from_slice(&(levels.len() as u32).to_le_bytes());
            page.extend_from_slice(&levels);
            page.extend_from_slice(&self.values);
            self.values.clear();
        } else if self.spec.holds == Type::Flag {
            packed_flags(&self.values, &mut page);
            self.values.clear();
        } else {
            std::mem::swap(&mut page, &mut self.values);
        }
        self.pages.push((page, self.page_rows));
        self.present.clear();
        self.page_rows = 0;
    }

    /// Writes the column of a row group that begins at `offset` of the file, and is empty again.
    pub(super) fn take(&mut self, offset: u64, out: &mut Vec<u8>, press: &mut Press) -> io::Result<Chunk> {
        let is_dictionary = self.spec.layout == Layout::Dictionary;
        let (mut data_offset, mut saved) = (None, 0);
        if is_dictionary {
            page_header(out, Page::Dictionary(self.distinct), (self.values.len(), self.values.len()));
            out.extend_from_slice(&self.values);
            data_offset = Some(offset + out.len() as u64);
            let mut data = self.spare.pop().unwrap_or_default();
            let width = bits_of(self.distinct.saturating_sub(1) as u32);
            data.push(width);
            hybrid(&self.numbers, width, &mut data);
            page_header(out, Page::Data(self.rows, DICTIONARY), (data.len(), data.len()));
            out.extend_from_slice(&data);
            data.clear();
            self.spare.push(data);
        } else {
            if self.page_rows > 0 {
                self.end_page();
            }
            for (mut page, rows) in std::mem::take(&mut self.pages) {
                if self.spec.layout == Layout::Compressed {
                    let compressed = press.compress(&page)?;
                    page_header(out, Page::Data(rows, PLAIN), (page.len(), compressed.len()));
                    out.extend_from_slice(compressed);
                    saved += page.len() as i64 - compressed.len() as i64;
                } else {
                    page_header(out, Page::Data(rows, PLAIN), (page.len(), page.len()));
                    out.extend_from_slice(&page);
                }
                page.clear();
                self.spare.push(page);
            }
        }
        let chunk = Chunk {
            offset,
            data_offset,
            values: self.rows,
            nulls: self.nulls,
            compressed: out.len(),
            uncompressed: (out.len() as i64 + saved).max(0) as usize,
            bounds: self.bounds.take(),
        };
        self.clear();
        Ok(chunk)
    }

    /// Forgets the row group at hand.
    pub(super) fn clear(&mut self) {
        self.spare.extend(self.pages.drain(..).map(|(page, _)| page));
        self.spare.iter_mut().for_each(Vec::clear);
        self.values.clear();
        self.present.clear();
        self.numbers.clear();
        self.own.clear();
        (self.rows, self.nulls, self.distinct, self.page_rows) = (0, 0, 0, 0);
        self.bounds = None;
    }
}

/// Compresses pages, with memory that it keeps.
pub(crate) struct Press {
    compressor: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
}

impl Press {
    /// At the level that is fastest of those that compress well: what is merged later is compressed better.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { compressor: zstd::bulk::Compressor::new(1)?, buffer: Vec::new() })
    }

    fn compress(&mut self, page: &[u8]) -> io::Result<&[u8]> {
        self.buffer.clear();
        self.buffer.reserve(zstd::zstd_safe::compress_bound(page.len()));
        self.compressor.compress_to_buffer(page, &mut self.buffer)?;
        Ok(&self.buffer)
    }
}

/// A page, with its rows or values.
#[derive(Clone, Copy)]
enum Page {
    Data(usize, i32),
    Dictionary(usize),
}

fn page_header(out: &mut Vec<u8>, page: Page, (uncompressed, compressed): (usize, usize)) {
    let mut header = Struct::begin(out);
    header.i32(1, if matches!(page, Page::Data(..)) { 0 } else { 2 });
    header.i32(2, uncompressed as i32);
    header.i32(3, compressed as i32);
    match page {
        Page::Data(rows, encoding) => header.inner(5, |data| {
            data.i32(1, rows as i32);
            data.i32(2, encoding);
            data.i32(3, RLE);
            data.i32(4, RLE);
        }),
        Page::Dictionary(values) => header.inner(7, |dictionary| {
            dictionary.i32(1, values as i32);
            dictionary.i32(2, PLAIN);
        }),
    }
    header.end();
}

/// Bits that hold every number up to this one.
const fn bits_of(greatest: u32) -> u8 {
    (32 - greatest.leading_zeros()) as u8
}

/// Runs of equal numbers as such, everything else in groups of eight, bit by bit.
fn hybrid(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    let (mut at, mut literal) = (0, 0);
    while let Some(first) = numbers.get(at) {
        let rest = numbers.get(at..).unwrap_or_default();
        let run = rest.iter().take_while(|number| *number == first).count();
        if run < RUN {
            at = (at + 8).min(numbers.len());
            continue;
        }
        pack(numbers.get(literal..at).unwrap_or_default().iter().copied(), width, out);
        varint(out, (run as u64) << 1);
        out.extend_from_slice(first.to_le_bytes().get(..usize::from(width.div_ceil(8))).unwrap_or_default());
        at += run;
        literal = at;
    }
    pack(numbers.get(literal..).unwrap_or_default().iter().copied(), width, out);
}

/// One sequence of packed bits, the lowest first; only the last of all sequences may end within eight numbers.
fn pack(numbers: impl ExactSizeIterator<Item = u32>, width: u8, out: &mut Vec<u8>) {
    if numbers.len() == 0 {
        return;
    }
    let groups = numbers.len().div_ceil(8);
    varint(out, (groups as u64) << 1 | 1);
    let end = out.len() + groups * usize::from(width);
    let (mut bits, mut count) = (0_u64, 0);
    for number in numbers {
        bits |= u64::from(number) << count;
        count += u32::from(width);
        while count >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        out.push(bits as u8);
    }
    out.resize(end, 0);
}

/// Flags come as eight bytes each, so that all columns fill alike.
fn packed_flags(values: &[u8], out: &mut Vec<u8>) {
    for eight in values.chunks(64) {
        let bits = eight.chunks(8).enumerate().map(|(bit, value)| u8::from(value.first() == Some(&1)) << bit);
        out.push(bits.fold(0, |byte, bit| byte | bit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The decoder that the format's description asks for.
    fn unpacked(bytes: &[u8], width: u8, count: usize) -> Vec<u32> {
        let (mut at, mut numbers) = (0, Vec::new());
        while numbers.len() < count {
            let (mut head, mut shift) = (0_u64, 0);
            loop {
                head |= u64::from(bytes[at] & 0x7f) << shift;
                at += 1;
                shift += 7;
                if bytes[at - 1] < 0x80 {
                    break;
                }
            }
            if head & 1 == 0 {
                let length = usize::from(width.div_ceil(8));
                let mut value = [0; 4];
                value[..length].copy_from_slice(&bytes[at..at + length]);
                at += length;
                numbers.extend(std::iter::repeat_n(u32::from_le_bytes(value), (head >> 1) as usize));
            } else {
                let groups = (head >> 1) as usize;
                for index in 0..groups * 8 {
                    let bit = |place: usize| u32::from(bytes[at + place / 8] >> (place % 8) & 1);
                    let from = index * usize::from(width);
                    numbers.push((0..usize::from(width)).map(|k| bit(from + k) << k).sum());
                }
                at += groups * usize::from(width);
            }
        }
        assert_eq!(at, bytes.len());
        numbers.truncate(count);
        numbers
    }

    proptest! {
        #[test]
        fn numbers_read_back(runs in prop::collection::vec((0u32..70_000, 1usize..60), 0..40)) {
            let numbers: Vec<u32> = runs.iter().flat_map(|(number, times)| std::iter::repeat_n(*number, *times)).collect();
            let width = bits_of(numbers.iter().copied().max().unwrap_or(0));
            let mut out = Vec::new();
            hybrid(&numbers, width, &mut out);
            prop_assert_eq!(unpacked(&out, width, numbers.len()), numbers);
        }
    }
}
