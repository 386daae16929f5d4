//! Where things lie: the workspace, cargo's target folder, and the folders that xtask keeps inside it.
//!
//! Asked of cargo itself, so that `CARGO_TARGET_DIR` and a `build.target-dir` of the user's configuration both hold.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// The folders that the sub-commands read and write.
pub(crate) struct Places {
    /// The workspace: the folder of the top `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Places {
    /// Asks cargo for the workspace that this command was started in.
    pub(crate) fn find() -> Result<Self> {
        let metadata = command::capture(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
        let folder = |name: &str| {
            metadata[name].as_str().map(PathBuf::from).with_context(|| format!("cargo metadata has no {name}"))
        };
        Ok(Self { root: folder("workspace_root")?, target: folder("target_directory")? })
    }

    /// The compiled web UI; `cli/build.rs` embeds what lies here.
    pub(crate) fn ui(&self) -> PathBuf {
        self.target.join("ui")
    }

    /// The target folder of the WebAssembly build: its own, so that another compiler does not invalidate the first one's work.
    pub(crate) fn wasm_target(&self) -> PathBuf {
        self.target.join("wasm-ui")
    }

    /// A folder for tools that xtask installs for itself.
    pub(crate) fn cache(&self, tool: &str) -> PathBuf {
        self.target.join("xtask").join(tool)
    }

    /// cargo, in the workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.root);
        cargo
    }
}

/// cargo without the variables that `cargo run` sets for this program: build scripts that watch them, as ring's does, would else
/// run again whenever someone calls cargo directly in between, and have everything above them compiled anew.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ours = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| name.starts_with(prefix))
    });
    ours.for_each(|name| {
        cargo.env_remove(name);
    });
    cargo
}
