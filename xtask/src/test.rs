//! Every test, in one run of one runner, whose summary is the last thing printed.
//!
//! Tests and binaries are compiled by one cargo command and in the release profile, so that each dependency is compiled
//! once and the end-to-end tests meet the binaries that people run. cargo-nextest runs them when it is there
//! (`.config/nextest.toml`: the end-to-end tests one at a time), else `cargo test`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::{command, peers, progress, ui};

/// What is compiled and tested: everything but examples and doc tests, of which there are none.
const SELECTION: [&str; 6] = ["--locked", "--release", "--workspace", "--lib", "--bins", "--tests"];

/// Builds everything, finds the peers of the end-to-end tests, then becomes the test runner.
pub(crate) fn test(places: &Places, arguments: &[String]) -> Result<()> {
    ui::ui(places, ui::Freshness::Keep)?;
    for missing in peers::prepare(places) {
        progress::warn(&format!("{missing:#}; the tests that need it will fail"));
    }
    progress::loud("compiling the binaries and the tests", || {
        command::run(places.cargo().arg("build").args(SELECTION))
    })?;
    let mut runner = runner(places);
    runner.args(arguments).env("TRIPLINE_TEST_TOOLS", places.cache(""));
    eprintln!("==> {}", command::show(&runner));
    // Replaces this process, so that nothing is printed after the summary.
    Err(runner.exec()).context("could not start the test runner")
}

fn runner(places: &Places) -> Command {
    let mut runner = places.cargo();
    if command::capture(places.cargo().args(["nextest", "--version"])).is_ok() {
        runner.args(["nextest", "run"]);
    } else {
        progress::warn("cargo-nextest is not installed (`cargo install cargo-nextest --locked`): using cargo test");
        runner.arg("test");
    }
    runner.args(SELECTION);
    runner
}
