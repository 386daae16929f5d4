//! `tripline localise`: the suspected origin of an incident in recorded windows. Needs no collector.
//!
//! What was refused in the recordings is counted on stderr and in the JSON; it never changes the answer about the rest.

mod json;
mod page;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, anyhow};
use tripline_collector::clock;
use tripline_model::Timestamp;
use tripline_topology::detect::Settings;
use tripline_topology::localise::{Question, Signal, localise};
use tripline_topology::recording::{Recording, RecordingLimits};

use crate::args::{LocaliseArguments, LocaliseSignal, Output};
use crate::exit::Outcome;
use crate::style::{self, printable, tell, yellow};

/// Runs `tripline localise`.
pub(crate) fn run(arguments: &LocaliseArguments) -> Outcome {
    let question = question(arguments)?;
    let windows = read(&arguments.windows)?;
    let baseline = arguments.baseline.as_deref().map(read).transpose()?;
    let answer = localise(&Settings::default(), &windows, baseline.as_ref(), &question)?;
    if let Some(entry) = question.entry.as_ref().filter(|entry| !answer.entries.contains(entry)) {
        let entry = printable(entry);
        tell(format_args!("{} no \"{entry}\" in the recording: asked all that nobody calls", yellow("warning:")));
    }
    let text = match arguments.output {
        Output::Json => format!("{:#}\n", json::answer(&answer, &windows, baseline.as_ref())),
        Output::Table => page::answer(&answer, style::colours_on_stdout()),
    };
    Ok(style::answer(&text)?)
}

fn question(arguments: &LocaliseArguments) -> anyhow::Result<Question> {
    Ok(Question {
        from: time("--from", &arguments.from)?,
        to: time("--to", &arguments.to)?,
        entry: arguments.entry.as_deref().map(Into::into),
        signal: arguments.signal.map(|signal| match signal {
            LocaliseSignal::Latency => Signal::Latency,
            LocaliseSignal::Failures => Signal::Failures,
        }),
    })
}

/// Unix seconds, whole or not, or RFC 3339.
fn time(option: &str, text: &str) -> anyhow::Result<Timestamp> {
    let unix = text.parse::<f64>().ok().filter(|seconds| (0.0..1e10).contains(seconds));
    unix.map(|seconds| Timestamp::from_nanos((seconds * 1e6).round() as u64 * 1000))
        .or_else(|| clock::parse_rfc3339(text))
        .ok_or_else(|| anyhow!("{option} \"{text}\" is no time: give Unix seconds or, say, 2026-11-21T09:00:00Z"))
}

fn read(path: &Path) -> anyhow::Result<Recording> {
    let described = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(described)?;
    let recording =
        tripline_recording::read(BufReader::new(file), RecordingLimits::default()).with_context(described)?;
    for (reason, rejected) in &recording.rejected {
        let (rows, line) = (rejected.rows, rejected.first_line);
        let (warning, file) = (yellow("warning:"), path.display());
        tell(format_args!("{warning} {file}: left out as {reason}: {rows}, first in line {line}"));
    }
    Ok(recording)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_dates() {
        let expected = Timestamp::from_secs(1_700_000_000);
        assert_eq!(time("--from", "1700000000").expect("seconds"), expected);
        assert_eq!(time("--from", "2023-11-14T22:13:20Z").expect("a date"), expected);
        for wrong in ["yesterday", "-5", "NaN", "1e300"] {
            let error = time("--to", wrong).expect_err(wrong).to_string();
            assert!(error.contains("--to") && error.contains(wrong), "{error}");
        }
    }
}
