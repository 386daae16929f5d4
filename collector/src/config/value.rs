//! Reading single values; each says what it expected when it cannot.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use saphyr::{Scalar, YamlData};

use super::Secret;
use super::document::Node;

/// An absolute `http` or `https` address with a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url(String);

impl Url {
    /// Reads one; a slash at its end is taken off.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || "an address such as http://127.0.0.1:4317".to_owned();
        let uri: http::Uri = text.parse().map_err(|_| expected())?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !known || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(expected());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// The address, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn text(node: &Node) -> Result<String, String> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) if !text.is_empty() => Ok(text.to_string()),
        _ => Err("a text".to_owned()),
    }
}

pub(super) fn path(node: &Node) -> Result<PathBuf, String> {
    text(node).map(PathBuf::from).map_err(|_| "a path".to_owned())
}

pub(super) fn secret(node: &Node) -> Result<Secret, String> {
    text(node).map(Secret::new)
}

pub(super) fn url(node: &Node) -> Result<Url, String> {
    Url::parse(&text(node).unwrap_or_default())
}

/// A bucket in an object store, and a prefix in it that may be empty.
pub(super) fn bucket(node: &Node) -> Result<(String, String), String> {
    let text = text(node).unwrap_or_default();
    let place = text.strip_prefix("s3://").unwrap_or_default();
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err("an address such as s3://bucket/prefix".to_owned());
    }
    Ok((bucket.to_owned(), prefix.trim_matches('/').to_owned()))
}

pub(super) fn flag(node: &Node) -> Result<bool, String> {
    match &node.data {
        YamlData::Value(Scalar::Boolean(value)) => Ok(*value),
        _ => Err("true or false".to_owned()),
    }
}

pub(super) fn address(node: &Node) -> Result<SocketAddr, String> {
    socket_address(&text(node).unwrap_or_default())
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.replace("localhost:", "127.0.0.1:");
    bare.parse().map_err(|_| "an IP address and a port such as 127.0.0.1:7600".to_owned())
}

/// A whole number from 1 to `most`.
pub(super) fn count(most: u64) -> impl Fn(&Node) -> Result<u64, String> {
    move |node| {
        match &node.data {
            YamlData::Value(Scalar::Integer(number)) => {
                u64::try_from(*number).ok().filter(|number| (1..=most).contains(number))
            }
            _ => None,
        }
        .ok_or_else(|| format!("a whole number from 1 to {most}"))
    }
}

/// A number of bytes: a whole number, or one with `KiB`, `MiB` or `GiB`.
pub(super) fn bytes(node: &Node) -> Result<u64, String> {
    let expected = || "a number of bytes such as 1048576 or 4MiB".to_owned();
    let number = match &node.data {
        YamlData::Value(Scalar::Integer(number)) => u64::try_from(*number).ok(),
        YamlData::Value(Scalar::String(text)) => {
            scaled(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)])
        }
        _ => None,
    };
    number.filter(|number| *number > 0).ok_or_else(expected)
}

/// A number of bytes that fits into memory.
pub(super) fn size(node: &Node) -> Result<usize, String> {
    usize::try_from(bytes(node)?).map_err(|_| "a number of bytes that fits into memory".to_owned())
}

/// A time: a whole number with `ms`, `s`, `m` or `h`.
pub(super) fn duration(node: &Node) -> Result<Duration, String> {
    let expected = || "a time such as 20ms, 10s, 5m or 2h".to_owned();
    let text = text(node).map_err(|_| expected())?;
    let millis = scaled(&text, &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]).ok_or_else(expected)?;
    if millis == 0 { Err(expected()) } else { Ok(Duration::from_millis(millis)) }
}

/// A whole number of hours, at most ten years; zero keeps nothing.
pub(super) fn hours_or_none(node: &Node) -> Result<Duration, String> {
    match &node.data {
        YamlData::Value(Scalar::Integer(0)) => Ok(Duration::ZERO),
        _ => hours(node).map_err(|expected| format!("0 for nothing, or {expected}")),
    }
}

/// A whole number of hours, at least one and at most ten years.
pub(super) fn hours(node: &Node) -> Result<Duration, String> {
    count(87_600)(node).map(|hours| Duration::from_secs(hours * 3600))
}

/// One of several words.
pub(super) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Result<T, String> {
    move |node| {
        let text = text(node).unwrap_or_default();
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("one of {}", names.join(", "))
        })
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (unit, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    unit.trim().parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_endpoints() {
        for good in ["http://127.0.0.1:4317", "https://otlp.example.com/prefix/", "http://[::1]:4318"] {
            assert!(Url::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:4317", "ftp://x", "http://", "/v1/traces", "http://a b", "http://h?x=1"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Url::parse("http://h:1/").map(|url| url.to_string()), Ok("http://h:1".to_owned()));
    }

    #[test]
    fn units_are_read_and_overflow_is_refused() {
        let units = &[("ms", 1), ("s", 1000)];
        assert_eq!(scaled("20ms", units), Some(20));
        assert_eq!(scaled("2 s", units), Some(2000));
        assert_eq!(scaled("s", units), None);
        assert_eq!(scaled("99999999999999999999s", units), None);
        assert_eq!(scaled("18446744073709551615s", units), None);
    }
}
