//! Benchmarks: one JSON object a line on stdout, everything else on stderr.
//!
//! Only what is listed in [`Bench`] exists; asking for another is a usage error that names these.

mod collector;
mod history;
mod measured;
mod requests;

use std::fs;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::places::Places;
use crate::{build, command, peers, progress, selection, ui};

/// The benchmarks that exist.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Bench {
    /// Sizes of the web UI's files: as they are, as brotli, as gzip
    Ui,
    /// What the sidecar costs beside Envoy and HAProxy
    Proxy,
    /// The collector's intake beside Rotel: speed, memory, a large mesh
    Collector,
    /// History: bytes on disk, traces by id, slowest operations, graphs of the past
    History,
    /// The cascade detector on simulated incidents, beside simple methods, and its speed
    Topology,
}

/// Runs one of them, or all. `arguments` are for the one that was named.
pub(crate) fn bench(places: &Places, which: Option<Bench>, arguments: &[String]) -> Result<()> {
    let chosen: Vec<Bench> = which.map_or_else(|| Bench::value_variants().to_vec(), |one| vec![one]);
    chosen.into_iter().try_for_each(|one| match one {
        Bench::Ui => page(places),
        Bench::Proxy => proxy(places, arguments),
        Bench::Collector => collector::bench(places, arguments),
        Bench::History => history::history(places, arguments),
        Bench::Topology => topology(places, arguments),
    })
}

/// The sidecar as it is shipped beside the same peers as in the tests.
fn proxy(places: &Places, arguments: &[String]) -> Result<()> {
    for missing in peers::prepare(places) {
        progress::warn(&format!("{missing:#}; the rows that need it will fail"));
    }
    build::binaries(places, build::Profile::Trained)?;
    let mut cargo = places.cargo();
    cargo.args(["bench", "--locked"]).args(selection::MAIN.arguments).args(["--bench", "proxy", "--"]).args(arguments);
    command::run(cargo.env("TRIPLINE_TEST_TOOLS", places.cache("")).env("TRIPLINE_BIN_DIR", build::shipped(places)))
}

/// The simulator's own benchmark, compiled with optimisation.
fn topology(places: &Places, arguments: &[String]) -> Result<()> {
    let cargo = ["bench", "--locked", "--package", "tripline-simulate", "--bench", "topology", "--"];
    command::run(places.cargo().args(cargo).args(arguments))
}

fn page(places: &Places) -> Result<()> {
    ui::ui(places, ui::Freshness::Keep)?;
    let manifest = fs::read_to_string(places.ui().join("manifest.json")).context("could not read the UI's manifest")?;
    let manifest: Value = serde_json::from_str(&manifest).context("the UI's manifest is not JSON")?;
    for file in manifest["files"].as_array().into_iter().flatten() {
        println!(
            "{}",
            json!({"bench": "ui", "file": file["name"], "bytes": file["bytes"], "brotli_bytes": file["brotli"],
                   "gzip_bytes": file["gzip"]})
        );
    }
    Ok(())
}
