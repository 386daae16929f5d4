//! The identity of a service: namespace and name.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// Longest namespace or name kept, in bytes; longer ones are cut at a character boundary.
pub const MAX_NAME_BYTES: usize = 200;

/// A service of the mesh, or a peer of one that is drawn as a node: a database, an external host, the users.
///
/// Cheap to clone and to compare. Written `namespace/name`, or just `name` when the namespace is empty (external hosts, `user`).
/// Ordered by namespace, then name.
#[derive(Clone)]
pub struct ServiceName {
    /// The first bytes of the text, as numbers that are ordered as they are: maps of a large mesh compare names millions of times a second, and
    /// most comparisons end here, without a look at the text.
    head: [u64; 2],
    /// Namespace, [`SEPARATOR`], name.
    text: Arc<str>,
}

/// Sorts before whatever a name may hold, so that the order of the texts is that of the pairs.
const SEPARATOR: char = '\0';

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
        let text = format!("{}{SEPARATOR}{}", clean(namespace), clean(name));
        Self { head: head(text.as_bytes()), text: text.into() }
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
        self.parts().0
    }

    /// The name within its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.text.split_once(SEPARATOR).unwrap_or(("", &self.text))
    }
}

impl Ord for ServiceName {
    fn cmp(&self, other: &Self) -> Ordering {
        // Names of one graph are mostly the very same text.
        let texts = || if Arc::ptr_eq(&self.text, &other.text) { Ordering::Equal } else { self.text.cmp(&other.text) };
        self.head.cmp(&other.head).then_with(texts)
    }
}

impl PartialEq for ServiceName {
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head && (Arc::ptr_eq(&self.text, &other.text) || self.text == other.text)
    }
}

impl Eq for ServiceName {}

impl Hash for ServiceName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// The first sixteen bytes, the first of all highest; zeros behind a shorter text, which come before whatever a longer one has there.
fn head(text: &[u8]) -> [u64; 2] {
    let byte = |at: usize| u64::from(text.get(at).copied().unwrap_or(0));
    [0, 8].map(|from| (from..from + 8).fold(0, |number, at| number << 8 | byte(at)))
}

impl PartialOrd for ServiceName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.parts();
        f.debug_struct("ServiceName").field("namespace", &namespace).field("name", &name).finish()
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
        let (namespace, name) = self.parts();
        if namespace.is_empty() { f.write_str(name) } else { write!(f, "{namespace}/{name}") }
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
        fn the_order_is_that_of_namespace_and_name(a in ("[a-c!/-]{0,3}|long-namespace-[ab]", "[a-c!-]{0,3}|ä[a-b]{6,9}"), b in ("[a-c!/-]{0,3}|long-namespace-[ab]", "[a-c!-]{0,3}|ä[a-b]{6,9}")) {
            let (one, other) = (ServiceName::new(&a.0, &a.1), ServiceName::new(&b.0, &b.1));
            let pair = |name: &ServiceName| (name.namespace().to_owned(), name.name().to_owned());
            prop_assert_eq!(one.cmp(&other), pair(&one).cmp(&pair(&other)));
            prop_assert_eq!(one == other, pair(&one) == pair(&other));
        }

        #[test]
        fn written_form_reads_back(namespace in "[^/]{0,40}", name in "[^/]{1,40}") {
            let service = ServiceName::new(&namespace, &name);
            prop_assert_eq!(ServiceName::from(service.to_string().as_str()), service);
        }
    }
}
