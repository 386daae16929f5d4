//! How a connection came in: for which listener, where it was going, who is at its other end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An accepted connection.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// Number of the node's listener that it came for; of no meaning on the outbound half.
    pub(crate) listener: usize,
    /// Where it was going before it was redirected here; none when the sidecar itself was called.
    pub(crate) original: Option<SocketAddr>,
    /// How it is protected.
    pub(crate) security: Security,
    /// The address of the other end.
    pub(crate) peer: Option<IpAddr>,
}

/// How a connection is protected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Security {
    /// Not at all.
    #[default]
    Plain,
    /// Encrypted; the other end did not say who it is.
    Encrypted,
    /// Both ends proved who they are.
    Mutual {
        /// `NAMESPACE/NAME` of the other end, when its certificate carries a SPIFFE identity.
        peer: Option<Arc<str>>,
    },
}

impl Security {
    /// Who is at the other end, for certain.
    pub(crate) fn peer(&self) -> Option<&str> {
        match self {
            Self::Mutual { peer } => peer.as_deref(),
            Self::Plain | Self::Encrypted => None,
        }
    }

    /// Whether both ends proved who they are.
    pub(crate) const fn is_mutual(&self) -> bool {
        matches!(self, Self::Mutual { .. })
    }
}
