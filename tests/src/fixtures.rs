//! Files that tests give to programs, with ports and paths filled in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Copies `name` from `fixtures` into `folder`, with each word replaced by its value.
///
/// # Errors
/// When there is no such file, or it cannot be written.
pub fn fill(fixtures: &str, name: &str, folder: &Path, words: &[(&str, String)]) -> Result<PathBuf> {
    let mut text = fs::read_to_string(Path::new(fixtures).join(name)).with_context(|| format!("no fixture {name}"))?;
    for (word, value) in words {
        text = text.replace(word, value);
    }
    let file = folder.join(name);
    fs::write(&file, text)?;
    Ok(file)
}
