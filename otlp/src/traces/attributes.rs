//! Attributes where they lie: keys and values as parts of the request's bytes.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::AnyValue;
use prost::Message;

use super::fields::{Fields, Malformed};
use crate::value::{self, MAX_ATTRIBUTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, cut};
use crate::{Value, wire};

/// A value, not yet looked into.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawValue<'a> {
    /// Text, as its bytes came: nobody has looked whether it is UTF-8.
    Text(&'a [u8]),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// Bytes, a list or a map: the whole `AnyValue`.
    Other(&'a [u8]),
}

impl RawValue<'_> {
    /// As a record keeps it: cut, flat, and readable. None when nested values are damaged.
    #[must_use]
    pub fn flat(self) -> Option<Value> {
        Some(match self {
            Self::Text(bytes) => Value::Text(cut(&readable(bytes, MAX_VALUE_BYTES), MAX_VALUE_BYTES).to_owned()),
            Self::Bool(bool) => Value::Bool(bool),
            Self::Int(int) => Value::Int(int),
            Self::Double(double) => Value::Double(double),
            Self::Other(message) => {
                // Seldom, and bounded by what was checked when the request came in.
                wire::check_value(message).ok()?;
                return value::flat(AnyValue::decode(message).ok()?, MAX_VALUE_BYTES);
            }
        })
    }
}

/// Text of at most a little more than `max` bytes; what is no UTF-8 is shown as such.
pub(super) fn readable(bytes: &[u8], max: usize) -> Cow<'_, str> {
    // Four bytes more, so that a character that lies across the limit is cut and not mangled.
    let bytes = bytes.get(..max + 4).unwrap_or(bytes);
    // Checking whole words at a time, unlike the lossy conversion, which looks at every character.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// A name, cut.
pub(super) fn name_of(bytes: &[u8]) -> Cow<'_, str> {
    match readable(bytes, MAX_KEY_BYTES) {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text, MAX_KEY_BYTES)),
        Cow::Owned(text) => Cow::Owned(cut(&text, MAX_KEY_BYTES).to_owned()),
    }
}

/// The attributes within a part of a message, in their order, at most [`MAX_ATTRIBUTES`]; those without key or value are left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a> {
    fields: Fields<'a>,
    part: &'a [u8],
    number: u32,
    taken: usize,
}

impl<'a> Attributes<'a> {
    /// Those in field `number`.
    pub(super) const fn of(part: &'a [u8], number: u32) -> Self {
        Self { fields: Fields::of(part), part, number, taken: 0 }
    }

    /// The next one; none at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(&'a [u8], RawValue<'a>)>, Malformed> {
        while self.taken < MAX_ATTRIBUTES {
            let Some((number, field)) = self.fields.next()? else { return Ok(None) };
            if number != self.number {
                continue;
            }
            if let Some(attribute) = key_value(field.bytes(self.part)?)? {
                self.taken += 1;
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }
}

/// The usual form, key before value, each shorter than 128 bytes, is read without a loop; anything else by [`any_key_value`].
#[inline]
fn key_value(message: &[u8]) -> Result<Option<(&[u8], RawValue<'_>)>, Malformed> {
    if let [0x0a, length @ 1..0x80, rest @ ..] = message
        && let Some((key, [0x12, length @ 0..0x80, value @ ..])) = rest.split_at_checked(usize::from(*length))
        && value.len() == usize::from(*length)
    {
        return Ok(usual_value(value)?.map(|value| (key, value)));
    }
    any_key_value(message)
}

#[inline]
fn usual_value(message: &[u8]) -> Result<Option<RawValue<'_>>, Malformed> {
    match message {
        [0x0a, length @ 0..0x80, text @ ..] if text.len() == usize::from(*length) => Ok(Some(RawValue::Text(text))),
        [0x18, int @ 0..0x80] => Ok(Some(RawValue::Int(i64::from(*int)))),
        [0x18, low @ 0x80..=0xff, high @ 0..0x80] => {
            Ok(Some(RawValue::Int(i64::from(low & 0x7f) | i64::from(*high) << 7)))
        }
        _ => any_value(message),
    }
}

fn any_key_value(message: &[u8]) -> Result<Option<(&[u8], RawValue<'_>)>, Malformed> {
    let (mut key, mut value) = (&[][..], None);
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => key = field.bytes(message)?,
            2 => value = any_value(field.bytes(message)?)?.or(value),
            _ => {}
        }
    }
    if key.is_empty() {
        // Left out, but not unseen: the request's bytes go on as they came, to readers that may look into it.
        if let Some(RawValue::Other(nested)) = value {
            wire::check_value(nested).map_err(|_| Malformed::at(nested))?;
        }
        return Ok(None);
    }
    Ok(value.map(|value| (key, value)))
}

/// The value of an `AnyValue`; none when it is empty or of another signal.
fn any_value(message: &[u8]) -> Result<Option<RawValue<'_>>, Malformed> {
    let mut value = None;
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => value = Some(RawValue::Text(field.bytes(message)?)),
            2 => value = Some(RawValue::Bool(field.varint(message)? != 0)),
            3 => value = Some(RawValue::Int(field.varint(message)?.cast_signed())),
            4 => value = Some(RawValue::Double(f64::from_bits(field.fixed64(message)?))),
            5..=7 => {
                field.bytes(message)?;
                value = Some(RawValue::Other(message));
            }
            8 => {
                field.varint(message)?;
                value = None;
            }
            _ => {}
        }
    }
    Ok(value)
}
