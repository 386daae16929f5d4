//! The attributes that the rules of this module read, as numbers: a name is compared once, on arrival.

use std::sync::LazyLock;

macro_rules! keys {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// An attribute that some rule reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Key { $(#[doc = $name] $variant),* }

        impl Key {
            /// Every one, in the order of their numbers.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

keys! {
    ServicePeerName "service.peer.name",
    ServicePeerNamespace "service.peer.namespace",
    PeerService "peer.service",
    DbSystemName "db.system.name",
    DbSystem "db.system",
    DbNamespace "db.namespace",
    DbName "db.name",
    MessagingSystem "messaging.system",
    MessagingDestinationTemplate "messaging.destination.template",
    MessagingDestinationName "messaging.destination.name",
    MessagingDestination "messaging.destination",
    MessagingDestinationTemporary "messaging.destination.temporary",
    MessagingDestinationAnonymous "messaging.destination.anonymous",
    MessagingOperationType "messaging.operation.type",
    MessagingOperation "messaging.operation",
    RpcSystemName "rpc.system.name",
    RpcSystem "rpc.system",
    RpcService "rpc.service",
    RpcMethod "rpc.method",
    RpcResponseStatusCode "rpc.response.status_code",
    RpcGrpcStatusCode "rpc.grpc.status_code",
    HttpRequestMethod "http.request.method",
    HttpMethod "http.method",
    HttpResponseStatusCode "http.response.status_code",
    HttpStatusCode "http.status_code",
    HttpHost "http.host",
    UrlFull "url.full",
    HttpUrl "http.url",
    ServerAddress "server.address",
    ServerPort "server.port",
    NetworkProtocolName "network.protocol.name",
    NetworkTransport "network.transport",
    NetTransport "net.transport",
    NetworkPeerAddress "network.peer.address",
    NetworkPeerPort "network.peer.port",
    NetPeerName "net.peer.name",
    NetPeerPort "net.peer.port",
    NetPeerIp "net.peer.ip",
    NetSockPeerName "net.sock.peer.name",
    NetSockPeerAddr "net.sock.peer.addr",
    NetSockPeerPort "net.sock.peer.port",
}

/// The keys by the length of their names, of which few are equal.
static BY_LENGTH: LazyLock<Vec<Vec<Key>>> = LazyLock::new(|| {
    let longest = Key::ALL.iter().map(|key| key.name().len()).max().unwrap_or_default();
    let of_length = |length| Key::ALL.iter().copied().filter(|key| key.name().len() == length).collect();
    (0..=longest).map(of_length).collect()
});

impl Key {
    /// The one of that name.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let candidates = BY_LENGTH.get(name.len())?;
        candidates.iter().copied().find(|key| key.name().as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_fit_into_a_mask() {
        for key in Key::ALL {
            assert_eq!(Key::of(key.name().as_bytes()), Some(*key));
        }
        assert_eq!(Key::of(b"server.addresS"), None);
        assert!(Key::ALL.len() <= 64);
    }
}
