//! Documents: every path that a Markdown file names exists, and the architecture stays short.
//!
//! A path is the target of a link or picture that is not a URL, and text in backticks that looks like a path of this
//! repository: it begins with one of its top folders, or it is the bare name of a Rust or Markdown file. Code blocks are
//! commands and their output, and names in capitals stand for others; both are left alone.

use super::tree::{Source, Tree};

const ARCHITECTURE_LIMIT: usize = 200;

/// Paths that do not exist.
pub(crate) fn check(document: &Source, tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in document.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let links = links(line).into_iter().filter(|link| !exists(link, &document.path, tree));
            let quoted = quoted(line).filter(|text| looks_like_path(text, tree) && !exists(text, &document.path, tree));
            for path in links.chain(quoted) {
                found.push(format!("{}:{}: {path} does not exist", document.path, number + 1));
            }
        }
    }
    found
}

/// Says so when the architecture has grown too long.
pub(crate) fn check_length(document: &Source) -> Vec<String> {
    let lines = document.text.lines().count();
    if lines <= ARCHITECTURE_LIMIT {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, at most {ARCHITECTURE_LIMIT}", document.path)]
}

/// Targets of `[text](target)`, `src="target"` and `href="target"` inside the repository.
fn links(line: &str) -> Vec<&str> {
    let between = |open: &'static str, close: char| {
        line.match_indices(open).filter_map(move |(at, _)| line[at + open.len()..].split(close).next())
    };
    between("](", ')')
        .chain(between("src=\"", '"'))
        .chain(between("href=\"", '"'))
        .map(|target| target.split(['#', ' ']).next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .collect()
}

/// Texts in single backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn looks_like_path(text: &str, tree: &Tree) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/*".contains(letter);
    if text.is_empty() || !text.chars().all(plain) {
        return false;
    }
    match text.split_once('/') {
        Some((top, rest)) => {
            !top.is_empty() && !top.contains('*') && tree.has(top) && !rest.split('/').any(placeholder)
        }
        None => [".rs", ".md"].iter().any(|ending| text.len() > ending.len() && text.ends_with(ending)),
    }
}

/// Whether a part of a path stands for a name that the reader chooses, as in `mesh/NAME/virtualNode/NAME`.
fn placeholder(part: &str) -> bool {
    part.len() > 1 && part.chars().all(|letter| letter.is_ascii_uppercase())
}

/// Whether the path leads somewhere from the document's folder or from the top; a star stands for any name.
fn exists(path: &str, document: &str, tree: &Tree) -> bool {
    let path = path.split('*').next().unwrap_or_default();
    let path = path.trim_start_matches("./");
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut from_document: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if part == ".." {
            from_document.pop();
        } else {
            from_document.push(part);
        }
    }
    tree.has(path) || tree.has(&from_document.join("/")) || (!path.contains('/') && tree.has_name(path))
}

#[test]
fn a_path_that_leads_nowhere_is_found() {
    let tree = Tree::sample(&["README.md", "docs/start.md", "docs/map.png", "proxy/src/app.rs"]);
    let found = |path: &str, text: &str| check(&Source::sample(path, text), &tree);
    for bad in [
        "see `proxy/src/gone.rs`",
        "[a](docs/gone.md#part)",
        "![a](gone.png)",
        "<img src=\"docs/gone.png\">",
        "`gone.rs`",
    ] {
        assert_eq!(found("README.md", bad).len(), 1, "{bad}");
    }
    for good in [
        "see `proxy/src/app.rs` and `proxy/`, `app.rs`, `proxy/src/*.rs`",
        "[a](docs/start.md#part) [b](https://example.com/gone.md) [c](#part)",
        "`/api/v1/graph` and `shop/checkout` and `cargo xtask test` and `proxy/NAME/node`",
        "```\nproxy/gone\n`proxy/gone`\n```",
    ] {
        assert_eq!(found("README.md", good), Vec::<String>::new(), "{good}");
    }
    assert_eq!(found("docs/start.md", "![map](map.png) [up](../README.md)"), Vec::<String>::new());
}

#[test]
fn an_architecture_that_has_grown_is_found() {
    assert_eq!(check_length(&Source::sample("ARCHITECTURE.md", &"line\n".repeat(201))).len(), 1);
    assert_eq!(check_length(&Source::sample("ARCHITECTURE.md", &"line\n".repeat(200))), Vec::<String>::new());
}
