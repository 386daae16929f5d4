//! What is compiled together.
//!
//! cargo gives a dependency the union of the features that the selected packages ask for. The web UI and xtask ask
//! libraries that everyone shares for features that the binaries do without; selected together with the rest they would
//! have everything above those libraries, polars included, compiled a second time. So each is selected alone, and the rest
//! has the same features whether it is built, tested or linted. (`cargo build --unit-graph` shows them.)

/// A set of packages, as arguments for cargo.
pub(crate) struct Selection {
    /// What a person reads.
    pub(crate) name: &'static str,
    /// What cargo reads.
    pub(crate) arguments: &'static [&'static str],
    /// What is tested: everything but examples and doc tests, of which there are none. cargo minds a `--lib` where no library is.
    pub(crate) tested: &'static [&'static str],
}

const LIBRARY_AND_ALL: &[&str] = &["--lib", "--bins", "--tests"];

/// Everything but [`ALONE`]: the binaries and the crates they are made of, and the end-to-end tests.
pub(crate) const MAIN: Selection = Selection {
    name: "Tripline",
    arguments: &["--workspace", "--exclude", "xtask", "--exclude", "tripline-ui"],
    tested: LIBRARY_AND_ALL,
};

/// The packages that are selected alone.
pub(crate) const ALONE: [Selection; 2] = [
    Selection { name: "xtask", arguments: &["--package", "xtask"], tested: &["--bins", "--tests"] },
    Selection { name: "the web UI", arguments: &["--package", "tripline-ui"], tested: LIBRARY_AND_ALL },
];
