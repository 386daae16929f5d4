//! How numbers, states and times are written in every table.

use std::time::Duration;

use tripline_api::{BreakerState, Health, Level, Phase};
use tripline_collector::clock;

use crate::style::Tone;
use crate::table::Cell;

/// Requests a second: `0.3`, `12.5`, `1204`.
pub(super) fn rate(per_second: f64) -> Cell {
    Cell::from(if per_second >= 1000.0 { format!("{per_second:.0}") } else { format!("{per_second:.1}") })
}

/// A share as percent; what is above a hundredth is to be watched, above a tenth it is bad.
pub(super) fn share(ratio: f64) -> Cell {
    let tone = match ratio {
        r if r >= 0.1 => Tone::Bad,
        r if r >= 0.01 => Tone::Warn,
        r if r > 0.0 => Tone::Plain,
        _ => Tone::Dim,
    };
    Cell::toned(percent(ratio), tone)
}

/// `0 %`, `0.04 %`, `7.3 %`, `100 %`: never rounded down to nothing.
pub(super) fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        p if p <= 0.0 => "0 %".to_owned(),
        p if p < 0.1 => format!("{:.2} %", p.max(0.01)),
        p if p >= 99.95 => "100 %".to_owned(),
        p => format!("{p:.1} %"),
    }
}

/// Milliseconds: `0.42`, `4.1`, `118`; `-` without traffic.
pub(super) fn millis(ms: f64) -> Cell {
    match ms {
        m if m <= 0.0 => Cell::toned("-", Tone::Dim),
        m if m < 1.0 => format!("{m:.2}").into(),
        m if m < 100.0 => format!("{m:.1}").into(),
        m => format!("{m:.0}").into(),
    }
}

/// A count; zero is of less interest.
pub(super) fn count(number: u64) -> Cell {
    Cell::toned(number.to_string(), if number == 0 { Tone::Dim } else { Tone::Plain })
}

/// A health in its colour.
pub(super) fn health(health: Health) -> Cell {
    let tone = match health {
        Health::Healthy => Tone::Good,
        Health::Degraded => Tone::Warn,
        Health::Failing => Tone::Bad,
        Health::Idle => Tone::Dim,
    };
    Cell::toned(health.as_str(), tone)
}

/// A breaker's state in its colour.
pub(super) fn breaker(state: BreakerState) -> Cell {
    let tone = match state {
        BreakerState::None => Tone::Dim,
        BreakerState::Closed => Tone::Good,
        BreakerState::HalfOpen => Tone::Warn,
        BreakerState::Open => Tone::Bad,
    };
    Cell::toned(state.as_str(), tone)
}

/// A phase in its colour.
pub(super) fn phase(phase: Phase) -> Cell {
    let tone = match phase {
        Phase::Starting | Phase::Spreading => Tone::Bad,
        Phase::Contained | Phase::Recovering => Tone::Warn,
        Phase::Resolved => Tone::Good,
    };
    Cell::toned(phase.as_str(), tone)
}

/// A level in its colour.
pub(super) fn level(level: Level) -> Cell {
    let tone = match level {
        Level::Local => Tone::Plain,
        Level::Propagating => Tone::Warn,
        Level::Cascade | Level::Amplifying | Level::SelfSustaining => Tone::Bad,
    };
    Cell::toned(level.as_str(), tone)
}

/// How long ago an RFC 3339 time was, by this machine's clock; the time itself when it cannot be read.
pub(super) fn ago(at: &str) -> Cell {
    match clock::parse_rfc3339(at) {
        Some(then) => length(clock::now().since(then)).into(),
        None if at.is_empty() => Cell::toned("-", Tone::Dim),
        None => at.into(),
    }
}

/// Time between two RFC 3339 times; `-` when one of them cannot be read.
pub(super) fn between(from: &str, to: &str) -> String {
    match (clock::parse_rfc3339(from), clock::parse_rfc3339(to)) {
        (Some(from), Some(to)) => length(to.since(from)),
        _ => "-".to_owned(),
    }
}

/// The clock of an RFC 3339 time, to the millisecond: `09:00:00.250`.
pub(super) fn time_of_day(at: &str) -> String {
    let Some((_, time)) = at.split_once('T') else { return at.to_owned() };
    let time = time.trim_end_matches('Z');
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    format!("{seconds}.{:0<3.3}", fraction)
}

/// Two units of a length of time: `850ms`, `42s`, `3m07s`, `5h20m`, `2d03h`.
pub(super) fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{}ms", length.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        let percents = [(0.0, "0 %"), (1e-9, "0.01 %"), (0.0004, "0.04 %"), (0.073, "7.3 %"), (0.9999, "100 %")];
        for (ratio, text) in percents {
            assert_eq!(percent(ratio), text);
        }
        let lengths =
            [(850, "850ms"), (42_000, "42s"), (187_000, "3m07s"), (19_200_000, "5h20m"), (183_600_000, "2d03h")];
        for (millis, text) in lengths {
            assert_eq!(length(Duration::from_millis(millis)), text);
        }
        let times = [
            ("2026-11-21T09:00:00Z", "09:00:00.000"),
            ("2026-11-21T09:00:00.25Z", "09:00:00.250"),
            ("2026-11-21T09:00:00.123456789Z", "09:00:00.123"),
            ("soon", "soon"),
        ];
        for (at, text) in times {
            assert_eq!(time_of_day(at), text);
        }
        assert_eq!(between("2026-11-21T09:00:00Z", "2026-11-21T09:03:07Z"), "3m07s");
        assert_eq!(between("", "2026-11-21T09:03:07Z"), "-");
    }
}
