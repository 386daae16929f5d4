//! A scripted fault as written on the command line: `SERVICE:KIND:AFTER:FOR`, as in `payments-db:errors:20s:40s`.

use std::str::FromStr;
use std::time::Duration;

use super::{FaultKind, UnknownKind};
use crate::shop::{SERVICES, ServiceSpec};

/// The longest fault, and the latest start of one.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// A fault that starts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultPlan {
    /// Name of the service to break.
    pub service: &'static str,
    /// What to break.
    pub kind: FaultKind,
    /// Its start, from the start of the load.
    pub after: Duration,
    /// Its length.
    pub lasting: Duration,
}

/// Why a script cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    /// Not four parts.
    #[error("expected SERVICE:KIND:AFTER:FOR, as in payments-db:errors:20s:40s")]
    Shape,
    /// No such service.
    #[error("unknown service \"{service}\": use one of {}", names())]
    Service {
        /// The word.
        service: String,
    },
    /// No such kind.
    #[error(transparent)]
    Kind(#[from] UnknownKind),
    /// Not a time, or too long a one.
    #[error("bad {part} \"{text}\": expected a time like 20s, 1500ms or 2m, of at most an hour")]
    Time {
        /// `AFTER` or `FOR`.
        part: &'static str,
        /// What stood there.
        text: String,
    },
    /// A fault that would be over at once.
    #[error("a fault FOR no time at all: expected a time above zero")]
    Empty,
}

fn names() -> String {
    SERVICES.each_ref().map(|service| service.name).join(", ")
}

impl FromStr for FaultPlan {
    type Err = BadPlan;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(':').collect();
        let [service, kind, after, lasting] = parts[..] else { return Err(BadPlan::Shape) };
        let known = ServiceSpec::named(service).ok_or_else(|| BadPlan::Service { service: service.to_owned() })?;
        let time = |part, text: &str| {
            parse_duration(text).filter(|t| *t <= LONGEST).ok_or_else(|| BadPlan::Time { part, text: text.to_owned() })
        };
        let plan = Self {
            service: known.name,
            kind: kind.parse()?,
            after: time("AFTER", after)?,
            lasting: time("FOR", lasting)?,
        };
        if plan.lasting.is_zero() {
            return Err(BadPlan::Empty);
        }
        Ok(plan)
    }
}

/// Reads `20s`, `1500ms`, `2m`, `0.5s`; a bare number is seconds. None for anything else.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_per_unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let seconds = digits.parse::<f64>().ok()? * seconds_per_unit;
    Duration::try_from_secs_f64((seconds * 1000.0).round() / 1000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read() {
        let plan: FaultPlan = "shop/payments-db:errors:20s:40s".parse().expect("a good plan");
        let seconds = Duration::from_secs;
        assert_eq!(
            plan,
            FaultPlan { service: "payments-db", kind: FaultKind::Errors, after: seconds(20), lasting: seconds(40) }
        );
        assert_eq!("web:hang:0:500ms".parse::<FaultPlan>().map(|p| p.lasting), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn bad_plans_are_told_apart() {
        let table = [
            ("", "expected SERVICE:KIND:AFTER:FOR"),
            ("web:errors:1s", "expected SERVICE:KIND:AFTER:FOR"),
            ("web:errors:1s:2s:3s", "expected SERVICE:KIND:AFTER:FOR"),
            ("shop:errors:1s:2s", "unknown service \"shop\": use one of gateway, web"),
            ("web:fire:1s:2s", "unknown fault kind \"fire\""),
            ("web:errors:soon:2s", "bad AFTER \"soon\""),
            ("web:errors:1s:-2s", "bad FOR \"-2s\""),
            ("web:errors:1s:0s", "above zero"),
            ("web:errors:2h:1s", "bad AFTER \"2h\""),
        ];
        for (text, told) in table {
            let error = text.parse::<FaultPlan>().expect_err(text).to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn durations() {
        let table = [
            ("20s", Some(20_000)),
            ("1500ms", Some(1500)),
            ("2m", Some(120_000)),
            ("0.5s", Some(500)),
            ("7", Some(7000)),
            ("", None),
            ("s", None),
            ("1e9s", None),
            ("inf", None),
            ("1.2.3s", None),
            ("5 s", None),
            ("5ß", None),
        ];
        for (text, millis) in table {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}
