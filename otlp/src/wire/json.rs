//! OTLP/JSON.
//!
//! `opentelemetry-proto` reads what SDKs normally send: hexadecimal ids, 64-bit integers as texts or numbers, enumerations as
//! integers, unknown fields ignored. It stumbles over what the protobuf JSON mapping allows besides: `null` for "not set",
//! an empty `arrayValue`, a floating-point value as text; and a metric whose data it cannot read becomes one without data,
//! silently. So whatever it does not read at once is put into the plain form and read again; only what fails then is
//! an error.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Map, Value};

use super::{DecodeError, MAX_NESTING};

/// Objects of one JSON request.
pub const MAX_OBJECTS: usize = 1_000_000;
/// Objects of a request that is read a second time, which takes some 600 bytes for each.
const MAX_REREAD_OBJECTS: usize = 100_000;
/// Ten levels lead to the first value of a span, and each level of a map within it takes four; serde_json itself ends at 128.
const MAX_JSON_NESTING: usize = MAX_NESTING + 20;

/// Reads a request. `whole` says whether what was read at once can be trusted.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], whole: fn(&T) -> bool) -> Result<T, DecodeError> {
    let objects = check(bytes)?;
    // serde takes a list for a message too, which protobuf's mapping does not.
    if bytes.trim_ascii_start().first().is_none_or(|byte| *byte != b'{') {
        return Err(serde_json::Error::custom("expected an object").into());
    }
    let first = serde_json::from_slice::<T>(bytes);
    match first {
        Ok(request) if whole(&request) => Ok(request),
        _ if objects > MAX_REREAD_OBJECTS => Ok(first?),
        _ => {
            let mut value: Value = serde_json::from_slice(bytes)?;
            make_plain(&mut value);
            Ok(serde_json::from_value(value)?)
        }
    }
}

/// Whether no metric came out without data, which no sender means.
pub(super) fn has_all_data(request: &ExportMetricsServiceRequest) -> bool {
    request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics)
        .all(|metric| metric.data.is_some())
}

/// Counts objects, which is what memory goes to, and levels, without understanding anything else.
fn check(bytes: &[u8]) -> Result<usize, DecodeError> {
    let (mut objects, mut depth, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in bytes {
        if in_text {
            in_text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => {
                objects += usize::from(*byte == b'{');
                depth += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_JSON_NESTING {
            return Err(DecodeError::TooDeep);
        }
        if objects > MAX_OBJECTS {
            return Err(DecodeError::TooLarge);
        }
    }
    Ok(objects)
}

/// The plain form. Recursion is safe: serde_json ended at 128 levels.
fn make_plain(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(make_plain);
        }
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            plain_fields(fields);
            fields.values_mut().for_each(make_plain);
        }
        _ => {}
    }
}

fn plain_fields(fields: &mut Map<String, Value>) {
    for list in ["arrayValue", "kvlistValue"] {
        if let Some(Value::Object(list)) = fields.get_mut(list) {
            list.entry("values").or_insert_with(|| Value::Array(Vec::new()));
        }
    }
    let double = |fields: &Map<_, _>, key| match fields.get(key) {
        Some(Value::String(text)) => Some(text.parse::<f64>().ok().and_then(serde_json::Number::from_f64)),
        _ => None,
    };
    match double(fields, "doubleValue") {
        Some(Some(number)) => drop(fields.insert("doubleValue".into(), Value::Number(number))),
        // NaN and the infinities: JSON has no number for them, but an attribute may as well be a text.
        Some(None) => {
            if let Some(text) = fields.remove("doubleValue") {
                fields.insert("stringValue".into(), text);
            }
        }
        None => {}
    }
    for key in ["asDouble", "sum", "min", "max"] {
        match double(fields, key) {
            Some(Some(number)) => drop(fields.insert(key.into(), Value::Number(number))),
            Some(None) => drop(fields.remove(key)),
            None => {}
        }
    }
}
