//! The key of a request for a ring hash: a header's value or a cookie's.

use http::HeaderMap;
use http::header::COOKIE;
use http::request::Parts;
use tripline_mesh::HashKey;

use crate::balance::hash;

/// The key of a request; none when it does not have what is looked at, and then any endpoint will do.
pub(crate) fn hash_of(key: &HashKey, parts: &Parts) -> Option<u64> {
    match key {
        HashKey::Header(name) => Some(hash(parts.headers.get(name.as_str())?.as_bytes())),
        HashKey::Cookie(name) => Some(hash(cookie(&parts.headers, name)?.as_bytes())),
    }
}

fn cookie<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_headers_and_cookies() {
        let request =
            http::Request::get("/").header("x-user", "7").header("cookie", "a=1; session=xyz").body(()).unwrap();
        let (parts, ()) = request.into_parts();
        assert_eq!(hash_of(&HashKey::Header("x-user".into()), &parts), Some(hash(b"7")));
        assert_eq!(hash_of(&HashKey::Cookie("session".into()), &parts), Some(hash(b"xyz")));
        assert_eq!(hash_of(&HashKey::Cookie("sess".into()), &parts), None);
        assert_eq!(hash_of(&HashKey::Header("x-other".into()), &parts), None);
    }
}
