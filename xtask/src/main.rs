//! `cargo xtask`: one entry for everything a developer does, on a machine that has no more than Rust.
//!
//! Each sub-command first finds or installs what it needs, and otherwise ends with one sentence that names the command
//! which installs it. It orchestrates other tools and holds no logic of Tripline itself.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to the person in front of it")]

mod apt;
mod bench;
mod build;
mod command;
mod fuzz;
mod lint;
mod peers;
mod pgo;
mod places;
mod progress;
mod selection;
mod test;
mod ui;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::places::Places;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, runs and checks Tripline", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds everything and runs the demo; arguments go to `tripline demo`
    Demo {
        /// Given to `tripline demo` as they are, e.g. --fault payments-db:errors:20s:40s
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the web UI and the binaries `tripline` and `tripline-proxy`
    Build {
        /// Optimised binaries, into target/release instead of target/debug
        #[arg(long)]
        release: bool,
        /// Optimises the sidecar by what it does under load, too: some ten minutes more, and nginx, wrk and h2load
        #[arg(long, requires = "release")]
        pgo: bool,
    },
    /// Runs every test; a further argument selects tests by name
    Test {
        /// Given to the test runner as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs benchmarks and prints one JSON object a line
    Bench {
        /// Which of them; all when left out
        which: Option<bench::Bench>,
        /// Given to the benchmark as they are, e.g. topology --seeds 0..100
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fuzzes what reads strangers' bytes: the walk against prost, JSON, Zipkin, UDP, log replay
    Fuzz {
        /// Only targets with this in their name
        #[arg(default_value = "")]
        only: String,
        /// Seconds for each target
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Checks format, lints, licences and advisories
    Lint,
    /// Compiles the web UI to WebAssembly, for `tripline` to embed
    Ui {
        /// Compiles it also when nothing has changed
        #[arg(long)]
        force: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not as `Debug`, which adds a stack trace where RUST_BACKTRACE is set: the chain says what to do.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let places = Places::find()?;
    match task {
        Task::Demo { arguments } => build::demo(&places, &arguments),
        Task::Build { release, pgo } => build::build(&places, build::Profile::from_flags(release, pgo)),
        Task::Test { arguments } => test::test(&places, &arguments),
        Task::Bench { which, arguments } => bench::bench(&places, which, &arguments),
        Task::Fuzz { only, seconds, seed } => fuzz::fuzz(&places, &only, seconds, seed),
        Task::Lint => lint::lint(&places),
        Task::Ui { force } => ui::ui(&places, if force { ui::Freshness::Rebuild } else { ui::Freshness::Keep }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_after_demo_and_test_are_passed_on_as_they_are() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.task);
        let fault = "--fault payments-db:errors:20s:40s";
        assert!(
            matches!(parse(&format!("xtask demo {fault}")), Ok(Task::Demo { arguments }) if arguments.join(" ") == fault)
        );
        assert!(
            matches!(parse("xtask test tidy -- --nocapture"), Ok(Task::Test { arguments }) if arguments.len() == 3)
        );
        assert!(matches!(parse("xtask build --release"), Ok(Task::Build { release: true, pgo: false })));
        assert!(parse("xtask build --pgo").is_err(), "there is nothing to gain without --release");
        assert!(parse("xtask bench everything").is_err());
        assert!(
            matches!(parse("xtask bench topology --seeds 0..9"), Ok(Task::Bench { arguments, .. }) if arguments.len() == 2)
        );
    }
}
