//! Trace context in the forms other than W3C's: B3 (one header or several), `X-Amzn-Trace-Id` and `grpc-trace-bin`.
//!
//! A request that brings one of them keeps it in that form, so that an application with Zipkin's or X-Ray's libraries
//! finds what it looks for, and the next sidecar reads the same. With `traceparent` beside them that one counts and
//! these pass unchanged. A form that leaves the decision open (no `Sampled`) is sampled by the trace id, as a new trace is.
//!
//! Sources: openzipkin/b3-propagation; AWS X-Ray Developer Guide, "Tracing header"; census-instrumentation/opencensus-specs,
//! "BinaryEncoding"; gRPC's PROTOCOL-HTTP2 (binary fields are base64, with or without padding).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};
use tripline_model::{SpanId, TraceId};

use crate::headers;

const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");
const GRPC: HeaderName = HeaderName::from_static("grpc-trace-bin");
const AMAZON: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// Longest value read, in bytes.
const MAX_BYTES: usize = 512;

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `b3: TRACE-SPAN-SAMPLED-PARENT`.
    B3Single,
    /// `x-b3-traceid` and the others.
    B3Multi,
    /// `x-amzn-trace-id: Root=1-TIME-ID;Parent=SPAN;Sampled=1`.
    Amazon,
    /// `grpc-trace-bin`: version 0, then field 0 the trace, field 1 the span, field 2 whether it is sampled.
    GrpcBinary,
}

/// A context that a request brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Brought {
    /// How.
    pub(crate) form: Form,
    /// Its trace.
    pub(crate) trace: TraceId,
    /// The span it came from, if it says.
    pub(crate) parent: Option<SpanId>,
    /// Whether the trace is sampled; none when that is left open.
    pub(crate) sampled: Option<bool>,
}

impl Brought {
    /// The context of a request in one of the forms; none when there is none that can be read.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        b3_single(headers).or_else(|| b3_multi(headers)).or_else(|| amazon(headers)).or_else(|| grpc_binary(headers))
    }

    /// Puts the sidecar's own span into the headers, as that of a sampled trace.
    pub(crate) fn write(&self, span: SpanId, headers: &mut HeaderMap) {
        match self.form {
            Form::B3Single => {
                let parent = self.parent.map(|parent| format!("-{parent}")).unwrap_or_default();
                let text = format!("{}-{span}-1{parent}", self.trace);
                headers.insert(B3, headers::once(headers::value(&text)));
            }
            Form::B3Multi => {
                headers.insert(B3_SPAN, headers::once(headers::value(&span.to_string())));
                match self.parent {
                    Some(parent) => {
                        headers.insert(B3_PARENT, headers::once(headers::value(&parent.to_string())));
                    }
                    None => {
                        headers.remove(B3_PARENT);
                    }
                }
                headers.insert(B3_SAMPLED, HeaderValue::from_static("1"));
            }
            Form::GrpcBinary => {
                let mut bytes = [0; BINARY];
                bytes[2..18].copy_from_slice(self.trace.as_bytes());
                bytes[18] = 1;
                bytes[19..27].copy_from_slice(span.as_bytes());
                bytes[27..].copy_from_slice(&[2, 1]);
                headers.insert(GRPC, headers::once(headers::value(&BASE64.encode(bytes))));
            }
            Form::Amazon => {
                let mut text = String::new();
                for (name, value) in headers.get(AMAZON).and_then(text_of).into_iter().flat_map(fields) {
                    if !name.eq_ignore_ascii_case("Parent") && !name.eq_ignore_ascii_case("Sampled") {
                        // Writing to a string never fails.
                        let _ = write!(text, "{name}={value};");
                    }
                }
                let _ = write!(text, "Parent={span};Sampled=1");
                headers.insert(AMAZON, headers::once(headers::value(&text)));
            }
        }
    }
}

fn text_of(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim).filter(|text| text.len() <= MAX_BYTES)
}

