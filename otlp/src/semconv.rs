//! What a span says by OpenTelemetry's semantic conventions, the stable ones first, then those that are still sent.
//!
//! [`Said`] holds the few attributes that the rules read, wherever they came from: a span on the wire or a [`SpanRecord`]. Its
//! `peer` names whom a span called, `protocol` what was spoken, `failed` how it ended. Nothing here guesses from span names.

mod key;
mod messaging;
mod outcome;
mod peer;
mod protocol;

use tripline_model::Protocol;

pub(crate) use key::Key;
pub use messaging::MessagingStep;

use crate::{Peer, SpanKind, SpanRecord, SpanStatus, Value};

/// The value of an attribute, as far as the rules look at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Word<'a> {
    Text(&'a str),
    Int(i64),
    Bool(bool),
    Other,
}

/// What a span says of itself; made once and filled again for each span.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said<'a> {
    kind: SpanKind,
    status: SpanStatus,
    /// Bit n: the key of number n is in `words`.
    seen: u64,
    words: Vec<(Key, Word<'a>)>,
}

impl<'a> Said<'a> {
    /// Forgets everything, for the next span.
    pub(crate) fn begin(&mut self, kind: SpanKind, status: SpanStatus) {
        (self.kind, self.status, self.seen) = (kind, status, 0);
        self.words.clear();
    }

    /// Notes an attribute; of equal names the first counts.
    pub(crate) fn note(&mut self, key: Key, word: Word<'a>) {
        let bit = 1 << key as u8;
        if self.seen & bit == 0 {
            self.seen |= bit;
            self.words.push((key, word));
        }
    }

    /// The words in the order received.
    fn words(&self) -> impl Iterator<Item = (Key, Word<'a>)> {
        self.words.iter().copied()
    }

    fn word(&self, key: Key) -> Option<Word<'a>> {
        if self.seen & 1 << key as u8 == 0 {
            return None;
        }
        self.words().find(|(known, _)| *known == key).map(|(_, word)| word)
    }

    fn has_any(&self, keys: &[Key]) -> bool {
        keys.iter().any(|key| self.seen & 1 << *key as u8 != 0)
    }

    /// The first non-empty text under one of the names, the names in order of rank.
    fn text(&self, keys: &[Key]) -> Option<&'a str> {
        keys.iter().find_map(|key| match self.word(*key) {
            Some(Word::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        })
    }

    /// The first whole number under one of the names; a number written as text counts, as old SDKs sent ports so.
    fn number(&self, keys: &[Key]) -> Option<i64> {
        keys.iter().find_map(|key| match self.word(*key)? {
            Word::Int(int) => Some(int),
            Word::Text(text) => text.parse().ok(),
            Word::Bool(_) | Word::Other => None,
        })
    }
}

impl SpanRecord {
    /// The first attribute of that name.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Whom a client, producer or consumer span says it talked to; for a consumer that is the queue. None for other
    /// kinds, and when it does not say.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.said().peer()
    }

    /// What was spoken; HTTP when the span does not say, since that is what most leave unsaid.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.said().protocol()
    }

    /// Whether the call failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.said().failed()
    }

    /// The HTTP status code, 100 to 599.
    #[must_use]
    pub fn http_status(&self) -> Option<u16> {
        self.said().http_status()
    }

    /// The gRPC status code, 0 to 16.
    #[must_use]
    pub fn grpc_status(&self) -> Option<u8> {
        self.said().grpc_status()
    }

    pub(crate) fn said(&self) -> Said<'_> {
        let mut said = Said::default();
        said.begin(self.kind, self.status);
        for (key, value) in &self.attributes {
            let word = match value {
                Value::Text(text) => Word::Text(text),
                Value::Int(int) => Word::Int(*int),
                Value::Bool(bool) => Word::Bool(*bool),
                Value::Double(_) => Word::Other,
            };
            if let Some(key) = Key::of(key.as_bytes()) {
                said.note(key, word);
            }
        }
        said
    }
}

/// `db.system.name` and what it was called before.
const DB_SYSTEM: &[Key] = &[Key::DbSystemName, Key::DbSystem];
const MESSAGING_SYSTEM: &[Key] = &[Key::MessagingSystem];
const RPC_SYSTEM: &[Key] = &[Key::RpcSystemName, Key::RpcSystem];

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use tripline_model::{ServiceName, SpanId, Timestamp, TraceId};

    use crate::{SpanKind, SpanRecord, SpanStatus, Value};

    /// Names and values as a table writes them.
    pub(crate) type Pairs<'a> = &'a [(&'a str, &'a str)];

    /// A span of `shop/web` with these attributes; ports and codes that are numbers become integers.
    pub(crate) fn span(kind: SpanKind, attributes: Pairs<'_>) -> SpanRecord {
        let value = |key: &str, text: &str| match text.parse() {
            Ok(number) if key.ends_with("port") || key.ends_with("code") => Value::Int(number),
            _ => Value::Text(text.into()),
        };
        let empty: Arc<str> = "".into();
        SpanRecord {
            trace_id: TraceId::from_bytes([1; 16]).unwrap(),
            span_id: SpanId::from_bytes([2; 8]).unwrap(),
            parent: None,
            service: ServiceName::new("shop", "web"),
            instance: empty.clone(),
            environment: empty,
            from_sidecar: false,
            name: "op".into(),
            kind,
            start: Timestamp::from_secs(1),
            end: Timestamp::from_secs(2),
            status: SpanStatus::Unset,
            status_message: String::new(),
            attributes: attributes.iter().map(|(k, v)| ((*k).into(), value(k, v))).collect(),
            events: Vec::new(),
            links: Vec::new(),
            weight: 1.0,
        }
    }
}
