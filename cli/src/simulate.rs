//! `tripline simulate`: runs a plan in virtual time and writes what its sidecars would report, and what truly happened; or replays
//! recorded traffic against other breaker settings.

pub(crate) mod policy;
mod what_if;

use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use tripline_simulate::{Plan, record, run_with_truth};

use crate::args::{ApiArguments, SimulateArguments};
use crate::exit::{Failure, Outcome};
use crate::style::{self, tell, yellow};

/// The recording.
const WINDOWS: &str = "windows.jsonl";
/// What the detector is not told.
const TRUTH: &str = "truth.json";

/// Runs `tripline simulate`.
pub(crate) async fn run(arguments: &SimulateArguments, api: &ApiArguments) -> Outcome {
    match (&arguments.from_history, &arguments.plan, &arguments.out) {
        (Some(range), _, _) => what_if::run(arguments, range, api).await,
        (None, Some(plan), Some(out)) => of_plan(plan, out, arguments.seed),
        (None, ..) => Err(anyhow!("give PLAN.json and --out DIR, or --from-history FROM TO").into()),
    }
}

fn of_plan(plan: &Path, folder: &Path, seed: u64) -> Outcome {
    let path = plan.display();
    let text = fs::read_to_string(plan).with_context(|| format!("cannot read {path}"))?;
    let plan = Plan::from_json(&text)
        .map_err(|error| Failure::invalid(anyhow::Error::new(error).context(format!("{path} cannot be simulated"))))?;
    refuse_to_overwrite(folder)?;
    if std::io::stderr().is_terminal() {
        let (seconds, services, faults) = (plan.seconds, plan.services.len(), plan.faults.len());
        tell(format_args!("simulating {seconds} s of {services} services with {faults} faults, and its twins"));
    }
    let told = run_with_truth(&plan, seed);
    if !told.fit {
        tell(format_args!("{} this mesh fails without its faults, too: its truth says little", yellow("warning:")));
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let rows = record::rows(&told.reported);
    write(&folder.join(WINDOWS), |to| rows.iter().try_for_each(|row| Ok(tripline_recording::write(row, to)?)))?;
    let truth = record::truth(&plan, seed, &told);
    write(&folder.join(TRUTH), |to| Ok(writeln!(to, "{truth:#}")?))?;
    let done = format!("{}: {} rows\n{}\n", folder.join(WINDOWS).display(), rows.len(), folder.join(TRUTH).display());
    Ok(style::answer(&done)?)
}

fn refuse_to_overwrite(folder: &Path) -> Result<()> {
    match [WINDOWS, TRUTH].iter().map(|name| folder.join(name)).find(|path| path.exists()) {
        Some(path) => Err(anyhow!("{} exists: remove it, or choose another folder with --out", path.display())),
        None => Ok(()),
    }
}

fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let described = || format!("cannot write {}", path.display());
    let mut to = BufWriter::new(File::create_new(path).with_context(described)?);
    fill(&mut to).with_context(described)?;
    to.flush().with_context(described)
}
