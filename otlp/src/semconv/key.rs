//! The attributes that the rules of this module read, as numbers: a name is compared once, on arrival.

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

/// Places of the table: so many that a search finds a factor which gives each key one of its own.
const PLACES: usize = 512;
/// What a place without a key holds.
const NONE: u8 = u8::MAX;

/// The factor, and the number of the key at each place. Found when this is compiled.
const TABLE: (u64, [u8; PLACES]) = {
    let mut factor = 0x9e37_79b9_7f4a_7c15_u64;
    loop {
        if let Some(places) = places(factor) {
            break (factor, places);
        }
        factor = factor.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(2);
    }
};

/// The keys at their places; none when two have the same.
const fn places(factor: u64) -> Option<[u8; PLACES]> {
    let (mut places, mut index) = ([NONE; PLACES], 0);
    while index < Key::ALL.len() {
        let place = place(Key::ALL[index].name().as_bytes(), factor);
        if places[place] != NONE {
            return None;
        }
        places[place] = index as u8;
        index += 1;
    }
    Some(places)
}

/// The place of a name: by its last eight bytes and its length. Names that are shorter share one place, and only one of them may
/// be a key.
#[inline]
const fn place(name: &[u8], factor: u64) -> usize {
    let last = match name.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => 0,
    };
    ((last ^ (name.len() as u64) << 56).wrapping_mul(factor) >> (64 - PLACES.trailing_zeros())) as usize
}

impl Key {
    /// The one of that name.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        static PLACES_OF: [u8; PLACES] = TABLE.1;
        let number = *PLACES_OF.get(place(name, TABLE.0))?;
        Self::ALL.get(usize::from(number)).copied().filter(|key| key.name().as_bytes() == name)
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
        assert_eq!(Key::of(b"Server.address"), None);
        assert_eq!((Key::of(b""), Key::of(b"a"), Key::of(b"user.id")), (None, None, None));
        assert!(Key::ALL.len() <= 64);
    }
}
