//! Who may use whom: the table of the architecture, and what the sidecar must never link.
//!
//! Arrows are the dependencies and build dependencies of each crate; what only its tests use is free. A crate that is
//! not in the table is a finding, so that a new one is thought about first.

use std::collections::BTreeSet;

use super::metadata::Metadata;

/// Which crates from outside a crate may use.
enum Outside {
    /// These and no others.
    Only(&'static [&'static str]),
    /// Any but these.
    AnyBut(&'static [&'static str]),
}

/// One row: the crate, who of ours it may use, whom from outside.
struct Row {
    name: &'static str,
    ours: &'static [&'static str],
    outside: Outside,
}

/// Everything that brings a runtime, a network or a web page.
const RUNTIMES: &[&str] = &[
    "axum",
    "fantoccini",
    "gloo-net",
    "hickory-resolver",
    "hyper",
    "hyper-util",
    "leptos",
    "petgraph",
    "polars",
    "reqwest",
    "tokio",
    "tokio-stream",
    "tokio-util",
    "tonic",
    "tower",
];

/// The table of `ARCHITECTURE.md`.
const TABLE: &[Row] = &[
    Row { name: "tripline-model", ours: &[], outside: Outside::Only(&["thiserror"]) },
    Row { name: "tripline-otlp", ours: &["tripline-model"], outside: Outside::AnyBut(RUNTIMES) },
    Row { name: "tripline-api", ours: &[], outside: Outside::Only(&["serde", "utoipa"]) },
    Row {
        name: "tripline-mesh",
        ours: &["tripline-model"],
        outside: Outside::Only(&["regex-lite", "saphyr", "saphyr-parser", "serde", "thiserror"]),
    },
    Row {
        name: "tripline-topology",
        ours: &["tripline-model"],
        outside: Outside::Only(&["petgraph", "rayon", "thiserror"]),
    },
    Row {
        name: "tripline-recording",
        ours: &["tripline-model", "tripline-topology"],
        outside: Outside::Only(&["serde", "serde_json", "thiserror"]),
    },
    Row { name: "tripline-breaker", ours: &["tripline-model"], outside: Outside::Only(&["thiserror"]) },
    Row {
        name: "tripline-simulate",
        ours: &["tripline-model", "tripline-breaker", "tripline-topology", "tripline-recording"],
        outside: Outside::AnyBut(&["tokio"]),
    },
    Row {
        name: "tripline-proxy",
        ours: &["tripline-model", "tripline-otlp", "tripline-mesh", "tripline-breaker"],
        outside: Outside::AnyBut(&["polars", "petgraph", "axum", "leptos"]),
    },
    Row {
        name: "tripline-collector",
        ours: &["tripline-model", "tripline-otlp", "tripline-mesh", "tripline-topology", "tripline-api"],
        outside: Outside::AnyBut(&["petgraph", "leptos"]),
    },
    Row {
        name: "tripline",
        ours: &[
            "tripline-model",
            "tripline-otlp",
            "tripline-mesh",
            "tripline-topology",
            "tripline-recording",
            "tripline-breaker",
            "tripline-api",
            "tripline-collector",
            "tripline-demo",
            "tripline-proxy",
            "tripline-simulate",
        ],
        outside: Outside::AnyBut(&["polars", "petgraph", "leptos"]),
    },
    Row {
        name: "tripline-demo",
        ours: &["tripline-model"],
        outside: Outside::AnyBut(&["polars", "petgraph", "leptos"]),
    },
    Row {
        name: "tripline-ui",
        ours: &["tripline-api"],
        outside: Outside::AnyBut(&["tokio", "petgraph", "polars", "reqwest"]),
    },
    Row { name: "xtask", ours: &[], outside: Outside::AnyBut(&["polars", "petgraph", "leptos"]) },
    Row {
        name: "tripline-tests",
        ours: &[
            "tripline-model",
            "tripline-otlp",
            "tripline-mesh",
            "tripline-topology",
            "tripline-recording",
            "tripline-breaker",
            "tripline-api",
            "tripline-collector",
            "tripline-demo",
            "tripline-proxy",
            "tripline-simulate",
            "tripline",
        ],
        outside: Outside::AnyBut(&["polars", "petgraph", "leptos"]),
    },
];

/// What the sidecar must not link, not even through others: it runs beside every service.
const TOO_LARGE_FOR_THE_SIDECAR: [&str; 7] =
    ["polars", "polars-core", "petgraph", "leptos", "axum", "tripline-topology", "tripline-collector"];

/// Arrows that the table does not allow.
pub(crate) fn of_workspace(metadata: &Metadata) -> Vec<String> {
    let ours: BTreeSet<&str> = metadata.ours().map(|package| &*package.name).collect();
    metadata.ours().flat_map(|package| check(&package.name, &package.uses(), &ours)).collect()
}

fn check(name: &str, used: &BTreeSet<&str>, ours: &BTreeSet<&str>) -> Vec<String> {
    let Some(row) = TABLE.iter().find(|row| row.name == name) else {
        return vec![format!("{name} is not in the table of tests/tests/tidy/arrows.rs: say whom it may use")];
    };
    let forbidden = |other: &str| {
        if ours.contains(other) {
            return !row.ours.contains(&other);
        }
        match row.outside {
            Outside::Only(allowed) => !allowed.contains(&other),
            Outside::AnyBut(banned) => banned.contains(&other),
        }
    };
    used.iter().filter(|other| forbidden(other)).map(|other| format!("{name} may not use {other}")).collect()
}

/// What the sidecar links, through whomever, and must not.
pub(crate) fn of_sidecar(metadata: &Metadata) -> Vec<String> {
    let linked = metadata.linked("tripline-proxy");
    TOO_LARGE_FOR_THE_SIDECAR
        .iter()
        .filter_map(|banned| linked.get(*banned).map(|by| format!("tripline-proxy links {banned}, through {by}")))
        .collect()
}

#[test]
fn a_forbidden_arrow_is_found() {
    let ours = BTreeSet::from(["tripline-model", "tripline-topology", "tripline-collector"]);
    let found = |name, used: &[&'static str]| check(name, &used.iter().copied().collect(), &ours);
    assert_eq!(found("tripline-model", &["serde"]), ["tripline-model may not use serde"]);
    assert_eq!(found("tripline-topology", &["tokio", "petgraph"]), ["tripline-topology may not use tokio"]);
    assert_eq!(found("tripline-proxy", &["tripline-topology"]), ["tripline-proxy may not use tripline-topology"]);
    assert_eq!(found("tripline-demo", &["polars"]), ["tripline-demo may not use polars"]);
    assert_eq!(found("tripline-collector", &["polars", "tripline-topology"]), Vec::<String>::new());
    assert_eq!(found("tripline-news", &[]).len(), 1);
}

#[test]
fn what_a_crate_links_is_followed_through_others() {
    let metadata = Metadata::read();
    assert!(metadata.linked("tripline-collector").contains_key("polars-core"), "polars-core comes with polars");
    assert!(!metadata.linked("tripline-model").contains_key("proptest"), "what only tests use is not linked");
}
