//! The binaries with the web UI inside, and the demo that runs them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::{command, pgo, progress, ui};

/// The packages whose binaries people run.
const PACKAGES: [&str; 2] = ["tripline", "tripline-proxy"];
/// The profile of the sidecar that people run.
pub(crate) const SIDECAR: &str = "sidecar";

/// How the binaries are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to compile, into `target/debug/`.
    Dev,
    /// What people run and what the tests run, into `target/release/`.
    Release,
    /// The same, with the sidecar optimised by what it does under load.
    Trained,
}

impl Profile {
    /// By the flags `--release` and `--pgo`.
    pub(crate) fn from_flags(release: bool, pgo: bool) -> Self {
        match (release, pgo) {
            (_, true) => Self::Trained,
            (true, false) => Self::Release,
            (false, false) => Self::Dev,
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release | Self::Trained => "release",
        }
    }
}

/// Builds the UI and the binaries and says where they are.
pub(crate) fn build(places: &Places, profile: Profile) -> Result<()> {
    for binary in binaries(places, profile)? {
        println!("{}", binary.display());
    }
    Ok(())
}

/// Builds, then becomes `tripline demo` with these arguments.
pub(crate) fn demo(places: &Places, arguments: &[String]) -> Result<()> {
    let binaries = binaries(places, Profile::Release)?;
    let tripline = binaries.first().context("no binary was built")?;
    let mut demo = Command::new(tripline);
    demo.arg("demo").args(arguments);
    eprintln!("==> {}", command::show(&demo));
    // Replaces this process, so that Ctrl-C and the exit code are the demo's own.
    Err(demo.exec()).with_context(|| format!("could not start {}", tripline.display()))
}

/// Builds the UI and the binaries; their paths, `tripline` first.
pub(crate) fn binaries(places: &Places, profile: Profile) -> Result<Vec<PathBuf>> {
    ui::ui(places, ui::Freshness::Keep)?;
    let mut cargo = places.cargo();
    cargo.args(["build", "--locked"]);
    if profile != Profile::Dev {
        cargo.arg("--release");
    }
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    progress::loud("compiling tripline and tripline-proxy", || command::run(&mut cargo))?;
    let folder = places.target.join(profile.folder());
    match profile {
        Profile::Dev => {}
        Profile::Release => ship(places, &folder, &optimised_sidecar(places)?)?,
        Profile::Trained => ship(places, &folder, &pgo::sidecar(places)?)?,
    }
    Ok(PACKAGES.iter().map(|name| folder.join(name)).collect())
}

/// Compiles the sidecar once more, optimised across crates.
fn optimised_sidecar(places: &Places) -> Result<PathBuf> {
    let mut cargo = places.cargo();
    cargo.args(["build", "--locked", "--profile", SIDECAR, "--package", "tripline-proxy"]);
    progress::loud("optimising tripline-proxy across its crates", || command::run(&mut cargo))?;
    Ok(places.target.join(SIDECAR).join("tripline-proxy"))
}

/// Puts the optimised sidecar where the release profile's would be, and with the collector into the folder of what is shipped:
/// compiling tests puts the release profile's own sidecar back.
fn ship(places: &Places, folder: &Path, sidecar: &Path) -> Result<()> {
    replace(sidecar, &folder.join("tripline-proxy"))?;
    let shipped = shipped(places);
    fs::create_dir_all(&shipped).with_context(|| format!("could not create {}", shipped.display()))?;
    PACKAGES.iter().try_for_each(|name| replace(&folder.join(name), &shipped.join(name)))
}

/// The folder with the binaries as they are shipped.
pub(crate) fn shipped(places: &Places) -> PathBuf {
    places.cache("bin")
}

/// Makes `to` another name of `from`, whatever it was before.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let _gone = fs::remove_file(to);
    fs::hard_link(from, to).with_context(|| format!("could not link {} to {}", from.display(), to.display()))
}
