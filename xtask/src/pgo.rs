//! Profile-guided optimisation of the sidecar: compiled so that it counts what it does, put under load, compiled again with what it counted.
//!
//! The load is the benchmark's row `training`: every protocol, through the sidecar alone. Both compilations have target folders of
//! their own, because their flags are nobody else's. What was counted is kept as long as the sidecar that counts stays the same.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::{build, command, peers, progress, selection};

/// How long the download of LLVM's tools may take.
const DOWNLOAD: Duration = Duration::from_secs(300);

/// The sidecar, optimised so.
pub(crate) fn sidecar(places: &Places) -> Result<PathBuf> {
    let folder = places.cache("pgo");
    let counts = folder.join("counts");
    let counting = progress::loud("compiling a tripline-proxy that counts what it does", || {
        compile(places, "counting", &format!("-Cprofile-generate={}", counts.display()))
    })?;
    // Named after the sidecar that counts: a profile of another name is compiled in anew.
    let profile = folder.join(format!("{:016x}.profdata", fingerprint(&counting)?));
    if !profile.exists() {
        progress::loud("putting it under load", || train(places, &counting, &counts))?;
        merge(&counts, &profile)?;
    }
    progress::loud("compiling tripline-proxy with what it counted", || {
        compile(places, "trained", &format!("-Cprofile-use={}", profile.display()))
    })
}

/// Compiles the sidecar with `flags`, into a target folder of its own. Naming the target keeps the flags from build scripts.
fn compile(places: &Places, name: &str, flags: &str) -> Result<PathBuf> {
    let (target, host) = (places.cache("pgo").join(name), host()?);
    let mut cargo = places.cargo();
    cargo.args(["build", "--locked", "--profile", build::SIDECAR, "--package", "tripline-proxy", "--target", &host]);
    command::run(cargo.arg("--target-dir").arg(&target).env("RUSTFLAGS", flags))?;
    Ok(target.join(host).join(build::SIDECAR).join("tripline-proxy"))
}

/// Runs the benchmark's load through the sidecar that counts; it writes its counts when it ends.
fn train(places: &Places, counting: &Path, counts: &Path) -> Result<()> {
    peers::prepare_load()?;
    if counts.exists() {
        fs::remove_dir_all(counts).with_context(|| format!("could not empty {}", counts.display()))?;
    }
    let folder = counting.parent().context("the sidecar lies in a folder")?;
    let mut cargo = places.cargo();
    cargo.args(["bench", "--locked"]).args(selection::MAIN.arguments).args(["--bench", "proxy", "--", "training"]);
    command::run(cargo.env("TRIPLINE_TEST_TOOLS", places.cache("")).env("TRIPLINE_BIN_DIR", folder))
}

/// Puts what every process counted into one file.
fn merge(counts: &Path, profile: &Path) -> Result<()> {
    let tool = llvm_profdata()?;
    let raw = fs::read_dir(counts).with_context(|| format!("nothing was counted: no {}", counts.display()))?;
    let raw = raw.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    command::capture(Command::new(tool).args(["merge", "--output"]).arg(profile).args(raw))?;
    Ok(())
}

/// LLVM's tool of the compiler in use, brought by rustup where it is missing.
fn llvm_profdata() -> Result<PathBuf> {
    let sysroot = command::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let tool = Path::new(sysroot.trim()).join("lib/rustlib").join(host()?).join("bin/llvm-profdata");
    if !tool.exists() {
        progress::quiet("getting LLVM's tools", || {
            command::capture_within(Command::new("rustup").args(["component", "add", "llvm-tools"]), DOWNLOAD)
        })
        .context("profile-guided optimisation needs llvm-profdata: run `rustup component add llvm-tools`")?;
    }
    Ok(tool)
}

/// The machine that rustc compiles for here.
fn host() -> Result<String> {
    let version = command::capture(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say for which machine it compiles")
}

fn fingerprint(file: &Path) -> Result<u64> {
    let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Ok(hasher.finish())
}
