//! The tidy test: what the architecture and the house style promise about the source itself.
//!
//! Each rule is a pure function from text (or from cargo's metadata) to findings, in a file of its own under `tidy/`,
//! together with a test that proves it can fail. Here they meet the tree. Files count when git tracks them or would
//! (not ignored), so that a new file is looked at before it is committed.

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/heads.rs"]
mod heads;
#[path = "tidy/licences.rs"]
mod licences;
#[path = "tidy/metadata.rs"]
mod metadata;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/places.rs"]
mod places;
#[path = "tidy/size.rs"]
mod size;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/words.rs"]
mod words;

use metadata::Metadata;
use tree::{Source, Tree};

/// Fails with every finding at once.
fn expect_none(findings: &[String]) {
    assert!(findings.is_empty(), "{} finding(s):\n{}", findings.len(), findings.join("\n"));
}

/// Applies a rule to every Rust file.
fn in_rust(rule: impl Fn(&Source) -> Vec<String>) {
    let tree = Tree::read();
    assert!(tree.rust().count() > 20, "the tree was not found");
    expect_none(&tree.rust().flat_map(|source| rule(&source)).collect::<Vec<_>>());
}

#[test]
fn crates_use_only_whom_the_architecture_allows() {
    expect_none(&arrows::of_workspace(&Metadata::read()));
}

#[test]
fn the_sidecar_stays_small() {
    expect_none(&arrows::of_sidecar(&Metadata::read()));
}

#[test]
fn every_dependency_has_a_licence_that_mixes_with_ours() {
    let tree = Tree::read();
    let deny = tree.texts().find(|text| text.path == "deny.toml").expect("deny.toml exists");
    expect_none(&licences::check(&Metadata::read(), &deny.text));
}

#[test]
fn files_and_functions_are_short() {
    in_rust(size::check);
}

#[test]
fn every_rust_file_says_what_it_is() {
    in_rust(heads::check);
}

#[test]
fn identifiers_use_our_words() {
    in_rust(names::check);
}

#[test]
fn files_and_folders_are_named_for_what_they_hold() {
    expect_none(&Tree::read().files.iter().flat_map(|path| names::check_path(path)).collect::<Vec<_>>());
}

#[test]
fn texts_use_our_words_and_leave_nothing_unfinished() {
    expect_none(&Tree::read().texts().flat_map(|text| words::check(&text)).collect::<Vec<_>>());
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    expect_none(&Tree::read().texts().flat_map(|text| places::check(&text)).collect::<Vec<_>>());
}

#[test]
fn every_path_that_a_document_names_exists() {
    let tree = Tree::read();
    expect_none(&tree.documents().flat_map(|text| documents::check(&text, &tree)).collect::<Vec<_>>());
}

#[test]
fn the_architecture_is_read_in_one_sitting() {
    let tree = Tree::read();
    let architecture = tree.documents().find(|text| text.path == "ARCHITECTURE.md").expect("ARCHITECTURE.md exists");
    expect_none(&documents::check_length(&architecture));
}
