//! `OTEL_RESOURCE_ATTRIBUTES`: what an operator says about the process, added to everything that is reported.
//!
//! Form: `key=value,key=value`, percent-encoded as in W3C baggage (OpenTelemetry, resource SDK). What the sidecar knows itself
//! (its service, its instance) is not overridden: its identity is that of the mesh.

use tripline_otlp::proto::common::v1::any_value::Value;
use tripline_otlp::proto::common::v1::{AnyValue, KeyValue};
use tripline_otlp::proto::resource::v1::Resource;

/// Attributes taken; more are left out with a warning.
const MAX: usize = 64;
/// Longest key or value, in bytes.
const MAX_BYTES: usize = 256;

/// Reads the variable; what cannot be read is told and left out.
pub(crate) fn read(text: &str) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let parsed = pair.split_once('=').and_then(|(key, value)| Some((decoded(key.trim())?, decoded(value.trim())?)));
        match parsed {
            Some((key, value))
                if !key.is_empty() && key.len().max(value.len()) <= MAX_BYTES && attributes.len() < MAX =>
            {
                attributes.push((key, value));
            }
            _ => {
                tracing::warn!(pair, "a pair of OTEL_RESOURCE_ATTRIBUTES is left out: expected at most {MAX} key=value")
            }
        }
    }
    attributes
}

/// Adds attributes to a resource that does not have them.
pub(crate) fn add(attributes: &[(String, String)], resource: Option<&mut Resource>) {
    let Some(resource) = resource else { return };
    for (key, value) in attributes {
        if resource.attributes.iter().all(|known| known.key != *key) {
            let value = Some(AnyValue { value: Some(Value::StringValue(value.clone())) });
            resource.attributes.push(KeyValue { key: key.clone(), value, ..KeyValue::default() });
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = rest.get(2..)?;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_broken_ones_left_out() {
        let read = read("cloud.region=eu-west-1, team = a%20b%2Cc,broken,=x,bad=%4,bad=%zz,empty=");
        let pairs: Vec<(&str, &str)> = read.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("cloud.region", "eu-west-1"), ("team", "a b,c"), ("empty", "")]);
        assert_eq!(super::read(&"a=b,".repeat(1_000)).len(), MAX);
    }

    #[test]
    fn the_sidecar_s_own_identity_is_not_overridden() {
        let mut resource = Resource::default();
        let own = [("service.name".to_owned(), "web".to_owned())];
        add(&own, Some(&mut resource));
        add(&[("service.name".to_owned(), "liar".to_owned()), ("x".to_owned(), "y".to_owned())], Some(&mut resource));
        let keys: Vec<&str> = resource.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, ["service.name", "x"]);
        assert_eq!(resource.attributes[0].value.as_ref().unwrap().value, Some(Value::StringValue("web".into())));
    }
}
