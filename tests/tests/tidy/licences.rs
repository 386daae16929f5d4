//! Licences: whatever we depend on is under a licence that `deny.toml` allows.
//!
//! cargo-deny checks the same and more, where it is installed; this holds on every machine. Expressions are those of
//! SPDX, with the slash of older manifests for OR.

use std::collections::BTreeSet;
use std::iter::Peekable;

use super::metadata::Metadata;

/// Packages under a licence that is not allowed, or under none.
pub(crate) fn check(metadata: &Metadata, deny: &str) -> Vec<String> {
    let allowed = allowed(deny);
    let licences = metadata.licences();
    licences
        .filter(|(_, licence)| !licence.is_some_and(|licence| permits(licence, &allowed)))
        .map(|(name, licence)| format!("{name}: licence {} is not in deny.toml", licence.unwrap_or("none")))
        .collect()
}

/// The list `allow` of the table `[licenses]`.
fn allowed(deny: &str) -> BTreeSet<&str> {
    let list = deny.split("[licenses]").nth(1).and_then(|table| table.split("allow = [").nth(1));
    let list = list.and_then(|list| list.split(']').next()).unwrap_or_default();
    list.split('"').skip(1).step_by(2).collect()
}

/// Whether an expression can be met with allowed licences alone.
fn permits(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut tokens = spaced.split_whitespace().peekable();
    any(&mut tokens, allowed) && tokens.next().is_none()
}

fn any<'a>(tokens: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = all(tokens, allowed);
    while tokens.next_if_eq(&"OR").is_some() {
        met |= all(tokens, allowed);
    }
    met
}

fn all<'a>(tokens: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(tokens, allowed);
    while tokens.next_if_eq(&"AND").is_some() {
        met &= one(tokens, allowed);
    }
    met
}

fn one<'a>(tokens: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &BTreeSet<&str>) -> bool {
    let Some(token) = tokens.next() else { return false };
    if token == "(" {
        let met = any(tokens, allowed);
        return tokens.next() == Some(")") && met;
    }
    if tokens.next_if_eq(&"WITH").is_some() {
        let exception = tokens.next().unwrap_or_default();
        return allowed.contains(format!("{token} WITH {exception}").as_str());
    }
    allowed.contains(token)
}

#[test]
fn an_expression_is_met_only_with_allowed_licences() {
    let allowed =
        allowed("[licenses]\nallow = [\n \"MIT\",\n \"Apache-2.0\",\n \"Apache-2.0 WITH LLVM-exception\",\n]\n");
    for good in
        ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "MIT AND (GPL-3.0 OR Apache-2.0)", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(permits(good, &allowed), "{good}");
    }
    for bad in
        ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND GPL-3.0", "MIT WITH LLVM-exception", "", "MIT MIT", "(MIT"]
    {
        assert!(!permits(bad, &allowed), "{bad}");
    }
}
