//! Virtual gateways: how requests from outside come into the mesh.
//!
//! A gateway has no application. Each of its routes takes some requests and gives them, rewritten, to one virtual service, whose
//! own routes decide from there. Rewriting follows App Mesh's defaults: unless it is switched off the Host becomes the virtual
//! service's name, and the prefix that matched becomes `/`. App Mesh's Envoy replaced the text as it stood, so that `/orders/1` under the
//! prefix `/orders` became `//1`; here what follows is joined with one slash, `/1`.

use std::borrow::Cow;

use tripline_model::ServiceName;

use crate::{AccessLog, Backend, Listener, ListenerProtocol, RequestHead, RouteMatch, TextMatch};

/// A proxy at the mesh's edge.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualGateway {
    /// `metadata.namespace/metadata.name`.
    pub id: ServiceName,
    /// Its name in App Mesh's own namespace, by default `name_namespace`.
    pub aws_name: String,
    /// Ports it serves.
    pub listeners: Vec<Listener>,
    /// In the order in which they are tried.
    pub routes: Vec<GatewayRoute>,
    /// The services its routes lead to, each once.
    pub backends: Vec<Backend>,
    /// Where its proxy writes a line for each request.
    pub access_log: Option<AccessLog>,
}

/// One route of a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayRoute {
    /// `metadata.namespace/metadata.name`.
    pub id: ServiceName,
    /// 0 first; 1000 when absent.
    pub priority: u16,
    /// `Http` and `Http2` take every request, `Grpc` only gRPC's.
    pub protocol: ListenerProtocol,
    /// Which host names it takes, in lower case; all without it.
    pub hostname: Option<TextMatch>,
    /// Which requests it takes of these; its port is the listener's.
    pub matches: RouteMatch,
    /// The virtual service that it leads to.
    pub service: ServiceName,
    /// Which of the service's ports.
    pub port: Option<u16>,
    /// What becomes of the request on its way.
    pub rewrite: Rewrite,
}

/// What becomes of a request that a gateway takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// What the Host becomes.
    pub host: HostRewrite,
    /// What the path becomes.
    pub path: PathRewrite,
}

/// What becomes of the Host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostRewrite {
    /// It becomes the virtual service's name.
    #[default]
    Service,
    /// It stays.
    Keep,
}

/// What becomes of the path; its query always stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// It stays.
    Keep,
    /// Its beginning is replaced.
    Prefix {
        /// What the path begins with.
        from: String,
        /// What it begins with afterwards: a path that begins and ends with `/`.
        to: String,
    },
    /// It becomes this.
    Exact(String),
}

impl GatewayRoute {
    /// Whether it takes a request for a host, given in lower case and without its port.
    #[must_use]
    pub fn takes(&self, host: &str, head: &impl RequestHead) -> bool {
        let is_grpc = || head.header("content-type").is_some_and(|kind| kind.starts_with("application/grpc"));
        self.hostname.as_ref().is_none_or(|hostname| hostname.matches(host))
            && (self.protocol != ListenerProtocol::Grpc || is_grpc())
            && self.matches.matches(head)
    }
}

impl PathRewrite {
    /// The path as it goes on.
    #[must_use]
    pub fn apply<'p>(&'p self, path: &'p str) -> Cow<'p, str> {
        match self {
            Self::Keep => Cow::Borrowed(path),
            Self::Exact(exact) => Cow::Borrowed(exact),
            Self::Prefix { from, to } => match path.strip_prefix(from.as_str()) {
                Some(rest) if from != to => Cow::Owned(format!("{to}{}", rest.strip_prefix('/').unwrap_or(rest))),
                _ => Cow::Borrowed(path),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_with_one_slash_between() {
        for (from, to, path, expected) in [
            ("/orders", "/", "/orders", "/"),
            ("/orders", "/", "/orders/1", "/1"),
            ("/orders/", "/", "/orders/1", "/1"),
            ("/orders", "/", "/ordersheet", "/heet"),
            ("/orders", "/v2/", "/orders/1/2", "/v2/1/2"),
            ("/", "/", "//a", "//a"),
            ("/", "/v2/", "/a", "/v2/a"),
        ] {
            let rewrite = PathRewrite::Prefix { from: from.to_owned(), to: to.to_owned() };
            assert_eq!(rewrite.apply(path), expected, "{from} -> {to}: {path}");
        }
        assert_eq!(PathRewrite::Exact("/b".to_owned()).apply("/a"), "/b");
        assert_eq!(PathRewrite::Keep.apply("/a"), "/a");
    }
}
