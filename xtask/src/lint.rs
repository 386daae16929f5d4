//! Format, lints, licences and advisories.
//!
//! A check that cannot run says so and is never counted as passed.

use std::time::Duration;

use anyhow::Result;

use crate::places::Places;
use crate::selection::{ALONE, MAIN};
use crate::{command, progress};

/// How long the advisory database may take to download.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// Runs them in order of cost; the first failure ends it.
pub(crate) fn lint(places: &Places) -> Result<()> {
    progress::loud("checking the format", || command::run(places.cargo().args(["fmt", "--all", "--check"])))?;
    // In release: build scripts and macros are then those that the tests and the binaries use.
    for selection in ALONE.iter().chain([&MAIN]) {
        let mut clippy = places.cargo();
        clippy.args(["clippy", "--locked", "--release", "--all-targets"]).args(selection.arguments);
        clippy.args(["--", "-D", "warnings"]);
        progress::loud(&format!("checking the lints of {}", selection.name), || command::run(&mut clippy))?;
    }
    if command::capture(places.cargo().args(["deny", "--version"])).is_err() {
        progress::warn(
            "licences, bans, sources and advisories: not checked, install cargo-deny with `cargo install cargo-deny --locked`",
        );
        return Ok(());
    }
    progress::loud("checking licences, bans and sources", || {
        command::run(places.cargo().args(["deny", "check", "licenses", "bans", "sources"]))
    })?;
    if let Err(error) = command::capture_within(places.cargo().args(["deny", "fetch", "db"]), FETCH_LIMIT) {
        progress::warn(&format!("advisories: not checked, their database cannot be fetched: {error:#}"));
        return Ok(());
    }
    progress::loud("checking advisories", || command::run(places.cargo().args(["deny", "check", "advisories"])))
}
