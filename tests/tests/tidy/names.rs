//! Names: identifiers in our words, types and files named for what they hold.
//!
//! Identifiers are read from the tokens, also inside macros, so that strings and comments may still quote what Envoy or
//! nginx call a thing.

use std::collections::BTreeSet;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::Visit;

use super::tree::Source;

/// Two words for the ends of a call that people read in opposite ways.
const BANNED_IN_IDENTIFIERS: [&str; 2] = [concat!("up", "stream"), concat!("down", "stream")];

/// Type names that say nothing about what the type is.
const BANNED_TYPE_ENDINGS: [&str; 5] = ["Manager", "Helper", "Handler", "Util", "Utils"];

/// File and folder names that gather what belongs nowhere.
const BANNED_FILES: [&str; 9] = ["mod", "util", "utils", "common", "helper", "helpers", "misc", "shared", "core"];

/// Identifiers and types whose names are banned.
pub(crate) fn check(source: &Source) -> Vec<String> {
    let (Ok(tokens), Ok(file)) = (source.text.parse::<TokenStream>(), syn::parse_file(&source.text)) else {
        return vec![format!("{}: not Rust", source.path)];
    };
    let mut found = BTreeSet::new();
    identifiers(tokens, &mut |identifier| {
        let name = identifier.to_string();
        let lower = name.to_lowercase();
        if BANNED_IN_IDENTIFIERS.iter().any(|banned| lower.contains(banned)) {
            let line = identifier.span().start().line;
            found.insert(format!("{}:{line}: `{name}`: say client, server, inbound or outbound", source.path));
        }
    });
    let mut types = Types { path: &source.path, found };
    types.visit_file(&file);
    types.found.into_iter().collect()
}

/// A path with a name that says nothing.
pub(crate) fn check_path(path: &str) -> Vec<String> {
    let rust = path.ends_with(".rs");
    let said_nothing = |part: &&str| BANNED_FILES.contains(&part.trim_end_matches(".rs"));
    path.split('/')
        .filter(said_nothing)
        .filter(|_| rust)
        .map(|part| format!("{path}: `{part}` says nothing about what it holds"))
        .collect()
}

fn identifiers(tokens: TokenStream, see: &mut impl FnMut(&Ident)) {
    for token in tokens {
        match token {
            TokenTree::Ident(identifier) => see(&identifier),
            TokenTree::Group(group) => identifiers(group.stream(), see),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

struct Types<'a> {
    path: &'a str,
    found: BTreeSet<String>,
}

impl Types<'_> {
    fn name(&mut self, identifier: &syn::Ident) {
        let name = identifier.to_string();
        if BANNED_TYPE_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            let line = identifier.span().start().line;
            self.found.insert(format!("{}:{line}: `{name}`: name the type for what it is", self.path));
        }
    }
}

impl<'ast> Visit<'ast> for Types<'_> {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.name(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.name(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.name(&item.ident);
    }
}

#[test]
fn a_banned_identifier_is_found_also_inside_a_macro_but_not_in_a_string() {
    let found = |text: &str| check(&Source::sample("proxy/src/a.rs", text)).len();
    let word = BANNED_IN_IDENTIFIERS[0];
    assert_eq!(found(&format!("fn a(my_{word}: u8) {{}}")), 1);
    assert_eq!(found(&format!("fn a() {{ assert!({}Host::new().is_up()); }}", "Upstream")), 1);
    assert_eq!(found(&format!("/// What Envoy calls {word}.\nconst NGINX: &str = \"{word} app\";")), 0);
}

#[test]
fn a_type_named_for_nothing_is_found() {
    let found = |text| check(&Source::sample("proxy/src/a.rs", text));
    assert_eq!(
        found("struct ConnectionManager;"),
        ["proxy/src/a.rs:1: `ConnectionManager`: name the type for what it is"]
    );
    assert_eq!(found("mod a { enum RequestHandler {} }").len(), 1);
    assert_eq!(found("struct Connections;"), Vec::<String>::new());
}

#[test]
fn a_file_named_for_nothing_is_found() {
    assert_eq!(check_path("proxy/src/mod.rs").len(), 1);
    assert_eq!(check_path("proxy/src/common/time.rs").len(), 1);
    assert_eq!(check_path("proxy/src/model.rs"), Vec::<String>::new());
}