fn b3_single(headers: &HeaderMap) -> Option<Brought> {
    let mut parts = text_of(headers.get(B3)?)?.split('-');
    let (trace, parent) = (b3_trace(parts.next()?)?, parts.next()?.parse().ok()?);
    let sampled = parts.next().and_then(b3_sampled);
    Some(Brought { form: Form::B3Single, trace, parent: Some(parent), sampled })
}

fn b3_multi(headers: &HeaderMap) -> Option<Brought> {
    let trace = b3_trace(text_of(headers.get(B3_TRACE)?)?)?;
    let parent = text_of(headers.get(B3_SPAN)?)?.parse().ok()?;
    let debug = headers.get(B3_FLAGS).and_then(text_of).filter(|flags| *flags == "1").map(|_| true);
    let sampled = debug.or_else(|| headers.get(B3_SAMPLED).and_then(text_of).and_then(b3_sampled));
    Some(Brought { form: Form::B3Multi, trace, parent: Some(parent), sampled })
}

/// Trace ids of 64 bits are old B3's; they are the lower half of ours.
fn b3_trace(text: &str) -> Option<TraceId> {
    let text = text.to_ascii_lowercase();
    if text.len() == 16 { format!("{:0>32}", text).parse().ok() } else { text.parse().ok() }
}

