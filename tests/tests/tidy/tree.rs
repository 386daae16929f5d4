//! The tree that the rules look at: files that git tracks or would track.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the repository.
pub(crate) struct Source {
    /// Its path from the top, with slashes.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

impl Source {
    /// A file made up for a rule's own test.
    pub(crate) fn sample(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// Every file of the repository.
pub(crate) struct Tree {
    root: PathBuf,
    /// Paths from the top, with slashes, in order.
    pub(crate) files: BTreeSet<String>,
}

impl Tree {
    /// Lists the repository that this test was compiled from.
    pub(crate) fn read() -> Self {
        let root = root();
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .expect("git runs");
        assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
        let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
        // A file that was removed but not yet from the index is gone for us.
        let files = listed.lines().filter(|path| root.join(path).is_file()).map(str::to_owned).collect();
        Self { root, files }
    }

    /// A tree made up for a rule's own test.
    pub(crate) fn sample(files: &[&str]) -> Self {
        Self { root: PathBuf::new(), files: files.iter().map(|file| (*file).to_owned()).collect() }
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = Source> {
        self.ending(".rs")
    }

    /// The Markdown files.
    pub(crate) fn documents(&self) -> impl Iterator<Item = Source> {
        self.ending(".md")
    }

    /// Every file that is text and written by us: lock files and pictures are neither.
    pub(crate) fn texts(&self) -> impl Iterator<Item = Source> {
        self.files.iter().filter(|path| !path.ends_with(".lock")).filter_map(|path| {
            let text = fs::read_to_string(self.root.join(path)).ok()?;
            Some(Source { path: path.clone(), text })
        })
    }

    /// Whether a file or folder of this path is in the repository.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let below = format!("{path}/");
        self.files.contains(path)
            || self.files.range(below.clone()..).next().is_some_and(|file| file.starts_with(&below))
    }

    /// Whether any file has this name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.rsplit('/').next() == Some(name))
    }

    fn ending(&self, suffix: &'static str) -> impl Iterator<Item = Source> {
        self.texts().filter(move |source| source.path.ends_with(suffix))
    }
}

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests lie in the workspace").to_owned()
}
