//! WebSocket and other upgrades: the request is passed on, and after the server has agreed the bytes are.
//!
//! HTTP/1.1 asks by `Upgrade` and agrees by 101, HTTP/2 asks by extended CONNECT (RFC 8441) and agrees by 200. A wish that
//! came by extended CONNECT is taken for the GET that it would be in HTTP/1.1, so that routes and policies see the same request
//! either way, and is written in the form of whoever is asked next. The other way, from `Upgrade` to a server of HTTP/2, only a WebSocket
//! goes: its key is answered here. Any other request goes on without its wish.
//!
//! **Not one byte passes before the server has agreed.** A client that sends more behind its request, as smugglers do, is
//! heard only if the server agreed; after any other answer the connection is closed, so that nothing sent for the
//! upgraded protocol is ever read as a request. An upgrade to another HTTP (`h2c`) or to TLS is not passed on at all: the
//! request goes on without it, as RFC 9110, 7.8 allows.
//!
//! The whole is one exchange: counted at its end, with the bytes of both directions, and with the time to the 101 as its
//! latency (of HTTP/2, to the 200). It ends when one side has closed both ways or nothing passed for the idle time of the route.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::answer::{self, AnswerBody};
use crate::exchange::{AttemptEnd, End, Exchange};
use crate::failure::Failure;
use crate::guarded_io::Traffic;
use crate::headers;
use crate::http1::Switched;
use crate::message::Form;
use crate::pump::{self, Ended};
use crate::send::Lease;

/// Protocols that must not be reached by an upgrade through a proxy.
const REFUSED: [&str; 4] = ["h2c", "h2", "http/", "tls/"];

/// A request's wish to speak something else.
#[derive(Debug)]
pub(crate) struct Ask {
    token: HeaderValue,
    client: OnUpgrade,
    form: Form,
    /// What a WebSocket over HTTP/1.1 wants to see proven in the answer.
    key: Option<HeaderValue>,
}

impl Ask {
    /// Takes the wish out of a request; none when there is none, or none that is passed on.
    ///
    /// An extended CONNECT becomes a GET, unless its wish is not passed on.
    pub(crate) fn of(request: &mut Request<Incoming>) -> Option<Self> {
        if *request.method() == Method::CONNECT {
            let protocol = request.extensions().get::<Protocol>()?;
            let token = HeaderValue::from_bytes(protocol.as_ref()).ok().filter(may_pass)?;
            *request.method_mut() = Method::GET;
            return Some(Self { token, client: hyper::upgrade::on(request), form: Form::Http2, key: None });
        }
        // Nearly every request ends here.
        if !request.headers().contains_key(UPGRADE) {
            return None;
        }
        let token = token(request.headers())?;
        let key = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| is_websocket(&token)).cloned();
        Some(Self { token, client: hyper::upgrade::on(request), form: Form::Http1, key })
    }

    /// Whether it can be written in a form: of what HTTP/1.1 asks for, only a WebSocket has one in HTTP/2.
    pub(crate) fn fits(&self, form: Form) -> bool {
        form == Form::Http1 || self.form == Form::Http2 || self.key.is_some()
    }

    /// Puts the wish into a request in the form of the next hop, whose hop-by-hop fields were removed.
    pub(crate) fn put_into(&self, form: Form, parts: &mut Parts) {
        match form {
            Form::Http1 => {
                self.put_into_fields(&mut parts.headers);
                // HTTP/2 has no such key; a server of HTTP/1.1 wants one. What it makes of it is not looked at.
                if self.form == Form::Http2 && is_websocket(&self.token) {
                    let key = STANDARD.encode(rand::random::<[u8; 16]>());
                    parts.headers.insert(SEC_WEBSOCKET_KEY, headers::value(&key));
                }
            }
            Form::Http2 => {
                parts.method = Method::CONNECT;
                parts.headers.remove(SEC_WEBSOCKET_KEY);
                parts.extensions.insert(Protocol::from(self.token.to_str().unwrap_or_default()));
            }
        }
    }

    fn put_into_fields(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.token.clone());
    }
}

fn is_websocket(token: &HeaderValue) -> bool {
    token.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// The answer to a WebSocket's key (RFC 6455, 4.2.2), which HTTP/2 has no room for.
fn accepted(key: &HeaderValue) -> HeaderValue {
    const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), SUFFIX].concat());
    headers::value(&STANDARD.encode(hash))
}

/// Whether an answer hands its connection or stream over.
pub(crate) fn is_agreed<B>(response: &Response<B>) -> bool {
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => true,
        StatusCode::OK => response.extensions().get::<OnUpgrade>().is_some(),
        _ => false,
    }
}

/// The single protocol that is asked for, if `Connection` names the field and it may be passed on.
fn token(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).find(|name| name.trim().eq_ignore_ascii_case("upgrade"))?;
    let mut tokens = headers.get_all(UPGRADE).iter();
    let (token, None) = (tokens.next()?, tokens.next()) else { return None };
    may_pass(token).then(|| token.clone())
}

