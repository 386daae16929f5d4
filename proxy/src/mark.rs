//! The mark of an induced failure on the wire: `x-tripline-breaker: ID;REASON;ORIGIN;DEPTH`.
//!
//! A sidecar that rejects a call puts depth 0 on its answer. If the application then fails because of it, the inbound
//! half of the same sidecar passes the mark on with a depth one larger, so every client further away learns that the
//! failure it sees began at that breaker.

use http::HeaderValue;

use crate::headers;

/// Longest mark read, in bytes.
const MAX_BYTES: usize = 1024;
/// Depth at which counting stops; a longer chain is a loop.
const MAX_DEPTH: u32 = 64;

/// A mark as read or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// `ID;REASON;ORIGIN`.
    cause: Box<str>,
    depth: u32,
}

impl Mark {
    /// The mark of a call that a breaker of this sidecar rejected.
    pub(crate) fn rejected(breaker: &str, reason: &str, origin: &str) -> Self {
        let clean = breaker.replace(';', "_");
        Self { cause: format!("{clean};{reason};{origin}").into(), depth: 0 }
    }

    /// Reads a mark; none when it is not well formed.
    pub(crate) fn read(value: &HeaderValue) -> Option<Self> {
        let text = std::str::from_utf8(value.as_bytes()).ok().filter(|text| text.len() <= MAX_BYTES)?;
        let (cause, depth) = text.rsplit_once(';')?;
        let depth: u32 = depth.trim().parse().ok()?;
        (cause.split(';').count() == 3).then(|| Self { cause: cause.into(), depth: depth.min(MAX_DEPTH) })
    }

    /// The same cause, seen one service further away.
    #[must_use]
    pub(crate) fn passed_on(&self) -> Self {
        Self { cause: self.cause.clone(), depth: (self.depth + 1).min(MAX_DEPTH) }
    }

    /// As it is sent.
    pub(crate) fn to_value(&self) -> HeaderValue {
        headers::value(&format!("{};{}", self.cause, self.depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_travels_and_counts_its_depth() {
        let made = Mark::rejected("shop/a>shop/b@10.0.0.7:80", "consecutive_failures", "remote");
        assert_eq!(made.to_value(), "shop/a>shop/b@10.0.0.7:80;consecutive_failures;remote;0");
        let read = Mark::read(&made.to_value()).unwrap();
        assert_eq!(read, made);
        assert_eq!(read.passed_on().passed_on().to_value(), "shop/a>shop/b@10.0.0.7:80;consecutive_failures;remote;2");
    }

    #[test]
    fn what_is_no_mark_is_ignored() {
        for text in ["", "a", "a;b;c", "a;b;c;d", "a;b;c;d;1", "a;b;c;-1", "a;b;c;99999999999"] {
            assert_eq!(Mark::read(&HeaderValue::from_static(text)), None, "{text}");
        }
        assert_eq!(Mark::read(&HeaderValue::from_static("a;b;c;4000000")).map(|m| m.depth), Some(MAX_DEPTH));
    }
}
