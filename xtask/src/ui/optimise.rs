//! wasm-opt: npm's package `binaryen` brings it in seconds; one on the search path is the second choice.
//!
//! The crate `wasm-opt` would compile Binaryen for minutes, and Debian's is too old for what rustc emits: rejected.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::{command, progress};

/// The version of npm's package.
const BINARYEN: &str = "binaryen@132.0.0";

/// How long npm may take to download the package.
const NPM_LIMIT: Duration = Duration::from_secs(120);

/// For size, with the WebAssembly features that rustc turns on by default.
const FLAGS: [&str; 8] = [
    "-Os",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Optimises the module in place; it stays as it was when that fails.
pub(super) fn optimise(places: &Places, wasm: &Path) -> Result<()> {
    let wasm_opt = find(&places.cache("npm"))?;
    progress::quiet("optimising the web UI", || {
        let optimised = wasm.with_extension("optimised");
        command::capture(Command::new(wasm_opt).args(FLAGS).arg(wasm).arg("-o").arg(&optimised))?;
        fs::rename(&optimised, wasm).context("could not replace the module by the optimised one")
    })
}

fn find(cache: &Path) -> Result<PathBuf> {
    let installed = cache.join(BINARYEN.replace('@', "-"));
    let wasm_opt = installed.join("node_modules/.bin/wasm-opt");
    if wasm_opt.exists() {
        return Ok(wasm_opt);
    }
    match npm_installs(&installed) {
        Ok(()) => Ok(wasm_opt),
        Err(error) => command::find("wasm-opt").ok_or(error),
    }
}

fn npm_installs(folder: &Path) -> Result<()> {
    let npm = command::find("npm").context("install Node.js with npm (`sudo apt-get install npm`)")?;
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let mut install = Command::new(npm);
    install.args(["install", "--no-save", "--no-audit", "--no-fund", "--prefix"]).arg(folder).arg(BINARYEN);
    progress::quiet("getting wasm-opt from npm", || command::capture_within(&mut install, NPM_LIMIT))
}
