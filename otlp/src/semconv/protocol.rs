//! What was spoken, so that both halves of a call fall on the same edge.

use tripline_model::Protocol;

use super::{DB_SYSTEM, Key, MESSAGING_SYSTEM, RPC_SYSTEM, Said};
use crate::SpanKind;

const HTTP_METHOD: &[Key] = &[Key::HttpRequestMethod, Key::HttpMethod];
const TRANSPORT: &[Key] = &[Key::NetworkTransport, Key::NetTransport];

impl Said<'_> {
    /// What was spoken; HTTP when the span does not say, since that is what most leave unsaid.
    pub(crate) fn protocol(&self) -> Protocol {
        if self.text(DB_SYSTEM).is_some() {
            return Protocol::Database;
        }
        if self.text(MESSAGING_SYSTEM).is_some() {
            return Protocol::Messaging;
        }
        match self.text(RPC_SYSTEM) {
            Some("grpc") => return Protocol::Grpc,
            Some("java_rmi" | "apache_dubbo" | "dubbo" | "thrift") => return Protocol::Tcp,
            // The others, such as aws-api, jsonrpc and connect_rpc, are HTTP beneath.
            Some(_) => return Protocol::Http,
            None => {}
        }
        if self.text(HTTP_METHOD).is_some() || self.http_status().is_some() {
            return Protocol::Http;
        }
        if let Some(known) = self.text(&[Key::NetworkProtocolName]).and_then(|word| word.parse().ok()) {
            return known;
        }
        match (self.kind, self.text(TRANSPORT)) {
            (SpanKind::Producer | SpanKind::Consumer, _) => Protocol::Messaging,
            (_, Some("tcp" | "ip_tcp" | "unix" | "pipe")) => Protocol::Tcp,
            _ => Protocol::Http,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Pairs, span};
    use super::*;

    #[test]
    fn protocols_follow_the_conventions() {
        let cases: &[(SpanKind, Pairs<'_>, Protocol)] = &[
            (SpanKind::Client, &[], Protocol::Http),
            (SpanKind::Server, &[("http.method", "GET"), ("network.transport", "tcp")], Protocol::Http),
            (SpanKind::Client, &[("db.system", "dynamodb"), ("rpc.system", "aws-api")], Protocol::Database),
            (SpanKind::Producer, &[("messaging.system", "kafka")], Protocol::Messaging),
            (SpanKind::Producer, &[], Protocol::Messaging),
            (SpanKind::Client, &[("rpc.system", "grpc"), ("http.status_code", "200")], Protocol::Grpc),
            (SpanKind::Client, &[("rpc.system.name", "grpc")], Protocol::Grpc),
            (SpanKind::Client, &[("rpc.system", "aws-api")], Protocol::Http),
            (SpanKind::Client, &[("network.protocol.name", "grpc")], Protocol::Grpc),
            (SpanKind::Client, &[("network.transport", "tcp")], Protocol::Tcp),
        ];
        for (kind, attributes, expected) in cases {
            assert_eq!(span(*kind, attributes).protocol(), *expected, "{attributes:?}");
        }
    }
}
