//! Other thresholds for the detector, as `--set NAME=VALUE` gives them.

use std::time::Duration;

use tripline_demo::fault::parse_duration;
use tripline_topology::detect::Settings;

/// What a name stands for, how its value is written, and how it is set.
struct Threshold {
    name: &'static str,
    expected: &'static str,
    set: fn(&mut Settings, &str) -> Option<()>,
}

/// Every threshold that can be changed.
const ALL: &[Threshold] = &[
    Threshold { name: "window", expected: "a time from 1s to 60s", set: |s, t| put(&mut s.window, whole(t, 1..=60)) },
    Threshold { name: "z", expected: "a number above 0", set: |s, t| put(&mut s.z, above_0(t)) },
    Threshold { name: "min_failures", expected: "a whole number", set: |s, t| put(&mut s.min_failures, count(t)) },
    Threshold { name: "min_requests", expected: "a whole number", set: |s, t| put(&mut s.min_requests, count(t)) },
    Threshold { name: "mads", expected: "a number above 0", set: |s, t| put(&mut s.mads, above_0(t)) },
    Threshold { name: "slower", expected: "a share such as 0.2", set: |s, t| put(&mut s.slower, above_0(t)) },
    Threshold {
        name: "slower_floor_ms",
        expected: "milliseconds above 0",
        set: |s, t| put(&mut s.slower_floor, above_0(t).map(|ms| ms / 1e3)),
    },
    Threshold { name: "attempts", expected: "a number above 0", set: |s, t| put(&mut s.attempts, above_0(t)) },
    Threshold {
        name: "spreading_for",
        expected: "a time from 1s to 1h",
        set: |s, t| put(&mut s.spreading_for, whole(t, 1..=3600)),
    },
    Threshold {
        name: "resolve_after",
        expected: "a time from 1s to 1h",
        set: |s, t| put(&mut s.resolve_after, whole(t, 1..=3600)),
    },
    Threshold {
        name: "reopen_within",
        expected: "a time from 0s to 1h",
        set: |s, t| put(&mut s.reopen_within, whole(t, 0..=3600)),
    },
    Threshold { name: "settle", expected: "a time from 0s to 10m", set: |s, t| put(&mut s.settle, whole(t, 0..=600)) },
    Threshold {
        name: "lead",
        expected: "a number from 0 to 1",
        set: |s, t| put(&mut s.lead, above_0(t).or_else(|| zero(t)).filter(|lead| *lead <= 1.0)),
    },
];

/// A change of one threshold that was found good.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    name: String,
    value: String,
}

impl Change {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn read(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, as in z=4")?;
        let names = || ALL.iter().map(|threshold| threshold.name).collect::<Vec<_>>().join(", ");
        let threshold = ALL.iter().find(|threshold| threshold.name == name);
        let threshold = threshold.ok_or_else(|| format!("no threshold \"{name}\": there are {}", names()))?;
        (threshold.set)(&mut Settings::default(), value)
            .ok_or_else(|| format!("{name}: expected {}, got \"{value}\"", threshold.expected))?;
        Ok(Self { name: name.into(), value: value.into() })
    }
}

/// The detector's thresholds with some of them changed.
pub(crate) fn with(changes: &[Change]) -> Settings {
    let mut settings = Settings::default();
    for change in changes {
        // A change exists only if its value was found good.
        let _set = ALL
            .iter()
            .find(|threshold| threshold.name == change.name)
            .and_then(|threshold| (threshold.set)(&mut settings, &change.value));
    }
    settings
}

fn put<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn above_0(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| *number > 0.0 && *number < 1e9)
}

fn zero(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| *number == 0.0)
}

fn count(text: &str) -> Option<u64> {
    text.parse().ok().filter(|count| *count < 1_000_000_000)
}

/// Whole seconds within bounds.
fn whole(text: &str, bounds: std::ops::RangeInclusive<u64>) -> Option<Duration> {
    parse_duration(text).filter(|time| time.subsec_nanos() == 0 && bounds.contains(&time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_set_and_the_rest_stays() {
        let changes: Vec<Change> = ["z=4", "min_failures=10", "slower_floor_ms=5", "resolve_after=1m", "lead=0"]
            .map(|text| Change::read(text).expect(text))
            .into();
        let expected = Settings {
            z: 4.0,
            min_failures: 10,
            slower_floor: 0.005,
            resolve_after: Duration::from_secs(60),
            lead: 0.0,
            ..Settings::default()
        };
        assert_eq!(with(&changes), expected);
    }

    #[test]
    fn every_threshold_has_its_own_place() {
        for threshold in ALL {
            let different = ["7", "9s", "0.9"].into_iter().find(|value| {
                let mut settings = Settings::default();
                (threshold.set)(&mut settings, value).is_some() && settings != Settings::default()
            });
            assert!(different.is_some(), "{} sets nothing", threshold.name);
        }
    }

    #[test]
    fn wrong_changes_say_what_is_right() {
        for (text, told) in [
            ("z", "NAME=VALUE"),
            ("zed=4", "there are window, z,"),
            ("z=-1", "above 0"),
            ("z=NaN", "above 0"),
            ("window=500ms", "1s to 60s"),
            ("min_failures=2.5", "whole number"),
            ("lead=2", "0 to 1"),
        ] {
            let error = Change::read(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
