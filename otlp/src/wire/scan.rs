//! Walks the messages of a protobuf request before it is decoded.
//!
//! The walk keeps its own stack of at most [`MAX_NESTING`] entries and skips texts by their length, so it costs a small part
//! of what decoding costs. It visits messages in the order in which the decoder would, so whatever the decoder allocates before it
//! meets an error has been counted here. Groups, which OTLP never uses, are walked through as if their tags were not there:
//! the decoder skips them with its own limit of depth.

use super::schema::Kind;
use super::{DecodeError, MAX_HEAP_BYTES, MAX_ITEMS, MAX_NESTING};

/// A message that is being walked.
#[derive(Clone, Copy)]
struct Level {
    kind: Kind,
    end: usize,
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Level>,
    items: usize,
    heap: usize,
}

pub(super) fn check(root: Kind, bytes: &[u8]) -> Result<(), DecodeError> {
    let root = Level { kind: root, end: bytes.len() };
    let mut scan = Scan { bytes, at: 0, stack: vec![root], items: 0, heap: 0 };
    while let Some(level) = scan.stack.last().copied() {
        if scan.at == level.end {
            scan.stack.pop();
        } else {
            scan.field(level)?;
        }
    }
    Ok(())
}

impl Scan<'_> {
    fn field(&mut self, level: Level) -> Result<(), DecodeError> {
        let tag = self.varint(level.end)?;
        match tag & 7 {
            0 => self.varint(level.end).map(drop),
            1 => self.skip(8, level.end),
            2 => self.delimited(level, tag >> 3),
            3 | 4 => Ok(()),
            5 => self.skip(4, level.end),
            _ => Err(self.malformed()),
        }
    }

    fn delimited(&mut self, level: Level, number: u64) -> Result<(), DecodeError> {
        let length = usize::try_from(self.varint(level.end)?).map_err(|_| self.malformed())?;
        if length > level.end - self.at {
            return Err(self.malformed());
        }
        let Some(kind) = level.kind.child(number) else { return self.skip(length, level.end) };
        self.count(kind, length)?;
        if !kind.is_message() {
            return self.skip(length, level.end);
        }
        if self.stack.len() >= MAX_NESTING {
            return Err(DecodeError::TooDeep);
        }
        self.stack.push(Level { kind, end: self.at + length });
        Ok(())
    }

    fn count(&mut self, kind: Kind, length: usize) -> Result<(), DecodeError> {
        self.items += usize::from(kind.is_item());
        self.heap = self.heap.saturating_add(kind.cost(length));
        if self.items > MAX_ITEMS {
            return Err(DecodeError::TooManyItems);
        }
        if self.heap > MAX_HEAP_BYTES {
            return Err(DecodeError::TooLarge);
        }
        Ok(())
    }

    /// Reads a number of at most ten bytes that ends before `end`; bits beyond 64 are dropped, as decoders do.
    fn varint(&mut self, end: usize) -> Result<u64, DecodeError> {
        let rest = self.bytes.get(self.at..end).unwrap_or_default();
        let mut number = 0;
        for (index, byte) in rest.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok(number);
            }
        }
        Err(self.malformed())
    }

    fn skip(&mut self, length: usize, end: usize) -> Result<(), DecodeError> {
        if length > end - self.at {
            return Err(self.malformed());
        }
        self.at += length;
        Ok(())
    }

    const fn malformed(&self) -> DecodeError {
        DecodeError::Malformed(self.at)
    }
}
