//! Fuzzing: each target for a while, with one seed after the other.
//!
//! The targets are tests (`otlp/src/fuzz.rs`, `collector/src/journal/fuzz.rs`) whose input depends on the seed alone, so what fails here is
//! repeated by the command that is printed. `cargo xtask test` runs them too, with one seed and few rounds.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::places::Places;
use crate::selection::MAIN;
use crate::{command, progress};

/// The targets: the part of the test's name that selects it, the crate that it is in, and rounds that take some seconds.
const TARGETS: [(&str, &str, u64); 5] = [
    ("fuzz_the_walk_against_prost", "tripline-otlp", 100_000),
    ("fuzz_json", "tripline-otlp", 100_000),
    ("fuzz_zipkin", "tripline-otlp", 100_000),
    ("fuzz_udp", "tripline-otlp", 100_000),
    ("fuzz_log_replay", "tripline-collector", 2_000),
];

/// Runs every target, or those whose name has `only` in it, for `seconds` each, from `seed` on.
pub(crate) fn fuzz(places: &Places, only: &str, seconds: u64, seed: u64) -> Result<()> {
    for (target, package, rounds) in TARGETS.into_iter().filter(|(target, ..)| target.contains(only)) {
        let binary = test_binary(places, package)?;
        let end = now() + Duration::from_secs(seconds);
        let ran = progress::quiet(&format!("fuzzing: {target} for {seconds} s"), || {
            let mut runs = 0;
            for seed in seed.. {
                runs += 1;
                let mut run = Command::new(&binary);
                run.args([target, "--nocapture"]).current_dir(&places.root);
                run.env("TRIPLINE_FUZZ_SEED", seed.to_string()).env("TRIPLINE_FUZZ_ROUNDS", rounds.to_string());
                command::capture(&mut run).with_context(|| {
                    format!(
                        "{target} found something; to repeat it: TRIPLINE_FUZZ_SEED={seed} TRIPLINE_FUZZ_ROUNDS={rounds} \
                         cargo test --release --package {package} {target}"
                    )
                })?;
                if now() >= end {
                    return Ok(runs * rounds);
                }
            }
            Ok(0)
        })?;
        println!("{}", serde_json::json!({"fuzz": target, "rounds": ran, "first_seed": seed}));
    }
    Ok(())
}

/// The compiled tests of a package, in the selection that all tests are compiled in.
fn test_binary(places: &Places, package: &str) -> Result<std::path::PathBuf> {
    let mut cargo = places.cargo();
    cargo.args(["test", "--locked", "--release", "--no-run", "--message-format", "json", "--lib", "--bins", "--tests"]);
    let said = progress::quiet("compiling the tests", || command::capture(cargo.args(MAIN.arguments)))?;
    let found =
        said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|message| {
            let is_it = message["target"]["name"] == package.replace('-', "_") && message["profile"]["test"] == true;
            message["executable"].as_str().filter(|_| is_it).map(Into::into)
        });
    found.with_context(|| format!("{package} has no tests"))
}

#[expect(clippy::disallowed_methods, reason = "xtask times its own steps; nothing in it runs in a paused clock")]
fn now() -> Instant {
    Instant::now()
}
