//! Attributes as the text of one JSON object, written straight from the request's bytes.

use std::fmt::Write;

use super::attributes::{RawValue, name_of, readable};
use super::raw_span::RawSpan;
use crate::Value;
use crate::value::{MAX_VALUE_BYTES, cut};

impl RawSpan<'_> {
    /// Appends its attributes as one JSON object in the order received; numbers and truths keep their type, lists and maps are
    /// texts. A key that comes twice is written twice: readers of JSON take the last.
    pub fn write_attributes(&self, out: &mut String) {
        out.push('{');
        let begin = out.len();
        self.each_attribute(|key, value| {
            let before = out.len();
            if before > begin {
                out.push(',');
            }
            write_text(out, &name_of(key));
            out.push(':');
            if !write_value(out, value) {
                out.truncate(before);
            }
        });
        out.push('}');
    }
}

/// False when there is nothing to write.
fn write_value(out: &mut String, value: RawValue<'_>) -> bool {
    match value {
        RawValue::Text(bytes) => write_text(out, cut(&readable(bytes, MAX_VALUE_BYTES), MAX_VALUE_BYTES)),
        RawValue::Bool(bool) => out.push_str(if bool { "true" } else { "false" }),
        RawValue::Int(int) => write_int(out, int),
        RawValue::Double(double) if double.is_finite() => drop(write!(out, "{double:?}")),
        RawValue::Double(_) => out.push_str("null"),
        RawValue::Other(_) => match value.flat() {
            Some(Value::Text(text)) => write_text(out, &text),
            _ => return false,
        },
    }
    true
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push_str(text);
    } else {
        escape(out, text);
    }
    out.push('"');
}

#[cold]
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // A write to a string cannot fail.
            c if u32::from(c) < 0x20 => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

/// Faster than the formatting machinery, which matters for status codes and ports of every span.
fn write_int(out: &mut String, int: i64) {
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
        out.push('-');
    }
    out.extend(digits.get(at..).unwrap_or_default().iter().map(|digit| char::from(*digit)));
}
