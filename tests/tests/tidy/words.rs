//! Words: no claim of proof where there is evidence, nothing left unfinished, no check switched off in silence.
//!
//! The banned words are put together from pieces here, so that this file passes its own rule.

use super::tree::Source;

/// A text, compared in lower case, and what to do instead.
const BANNED: [(&str, &str); 9] = [
    (concat!("root", " cause"), "say suspected origin: the detector gives evidence, not proof"),
    (concat!("root", "-cause"), "say suspected origin: the detector gives evidence, not proof"),
    (concat!("root", "_cause"), "say suspected origin: the detector gives evidence, not proof"),
    (concat!("todo", "!("), "finish it or leave it out"),
    (concat!("unimpl", "emented!("), "finish it or leave it out"),
    (concat!("fix", "me"), "finish it or leave it out"),
    (concat!("#[ig", "nore"), "a test that does not run proves nothing"),
    (concat!("allow(dead", "_code"), "remove the dead code"),
    (concat!("allow(un", "used"), "remove what is unused"),
];

/// Lines with a banned word.
pub(crate) fn check(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let lower = line.to_lowercase();
        for (banned, instead) in BANNED.iter().filter(|(banned, _)| lower.contains(banned)) {
            found.push(format!("{}:{}: `{banned}`: {instead}", source.path, number + 1));
        }
    }
    found
}

#[test]
fn every_banned_word_is_found_with_its_line() {
    for (banned, instead) in BANNED {
        let text = format!("fine\n  {}\n", banned.to_uppercase());
        assert_eq!(check(&Source::sample("README.md", &text)), [format!("README.md:2: `{banned}`: {instead}")]);
    }
}
