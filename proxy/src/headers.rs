//! Header fields that end at a proxy, and those that Tripline adds.
//!
//! Hop-by-hop fields (RFC 9110, 7.6.1) concern one connection and are never forwarded, nor is any field that `Connection`
//! names. `x-tripline-*` fields carry what sidecars tell each other; whatever an application sends under that prefix is
//! removed, so that it cannot speak for its sidecar.

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};

/// Who calls, `NAMESPACE/NAME`; from the outbound half of one sidecar to the inbound half of another.
pub(crate) const CLIENT: HeaderName = HeaderName::from_static("x-tripline-client");
/// The open breaker that caused a failing answer: `ID;REASON;ORIGIN;DEPTH`.
pub(crate) const BREAKER: HeaderName = HeaderName::from_static("x-tripline-breaker");
/// Why a sidecar answered itself, in one word.
pub(crate) const ERROR: HeaderName = HeaderName::from_static("x-tripline-error");

/// Milliseconds that the caller will go on waiting; from the outbound half of one sidecar to the inbound half of another.
pub(crate) const DEADLINE: HeaderName = HeaderName::from_static("x-tripline-deadline-ms");
/// What a FaultInjection did to a call: `delay` or `abort`.
pub(crate) const FAULT: HeaderName = HeaderName::from_static("x-tripline-fault");

const OURS: &str = "x-tripline-";

/// Removes everything that must not pass: hop-by-hop fields and our own. One look at each name; most messages have
/// nothing to remove.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let mut connection = false;
    let mut others = false;
    for name in headers.keys() {
        match name.as_str() {
            "connection" => connection = true,
            "expect" => others = true,
            name if is_hop_by_hop(name) || name.starts_with(OURS) => others = true,
            _ => {}
        }
    }
    if connection {
        strip_named_by_connection(headers);
        headers.remove(CONNECTION);
    }
    if others {
        // `Expect` is settled here: the sidecar's own server has told the client to continue.
        remove_all(headers, |name| is_hop_by_hop(name) || name.starts_with(OURS) || name == "expect");
    }
}

/// Removes our own fields only.
pub(crate) fn strip_ours(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with(OURS)) {
        remove_all(headers, |name| name.starts_with(OURS));
    }
}

/// Removes hop-by-hop fields only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        strip_named_by_connection(headers);
        headers.remove(CONNECTION);
    }
    if headers.keys().any(|name| is_hop_by_hop(name.as_str())) {
        remove_all(headers, is_hop_by_hop);
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn strip_named_by_connection(headers: &mut HeaderMap) {
    // What nearly every `Connection` says names no field that is not removed anyway.
    let plain = |value: &HeaderValue| matches!(value.as_bytes(), b"keep-alive" | b"close" | b"Keep-Alive" | b"Close");
    if headers.get_all(CONNECTION).iter().all(plain) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| token.trim().parse().ok())
        // A client must not make us drop what frames or routes the message.
        .filter(|name: &HeaderName| !matches!(name.as_str(), "host" | "content-length"))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

fn remove_all(headers: &mut HeaderMap, leaves: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| leaves(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// A header value from text that we made; characters that a header cannot carry become `_`.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| {
        let clean: String = text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '_' }).collect();
        HeaderValue::from_str(&clean).unwrap_or(HeaderValue::from_static(""))
    })
}

/// A value that hardly any other request will have. HTTP/2 is told not to keep it: the few kilobytes in which it keeps fields would hold nothing
/// but old trace ids, of which each request looks at every one, and none of the fields that do come again.
pub(crate) fn once(mut value: HeaderValue) -> HeaderValue {
    mark_once(&mut value);
    value
}

/// See [`once`].
pub(crate) fn mark_once(value: &mut HeaderValue) {
    value.set_sensitive(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_concerns_one_connection_is_not_forwarded() {
        let mut headers = map(&[
            ("host", "a"),
            ("content-length", "3"),
            ("connection", "close, x-secret, content-length"),
            ("connection", "host"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("x-tripline-client", "shop/liar"),
            ("accept", "*/*"),
        ]);
        strip(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "content-length", "host"]);
    }

    #[test]
    fn values_we_make_are_always_sendable() {
        assert_eq!(value("a\nb"), "a_b");
        assert_eq!(value("schön").as_bytes(), "schön".as_bytes());
    }
}
