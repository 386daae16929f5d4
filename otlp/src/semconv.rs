//! What a span says by OpenTelemetry's semantic conventions, the stable ones first, then those that are still sent.
//!
//! [`SpanRecord::peer`] names whom a span called, [`SpanRecord::protocol`] what was spoken, [`SpanRecord::failed`] how it
//! ended. Nothing here guesses from span names.

mod outcome;
mod peer;
mod protocol;

use crate::{SpanRecord, Value};

impl SpanRecord {
    /// The first attribute of that name.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// The first non-empty text under one of the names, the names in order of rank.
    #[must_use]
    pub fn text(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| match self.attribute(key) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
    }

    /// The first whole number under one of the names; a number written as text counts, as old SDKs sent ports so.
    #[must_use]
    pub fn number(&self, keys: &[&str]) -> Option<i64> {
        keys.iter().find_map(|key| match self.attribute(key)? {
            Value::Int(int) => Some(*int),
            Value::Text(text) => text.parse().ok(),
            Value::Double(_) | Value::Bool(_) => None,
        })
    }
}

/// `db.system.name` and what it was called before.
const DB_SYSTEM: &[&str] = &["db.system.name", "db.system"];
const MESSAGING_SYSTEM: &[&str] = &["messaging.system"];
const RPC_SYSTEM: &[&str] = &["rpc.system.name", "rpc.system"];

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
