//! What a line looks like: text with operators, or JSON whose values are such texts, as App Mesh (Envoy) has them.
//!
//! Operators are `%NAME%` or `%NAME(ARGUMENT)%`; `%REQ(FIRST?OTHER)%` takes the second header where the first is missing,
//! `:LENGTH` after the bracket cuts the value, `%%` is a per cent sign. What has no value is `-`. In JSON a value that is one
//! operator keeps its type: numbers are numbers, and what has no value is null.

use std::fmt::Write as _;

use http::HeaderName;
use tripline_mesh::LogFormat;

use super::{Fields, time};

/// Envoy's default line, which is App Mesh's.
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
                       %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
                       \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \
                       \"%UPSTREAM_HOST%\"\n";

/// A format, ready to write.
#[derive(Debug)]
pub(crate) struct Format {
    shape: Shape,
    request: Vec<Vec<HeaderName>>,
    response: Vec<Vec<HeaderName>>,
}

#[derive(Debug)]
enum Shape {
    Text(Vec<Piece>),
    Json(Vec<(String, Vec<Piece>)>),
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Operator { what: What, longest: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    StartTime,
    Method,
    Path,
    Authority,
    /// By its place among the request headers that are kept.
    Request(usize),
    Response(usize),
    Protocol,
    Status,
    Flags,
    Details,
    Received,
    Sent,
    Duration,
    Endpoint,
    Peer,
    Unknown,
}

impl Format {
    /// Of a document's format, and the operators in it that are not known.
    pub(crate) fn of(format: &LogFormat) -> (Self, Vec<String>) {
        let mut reading = Reading::default();
        let shape = match format {
            LogFormat::Default => Shape::Text(reading.pieces(DEFAULT)),
            LogFormat::Text(text) => {
                let end = if text.ends_with('\n') { "" } else { "\n" };
                Shape::Text(reading.pieces(&format!("{text}{end}")))
            }
            LogFormat::Json(pairs) => {
                Shape::Json(pairs.iter().map(|(key, value)| (key.clone(), reading.pieces(value))).collect())
            }
        };
        (Self { shape, request: reading.request, response: reading.response }, reading.unknown)
    }

    /// The request headers that it writes, each with those that stand in for it.
    pub(super) fn request_headers(&self) -> &[Vec<HeaderName>] {
        &self.request
    }

    /// The same of the answer.
    pub(super) fn response_headers(&self) -> &[Vec<HeaderName>] {
        &self.response
    }

    /// The line of a request, its end included.
    pub(super) fn line(&self, fields: &Fields) -> String {
        match &self.shape {
            Shape::Text(pieces) => text(pieces, fields),
            Shape::Json(pairs) => {
                let mut line = String::from("{");
                for (number, (key, pieces)) in pairs.iter().enumerate() {
                    let comma = if number == 0 { "" } else { "," };
                    // Writing to a string never fails.
                    let _ = write!(line, "{comma}{}:{}", quoted(key), json(pieces, fields));
                }
                line + "}\n"
            }
        }
    }
}

#[derive(Debug, Default)]
struct Reading {
    request: Vec<Vec<HeaderName>>,
    response: Vec<Vec<HeaderName>>,
    unknown: Vec<String>,
}

impl Reading {
    fn pieces(&mut self, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((plain, after)) = rest.split_once('%') {
            if !plain.is_empty() {
                pieces.push(Piece::Plain(plain.to_owned()));
            }
            let Some((operator, after)) = after.split_once('%') else {
                pieces.push(Piece::Plain(format!("%{after}")));
                return pieces;
            };
            pieces.push(if operator.is_empty() { Piece::Plain("%".to_owned()) } else { self.operator(operator) });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Plain(rest.to_owned()));
        }
        pieces
    }

    fn operator(&mut self, written: &str) -> Piece {
        let (call, longest) = match written.rsplit_once("):") {
            Some((call, length)) => (format!("{call})"), length.parse().unwrap_or(usize::MAX)),
            None => (written.to_owned(), usize::MAX),
        };
        let (name, argument) = match call.split_once('(') {
            Some((name, argument)) => (name, argument.trim_end_matches(')')),
            None => (call.as_str(), ""),
        };
        let what = match name {
            "START_TIME" if argument.is_empty() => What::StartTime,
            "REQ" => self.request(argument),
            "RESP" => headers(argument).map_or(What::Unknown, |names| kept(&mut self.response, names, What::Response)),
            "PROTOCOL" => What::Protocol,
            "RESPONSE_CODE" => What::Status,
            "RESPONSE_FLAGS" => What::Flags,
            "RESPONSE_CODE_DETAILS" => What::Details,
            "BYTES_RECEIVED" => What::Received,
            "BYTES_SENT" => What::Sent,
            "DURATION" => What::Duration,
            "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => What::Endpoint,
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => What::Peer,
            _ => What::Unknown,
        };
        if what == What::Unknown && self.unknown.len() < 20 {
            self.unknown.push(format!("%{written}%"));
        }
        Piece::Operator { what, longest }
    }