fn may_pass(token: &HeaderValue) -> bool {
    let Ok(text) = token.to_str() else { return false };
    let text = text.trim().to_ascii_lowercase();
    !(text.is_empty() || text.contains(',') || REFUSED.iter().any(|refused| text.starts_with(refused)))
}

/// Looks at the answer to a request that may have asked: after the server has agreed the bytes will pass.
pub(crate) fn settle(
    traffic: &Traffic,
    ask: Option<Ask>,
    idle: Duration,
    mut response: Response<AnswerBody>,
) -> Response<AnswerBody> {
    if !is_agreed(&response) {
        if ask.is_some_and(|ask| ask.form == Form::Http1) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        return response;
    }
    let stream = response.extensions_mut().remove::<OnUpgrade>();
    let (mut parts, body) = response.into_parts();
    let open = match body {
        AnswerBody::Passed(passed) => passed.into_open(),
        AnswerBody::Own(_) => None,
    };
    let Some((mut exchange, lease, switched)) = open else { return unexpected() };
    let server = switched.map(Server::Switched).or_else(|| stream.map(Server::Stream));
    let (Some(ask), Some(server)) = (ask, server) else {
        exchange.attempt_ends(AttemptEnd::NoAnswer);
        exchange.settle(End::Failed);
        return unexpected();
    };
    exchange.latency_ends();
    let form = ask.form;
    match form {
        Form::Http1 => {
            parts.status = StatusCode::SWITCHING_PROTOCOLS;
            ask.put_into_fields(&mut parts.headers);
            if let (Some(key), Server::Stream(_)) = (&ask.key, &server) {
                parts.headers.insert(SEC_WEBSOCKET_ACCEPT, accepted(key));
            }
        }
        Form::Http2 => {
            parts.status = StatusCode::OK;
            parts.headers.remove(SEC_WEBSOCKET_ACCEPT);
        }
    }
    let tunnel = tunnel(exchange, lease, (ask.client, server), idle);
    match form {
        Form::Http1 => traffic.set_tunnel(tunnel),
        // Its stream is one of many of the connection, which goes on serving the others.
        Form::Http2 => drop(tokio::spawn(tunnel)),
    }
    Response::from_parts(parts, AnswerBody::Own(bytes::Bytes::new()))
}

/// A 101 that nobody asked for.
fn unexpected() -> Response<AnswerBody> {
    let failure = Failure::BadAnswer;
    answer::own(failure.status(), failure.word(), format!("the server {}", failure.text()))
}

/// The server's end of a tunnel.
enum Server {
    /// A connection of HTTP/1.1.
    Switched(Switched),
    /// A stream of HTTP/2.
    Stream(OnUpgrade),
}

async fn tunnel(mut exchange: Exchange, lease: Lease, (client, server): (OnUpgrade, Server), idle: Duration) {
    let ended = match pass(client, server, idle, &mut exchange).await {
        Ok(ended) => ended,
        Err(error) => {
            tracing::debug!(%error, "upgrade not completed");
            return;
        }
    };
    drop(lease);
    exchange.settle(match ended {
        Ended::Closed | Ended::Idle => End::Success,
        Ended::ClientBroke => End::Cancelled,
        Ended::ServerBroke => End::Failed,
    });
    if ended == Ended::ServerBroke {
        exchange.attempt_ends(AttemptEnd::NoAnswer);
    }
}

async fn pass(
    client: OnUpgrade,
    server: Server,
    idle: Duration,
    exchange: &mut Exchange,
) -> Result<Ended, hyper::Error> {
    let mut client = TokioIo::new(client.await?);
    Ok(match server {
        Server::Switched(mut server) => pump::both_ways(&mut client, &mut server, Some(idle), exchange).await,
        Server::Stream(server) => {
            let mut server = TokioIo::new(server.await?);
            pump::both_ways(&mut client, &mut server, Some(idle), exchange).await
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_specification_is_answered_as_it_says() {
        assert_eq!(accepted(&HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_upgrades_that_a_proxy_may_pass_on_are_asked_for() {
        for (connection, upgrade, passes) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "WebSocket", true),
            ("keep-alive", "websocket", false),
            ("upgrade", "h2c", false),
            ("upgrade", "HTTP/2.0", false),
            ("upgrade", "TLS/1.2", false),
            ("upgrade", "websocket, h2c", false),
            ("upgrade", "", false),
        ] {
            let headers = HeaderMap::from_iter([
                (CONNECTION, HeaderValue::from_static(connection)),
                (UPGRADE, HeaderValue::from_static(upgrade)),
            ]);
            assert_eq!(token(&headers).is_some(), passes, "{connection}: {upgrade}");
        }
    }
}
