//! Addresses inside the page: every view, selection and incident has one that can be shared.
//!
//! Identifiers keep their `/` and `:` readable (`/services/shop/checkout`, `?select=shop/web`); everything else that has
//! a meaning in an address is percent-encoded.

use std::fmt::Write as _;

/// What is selected in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Selected {
    /// A node, by its id.
    Node(String),
    /// An edge, by its id.
    Edge(String),
}

impl Selected {
    /// Reads the value of `?select=`: an edge's id holds a `>`, a node's never does.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        match id {
            "" => None,
            edge if edge.contains('>') => Some(Self::Edge(edge.to_owned())),
            node => Some(Self::Node(node.to_owned())),
        }
    }

    /// The identifier.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Node(id) | Self::Edge(id) => id,
        }
    }
}

/// The graph, with `id` (a node's or an edge's) selected.
pub(crate) fn select(id: &str) -> String {
    format!("/?select={}", encode(id))
}

/// The graph with one incident's path lit.
pub(crate) fn graph_at(incident: &str) -> String {
    format!("/?incident={}", encode(incident))
}

/// The page of one service.
pub(crate) fn service(id: &str) -> String {
    format!("/services/{}", encode(id))
}

/// The page of one incident.
pub(crate) fn incident(id: &str) -> String {
    format!("/incidents/{}", encode(id))
}

/// The page of one trace.
pub(crate) fn trace(id: &str) -> String {
    format!("/traces/{}", encode(id))
}

/// The graph's address with some of its query replaced: an empty value takes a key out.
pub(crate) fn graph(query: &[(&str, &str)]) -> String {
    let mut address = String::from("/");
    for (key, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        let separator = if address.len() == 1 { '?' } else { '&' };
        let _ = write!(address, "{separator}{key}={}", encode(value));
    }
    address
}

/// Percent-encodes what RFC 3986 does not allow in a path or query, and `+`, `&`, `=`, `?`, `#`.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                out.push(char::from(byte))
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_stay_readable_in_addresses() {
        assert_eq!(service("shop/checkout"), "/services/shop/checkout");
        assert_eq!(select("shop/web>shop/checkout:http"), "/?select=shop/web%3Eshop/checkout:http");
        assert_eq!(encode("a b&c=d?e#f+g/é"), "a%20b%26c%3Dd%3Fe%23f%2Bg/%C3%A9");
    }

    #[test]
    fn a_query_leaves_out_what_is_empty() {
        assert_eq!(graph(&[("select", ""), ("incident", "")]), "/");
        assert_eq!(graph(&[("select", "user"), ("incident", "")]), "/?select=user");
        assert_eq!(graph(&[("select", "user"), ("incident", "01J")]), "/?select=user&incident=01J");
    }

    #[test]
    fn edges_are_told_from_nodes_by_their_arrow() {
        assert_eq!(Selected::parse(""), None);
        assert_eq!(Selected::parse("shop/web"), Some(Selected::Node("shop/web".into())));
        assert_eq!(Selected::parse("a>b:http"), Some(Selected::Edge("a>b:http".into())));
    }
}