fn b3_sampled(text: &str) -> Option<bool> {
    match text {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn amazon(headers: &HeaderMap) -> Option<Brought> {
    let text = text_of(headers.get(AMAZON)?)?;
    let field = |wanted: &str| fields(text).find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
    let mut root = field("Root")?.split('-');
    let (version, time, id) = (root.next()?, root.next()?, root.next()?);
    if version != "1" || time.len() != 8 || root.next().is_some() {
        return None;
    }
    let trace = format!("{time}{id}").to_ascii_lowercase().parse().ok()?;
    let sampled = field("Sampled").and_then(b3_sampled);
    Some(Brought { form: Form::Amazon, trace, parent: field("Parent").and_then(|span| span.parse().ok()), sampled })
}

/// Bytes of a whole context.
const BINARY: usize = 29;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn grpc_binary(headers: &HeaderMap) -> Option<Brought> {
    let bytes = BASE64.decode(text_of(headers.get(GRPC)?)?).ok()?;
    let (trace, rest) = bytes.strip_prefix(&[0, 0])?.split_first_chunk::<16>()?;
    let (span, rest) = rest.strip_prefix(&[1])?.split_first_chunk::<8>()?;
    let sampled = rest.strip_prefix(&[2]).and_then(<[u8]>::first).map(|flags| flags & 1 == 1);
    let (trace, parent) = (TraceId::from_bytes(*trace)?, SpanId::from_bytes(*span)?);
    Some(Brought { form: Form::GrpcBinary, trace, parent: Some(parent), sampled })
}

fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').filter_map(|field| field.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn each_form_is_read_and_written_back_in_its_own_way() {
        let span: SpanId = "1111111111111111".parse().unwrap();
        let root = format!("1-{}-{}", &TRACE[..8], &TRACE[8..]);
        let single = format!("{TRACE}-00f067aa0ba902b7-1-05e3ac9a4f6e3b90");
        let amazon = format!("Self=1-2-3;Root={root};Parent=00f067aa0ba902b7;Sampled=1;Lineage=a:1");
        for (form, before, after) in [
            (Form::B3Single, vec![("b3", single.as_str())], vec![("b3", format!("{TRACE}-{span}-1-00f067aa0ba902b7"))]),
            (
                Form::B3Multi,
                vec![("x-b3-traceid", TRACE), ("x-b3-spanid", "00f067aa0ba902b7"), ("x-b3-sampled", "1")],
                vec![("x-b3-spanid", span.to_string()), ("x-b3-parentspanid", "00f067aa0ba902b7".into())],
            ),
            (
                Form::Amazon,
                vec![("x-amzn-trace-id", amazon.as_str())],
                vec![("x-amzn-trace-id", format!("Self=1-2-3;Root={root};Lineage=a:1;Parent={span};Sampled=1"))],
            ),
        ] {
            let mut headers = map(&before);
            let brought = Brought::read(&headers).unwrap();
            assert_eq!((brought.form, brought.trace.to_string().as_str(), brought.sampled), (form, TRACE, Some(true)));
            assert_eq!(brought.parent.unwrap().to_string(), "00f067aa0ba902b7");
            brought.write(span, &mut headers);
            for (name, value) in after {
                assert_eq!(headers[name], value);
            }
        }
    }

    #[test]
    fn binary_contexts_of_grpc_stay_binary() {
        // The example of the specification: trace 404142..4f, span 6162..68, sampled.
        let example = "AABAQUJDREVGR0hJSktMTU5PAWFiY2RlZmdoAgE";
        for written in [example.to_owned(), format!("{example}=")] {
            let mut headers = map(&[("grpc-trace-bin", &written)]);
            let brought = Brought::read(&headers).unwrap();
            assert_eq!((brought.form, brought.sampled), (Form::GrpcBinary, Some(true)));
            assert_eq!(brought.trace.to_string(), "404142434445464748494a4b4c4d4e4f");
            assert_eq!(brought.parent.unwrap().to_string(), "6162636465666768");
            brought.write("1111111111111111".parse().unwrap(), &mut headers);
            assert_eq!(headers["grpc-trace-bin"], "AABAQUJDREVGR0hJSktMTU5PARERERERERERAgE");
        }
        for wrong in
            ["", "AAE", "AQBAQUJDREVGR0hJSktMTU5PAWFiY2RlZmdoAgE", "AAAAAAAAAAAAAAAAAAAAAAAAAWFiY2RlZmdoAgE", "%%%"]
        {
            assert_eq!(Brought::read(&map(&[("grpc-trace-bin", wrong)])), None, "{wrong}");
        }
        let unsampled = "AABAQUJDREVGR0hJSktMTU5PAWFiY2RlZmdoAgA";
        assert_eq!(Brought::read(&map(&[("grpc-trace-bin", unsampled)])).unwrap().sampled, Some(false));
    }

    #[test]
    fn what_is_left_open_is_open_and_what_is_wrong_is_none() {
        let read = |fields: &[(&'static str, &str)]| Brought::read(&map(fields));
        assert_eq!(read(&[("b3", "000000000000000a-00f067aa0ba902b7")]).unwrap().sampled, None);
        assert!(read(&[("b3", "000000000000000a-00f067aa0ba902b7")]).unwrap().trace.to_string().ends_with("0a"));
        let flagged = [("x-b3-traceid", TRACE), ("x-b3-spanid", "00f067aa0ba902b7"), ("x-b3-flags", "1")];
        assert_eq!(read(&flagged).unwrap().sampled, Some(true));
        let balancer = format!("Root=1-{}-{}", &TRACE[..8], &TRACE[8..]);
        let brought = read(&[("x-amzn-trace-id", &balancer)]).unwrap();
        assert_eq!((brought.parent, brought.sampled), (None, None), "what a load balancer sends");
        for (name, wrong) in [
            ("b3", "0"),
            ("b3", "xyz-00f067aa0ba902b7-1"),
            ("x-b3-traceid", TRACE),
            ("x-amzn-trace-id", "Root=2-12345678-123456789012345678901234"),
            ("x-amzn-trace-id", "Root=1-1234-123456789012345678901234"),
            ("x-amzn-trace-id", "Parent=00f067aa0ba902b7"),
        ] {
            assert_eq!(read(&[(name, wrong)]), None, "{name}: {wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_survived(text in "[ -~]{0,600}") {
            for name in ["b3", "x-b3-traceid", "x-b3-spanid", "x-amzn-trace-id"] {
                let mut headers = map(&[(name, &text), ("x-b3-spanid", "00f067aa0ba902b7")]);
                if let Some(brought) = Brought::read(&headers) {
                    brought.write("1111111111111111".parse().unwrap(), &mut headers);
                    prop_assert_eq!(Brought::read(&headers).map(|again| again.trace), Some(brought.trace));
                }
            }
        }
    }
}
