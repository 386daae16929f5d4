//! WebSocket and other upgrades of HTTP/1.1: the request is passed on, and after 101 the bytes are.
//!
//! **Not one byte passes before the server's 101.** A client that sends more behind its request, as smugglers do, is
//! heard only if the server agreed; after any other answer the connection is closed, so that nothing sent for the
//! upgraded protocol is ever read as a request. An upgrade to another HTTP (`h2c`) or to TLS is not passed on at all: the
//! request goes on without it, as RFC 9110, 7.8 allows.
//!
//! The whole is one exchange: counted at its end, with the bytes of both directions, and with the time to the 101 as its
//! latency. It ends when one side has closed both ways or nothing passed for the idle time of the route.

use std::time::Duration;

use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::answer::{self, AnswerBody};
use crate::exchange::{AttemptEnd, End, Exchange};
use crate::failure::Failure;
use crate::guarded_io::Traffic;
use crate::http1::Switched;
use crate::pump::{self, Ended};
use crate::send::Lease;

/// Protocols that must not be reached by an upgrade through a proxy.
const REFUSED: [&str; 4] = ["h2c", "h2", "http/", "tls/"];

/// A request's wish to speak something else.
#[derive(Debug)]
pub(crate) struct Ask {
    token: HeaderValue,
    client: OnUpgrade,
}

impl Ask {
    /// Takes the wish out of a request; none when there is none, or none that is passed on.
    pub(crate) fn of(request: &mut Request<Incoming>) -> Option<Self> {
        // Nearly every request ends here.
        if !request.headers().contains_key(UPGRADE) {
            return None;
        }
        let token = token(request.headers())?;
        Some(Self { token, client: hyper::upgrade::on(request) })
    }

    /// Puts the wish into a request whose hop-by-hop fields were removed.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.token.clone());
    }
}

/// The single protocol that is asked for, if `Connection` names the field and it may be passed on.
fn token(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).find(|name| name.trim().eq_ignore_ascii_case("upgrade"))?;
    let mut tokens = headers.get_all(UPGRADE).iter();
    let (token, None) = (tokens.next()?, tokens.next()) else { return None };
    let text = token.to_str().ok()?.trim().to_ascii_lowercase();
    let refused = text.is_empty() || text.contains(',') || REFUSED.iter().any(|refused| text.starts_with(refused));
    (!refused).then(|| token.clone())
}

/// Looks at the answer to a request that may have asked: after 101 the bytes will pass.
pub(crate) fn settle(
    traffic: &Traffic,
    ask: Option<Ask>,
    idle: Duration,
    mut response: Response<AnswerBody>,
) -> Response<AnswerBody> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        if ask.is_some() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let open = match body {
        AnswerBody::Passed(passed) => passed.into_open(),
        AnswerBody::Own(_) => None,
    };
    let Some((mut exchange, lease, server)) = open else { return unexpected() };
    let (Some(ask), Some(server)) = (ask, server) else {
        exchange.attempt_ends(AttemptEnd::NoAnswer);
        exchange.settle(End::Failed);
        return unexpected();
    };
    exchange.latency_ends();
    ask.put_into(&mut parts.headers);
    traffic.set_tunnel(tunnel(exchange, lease, (ask.client, server), idle));
    Response::from_parts(parts, AnswerBody::Own(bytes::Bytes::new()))
}

/// A 101 that nobody asked for.
fn unexpected() -> Response<AnswerBody> {
    let failure = Failure::BadAnswer;
    answer::own(failure.status(), failure.word(), format!("the server {}", failure.text()))
}

async fn tunnel(mut exchange: Exchange, lease: Lease, (client, mut server): (OnUpgrade, Switched), idle: Duration) {
    let mut client = match client.await {
        Ok(client) => TokioIo::new(client),
        Err(error) => {
            tracing::debug!(%error, "upgrade not completed");
            return;
        }
    };
    let ended = pump::both_ways(&mut client, &mut server, Some(idle), &mut exchange).await;
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

#[cfg(test)]
mod tests {
    use super::*;

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
