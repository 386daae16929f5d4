//! Whom a span called, when that peer may report nothing itself.
//!
//! Ranked, the first that is there wins: `service.peer.name` (with `service.peer.namespace`), `peer.service`, the
//! database, the messaging destination, `server.address`, the host of `url.full` or `http.url`, `http.host`, the
//! peer of the socket, the service of an RPC.
//!
//! Names of nodes are readable and tell apart what differs:
//!
//! | peer | node | why |
//! |---|---|---|
//! | database | `orders (postgresql at db.internal)` | two databases on one server differ, and so do equal names on two servers |
//! | database server | `redis at cache:6380` | a number as database (redis) tells nothing; the usual port is left out, since SDKs may leave it out |
//! | queue | `orders (kafka)` | producer and consumer must agree, and often only one of them knows the broker's address |
//! | host | `api.example.com`, `catalogue:8080` | ports 80 and 443 are left out |
//!
//! Not here: that a name or address belongs to a service of the mesh. Whoever knows the mesh resolves that.

use tripline_model::{NodeKind, ServiceName};

use super::{DB_SYSTEM, Key, MESSAGING_SYSTEM, Said, Word};
use crate::{Peer, SpanKind};

const HOST: &[Key] = &[Key::ServerAddress];
const PORT: &[Key] = &[Key::ServerPort, Key::NetPeerPort, Key::NetworkPeerPort, Key::NetSockPeerPort];
const URL: &[Key] = &[Key::UrlFull, Key::HttpUrl];
const HTTP_HOST: &[Key] = &[Key::HttpHost];
const SOCKET_HOST: &[Key] =
    &[Key::NetPeerName, Key::NetSockPeerName, Key::NetworkPeerAddress, Key::NetSockPeerAddr, Key::NetPeerIp];
const DB_NAMESPACE: &[Key] = &[Key::DbNamespace, Key::DbName];
const DESTINATION: &[Key] =
    &[Key::MessagingDestinationTemplate, Key::MessagingDestinationName, Key::MessagingDestination];

/// Everything that a peer is named by, as bits.
const PEER_WORDS: u64 = {
    let lists: [&[Key]; 9] =
        [NAMED, DB_SYSTEM, DB_NAMESPACE, MESSAGING_SYSTEM, DESTINATION, HOST_WORDS, PORT, SOCKET_HOST, RPC];
    let (mut bits, mut list) = (0, 0);
    while list < lists.len() {
        let mut index = 0;
        while index < lists[list].len() {
            bits |= 1 << lists[list][index] as u8;
            index += 1;
        }
        list += 1;
    }
    bits
};
const NAMED: &[Key] = &[Key::ServicePeerName, Key::ServicePeerNamespace, Key::PeerService];
const HOST_WORDS: &[Key] = &[
    Key::ServerAddress,
    Key::UrlFull,
    Key::HttpUrl,
    Key::HttpHost,
    Key::MessagingDestinationTemporary,
    Key::MessagingDestinationAnonymous,
];
const RPC: &[Key] = &[Key::RpcService, Key::RpcMethod];

