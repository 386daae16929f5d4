//! The binaries with the web UI inside, and the demo that runs them.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::{command, progress, ui};

/// The packages whose binaries people run.
const PACKAGES: [&str; 2] = ["tripline", "tripline-proxy"];

/// How the binaries are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to compile, into `target/debug/`.
    Dev,
    /// What people run and what the tests run, into `target/release/`.
    Release,
}

impl Profile {
    /// `Release` if the flag `--release` was given.
    pub(crate) fn from_flag(release: bool) -> Self {
        if release { Self::Release } else { Self::Dev }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
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
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    progress::loud("compiling tripline and tripline-proxy", || command::run(&mut cargo))?;
    Ok(PACKAGES.iter().map(|name| places.target.join(profile.folder()).join(name)).collect())
}
