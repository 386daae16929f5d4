//! Whatever the text, reading ends with a mesh or with problems: no panic, no endless run, findings on one line each.

use proptest::prelude::*;
use tripline_mesh::{Loaded, Mesh, Problems, Source};

const SEEDS: [&str; 2] = [include_str!("../fixtures/shop.yaml"), include_str!("../fixtures/broken.yaml")];

fn read(text: &str) -> Result<Loaded, Problems> {
    Mesh::parse(&[Source { name: "mesh.yaml", text }])
}

fn holds(text: &str) -> Result<(), TestCaseError> {
    let lines = text.lines().count() + 1;
    let findings = match read(text) {
        Ok(loaded) => {
            for node in loaded.mesh.nodes.keys().chain(loaded.mesh.gateways.keys()) {
                let config = loaded.mesh.node_config(node);
                prop_assert!(config.is_ok());
                for route in config.iter().flat_map(|config| &config.services).flat_map(|service| &service.routes) {
                    prop_assert!(route.targets.iter().any(|target| target.weight > 0), "{route:?}");
                }
            }
            loaded.warnings
        }
        Err(problems) => {
            prop_assert!(!problems.problems.is_empty());
            problems.problems.into_iter().chain(problems.warnings).collect()
        }
    };
    for finding in findings {
        prop_assert!(finding.line <= lines, "{finding}");
        prop_assert!(!finding.to_string().contains('\n'), "{finding:?}");
    }
    Ok(())
}

/// One change to a text, at a place given as a share of its length.
#[derive(Debug, Clone)]
enum Change {
    Insert(f64, String),
    Delete(f64, usize),
    DropLine(f64),
    RepeatLine(f64),
    SwapWord(f64, String),
}

fn change() -> impl Strategy<Value = Change> {
    let piece = prop_oneof![
        "[ \\-:{}\\[\\]&*!|>'\"%@`#,?~\n\t]{1,4}",
        "[a-zA-Z0-9$/.]{1,8}",
        "\\PC{1,3}",
        Just("---\n".to_owned()),
        Just("${X}".to_owned()),
        Just("99999999999999999999".to_owned()),
    ];
    let word =
        prop_oneof![Just("-1".to_owned()), Just("null".to_owned()), Just("[]".to_owned()), Just("{}".to_owned())];
    prop_oneof![
        (0.0..1.0, piece).prop_map(|(at, text)| Change::Insert(at, text)),
        (0.0..1.0, 1_usize..20).prop_map(|(at, length)| Change::Delete(at, length)),
        (0.0..1.0).prop_map(Change::DropLine),
        (0.0..1.0).prop_map(Change::RepeatLine),
        (0.0..1.0, word).prop_map(|(at, word)| Change::SwapWord(at, word)),
    ]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a small length"
)]
fn place(share: f64, length: usize) -> usize {
    (share * length as f64) as usize
}

fn apply(text: &str, change: &Change) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    match change {
        Change::Insert(share, piece) => {
            let at = place(*share, chars.len());
            chars.splice(at..at, piece.chars());
        }
        Change::Delete(share, length) => {
            let at = place(*share, chars.len());
            chars.drain(at..(at + length).min(chars.len()));
        }
        Change::DropLine(share) if !lines.is_empty() => {
            lines.remove(place(*share, lines.len()));
            return lines.concat();
        }
        Change::RepeatLine(share) if !lines.is_empty() => {
            let at = place(*share, lines.len());
            lines.insert(at, lines[at]);
            return lines.concat();
        }
        Change::SwapWord(share, word) => {
            let words: Vec<&str> = text.split_inclusive(' ').collect();
            let at = place(*share, words.len());
            return words
                .iter()
                .enumerate()
                .map(|(index, old)| if index == at { word.as_str() } else { old })
                .collect();
        }
        Change::DropLine(_) | Change::RepeatLine(_) => {}
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_documents_never_panic(seed in 0..SEEDS.len(), changes in prop::collection::vec(change(), 1..6)) {
        let text = changes.iter().fold(SEEDS[seed].to_owned(), |text, change| apply(&text, change));
        holds(&text)?;
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}|[ \\-:{}\\[\\]&*!|>'\"%@`#,?~\n\ta-c0-9]{0,300}") {
        holds(&text)?;
    }
}
