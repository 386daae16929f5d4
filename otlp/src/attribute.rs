//! Making and reading OTLP attributes.
//!
//! Reading is for our own telemetry and for resources: the first attribute of a name wins, one of another type counts as
//! absent. What strangers put on spans and log records is kept as [`crate::Value`] instead.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

use crate::Value;

pub(crate) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    key_value(key, Any::StringValue(value.into()))
}

/// Saturates: OTLP has no unsigned attribute.
pub(crate) fn number(key: &str, value: u64) -> KeyValue {
    key_value(key, Any::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

pub(crate) fn double(key: &str, value: f64) -> KeyValue {
    key_value(key, Any::DoubleValue(value))
}

pub(crate) fn flag(key: &str) -> KeyValue {
    key_value(key, Any::BoolValue(true))
}

pub(crate) fn texts(key: &str, values: impl Iterator<Item = String>) -> KeyValue {
    let values = values.map(|v| AnyValue { value: Some(Any::StringValue(v)) }).collect();
    key_value(key, Any::ArrayValue(ArrayValue { values }))
}

pub(crate) fn of_value(key: &str, value: &Value) -> KeyValue {
    key_value(
        key,
        match value {
            Value::Text(text) => Any::StringValue(text.clone()),
            Value::Int(int) => Any::IntValue(*int),
            Value::Double(double) => Any::DoubleValue(*double),
            Value::Bool(bool) => Any::BoolValue(*bool),
        },
    )
}

/// Adds a text attribute unless it is empty: absence says the same in fewer bytes.
pub(crate) fn push_text(attributes: &mut Vec<KeyValue>, key: &str, value: &str) {
    if !value.is_empty() {
        attributes.push(text(key, value));
    }
}

pub(crate) fn get_text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match get(attributes, key)? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

pub(crate) fn get_flag(attributes: &[KeyValue], key: &str) -> bool {
    matches!(get(attributes, key), Some(Any::BoolValue(true)))
}

fn get<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Any> {
    attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

fn key_value(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}
