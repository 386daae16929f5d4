//! Files of `tests/fixtures/` whose words in capitals are filled in before a program reads them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A word of a fixture and what stands there instead.
pub type Word = (&'static str, String);

/// Writes the fixture `name` (`FOLDER/FILE` below `tests/fixtures/`) into `folder` with every word replaced; its path there.
///
/// # Errors
/// When there is no such fixture, or the folder cannot be written to.
pub fn fill(name: &str, folder: &Path, words: &[Word]) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let mut text = fs::read_to_string(&source).with_context(|| format!("no fixture {name}"))?;
    for (word, value) in words {
        text = text.replace(word, value);
    }
    let file = folder.join(source.file_name().context("a fixture is a file")?);
    fs::write(&file, text)?;
    Ok(file)
}
