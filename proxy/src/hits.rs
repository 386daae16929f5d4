//! How often which limit was hit, so that an operator sees what is being refused and which setting it was.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::Failure;

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hit {
    /// A head was not complete in time.
    HeadTimeout,
    /// A connection was idle too long.
    Idle,
    /// A head was too long or had too many fields.
    HeadTooLarge,
    /// What came was no HTTP.
    BadHead,
    /// Both Content-Length and Transfer-Encoding.
    Smuggling,
    /// A request's body was silent too long.
    BodyTimeout,
    /// A request's body was too long.
    BodyTooLarge,
    /// A server's answer was silent too long, or took longer than its request had.
    AnswerTimeout,
    /// A connection grew too old.
    ConnectionAge,
    /// No place was free for another connection.
    Connections,
    /// Of HTTP/2: more streams at once than allowed; each refused one counts.
    Streams,
    /// Of HTTP/2: streams opened and reset at once (rapid reset).
    RapidReset,
    /// Of HTTP/2: errors that made us reset streams.
    ErrorResets,
    /// Of HTTP/2: a block of headers in too many pieces.
    Continuations,
    /// Of HTTP/2: bodies in too many small pieces.
    SmallData,
    /// Of HTTP/2: frames without content.
    IdleFrames,
    /// Of HTTP/2: the other end did not say in time that it is still there.
    Ping,
    /// A connection was not secured in time.
    Handshake,
}

impl Hit {
    /// All of them, in the order of their counters.
    const ALL: [Self; 18] = [
        Self::HeadTimeout,
        Self::Idle,
        Self::HeadTooLarge,
        Self::BadHead,
        Self::Smuggling,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::AnswerTimeout,
        Self::ConnectionAge,
        Self::Connections,
        Self::Streams,
        Self::RapidReset,
        Self::ErrorResets,
        Self::Continuations,
        Self::SmallData,
        Self::IdleFrames,
        Self::Ping,
        Self::Handshake,
    ];

    /// Its word in labels.
    const fn as_str(self) -> &'static str {
        match self {
            Self::HeadTimeout => "head_timeout",
            Self::Idle => "idle_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::BadHead => "bad_head",
            Self::Smuggling => "length_and_encoding",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::AnswerTimeout => "answer_timeout",
            Self::ConnectionAge => "connection_age",
            Self::Connections => "connections",
            Self::Streams => "http2_streams",
            Self::RapidReset => "http2_rapid_reset",
            Self::ErrorResets => "http2_error_resets",
            Self::Continuations => "http2_continuations",
            Self::SmallData => "http2_small_data",
            Self::IdleFrames => "http2_idle_frames",
            Self::Ping => "http2_ping_timeout",
            Self::Handshake => "handshake_timeout",
        }
    }

    /// The limit by which the HTTP/2 library ended a connection, from the words that it sends along with GOAWAY.
    pub(crate) fn of_http2(said: &[u8]) -> Option<Self> {
        Some(match said {
            b"too_many_resets" => Self::RapidReset,
            b"too_many_internal_resets" => Self::ErrorResets,
            b"too_many_continuations" => Self::Continuations,
            b"too_many_data_frames" => Self::SmallData,
            _ => return None,
        })
    }

    /// The limit behind a failure, if it was one of ours.
    const fn of(failure: Failure) -> Option<Self> {
        match failure {
            Failure::SlowBody => Some(Self::BodyTimeout),
            Failure::LargeBody => Some(Self::BodyTooLarge),
            _ => None,
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Hits([AtomicU64; Hit::ALL.len()]);

impl Hits {
    /// Counts one.
    pub(crate) fn count(&self, hit: Hit) {
        if let Some(counter) = self.0.get(hit as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a failure that was a limit's.
    pub(crate) fn count_failure(&self, failure: Failure) {
        if let Some(hit) = Hit::of(failure) {
            self.count(hit);
        }
    }

    /// All counts with the words of their limits.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Hit::ALL.iter().zip(&self.0).map(|(hit, count)| (hit.as_str(), count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_own_counter() {
        let hits = Hits::default();
        Hit::ALL.iter().for_each(|hit| hits.count(*hit));
        hits.count_failure(Failure::SlowBody);
        hits.count_failure(Failure::Timeout);
        let counts: Vec<u64> = hits.counts().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        let mut words: Vec<&str> = hits.counts().map(|(word, _)| word).collect();
        words.dedup();
        assert_eq!(words.len(), Hit::ALL.len());
    }
}
