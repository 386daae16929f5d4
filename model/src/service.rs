//! The identity of a service: namespace and name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest namespace or name kept, in bytes; longer ones are cut at a character boundary.
pub const MAX_NAME_BYTES: usize = 200;

/// A service of the mesh, or a peer of one that is drawn as a node: a database, an external host, the users.
///
/// Cheap to clone. Written `namespace/name`, or just `name` when the namespace is empty (external hosts, `user`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    namespace: Arc<str>,
    name: Arc<str>,
}

impl ServiceName {
    /// What more than the allowed number of distinct names folds into.
    pub const OVERFLOW: &'static str = "__overflow__";
    /// The callers from outside the mesh that no one can name.
    pub const USER: &'static str = "user";
    /// A caller that is traced but unnamed.
    pub const UNKNOWN: &'static str = "unknown";

    /// A service; parts longer than [`MAX_NAME_BYTES`] are cut, and `/` or control characters become `_` so that
    /// the written form can be read back.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: clean(namespace).into(), name: clean(name).into() }
    }

    /// A caller that passed trace context on but did not say who it is; whoever pairs spans can tell.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new("", Self::UNKNOWN)
    }

    /// The node that stands for callers from outside the mesh.
    #[must_use]
    pub fn user() -> Self {
        Self::new("", Self::USER)
    }

    /// The node that names past the limit fold into.
    #[must_use]
    pub fn overflow() -> Self {
        Self::new("", Self::OVERFLOW)
    }

    /// The namespace; empty for peers outside any.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn clean(part: &str) -> String {
    let mut end = part.len().min(MAX_NAME_BYTES);
    while !part.is_char_boundary(end) {
        end -= 1;
    }
    part[..end].chars().map(|c| if c == '/' || c == '>' || c.is_control() { '_' } else { c }).collect()
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// Reads the written form back; every text is a service, a text without `/` one without namespace.
impl FromStr for ServiceName {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Self::new("", text),
        })
    }
}

impl From<&str> for ServiceName {
    fn from(text: &str) -> Self {
        match text.parse() {
            Ok(service) => service,
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_are_cut_and_cleaned() {
        let long = "ä".repeat(500);
        let service = ServiceName::new(&long, "a/b>c\n");
        assert!(service.namespace().len() <= MAX_NAME_BYTES);
        assert_eq!(service.name(), "a_b_c_");
    }

    proptest! {
        #[test]
        fn written_form_reads_back(namespace in "[^/]{0,40}", name in "[^/]{1,40}") {
            let service = ServiceName::new(&namespace, &name);
            prop_assert_eq!(ServiceName::from(service.to_string().as_str()), service);
        }
    }
}
