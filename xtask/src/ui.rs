//! The web UI: from Rust to the compressed files that `cli/build.rs` embeds in `tripline`.
//!
//! 1. [`toolchain`]: a compiler for `wasm32-unknown-unknown`, rustup's or Debian's.
//! 2. cargo compiles `ui/` for size, into a target folder of its own.
//! 3. wasm-bindgen, called as a library so that its version always matches, writes `tripline.js` and
//!    `tripline_bg.wasm`.
//! 4. [`optimise`]: wasm-opt where it can be had; without it the UI is larger, which is a warning and no error.
//! 5. [`assets`]: those two and the files of `ui/assets/` go to `target/ui/`, each also as `.br` and `.gz`, with a
//!    `manifest.json` that names them.
//!
//! Nothing is done when neither the sources nor the dependencies have changed ([`stamp`]).

mod assets;
mod optimise;
mod stamp;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::places::Places;
use crate::{command, progress};
use toolchain::Toolchain;

/// The name of the generated JavaScript and WebAssembly files.
const NAME: &str = "tripline";

/// Whether an up-to-date UI is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Compile only when an input has changed.
    Keep,
    /// Compile in any case.
    Rebuild,
}

/// Brings `target/ui/` up to date.
pub(crate) fn ui(places: &Places, freshness: Freshness) -> Result<()> {
    let stamp = stamp::of(&places.root)?;
    if freshness == Freshness::Keep && assets::up_to_date(&places.ui(), &stamp) {
        eprintln!("==> the web UI is up to date: {}", places.ui().display());
        return Ok(());
    }
    let toolchain = toolchain::find(places)?;
    let module = progress::loud("compiling the web UI to WebAssembly", || compile(places, &toolchain))?;
    let generated = places.wasm_target().join("generated");
    progress::quiet("generating the web UI's JavaScript", || bind(&module, &generated))?;
    let wasm = generated.join(format!("{NAME}_bg.wasm"));
    if let Err(error) = optimise::optimise(places, &wasm) {
        progress::warn(&format!("the web UI is not optimised and so larger than it could be: {error:#}"));
    }
    let written = progress::quiet("compressing the web UI", || {
        assets::write(&places.ui(), &stamp, &[&generated, &places.root.join("ui/assets")])
    })?;
    eprintln!("{written}");
    Ok(())
}

/// Compiles `ui/` and returns the WebAssembly module.
fn compile(places: &Places, toolchain: &Toolchain) -> Result<PathBuf> {
    let mut cargo = toolchain.cargo(places);
    cargo
        .args(["--locked", "--release", "--package", "tripline-ui", "--lib", "--target-dir"])
        .arg(places.wasm_target())
        // A page is downloaded and then runs for hours: size first, and whole-program optimisation to drop dead code.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    command::run(&mut cargo)?;
    let module = places.wasm_target().join(toolchain::TARGET).join("release/tripline_ui.wasm");
    if !module.is_file() {
        bail!("cargo built no {}: the crate in ui/ must have the crate type cdylib", module.display());
    }
    Ok(module)
}

/// Writes the JavaScript glue and the module without its custom sections into `folder`.
fn bind(module: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not empty {}", folder.display()))?;
    }
    Bindgen::new()
        .input_path(module)
        .out_name(NAME)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .web(true)?
        .generate(folder)
        .with_context(|| format!("wasm-bindgen could not read {}", module.display()))
}
