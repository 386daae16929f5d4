//! The one token that senders of OTLP bring, as `authorization: Bearer TOKEN`, when the configuration names one.
//!
//! The HTTP API asks for the same token in its own way, because browsers cannot send headers everywhere.

use std::sync::Arc;

use http::{HeaderMap, header};

use crate::config::Secret;

/// The token that senders must bring.
#[derive(Debug, Clone)]
pub struct Token(Arc<Secret>);

impl Token {
    /// A token.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self(Arc::new(secret))
    }

    /// Whether a request with these headers may pass.
    #[must_use]
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|given| self.is(given))
    }

    /// Compares without telling by the time it takes how many bytes were right.
    fn is(&self, given: &str) -> bool {
        let (given, own) = (given.as_bytes(), self.0.expose().as_bytes());
        let differences = given.iter().zip(own).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
        given.len() == own.len() && differences == 0
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_passes() {
        let token = Token::new(Secret::new("s3cret"));
        let allows = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, http::HeaderValue::from_str(value).expect("a value"));
            token.allows(&headers)
        };
        for good in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "] {
            assert!(allows(good), "{good}");
        }
        for bad in
            ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Bearer S3cret", "Basic s3cret", "s3cret"]
        {
            assert!(!allows(bad), "{bad}");
        }
        assert!(!token.allows(&HeaderMap::new()));
    }
}
