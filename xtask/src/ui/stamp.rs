//! Whether the UI must be compiled again: a hash over everything that it is made of.
//!
//! A stale hash costs a look at cargo's own caches; a wrong one would embed an old page. So the inputs are the sources,
//! the locked dependencies and this program's own steps, and file times play no part.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Files and folders that the UI is made of.
const INPUTS: [&str; 9] = [
    "ui/Cargo.toml",
    "ui/src",
    "ui/assets",
    "api/Cargo.toml",
    "api/src",
    "Cargo.toml",
    "Cargo.lock",
    "xtask/src/ui.rs",
    "xtask/src/ui",
];

/// The stamp of the sources under `root`.
pub(super) fn of(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    for input in INPUTS {
        collect(&root.join(input), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(root)?.hash(&mut hasher);
        fs::read(&file).with_context(|| format!("could not read {}", file.display()))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Adds `path`, or the files below it, to `files`.
pub(super) fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
    } else if path.is_dir() {
        for entry in path.read_dir().with_context(|| format!("could not list {}", path.display()))? {
            collect(&entry?.path(), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_follows_content_and_names_but_not_other_folders() -> Result<()> {
        let root = tempfile::tempdir()?;
        let write = |path: &str, text: &str| {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().context("no parent")?)?;
            fs::write(file, text).context("could not write")
        };
        write("ui/src/lib.rs", "a")?;
        let first = of(root.path())?;
        write("proxy/src/lib.rs", "b")?;
        assert_eq!(of(root.path())?, first);
        write("ui/src/lib.rs", "c")?;
        let second = of(root.path())?;
        assert_ne!(second, first);
        write("ui/src/page/node.rs", "")?;
        assert_ne!(of(root.path())?, second);
        Ok(())
    }
}
