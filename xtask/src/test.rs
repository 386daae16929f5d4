//! Every test; the runner's summary of the main part, end-to-end tests included, is the last thing printed.
//!
//! Tests and binaries are compiled in the release profile, the tests of each [`Selection`] with the features that its
//! binaries have, so that each dependency is compiled once and the end-to-end tests meet the binaries that people run.
//! cargo-nextest runs them when it is there (`.config/nextest.toml`: end-to-end tests one at a time), else `cargo test`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::selection::{ALONE, MAIN, Selection};
use crate::{build, command, peers, progress};

/// Finds the peers of the end-to-end tests, builds everything, tests the small parts, then becomes the runner of the rest.
pub(crate) fn test(places: &Places, arguments: &[String]) -> Result<()> {
    for missing in peers::prepare(places) {
        progress::warn(&format!("{missing:#}; the tests that need it will fail"));
    }
    build::binaries(places, build::Profile::Release)?;
    let runner = Runner::find(places);
    for selection in ALONE {
        let what = format!("testing {}", selection.name);
        progress::loud(&what, || command::run(&mut runner.command(places, &selection, arguments)))?;
    }
    let mut last = runner.command(places, &MAIN, arguments);
    eprintln!("==> testing {}", MAIN.name);
    // Replaces this process, so that nothing is printed after the summary.
    Err(last.exec()).context("could not start the test runner")
}

/// Who runs the tests.
enum Runner {
    /// cargo-nextest.
    Nextest,
    /// `cargo test`.
    Cargo,
}

impl Runner {
    fn find(places: &Places) -> Self {
        if command::capture(places.cargo().args(["nextest", "--version"])).is_ok() {
            return Self::Nextest;
        }
        progress::warn("cargo-nextest is not installed (`cargo install cargo-nextest --locked`): using cargo test");
        Self::Cargo
    }

    /// The command that tests a selection.
    fn command(&self, places: &Places, selection: &Selection, arguments: &[String]) -> Command {
        let mut command = places.cargo();
        match self {
            Self::Nextest => command.args(["nextest", "run"]),
            Self::Cargo => command.arg("test"),
        };
        command.args(["--locked", "--release"]).args(selection.tested).args(selection.arguments);
        if matches!(self, Self::Nextest) && !arguments.is_empty() {
            // A name that someone asked for is in one of the selections, not in all.
            command.args(["--no-tests", "pass"]);
        }
        command.args(arguments).env("TRIPLINE_TEST_TOOLS", places.cache(""));
        command.env("TRIPLINE_BIN_DIR", build::shipped(places));
        command
    }
}