    fn request(&mut self, argument: &str) -> What {
        // `FIRST?:PATH` is what Envoy's default has; no proxy of ours rewrites paths, so the second is the first.
        let pseudo = argument.split('?').find(|name| name.starts_with(':'));
        match pseudo.map(str::to_ascii_uppercase).as_deref() {
            Some(":METHOD") => What::Method,
            Some(":PATH") => What::Path,
            Some(":AUTHORITY") => What::Authority,
            Some(_) => What::Unknown,
            None => headers(argument).map_or(What::Unknown, |names| kept(&mut self.request, names, What::Request)),
        }
    }
}

fn headers(argument: &str) -> Option<Vec<HeaderName>> {
    argument.split('?').map(|name| name.to_ascii_lowercase().parse().ok()).collect()
}

fn kept(list: &mut Vec<Vec<HeaderName>>, names: Vec<HeaderName>, what: fn(usize) -> What) -> What {
    list.push(names);
    what(list.len() - 1)
}

/// A value of an operator.
enum Value {
    None,
    Number(u64),
    Text(String),
}

fn value(what: What, fields: &Fields) -> Value {
    let text = |text: Option<&str>| text.map_or(Value::None, |text| Value::Text(text.to_owned()));
    match what {
        What::StartTime => Value::Text(time::written(fields.began)),
        What::Method => text(Some(&fields.method)),
        What::Path => text(Some(&fields.path)),
        What::Authority => text(Some(&*fields.authority).filter(|authority| !authority.is_empty())),
        What::Request(place) => text(fields.request.get(place).and_then(Option::as_deref)),
        What::Response(place) => text(fields.response.get(place).and_then(Option::as_deref)),
        What::Protocol => text(Some(fields.protocol)),
        What::Status => Value::Number(u64::from(fields.status)),
        What::Flags => text(flags(fields)),
        What::Details => text(fields.word.as_deref()),
        What::Received => Value::Number(fields.received),
        What::Sent => Value::Number(fields.sent),
        What::Duration => Value::Number(u64::try_from(fields.took.as_millis()).unwrap_or(u64::MAX)),
        What::Endpoint => text(fields.endpoint.as_deref()),
        What::Peer => fields.peer.map_or(Value::None, |peer| Value::Text(peer.to_string())),
        What::Unknown => Value::None,
    }
}

/// Envoy's flag for the sidecar's own word.
fn flags(fields: &Fields) -> Option<&'static str> {
    Some(match fields.word.as_deref() {
        None if fields.status == 0 => "DC",
        Some("no_endpoint") => "UH",
        Some("connect_refused" | "connect_timeout" | "connect_failed") => "UF",
        Some("reset") => "UC",
        Some("bad_answer") => "UPE",
        Some("timeout") => "UT",
        Some("breaker_open" | "overflow") => "UO",
        Some("no_route" | "unknown_host" | "not_a_backend") => "NR",
        Some("rate_limited") => "RL",
        Some("injected_fault") => "FI",
        _ => return None,
    })
}

fn text(pieces: &[Piece], fields: &Fields) -> String {
    let mut line = String::new();
    for piece in pieces {
        match piece {
            Piece::Plain(plain) => line.push_str(plain),
            Piece::Operator { what, longest } => match value(*what, fields) {
                Value::None => line.push('-'),
                Value::Number(number) => {
                    let _ = write!(line, "{number}");
                }
                Value::Text(text) => line.extend(text.chars().take(*longest)),
            },
        }
    }
    line
}

fn json(pieces: &[Piece], fields: &Fields) -> String {
    if let [Piece::Operator { what, .. }] = pieces {
        match value(*what, fields) {
            Value::None => return "null".to_owned(),
            Value::Number(number) => return number.to_string(),
            Value::Text(_) => {}
        }
    }
    quoted(&text(pieces, fields))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
