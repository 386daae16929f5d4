//! Trace and span identifiers of W3C trace context and OTLP.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseIdError {
    /// Not the right number of digits.
    #[error("expected {expected} hexadecimal digits, got {got}")]
    Length {
        /// Digits that the identifier has.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// Something else than 0-9, a-f, A-F.
    #[error("not a hexadecimal digit")]
    Digit,
    /// W3C trace context forbids the identifier of only zeros.
    #[error("all zeros")]
    Zero,
}

macro_rules! identifier {
    ($name:ident, $bytes:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// From its bytes; none when all are zero, which W3C trace context forbids.
            #[must_use]
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                bytes.iter().any(|b| *b != 0).then_some(Self(bytes))
            }

            /// From a slice, as OTLP carries it; none when the length is wrong or all bytes are zero.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                <[u8; $bytes]>::try_from(bytes).ok().and_then(Self::from_bytes)
            }

            /// Its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let digits = text.as_bytes();
                if digits.len() != $bytes * 2 {
                    return Err(ParseIdError::Length { expected: $bytes * 2, got: digits.len() });
                }
                let mut bytes = [0; $bytes];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
                }
                Self::from_bytes(bytes).ok_or(ParseIdError::Zero)
            }
        }
    };
}

identifier!(
    TraceId,
    16,
    "The identifier of a trace: 16 bytes, never all zero, written as 32 lower-case hexadecimal digits."
);
identifier!(
    SpanId,
    8,
    "The identifier of a span: 8 bytes, never all zero, written as 16 lower-case hexadecimal digits."
);

const fn nibble(digit: u8) -> Result<u8, ParseIdError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(ParseIdError::Digit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_identifiers_say_why() {
        assert_eq!("00".parse::<SpanId>(), Err(ParseIdError::Length { expected: 16, got: 2 }));
        assert_eq!("00000000000000zz".parse::<SpanId>(), Err(ParseIdError::Digit));
        assert_eq!("0000000000000000".parse::<SpanId>(), Err(ParseIdError::Zero));
    }

    proptest! {
        #[test]
        fn written_form_reads_back(bytes in any::<[u8; 16]>()) {
            if let Some(id) = TraceId::from_bytes(bytes) {
                prop_assert_eq!(id.to_string().parse::<TraceId>(), Ok(id));
            }
        }
    }
}
