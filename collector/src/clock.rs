//! The collector's only look at the wall clock, and times as the HTTP API writes them.
//!
//! Everything behind the receivers is given a [`Timestamp`]; durations are measured with tokio's clock, so that tests can
//! pause it.

use tripline_model::Timestamp;

/// Now, by the system's clock; the epoch if that clock stands before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the collector reads the wall clock")]
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}

/// RFC 3339 in UTC, to the nanosecond where needed: `2026-11-21T09:00:00.25Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    // Nanoseconds in a u64 reach the year 2554, which jiff can always write.
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default().to_string()
}

/// Reads RFC 3339 with any offset; none when it is no time or lies before 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        for nanos in [0, 1, 1_795_000_000_250_000_000, u64::MAX] {
            let at = Timestamp::from_nanos(nanos);
            assert_eq!(parse_rfc3339(&rfc3339(at)), Some(at));
        }
        assert_eq!(parse_rfc3339("2026-11-21T10:00:00+01:00"), parse_rfc3339("2026-11-21T09:00:00Z"));
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59Z"), None);
        assert_eq!(parse_rfc3339("yesterday"), None);
    }
}
