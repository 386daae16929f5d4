//! Times of the wire as numbers, without a calendar library: the page needs differences and one clock format only.
//!
//! The collector writes RFC 3339 in UTC, so no other offset is read. Milliseconds since 1970 as `f64` because that is
//! what the browser's clock gives. Durations of things that go on are taken against the collector's time, never the
//! browser's, so that a wrong clock on somebody's laptop cannot show "open for -3 s".

/// Milliseconds of a second, minute, hour and day.
pub(crate) const SECOND: f64 = 1_000.0;
const MINUTE: f64 = 60.0 * SECOND;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// Milliseconds since 1970 of `2026-11-21T09:00:00.25Z`; nothing for what is not such a time.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let (date, clock) = text.strip_suffix(['Z', 'z'])?.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut clock = clock.splitn(3, ':');
    let hour: f64 = clock.next()?.parse().ok()?;
    let minute: f64 = clock.next()?.parse().ok()?;
    let second: f64 = clock.next()?.parse().ok()?;
    let fits = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0.0..24.0).contains(&hour)
        && (0.0..60.0).contains(&minute)
        && (0.0..61.0).contains(&second);
    fits.then(|| days_from_civil(year, month, day) as f64 * DAY + hour * HOUR + minute * MINUTE + second * SECOND)
}

/// `12 s`, `3 min 05 s`, `2 h 14 min`, `3 d 4 h`; what is negative counts as nothing.
pub(crate) fn duration(ms: f64) -> String {
    let seconds = (ms.max(0.0) / SECOND).round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// From `from` to `to`, both as written on the wire; nothing when either is no time.
pub(crate) fn between(from: &str, to: f64) -> Option<String> {
    parse(from).map(|from| duration(to - from))
}

/// Howard Hinnant's days from civil: proleptic Gregorian, day 0 is 1970-01-01.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_wire_become_milliseconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0.0)),
            ("2000-02-29T12:30:15Z", Some(951_827_415_000.0)),
            ("2026-11-21T09:00:00.250Z", Some(1_795_251_600_250.0)),
            ("2026-11-21T09:00:00+01:00", None),
            ("2026-13-21T09:00:00Z", None),
            ("2026-11-21", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_read_like_a_clock_on_the_wall() {
        for (ms, expected) in [
            (-5.0, "0 s"),
            (12_400.0, "12 s"),
            (60_000.0, "1 min 00 s"),
            (185_000.0, "3 min 05 s"),
            (3_600_000.0, "1 h 00 min"),
            (90_000_000.0, "1 d 1 h"),
        ] {
            assert_eq!(duration(ms), expected);
        }
    }
}
