//! Attributes as the text of one JSON object, written straight from the request's bytes.

use std::io::Write;

use super::attributes::{RawValue, name_of, readable};
use super::raw_span::RawSpan;
use crate::Value;
use crate::value::{MAX_KEY_BYTES, MAX_VALUE_BYTES, cut};

impl RawSpan<'_> {
    /// Appends its attributes as one JSON object in the order received, always UTF-8; numbers and truths keep their type, lists and
    /// maps are texts. A key that comes twice is written twice: readers of JSON take the last.
    pub fn write_attributes(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let begin = out.len();
        self.each_attribute(|key, value| {
            let before = out.len();
            if before > begin {
                out.push(b',');
            }
            if is_plain(key) && key.len() <= MAX_KEY_BYTES {
                write_plain(out, key);
            } else {
                write_text(out, &name_of(key));
            }
            out.push(b':');
            if !write_value(out, value) {
                out.truncate(before);
            }
        });
        out.push(b'}');
    }
}

/// False when there is nothing to write.
fn write_value(out: &mut Vec<u8>, value: RawValue<'_>) -> bool {
    match value {
        RawValue::Text(bytes) if bytes.len() <= MAX_VALUE_BYTES && is_plain(bytes) => write_plain(out, bytes),
        RawValue::Text(bytes) => write_text(out, cut(&readable(bytes, MAX_VALUE_BYTES), MAX_VALUE_BYTES)),
        RawValue::Bool(bool) => out.extend_from_slice(if bool { b"true" } else { b"false" }),
        RawValue::Int(int) => write_int(out, int),
        // A write to memory cannot fail.
        RawValue::Double(double) if double.is_finite() => drop(write!(out, "{double:?}")),
        RawValue::Double(_) => out.extend_from_slice(b"null"),
        RawValue::Other(_) => match value.flat() {
            Some(Value::Text(text)) => write_text(out, &text),
            _ => return false,
        },
    }
    true
}

/// Whether a text is ASCII that JSON writes as it is. Looks at all of it whatever it finds, which lets the compiler look at many
/// bytes at a time.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, byte| plain & matches!(*byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7f))
}

#[inline]
fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
    } else {
        escape(out, text);
    }
    out.push(b'"');
}

#[cold]
fn escape(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if u32::from(c) < 0x20 => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Faster than the formatting machinery, which matters for status codes and ports of every span.
fn write_int(out: &mut Vec<u8>, int: i64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = int.unsigned_abs();
    loop {
        at -= 1;
        if let Some(place) = digits.get_mut(at) {
            *place = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if int < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}
