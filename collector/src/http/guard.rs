//! What every request passes before its handler.
//!
//! | check | answer | why |
//! |---|---|---|
//! | path and query no longer than the limit | 414 | bounded everything |
//! | token, when one is configured, for `/api` and `/metrics` | 401 | the UI's own files and the probes hold no data and are open |
//! | `POST` is JSON and from our own pages | 403 | a browser may not act on behalf of another site (CSRF) |
//! | a place among the requests worked on | 503 | bounded everything |
//! | an answer within the time limit | 504 | |
//!
//! The token comes as `authorization: Bearer TOKEN` or in a cookie, because a browser cannot send headers with an event
//! stream. A person brings it by opening `/?token=TOKEN`: it goes into that cookie, which scripts cannot read and other sites
//! cannot send.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::App;
use super::answer::Refusal;
use crate::auth::Token;

const COOKIE: &str = "tripline_token";

/// Headers of every answer, unless its handler has set them. The policy lets our own WebAssembly run and nothing from elsewhere
/// in; inline styles are what the UI places nodes with.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Puts the checks around every route.
pub(super) fn around(router: Router<App>, app: App) -> Router {
    let body_limit = DefaultBodyLimit::max(app.parts.limits.body_bytes);
    router.layer(body_limit).layer(from_fn_with_state(Arc::clone(&app), guard)).with_state(app)
}

async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let mut response = match admit(&app, &request) {
        Ok(None) => within_limits(&app, request, next).await.unwrap_or_else(Refusal::into_response),
        Ok(Some(answer)) => answer,
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    app.parts.metrics.count_request(&route, response.status());
    response
}

/// Lets a request pass (`None`), answers it at once, or refuses it.
fn admit(app: &App, request: &Request) -> Result<Option<Response>, Refusal> {
    let uri = request.uri();
    let length = uri.path_and_query().map_or(0, |text| text.as_str().len());
    if length > app.parts.limits.uri_bytes {
        let message = format!("the path with its query is longer than {} bytes", app.parts.limits.uri_bytes);
        return Err(Refusal::too_large(StatusCode::URI_TOO_LONG, message));
    }
    if let Some(token) = &app.parts.token {
        if is_data(uri.path()) {
            let by_cookie = || cookie(request.headers()).is_some_and(|given| allows(token, given));
            if !token.allows(request.headers()) && !by_cookie() {
                return Err(Refusal::unauthorized());
            }
        } else if let Some(given) = given_token(uri) {
            return if allows(token, given) { Ok(Some(logged_in(uri, given))) } else { Err(Refusal::unauthorized()) };
        }
    }
    if *request.method() == Method::POST {
        from_own_pages(request.headers())?;
    }
    Ok(None)
}

async fn within_limits(app: &App, request: Request, next: Next) -> Result<Response, Refusal> {
    let busy = |_| Refusal::unavailable("too many requests at a time; try again");
    let _place = app.places.try_acquire().map_err(busy)?;
    let limit = app.parts.limits.timeout;
    let late = |_| Refusal::timeout(format!("no answer within {} s; ask for less", limit.as_secs()));
    tokio::time::timeout(limit, next.run(request)).await.map_err(late)
}

/// A form of another site can send `text/plain` and two other types, never JSON; and browsers tell where a request is from.
fn from_own_pages(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
    if !content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Refusal::forbidden("send the body with \"content-type: application/json\""));
    }
    let foreign = || Refusal::forbidden("a page of another site may not do this");
    if text(HeaderName::from_static("sec-fetch-site")).is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(foreign());
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let own = text(header::HOST);
    if origin.split_once("://").map(|(_, host)| host) == own { Ok(()) } else { Err(foreign()) }
}

/// Whether a path tells about the mesh or changes something.
fn is_data(path: &str) -> bool {
    matches!(path.split('/').nth(1), Some("api" | "metrics"))
}

/// The token in our cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The token in `/?token=TOKEN`.
fn given_token(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

fn allows(token: &Token, given: &str) -> bool {
    let header = HeaderValue::from_str(&format!("Bearer {given}"));
    header.is_ok_and(|value| token.allows(&HeaderMap::from_iter([(header::AUTHORIZATION, value)])))
}

fn logged_in(uri: &Uri, token: &str) -> Response {
    let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
    let headers = [(header::SET_COOKIE, cookie), (header::LOCATION, uri.path().to_owned())];
    (StatusCode::SEE_OTHER, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_pages_may_post() {
        let check = |pairs: &[(&'static str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            from_own_pages(&pairs.collect()).is_ok()
        };
        let json = ("content-type", "application/json; charset=utf-8");
        let host = ("host", "127.0.0.1:7600");
        assert!(check(&[json, host]), "curl");
        assert!(check(&[json, host, ("origin", "http://127.0.0.1:7600"), ("sec-fetch-site", "same-origin")]));
        assert!(!check(&[("content-type", "text/plain"), host]) && !check(&[host]));
        assert!(!check(&[json, host, ("origin", "https://evil.example")]));
        assert!(!check(&[json, host, ("origin", "null")]));
        assert!(!check(&[json, host, ("sec-fetch-site", "cross-site")]));
    }
}
