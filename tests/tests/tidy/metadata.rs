//! What `cargo metadata` says of the workspace, as far as the rules ask.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use super::tree;

/// Every package, and who uses whom after cargo chose versions.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

/// A package as its `Cargo.toml` describes it.
#[derive(Deserialize)]
pub(crate) struct Package {
    id: String,
    /// Its name.
    pub(crate) name: String,
    license: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Use>,
}

#[derive(Deserialize)]
struct Use {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Metadata {
    /// Asks cargo. It names the crates of all platforms, and fetches those that no build here has needed; on a new machine some are not there.
    pub(crate) fn read() -> Self {
        let answer = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--all-features", "--locked"])
            .current_dir(tree::root())
            .output()
            .expect("cargo runs");
        assert!(answer.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&answer.stderr));
        serde_json::from_slice(&answer.stdout).expect("cargo metadata answers what it documents")
    }

    /// The crates of this workspace.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Every package, ours and others', with its licence expression.
    pub(crate) fn licences(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.packages.iter().map(|package| (&*package.name, package.license.as_deref()))
    }

    /// Every crate that a crate of ours links, directly or through others, and who brought it.
    pub(crate) fn linked(&self, name: &str) -> BTreeMap<&str, &str> {
        let names: BTreeMap<&str, &str> = self.packages.iter().map(|package| (&*package.id, &*package.name)).collect();
        let uses: BTreeMap<&str, &[Use]> = self.resolve.nodes.iter().map(|node| (&*node.id, &*node.deps)).collect();
        let start = self.ours().find(|package| package.name == name).expect("the crate exists");
        let mut linked = BTreeMap::new();
        let mut waiting = vec![&*start.id];
        while let Some(id) = waiting.pop() {
            let normal = uses[id].iter().filter(|used| used.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            for used in normal {
                if linked.insert(names[&*used.pkg], names[id]).is_none() {
                    waiting.push(&used.pkg);
                }
            }
        }
        linked
    }
}

impl Package {
    /// Whom it uses when it is built; what only its tests use is left out.
    pub(crate) fn uses(&self) -> BTreeSet<&str> {
        let built = self.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        built.map(|dependency| &*dependency.name).collect()
    }
}
