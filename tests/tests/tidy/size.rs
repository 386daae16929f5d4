//! Length: a file has at most 600 lines outside its tests, a function at most 70 (a composition root 120), an
//! end-to-end test at most 25.
//!
//! A function is counted as clippy counts it, from brace to brace, without blank lines and lines that hold only a
//! comment; clippy's `too_many_lines` knows no second limit for the composition roots, and no shorter one for tests.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::tree::Source;

const FILE_LIMIT: usize = 600;
const FUNCTION_LIMIT: usize = 70;
const COMPOSITION_ROOT_LIMIT: usize = 120;
const END_TO_END_LIMIT: usize = 25;

/// Files and functions that are too long.
pub(crate) fn check(source: &Source) -> Vec<String> {
    let file = match syn::parse_file(&source.text) {
        Ok(file) => file,
        Err(error) => return vec![format!("{}: not Rust: {error}", source.path)],
    };
    let mut walk = Walk { source, lines: source.text.lines().collect(), found: Vec::new() };
    walk.visit_file(&file);
    let tests: usize =
        file.items.iter().filter(|item| is_test_only(attributes(item))).map(|item| lines(item.span())).sum();
    let length = walk.lines.len() - tests;
    if length > FILE_LIMIT {
        walk.found.push(format!("{}: {length} lines without its tests, at most {FILE_LIMIT}", source.path));
    }
    walk.found
}

struct Walk<'a> {
    source: &'a Source,
    lines: Vec<&'a str>,
    found: Vec<String>,
}

impl Walk<'_> {
    fn function(&mut self, name: &syn::Ident, attributes: &[syn::Attribute], body: &syn::Block) {
        let limit = limit(&self.source.path, attributes);
        let (first, last) = (body.span().start().line, body.span().end().line);
        let inside = self.lines.get(first..last.saturating_sub(1)).unwrap_or_default();
        let length = inside.iter().filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//")).count();
        if length > limit {
            self.found.push(format!("{}:{first}: `{name}` has {length} lines, at most {limit}", self.source.path));
        }
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig.ident, &function.attrs, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig.ident, &function.attrs, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.function(&function.sig.ident, &function.attrs, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn limit(path: &str, attributes: &[syn::Attribute]) -> usize {
    let is_test =
        attributes.iter().any(|attribute| attribute.path().segments.last().is_some_and(|last| last.ident == "test"));
    if is_test && path.starts_with("tests/tests/") && !path.starts_with("tests/tests/tidy") {
        END_TO_END_LIMIT
    } else if path.ends_with("/app.rs") {
        COMPOSITION_ROOT_LIMIT
    } else {
        FUNCTION_LIMIT
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test")))
    })
}

fn lines(span: Span) -> usize {
    span.end().line - span.start().line + 1
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let long = "fn a() {}\n".repeat(601);
    assert_eq!(check(&Source::sample("model/src/long.rs", &long)).len(), 1);
    let tests = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn a() {}\n".repeat(601));
    assert_eq!(check(&Source::sample("model/src/tested.rs", &tests)), Vec::<String>::new());
}

#[test]
fn a_long_function_is_found_wherever_it_stands() {
    let body = "let _ = 1;\n// why\n\n".repeat(71);
    for text in [
        format!("fn long() {{\n{body}}}"),
        format!("impl A {{ fn long() {{\n{body}}} }}"),
        format!("trait A {{ fn long() {{\n{body}}} }}"),
    ] {
        let found = check(&Source::sample("proxy/src/a.rs", &text));
        assert_eq!(found, ["proxy/src/a.rs:1: `long` has 71 lines, at most 70"]);
        assert_eq!(check(&Source::sample("proxy/src/app.rs", &text)), Vec::<String>::new());
    }
}

#[test]
fn a_long_end_to_end_test_is_found() {
    let text = format!("#[tokio::test]\nasync fn story() {{\n{}}}", "let _ = 1;\n".repeat(26));
    assert_eq!(check(&Source::sample("tests/tests/demo.rs", &text)).len(), 1);
    assert_eq!(check(&Source::sample("proxy/tests/demo.rs", &text)), Vec::<String>::new());
}
