//! Attribute values of strangers, made flat and bounded.
//!
//! Scalars stay what they are. Lists and maps become their JSON text, bytes base64, as OpenTelemetry's rules for
//! non-OTLP readers say. The text of a nested value is written by a recursion that ends at [`MAX_DEPTH`] levels and at
//! the length limit, whichever comes first: what is deeper is written as `null`, what is longer is cut.

use base64::Engine as _;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use crate::Value;

/// Most attributes kept of one span, event or log record; those beyond are left out.
pub const MAX_ATTRIBUTES: usize = 128;
/// Longest attribute value kept, in bytes; longer ones are cut at a character boundary.
pub const MAX_VALUE_BYTES: usize = 4096;
/// Longest attribute key, span name or event name kept, in bytes.
pub const MAX_KEY_BYTES: usize = 256;
/// Levels of lists and maps that the JSON text of a value has at most.
pub const MAX_DEPTH: usize = 32;

/// `text`, or its longest beginning of at most `max` bytes that ends at a character boundary.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Like [`cut`], without a copy when the text is short enough.
pub(crate) fn cut_owned(mut text: String, max: usize) -> String {
    let keep = cut(&text, max).len();
    text.truncate(keep);
    text
}

/// The attributes kept; those without a key or a value are left out.
pub(crate) fn attributes(received: Vec<KeyValue>) -> Vec<(String, Value)> {
    received
        .into_iter()
        .filter(|a| !a.key.is_empty())
        .filter_map(|a| Some((cut_owned(a.key, MAX_KEY_BYTES), flat(a.value?, MAX_VALUE_BYTES)?)))
        .take(MAX_ATTRIBUTES)
        .collect()
}

/// One value, its text at most `max` bytes long; none when it is empty or belongs to another signal.
pub(crate) fn flat(value: AnyValue, max: usize) -> Option<Value> {
    Some(match value.value? {
        Any::StringValue(text) => Value::Text(cut_owned(text, max)),
        Any::BoolValue(bool) => Value::Bool(bool),
        Any::IntValue(int) => Value::Int(int),
        Any::DoubleValue(double) => Value::Double(double),
        Any::BytesValue(bytes) => Value::Text(base64_of(&bytes, max)),
        nested @ (Any::ArrayValue(_) | Any::KvlistValue(_)) => {
            let mut out = String::new();
            write_json(&mut out, &nested, max, MAX_DEPTH);
            Value::Text(cut_owned(out, max))
        }
        Any::StringValueStrindex(_) => return None,
    })
}

/// Appends the JSON text of `value`; may stop anywhere once `out` is longer than `max`.
fn write_json(out: &mut String, value: &Any, max: usize, depth: usize) {
    match value {
        Any::StringValue(text) => write_json_text(out, cut(text, max)),
        Any::BoolValue(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Any::IntValue(int) => out.push_str(&int.to_string()),
        Any::DoubleValue(double) if double.is_finite() => out.push_str(&double.to_string()),
        Any::DoubleValue(double) => write_json_text(out, &double.to_string()),
        Any::BytesValue(bytes) => write_json_text(out, &base64_of(bytes, max)),
        Any::ArrayValue(array) if depth > 0 => {
            write_items(out, ('[', ']'), &array.values, max, |out, item| {
                write_optional(out, item.value.as_ref(), max, depth - 1);
            });
        }
        Any::KvlistValue(list) if depth > 0 => {
            write_items(out, ('{', '}'), &list.values, max, |out, item| {
                write_json_text(out, cut(&item.key, MAX_KEY_BYTES));
                out.push(':');
                write_optional(out, item.value.as_ref().and_then(|v| v.value.as_ref()), max, depth - 1);
            });
        }
        Any::ArrayValue(_) | Any::KvlistValue(_) | Any::StringValueStrindex(_) => out.push_str("null"),
    }
}

fn write_items<T>(
    out: &mut String,
    brackets: (char, char),
    items: &[T],
    max: usize,
    mut write: impl FnMut(&mut String, &T),
) {
    out.push(brackets.0);
    for (index, item) in items.iter().enumerate() {
        if out.len() > max {
            return;
        }
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(brackets.1);
}

fn write_optional(out: &mut String, value: Option<&Any>, max: usize, depth: usize) {
    match value {
        Some(value) => write_json(out, value, max, depth),
        None => out.push_str("null"),
    }
}

fn write_json_text(out: &mut String, text: &str) {
    // Escaping a string cannot fail; an empty text is the honest answer if that ever changes.
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into()));
}

fn base64_of(bytes: &[u8], max: usize) -> String {
    let kept = bytes.get(..max / 4 * 3).unwrap_or(bytes);
    base64::engine::general_purpose::STANDARD.encode(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
    use proptest::prelude::*;

    fn any(value: Any) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn array(values: Vec<AnyValue>) -> Any {
        Any::ArrayValue(ArrayValue { values })
    }

    #[test]
    fn nested_values_become_json() {
        let list = Any::KvlistValue(KeyValueList {
            values: vec![
                KeyValue { key: "a\"".into(), value: Some(any(Any::IntValue(1))), key_strindex: 0 },
                KeyValue { key: "b".into(), value: None, key_strindex: 0 },
            ],
        });
        let value = array(vec![any(list), any(Any::DoubleValue(f64::NAN)), any(Any::BytesValue(vec![1, 2, 3]))]);
        let expected = r#"[{"a\"":1,"b":null},"NaN","AQID"]"#;
        assert_eq!(flat(any(value), 100), Some(Value::Text(expected.into())));
    }

    #[test]
    fn depth_ends_in_null() {
        let deep = (0..MAX_DEPTH + 20).fold(Any::IntValue(1), |inner, _| array(vec![any(inner)]));
        let Some(Value::Text(text)) = flat(any(deep), MAX_VALUE_BYTES) else { panic!("expected text") };
        assert!(text.contains("null") && !text.contains('1'));
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn wide_values_stop_early() {
        let wide = array(vec![any(Any::StringValue("x".repeat(100))); 10_000]);
        let mut out = String::new();
        write_json(&mut out, &wide, 1000, MAX_DEPTH);
        assert!(out.len() < 2500);
    }

    #[test]
    fn too_many_attributes_are_left_out() {
        let one = KeyValue { key: "k".into(), value: Some(any(Any::BoolValue(true))), key_strindex: 0 };
        assert_eq!(attributes(vec![one; 1000]).len(), MAX_ATTRIBUTES);
    }

    proptest! {
        #[test]
        fn cutting_keeps_a_beginning(text in "\\PC{0,40}", max in 0usize..60) {
            let kept = cut(&text, max);
            prop_assert!(kept.len() <= max && text.starts_with(kept));
            prop_assert!(text.len() <= max || kept.len() + 4 > max);
        }
    }
}
