//! The web UI's files, embedded in the binary by the command line and served here.
//!
//! Files are embedded compressed once, as small as they get. Browsers accept brotli only over TLS and on localhost, and `curl` neither
//! that nor gzip: for them a file is decompressed on the way out. That is rare and the files are small, so nothing is
//! kept decompressed. Any path that names no file and looks like none is a page of the UI: it gets `index.html`. So does whatever a
//! browser navigates to (it asks for HTML), because the name of a service may hold a dot.

use std::fmt::Debug;
use std::io::Read;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::App;
use super::answer::Refusal;

/// A file is never larger than this when decompressed.
const MAX_BYTES: u64 = 64 << 20;

/// How an asset's bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// brotli.
    Brotli,
}

/// One file of the UI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// For example `text/html; charset=utf-8`.
    pub content_type: &'static str,
    /// How `bytes` are compressed.
    pub encoding: Encoding,
    /// The file.
    pub bytes: Bytes,
    /// Changes with the content; without quotes.
    pub etag: String,
}

/// Where the UI's files come from.
pub trait Assets: Debug + Send + Sync {
    /// The file at `path`, which has no slash in front: `index.html`.
    fn get(&self, path: &str) -> Option<Asset>;
}

impl Encoding {
    /// As in `content-encoding`; none for bytes as they are.
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }
}

/// Whatever no route took: a file or a page of the UI.
pub(super) async fn fallback(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    if path.split('/').next() == Some("api") {
        let message = format!("there is no /{path}; /api/v1/openapi.json describes what there is");
        return Refusal::not_found(message).into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Refusal::method_not_allowed().into_response();
    }
    let Some(assets) = &app.parts.assets else {
        let text = "this binary was built without the web UI; build it with: cargo xtask build --release\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let file = if path.is_empty() { None } else { assets.get(path) };
    match file.or_else(|| if is_page(path, request.headers()) { assets.get("index.html") } else { None }) {
        Some(asset) => respond(request.headers(), asset),
        None => Refusal::not_found(format!("the web UI has no file /{path}")).into_response(),
    }
}

fn is_page(path: &str, headers: &HeaderMap) -> bool {
    let wants_html = || headers.get_all(header::ACCEPT).iter().any(|value| value.as_bytes().starts_with(b"text/html"));
    path.rsplit('/').next().is_none_or(|name| !name.contains('.')) || wants_html()
}

fn respond(headers: &HeaderMap, asset: Asset) -> Response {
    let etag = format!("\"{}\"", asset.etag);
    let Ok(etag_value) = HeaderValue::from_str(&etag) else {
        return Refusal::internal("a file of the web UI has a bad etag").into_response();
    };
    let mut response = if knows(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let accepted = asset.encoding.name().filter(|name| accepts(headers, name));
        let bytes = match accepted {
            Some(_) => Ok(asset.bytes),
            None => decompress(asset.encoding, &asset.bytes),
        };
        match bytes {
            Ok(bytes) => file(bytes, accepted, asset.content_type),
            Err(_) => return Refusal::internal("a file of the web UI is damaged").into_response(),
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag_value);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // Asked again each time, answered 304: a new version of the binary is seen at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn file(bytes: Bytes, encoding: Option<&'static str>, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether the client has the file already.
fn knows(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = known.flat_map(|text| text.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == etag || tag == "*")
}

/// Whether `accept-encoding` names a coding, and not with `q=0`.
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|text| text.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok());
        is_named && quality.is_none_or(|q| q > 0.0)
    })
}

fn decompress(encoding: Encoding, bytes: &Bytes) -> std::io::Result<Bytes> {
    let mut plain = Vec::new();
    match encoding {
        Encoding::Identity => return Ok(bytes.clone()),
        Encoding::Gzip => flate2::read::GzDecoder::new(bytes.as_ref()).take(MAX_BYTES).read_to_end(&mut plain)?,
        Encoding::Brotli => brotli::Decompressor::new(bytes.as_ref(), 4_096).take(MAX_BYTES).read_to_end(&mut plain)?,
    };
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn encodings_are_negotiated() {
        for (value, brotli, gzip) in [
            ("gzip, deflate, br, zstd", true, true),
            ("gzip;q=0.5", false, true),
            ("br;q=0, gzip", false, true),
            ("identity", false, false),
            ("", false, false),
        ] {
            let headers = headers(header::ACCEPT_ENCODING, value);
            assert_eq!((accepts(&headers, "br"), accepts(&headers, "gzip")), (brotli, gzip), "{value}");
        }
    }

    #[test]
    fn a_service_whose_name_holds_a_dot_has_a_page() {
        let (navigation, script) = ("text/html,application/xhtml+xml,*/*;q=0.8", "*/*");
        for (path, accept, expected) in [
            ("services/shop/web", script, true),
            ("services/api.shop.local", navigation, true),
            ("services/api.shop.local", script, false),
            ("missing.js", script, false),
        ] {
            assert_eq!(is_page(path, &headers(header::ACCEPT, accept)), expected, "{path} {accept}");
        }
    }

    #[test]
    fn known_tags_are_recognised() {
        for (value, is_known) in
            [("\"a\"", true), ("\"b\", W/\"a\"", true), ("*", true), ("\"b\"", false), ("a", false)]
        {
            assert_eq!(knows(&headers(header::IF_NONE_MATCH, value), "\"a\""), is_known, "{value}");
        }
    }
}
