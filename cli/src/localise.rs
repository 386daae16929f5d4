//! `tripline localise`: the suspected origin of an incident in recorded windows. Needs no collector.
//!
//! What was refused in the recordings is counted on stderr and in the JSON; it never changes the answer about the rest.

mod json;
mod page;

use tripline_topology::detect::Settings;
use tripline_topology::localise::{Question, Signal, localise};

use crate::args::{LocaliseArguments, LocaliseSignal, Output};
use crate::exit::Outcome;
use crate::style::{self, printable, tell, yellow};
use crate::{moment, recorded};

/// Runs `tripline localise`.
pub(crate) fn run(arguments: &LocaliseArguments) -> Outcome {
    let question = question(arguments)?;
    let windows = recorded::read(&arguments.windows)?;
    let baseline = arguments.baseline.as_deref().map(recorded::read).transpose()?;
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
        from: moment::read("--from", &arguments.from)?,
        to: moment::read("--to", &arguments.to)?,
        entry: arguments.entry.as_deref().map(Into::into),
        signal: arguments.signal.map(|signal| match signal {
            LocaliseSignal::Latency => Signal::Latency,
            LocaliseSignal::Failures => Signal::Failures,
        }),
    })
}
