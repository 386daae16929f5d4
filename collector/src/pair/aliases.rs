//! Which service a peer's name stands for, learned from calls whose both halves were seen.
//!
//! A client span names `catalogue:8080`; the server that answered calls itself `shop/catalogue`. Once that was seen, a call of the same
//! client to the same name whose server's span never comes (not sampled, lost) belongs on the same edge, and a node
//! `catalogue:8080` that was drawn before was a guess. A name behind which several services answer, a gateway's say, stands for none
//! of them.

use std::time::Duration;

use rustc_hash::FxHashMap;
use tripline_model::Timestamp;

use super::names::Node;

/// Names remembered at most; when there are more, all are learned anew.
const MAX_ALIASES: usize = 50_000;
/// How long a second service behind one name is held against it.
const MEMORY: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Clone, Copy)]
struct Alias {
    server: Node,
    /// When another server than the one before was seen; zero when never.
    changed: Timestamp,
}

/// What was learned.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    known: FxHashMap<(Node, Node), Alias>,
}

impl Aliases {
    /// Learns that a call of `client` to the name `peer` reached `server`; answers whether that is new.
    pub(super) fn learn(&mut self, client: Node, peer: Node, server: Node, now: Timestamp) -> bool {
        if let Some(alias) = self.known.get_mut(&(client, peer)) {
            if alias.server != server {
                *alias = Alias { server, changed: now };
            }
            return false;
        }
        if self.known.len() >= MAX_ALIASES {
            self.known.clear();
        }
        self.known.insert((client, peer), Alias { server, changed: Timestamp::default() });
        true
    }

    /// The server that the name stands for; none when it is not known or ambiguous.
    pub(super) fn server(&self, client: Node, peer: Node, now: Timestamp) -> Option<Node> {
        let alias = self.known.get(&(client, peer))?;
        (now.since(alias.changed) > MEMORY || alias.changed == Timestamp::default()).then_some(alias.server)
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
    }
}