impl Said<'_> {
    /// Whom a client, producer or consumer span says it talked to; for a consumer that is the queue. None for other
    /// kinds, and when it does not say.
    pub(crate) fn peer(&self) -> Option<Peer> {
        if !self.may_have_peer() {
            return None;
        }
        self.named_peer()
            .or_else(|| self.database())
            .or_else(|| self.queue())
            .or_else(|| self.host())
            .or_else(|| self.rpc())
    }

    /// Whether its kind is one that talks to somebody.
    pub(crate) const fn may_have_peer(&self) -> bool {
        matches!(self.kind, SpanKind::Client | SpanKind::Producer | SpanKind::Consumer)
    }

    /// Calls `each` for what [`Self::peer`] depends on: equal words give equal peers. Of a URL only its host, since the rest
    /// differs from call to call.
    pub(crate) fn peer_words(&self, mut each: impl FnMut(Key, Word<'_>)) {
        let has_host = self.has_any(HOST);
        for (key, word) in self.words().filter(|(key, _)| PEER_WORDS >> *key as u8 & 1 == 1) {
            match word {
                Word::Text(url) if URL.contains(&key) => {
                    if !has_host {
                        each(key, Word::Text(authority(url).unwrap_or_default()));
                    }
                }
                word => each(key, word),
            }
        }
    }

    /// A peer that the caller calls by its service name. It is a database or queue if the span says so, under that name.
    fn named_peer(&self) -> Option<Peer> {
        let service = match self.text(&[Key::ServicePeerName]) {
            Some(name) => ServiceName::new(self.text(&[Key::ServicePeerNamespace]).unwrap_or_default(), name),
            None => ServiceName::from(self.text(&[Key::PeerService])?),
        };
        let kind = if self.text(DB_SYSTEM).is_some() {
            NodeKind::Database
        } else if self.text(MESSAGING_SYSTEM).is_some() {
            NodeKind::Queue
        } else {
            NodeKind::Service
        };
        Some(Peer { service, kind })
    }

    fn database(&self) -> Option<Peer> {
        let system = self.text(DB_SYSTEM)?;
        let at = self.text(HOST).or_else(|| self.text(SOCKET_HOST)).map(|host| {
            let port = self.number(PORT).filter(|port| usual_port(system) != Some(*port));
            with_port(host, port)
        });
        let server = match at {
            Some(at) => format!("{system} at {at}"),
            None => system.into(),
        };
        let name = match self.text(DB_NAMESPACE).filter(|name| name.parse::<u64>().is_err()) {
            Some(database) => format!("{database} ({server})"),
            None => server,
        };
        Some(Peer { service: ServiceName::new("", &name), kind: NodeKind::Database })
    }

    fn queue(&self) -> Option<Peer> {
        let system = self.text(MESSAGING_SYSTEM)?;
        // Names of temporary queues are made up per process: they would be a node each.
        let temporary = [Key::MessagingDestinationTemporary, Key::MessagingDestinationAnonymous]
            .iter()
            .any(|key| self.word(*key) == Some(Word::Bool(true)));
        let name = match self.text(DESTINATION) {
            Some(_) if temporary => format!("temporary ({system})"),
            Some(destination) => format!("{destination} ({system})"),
            None => system.into(),
        };
        Some(Peer { service: ServiceName::new("", &name), kind: NodeKind::Queue })
    }

    fn host(&self) -> Option<Peer> {
        let at_port = |host: &str| with_port(host, self.number(PORT).filter(|port| ![80, 443].contains(port)));
        let name = self
            .text(HOST)
            .map(at_port)
            .or_else(|| self.text(URL).and_then(authority).map(without_usual_port))
            .or_else(|| self.text(HTTP_HOST).map(without_usual_port))
            .or_else(|| self.text(SOCKET_HOST).map(at_port))?;
        Some(Peer { service: ServiceName::new("", &name), kind: NodeKind::External })
    }

    /// The service of an RPC: `rpc.service`, or what a fully qualified `rpc.method` begins with.
    fn rpc(&self) -> Option<Peer> {
        let service = self.text(&[Key::RpcService]).or_else(|| {
            let (service, _) = self.text(&[Key::RpcMethod])?.rsplit_once('/')?;
            Some(service.trim_start_matches('/')).filter(|s| !s.is_empty())
        })?;
        Some(Peer { service: ServiceName::new("", service), kind: NodeKind::Service })
    }
}

/// `host:port` of a URL, without user and password; none when there is none.
fn authority(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (!host.is_empty()).then_some(host)
}

fn without_usual_port(authority: &str) -> String {
    let host = authority.strip_suffix(":80").or_else(|| authority.strip_suffix(":443")).unwrap_or(authority);
    host.to_ascii_lowercase()
}

/// Host names do not differ by case. An IPv6 address is bracketed so that its port can be told.
fn with_port(host: &str, port: Option<i64>) -> String {
    let host = host.to_ascii_lowercase();
    match port {
        None => host,
        Some(port) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
    }
}

