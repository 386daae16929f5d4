//! A request's head as the next hop expects it: HTTP/1.1 in origin form, or HTTP/2 with scheme and authority.
//!
//! Where the two protocols differ (RFC 9113, 8.2 and 8.3): HTTP/2 has no Host but `:authority`, may carry `te: trailers`, which
//! gRPC needs, and may split Cookie into many fields, which HTTP/1.1 servers expect in one.

use http::header::{COOKIE, HOST, HeaderMap, HeaderValue, TE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Uri, Version};

/// Which HTTP the next hop speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
}

/// Whether the client understands trailers; asked before hop-by-hop fields are removed.
pub(crate) fn takes_trailers(parts: &Parts) -> bool {
    parts.version == Version::HTTP_2 && parts.headers.get(TE).is_some_and(|te| te.as_bytes() == b"trailers")
}

/// Writes the head in the form of the next hop.
pub(crate) fn put_into(form: Form, parts: &mut Parts, host: HeaderValue, trailers: bool) {
    match form {
        Form::Http1 => {
            if parts.version == Version::HTTP_2 {
                join_cookies(&mut parts.headers);
            }
            parts.version = Version::HTTP_11;
            if parts.uri.authority().is_some() {
                parts.headers.insert(HOST, host);
                let path = parts.uri.path_and_query().cloned();
                parts.uri = path.map_or_else(Uri::default, Uri::from);
            }
        }
        Form::Http2 => {
            parts.version = Version::HTTP_2;
            parts.headers.remove(HOST);
            if trailers {
                parts.headers.insert(TE, HeaderValue::from_static("trailers"));
            }
            parts.uri = absolute(&parts.uri, &host);
        }
    }
}

/// The URI with the host as its authority; unchanged when the host cannot be one.
fn absolute(uri: &Uri, host: &HeaderValue) -> Uri {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return uri.clone() };
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let path = if path.as_str() == "*" { PathAndQuery::from_static("/") } else { path };
    let built = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build();
    built.unwrap_or_else(|_| uri.clone())
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn http_2_becomes_http_1() {
        let request = Request::get("http://shop.local:81/a?b=c").version(Version::HTTP_2);
        let mut parts = parts(request.header(COOKIE, "a=1").header(COOKIE, "b=2").header(COOKIE, "c=3"));
        put_into(Form::Http1, &mut parts, HeaderValue::from_static("shop.local:81"), false);
        assert_eq!((parts.uri.to_string(), parts.version), ("/a?b=c".into(), Version::HTTP_11));
        assert_eq!(parts.headers[HOST], "shop.local:81");
        assert_eq!(parts.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn http_1_becomes_http_2() {
        let mut parts = parts(Request::get("/a?b=c").header(HOST, "shop.local"));
        put_into(Form::Http2, &mut parts, HeaderValue::from_static("shop.local"), true);
        assert_eq!(parts.uri, "http://shop.local/a?b=c");
        assert_eq!((parts.version, parts.headers.get(HOST)), (Version::HTTP_2, None));
        assert_eq!(parts.headers[TE], "trailers");
    }

    #[test]
    fn a_host_that_is_no_authority_changes_nothing() {
        let mut parts = parts(Request::get("/a"));
        put_into(Form::Http2, &mut parts, HeaderValue::from_static("a b"), false);
        assert_eq!(parts.uri, "/a");
    }
}
