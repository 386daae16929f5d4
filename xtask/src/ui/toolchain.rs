//! A compiler for `wasm32-unknown-unknown`.
//!
//! Tried in this order: the installed toolchain has the target; `rustup target add` gets it; Debian's `rustc-web`,
//! whose library sources `-Z build-std` compiles, linked by the `rust-lld` of the installed toolchain. The last needs
//! `RUSTC_BOOTSTRAP`, because `-Z build-std` is not stable. Debian's plain `rustc` of the same path is often older than
//! this workspace allows, so its version is looked at before it is used.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::{apt, command, progress};

/// The target of the web UI.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// The packages of the Debian way.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// How long rustup may take to download the target, some 20 MB.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);

/// Linkers that the Debian way can use when the installed toolchain brings none.
const LINKERS: [&str; 4] = ["wasm-ld-22", "wasm-ld-21", "wasm-ld-20", "wasm-ld-19"];

/// A compiler that can make WebAssembly.
#[derive(Debug)]
pub(super) enum Toolchain {
    /// The toolchain that runs this program has the target.
    Installed,
    /// Debian's compiler makes the standard library too.
    Debian {
        /// What links the module.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// `cargo build` for the target; the caller adds what to build.
    pub(super) fn cargo(&self, places: &Places) -> Command {
        let mut cargo = match self {
            Self::Installed => places.cargo(),
            Self::Debian { linker } => {
                let mut cargo = Command::new("/usr/bin/cargo");
                cargo
                    .current_dir(&places.root)
                    // rustup's libraries must not shadow those of Debian's compiler.
                    .env_remove("LD_LIBRARY_PATH")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                cargo
            }
        };
        cargo.args(["build", "--target", TARGET]);
        if let Self::Debian { .. } = self {
            cargo.args(["-Z", "build-std=std,panic_abort"]);
        }
        cargo
    }
}

/// Finds a toolchain, installing one if it must and can.
pub(super) fn find(places: &Places) -> Result<Toolchain> {
    if installed() {
        return Ok(Toolchain::Installed);
    }
    let rustup = rustup_adds_target();
    if rustup.is_ok() && installed() {
        return Ok(Toolchain::Installed);
    }
    debian(&places.root).with_context(|| {
        format!(
            "no compiler for {TARGET}, which the web UI needs: run `rustup target add {TARGET}`, \
             or on Debian `sudo apt-get install {}`",
            DEBIAN_PACKAGES.join(" ")
        )
    })
}

/// Whether the compiler on the search path has the target's standard library.
fn installed() -> bool {
    let libraries = command::capture(rustc().args(["--print", "target-libdir", "--target", TARGET]));
    libraries.ok().and_then(|folder| Path::new(folder.trim()).read_dir().ok()).is_some_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

fn rustup_adds_target() -> Result<()> {
    let rustup = command::find("rustup").context("there is no rustup")?;
    progress::quiet(&format!("asking rustup for {TARGET}"), || {
        let added = command::capture_within(Command::new(rustup).args(["target", "add", TARGET]), RUSTUP_LIMIT);
        if added.is_err() {
            eprintln!("    rustup could not get it");
        }
        Ok(added)
    })?
}

fn debian(root: &Path) -> Result<Toolchain> {
    let oldest = oldest_version(root)?;
    if !debian_is_ready(oldest) {
        apt::install(&DEBIAN_PACKAGES, "compiling the web UI")?;
    }
    if !debian_is_ready(oldest) {
        anyhow::bail!("Debian's rustc-web is older than Rust 1.{oldest}, or its sources are missing");
    }
    Ok(Toolchain::Debian { linker: linker()? })
}

/// Whether Debian's compiler is there, new enough, and has the library's sources.
fn debian_is_ready(oldest: u32) -> bool {
    let version = command::capture(Command::new("/usr/bin/rustc").arg("--version").env_remove("LD_LIBRARY_PATH"));
    let new_enough = version.is_ok_and(|version| minor(&version).is_some_and(|minor| minor >= oldest));
    new_enough
        && Path::new("/usr/bin/cargo").exists()
        && Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml").exists()
}

/// What links WebAssembly: the installed toolchain's `rust-lld`, or LLVM's.
fn linker() -> Result<PathBuf> {
    let sysroot = command::capture(rustc().args(["--print", "sysroot"]))?;
    let host = command::capture(rustc().args(["--print", "host-tuple"]))?;
    let bundled = Path::new(sysroot.trim()).join("lib/rustlib").join(host.trim()).join("bin/rust-lld");
    if bundled.is_file() {
        return Ok(bundled);
    }
    LINKERS
        .into_iter()
        .find_map(command::find)
        .with_context(|| "no linker for WebAssembly: on Debian run `sudo apt-get install lld-19`".to_owned())
}

/// The minor version of Rust that the workspace asks for.
fn oldest_version(root: &Path) -> Result<u32> {
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).context("could not read Cargo.toml")?;
    manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version").and_then(minor))
        .context("Cargo.toml has no rust-version")
}

/// The minor number in the first `1.MINOR` of a text.
fn minor(text: &str) -> Option<u32> {
    let digits = text.split_once("1.")?.1;
    digits.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn the_minor_version_is_read_from_what_rustc_and_cargo_toml_say() {
        assert_eq!(minor("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some(96));
        assert_eq!(minor(" = \"1.95\""), Some(95));
        assert_eq!(minor("rustc unknown"), None);
    }
}