/// The port that a database listens on unless told otherwise.
fn usual_port(system: &str) -> Option<i64> {
    Some(match system {
        "postgresql" => 5432,
        "mysql" | "mariadb" => 3306,
        "redis" => 6379,
        "mongodb" => 27017,
        "microsoft.sql_server" | "mssql" => 1433,
        "oracle.db" | "oracle" => 1521,
        "cassandra" => 9042,
        "elasticsearch" | "opensearch" => 9200,
        "memcached" => 11211,
        "clickhouse" => 9000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Pairs, span};
    use super::*;
    use crate::Value;

    #[test]
    fn peers_are_named_by_rank() {
        use NodeKind::{Database, External, Queue, Service};
        let cases: &[(Pairs<'_>, Option<(&str, NodeKind)>)] = &[
            (&[], None),
            (&[("peer.service", "")], None),
            (&[("peer.service", "old"), ("service.peer.name", "new")], Some(("new", Service))),
            (&[("service.peer.name", "pay"), ("service.peer.namespace", "shop")], Some(("shop/pay", Service))),
            (&[("peer.service", "shop/pay"), ("server.address", "10.0.0.1")], Some(("shop/pay", Service))),
            (&[("peer.service", "orders-db"), ("db.system", "mysql")], Some(("orders-db", Database))),
            (
                &[
                    ("db.system.name", "postgresql"),
                    ("db.namespace", "orders"),
                    ("server.address", "DB.internal"),
                    ("server.port", "5432"),
                ],
                Some(("orders (postgresql at db.internal)", Database)),
            ),
            (
                &[("db.system", "mysql"), ("db.name", "o"), ("net.peer.name", "db"), ("net.peer.port", "3307")],
                Some(("o (mysql at db:3307)", Database)),
            ),
            (
                &[("db.system", "redis"), ("db.namespace", "0"), ("server.address", "cache")],
                Some(("redis at cache", Database)),
            ),
            (&[("db.system", "sqlite"), ("db.name", "/var/a.db")], Some(("_var_a.db (sqlite)", Database))),
            (&[("db.system.name", "sqlite")], Some(("sqlite", Database))),
            (
                &[("messaging.system", "kafka"), ("messaging.destination.name", "orders"), ("server.address", "b1")],
                Some(("orders (kafka)", Queue)),
            ),
            (&[("messaging.system", "rabbitmq"), ("messaging.destination", "q")], Some(("q (rabbitmq)", Queue))),
            (&[("messaging.system", "aws_sqs")], Some(("aws_sqs", Queue))),
            (
                &[("server.address", "api.example.com"), ("server.port", "443"), ("url.full", "https://other/")],
                Some(("api.example.com", External)),
            ),
            (&[("server.address", "catalogue"), ("server.port", "8080")], Some(("catalogue:8080", External))),
            (&[("server.address", "::1"), ("server.port", "8080")], Some(("[::1]:8080", External))),
            (&[("url.full", "https://u:p@API.example.com:443/a?b=@c")], Some(("api.example.com", External))),
            (&[("http.url", "http://web:8080")], Some(("web:8080", External))),
            (&[("http.url", "not a url"), ("http.host", "web:80")], Some(("web", External))),
            (&[("net.sock.peer.addr", "10.0.0.9"), ("net.sock.peer.port", "81")], Some(("10.0.0.9:81", External))),
            (&[("rpc.service", "shop.Cart"), ("rpc.method", "Add")], Some(("shop.Cart", Service))),
            (&[("rpc.method", "shop.Cart/Add")], Some(("shop.Cart", Service))),
        ];
        for (attributes, expected) in cases {
            let expected = expected.map(|(name, kind)| Peer { service: ServiceName::from(name), kind });
            assert_eq!(span(SpanKind::Client, attributes).peer(), expected, "{attributes:?}");
        }
    }

    #[test]
    fn only_those_who_call_have_a_peer() {
        let attributes = [("peer.service", "pay")];
        for (kind, calls) in [
            (SpanKind::Client, true),
            (SpanKind::Producer, true),
            (SpanKind::Consumer, true),
            (SpanKind::Server, false),
            (SpanKind::Internal, false),
            (SpanKind::Unspecified, false),
        ] {
            assert_eq!(span(kind, &attributes).peer().is_some(), calls, "{kind:?}");
        }
    }

    #[test]
    fn temporary_queues_fold_into_one() {
        let mut reply = span(
            SpanKind::Producer,
            &[("messaging.system", "rabbitmq"), ("messaging.destination.name", "amq.gen-JzTY20BRgKO")],
        );
        reply.attributes.push(("messaging.destination.temporary".into(), Value::Bool(true)));
        assert_eq!(reply.peer().unwrap().service.name(), "temporary (rabbitmq)");
    }
}
