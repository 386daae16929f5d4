//! Heads: every Rust file opens with `//!`, which says what it is and why it exists.

use super::tree::Source;

/// Fewer words than this say nothing.
const FEWEST_WORDS: usize = 2;

/// Says so when the file does not begin with `//!` lines that hold a few words.
pub(crate) fn check(source: &Source) -> Vec<String> {
    let lines = source.text.lines().skip_while(|line| line.trim().is_empty());
    let head = lines.map_while(|line| line.strip_prefix("//!"));
    let words: usize = head.map(|line| line.split_whitespace().count()).sum();
    if words >= FEWEST_WORDS {
        return Vec::new();
    }
    vec![format!("{}: does not open with a `//!` head that says what it is", source.path)]
}

#[test]
fn a_file_without_a_head_is_found() {
    let found = |text| check(&Source::sample("model/src/a.rs", text)).len();
    assert_eq!(found("use std::fs;\n\n//! Too late.\n"), 1);
    assert_eq!(found("//!\nuse std::fs;"), 1);
    assert_eq!(found("//! Placeholder.\n"), 1);
    assert_eq!(found(""), 1);
    assert_eq!(found("\n//! What it is.\n"), 0);
}
