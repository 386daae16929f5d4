//! As much of Thrift's compact protocol as headers and footers of Parquet files need.

/// Kinds of values, by their numbers in the protocol.
const FALSE: u8 = 2;
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// One struct in the making; fields are to be written in the order of their numbers.
pub(super) struct Struct<'o> {
    out: &'o mut Vec<u8>,
    last: u8,
}

impl<'o> Struct<'o> {
    /// Begins one at the end of `out`.
    pub(super) const fn begin(out: &'o mut Vec<u8>) -> Self {
        Self { out, last: 0 }
    }

    /// A flag that is not set.
    pub(super) fn no(&mut self, number: u8) {
        self.field(number, FALSE);
    }

    pub(super) fn i32(&mut self, number: u8, value: i32) {
        self.field(number, I32);
        zigzag(self.out, i64::from(value));
    }

    pub(super) fn i64(&mut self, number: u8, value: i64) {
        self.field(number, I64);
        zigzag(self.out, value);
    }

    pub(super) fn binary(&mut self, number: u8, bytes: &[u8]) {
        self.field(number, BINARY);
        binary(self.out, bytes);
    }

    /// A struct within this one.
    pub(super) fn inner(&mut self, number: u8, write: impl FnOnce(&mut Struct<'_>)) {
        self.field(number, STRUCT);
        element(self.out, write);
    }

    /// A list of structs.
    pub(super) fn structs<T>(&mut self, number: u8, items: &[T], write: impl Fn(&mut Struct<'_>, &T)) {
        self.list(number, STRUCT, items.len());
        items.iter().for_each(|item| element(self.out, |inner| write(inner, item)));
    }

    /// A list of numbers.
    pub(super) fn i32s(&mut self, number: u8, items: &[i32]) {
        self.list(number, I32, items.len());
        items.iter().for_each(|item| zigzag(self.out, i64::from(*item)));
    }

    /// A list of one text.
    pub(super) fn texts(&mut self, number: u8, item: &str) {
        self.list(number, BINARY, 1);
        binary(self.out, item.as_bytes());
    }

    /// Ends it.
    pub(super) fn end(self) {
        self.out.push(0);
    }

    fn list(&mut self, number: u8, kind: u8, len: usize) {
        self.field(number, LIST);
        if len < 15 {
            self.out.push((len as u8) << 4 | kind);
        } else {
            self.out.push(0xf0 | kind);
            varint(self.out, len as u64);
        }
    }

    fn field(&mut self, number: u8, kind: u8) {
        // No struct of Parquet has two fields whose numbers are more than 15 apart.
        self.out.push(number.saturating_sub(self.last) << 4 | kind);
        self.last = number;
    }
}

fn element(out: &mut Vec<u8>, write: impl FnOnce(&mut Struct<'_>)) {
    let mut inner = Struct::begin(out);
    write(&mut inner);
    inner.end();
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Seven bits a byte, the lowest first.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
