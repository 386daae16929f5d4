//! Points in time as people give them: Unix seconds, RFC 3339, `now`, or how long ago.

use anyhow::anyhow;
use tripline_collector::clock;
use tripline_demo::fault::parse_duration;
use tripline_model::Timestamp;

/// Reads what `option` was given.
///
/// # Errors
/// When it is no time; the message says what is.
pub(crate) fn read(option: &str, text: &str) -> anyhow::Result<Timestamp> {
    read_at(option, text, clock::now())
}

fn read_at(option: &str, text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let unix = text.parse::<f64>().ok().filter(|seconds| (0.0..1e10).contains(seconds));
    let ago = || parse_duration(text.strip_suffix(" ago").or_else(|| text.strip_suffix("-ago"))?);
    unix.map(|seconds| Timestamp::from_nanos((seconds * 1e6).round() as u64 * 1000))
        .or_else(|| clock::parse_rfc3339(text))
        .or_else(|| (text == "now").then_some(now))
        .or_else(|| ago().map(|ago| now - ago))
        .ok_or_else(|| {
            let expected = "give Unix seconds, \"now\", \"20m ago\", or, say, 2026-11-21T09:00:00Z";
            anyhow!("{option} \"{text}\" is no time: {expected}")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_dates_or_relative() {
        let now = Timestamp::from_secs(1_700_003_600);
        let hour_ago = Timestamp::from_secs(1_700_000_000);
        for text in ["1700000000", "2023-11-14T22:13:20Z", "1h ago", "60m-ago", "3600 ago"] {
            assert_eq!(read_at("--from", text, now).expect(text), hour_ago);
        }
        assert_eq!(read_at("--to", "now", now).expect("now"), now);
        for wrong in ["yesterday", "-5", "NaN", "1e300", "ago"] {
            let error = read_at("--to", wrong, now).expect_err(wrong).to_string();
            assert!(error.contains("--to") && error.contains(wrong), "{error}");
        }
    }
}
