//! W3C trace context: read, continued, begun; and which traces are sampled. Other forms are [`crate::trace_forms`]'s.
//!
//! A request that brings a context keeps its trace. If the trace is sampled the sidecar puts its own span into the
//! `traceparent` it sends on; if not, the header passes unchanged, which the recommendation allows for whoever records
//! nothing. A request without a context gets a root here, sampled by its trace id, so that both halves and the application
//! agree on the trace even where nobody records it.

use std::cell::Cell;

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};
use tripline_model::{SpanId, TraceId};

use crate::headers;
use crate::trace_forms::Brought;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Bytes of a version 00 traceparent.
const LENGTH: usize = 55;

/// Where a request belongs and whether its span is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// Its trace.
    pub(crate) trace: TraceId,
    /// The span it came from; none for a root.
    pub(crate) parent: Option<SpanId>,
    /// The sidecar's own span, when it is recorded.
    pub(crate) span: Option<SpanId>,
}

impl TraceContext {
    /// Of something that is no part of any trace.
    pub(crate) fn none() -> Self {
        Self { trace: random_trace(), parent: None, span: None }
    }

    /// Takes the context of a request and leaves in its headers what is to be sent on.
    pub(crate) fn enter(headers: &mut HeaderMap, sampler: Sampler) -> Self {
        if !may_have_context(headers) {
            return Self::begin(headers, sampler);
        }
        match read(headers).map_or_else(|| Brought::read(headers).map(Came::Otherwise), |read| Some(Came::W3c(read))) {
            Some(Came::Otherwise(brought)) => {
                let Brought { trace, parent, sampled, .. } = brought;
                let span = sampled.unwrap_or_else(|| sampler.takes(trace)).then(random_span);
                if let Some(span) = span {
                    brought.write(span, headers);
                }
                Self { trace, parent, span }
            }
            Some(Came::W3c((trace, parent, sampled))) => {
                let span = sampled.then(random_span);
                match span {
                    Some(span) => drop(headers.insert(TRACEPARENT, write(trace, span, true))),
                    None => headers.get_mut(TRACEPARENT).into_iter().for_each(headers::mark_once),
                }
                Self { trace, parent: Some(parent), span }
            }
            None => {
                // Without a valid traceparent the state belongs to nothing.
                headers.remove(TRACESTATE);
                Self::begin(headers, sampler)
            }
        }
    }

    fn begin(headers: &mut HeaderMap, sampler: Sampler) -> Self {
        let (trace, own) = (random_trace(), random_span());
        let sampled = sampler.takes(trace);
        headers.insert(TRACEPARENT, write(trace, own, sampled));
        Self { trace, parent: None, span: sampled.then_some(own) }
    }
}

/// Whether any header could be about a trace: one look at each name instead of a look-up of each form.
fn may_have_context(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        name == "b3"
            || name.starts_with("trace")
            || name.starts_with("x-b3-")
            || name == "x-amzn-trace-id"
            || name == "grpc-trace-bin"
    })
}

/// The context that a request came with.
enum Came {
    W3c((TraceId, SpanId, bool)),
    Otherwise(Brought),
}

/// Takes a share of all traces, the same ones everywhere, by the randomness in their ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampler {
    threshold: u64,
    ratio: f64,
}

impl Sampler {
    /// Bits of a trace id that are random by the recommendation.
    const RANDOM_BITS: u32 = 56;

    /// From a share in 0..=1; what lies outside is clamped.
    pub(crate) fn new(ratio: f64) -> Self {
        let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) };
        Self { threshold: (ratio * (1_u64 << Self::RANDOM_BITS) as f64) as u64, ratio }
    }

    /// Whether a trace is among the sampled.
    pub(crate) fn takes(self, trace: TraceId) -> bool {
        let low = trace.as_bytes().iter().skip(9).fold(0, |number, byte| number << 8 | u64::from(*byte));
        low < self.threshold
    }

    /// How many traces each of its roots stands for.
    pub(crate) fn weight(self) -> f64 {
        if self.ratio > 0.0 { 1.0 / self.ratio } else { 1.0 }
    }
}

fn read(headers: &HeaderMap) -> Option<(TraceId, SpanId, bool)> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = hex_byte(version).filter(|version| *version != 0xff)?;
    if version == 0 && text.trim().len() != LENGTH {
        return None;
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    Some((trace.parse().ok()?, span.parse().ok()?, hex_byte(flags)? & 1 == 1))
}

fn hex_byte(text: &str) -> Option<u8> {
    (text.len() == 2).then(|| u8::from_str_radix(text, 16).ok())?
}

fn write(trace: TraceId, span: SpanId, sampled: bool) -> HeaderValue {
    let mut text = [0_u8; LENGTH];
    text[..3].copy_from_slice(b"00-");
    hex(trace.as_bytes(), &mut text[3..35]);
    text[35] = b'-';
    hex(span.as_bytes(), &mut text[36..52]);
    text[52..].copy_from_slice(if sampled { b"-01" } else { b"-00" });
    headers::once(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("")))
}

/// The digits of eight bytes at a time; a loop over single digits cost a fiftieth of a request.
fn hex(bytes: &[u8], into: &mut [u8]) {
    for (eight, digits) in bytes.chunks_exact(8).zip(into.chunks_exact_mut(16)) {
        let mut number = [0; 8];
        number.copy_from_slice(eight);
        digits.copy_from_slice(&digits_of(u64::from_be_bytes(number)));
    }
}

/// Sixteen hexadecimal digits: each half byte to a byte of its own, then `0` or `a` - 10 added to all at once.
fn digits_of(number: u64) -> [u8; 16] {
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    let mut spread = u128::from(number);
    spread = (spread | spread << 32) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & (ONES * 0x0f);
    // 6 more carries ten and above, and only those, into the upper half of their byte.
    let letters = ((spread + ONES * 6) >> 4) & ONES;
    (spread + ONES * u128::from(b'0') + letters * u128::from(b'a' - b'0' - 10)).to_be_bytes()
}

fn random_trace() -> TraceId {
    loop {
        let (high, low) = (draw(), draw());
        if let Some(trace) = TraceId::from_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes()) {
            return trace;
        }
    }
}

/// A span id that nobody has.
pub(crate) fn random_span() -> SpanId {
    loop {
        if let Some(span) = SpanId::from_bytes(draw().to_be_bytes()) {
            return span;
        }
    }
}

/// A random number: xoroshiro128++, begun by each thread at a place of its own. Ids must differ, not be secret, and this takes a tenth of
/// the time of a generator whose numbers nobody can foresee.
fn draw() -> u64 {
    thread_local! {
        static STATE: Cell<[u64; 2]> = Cell::new([rand::random::<u64>() | 1, rand::random()]);
    }
    let [one, two] = STATE.get();
    let mixed = one ^ two;
    STATE.set([one.rotate_left(49) ^ mixed ^ mixed << 21, mixed.rotate_left(28)]);
    one.wrapping_add(two).rotate_left(17).wrapping_add(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with(parent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(parent).unwrap());
        headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
        headers
    }

    #[test]
    fn a_sampled_context_is_continued_with_our_span() {
        let mut headers = with(EXAMPLE);
        let context = TraceContext::enter(&mut headers, Sampler::new(0.0));
        assert_eq!(context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.parent.map(|p| p.to_string()), Some("00f067aa0ba902b7".into()));
        let sent = headers[TRACEPARENT].to_str().unwrap();
        assert_eq!(sent, format!("00-{}-{}-01", context.trace, context.span.unwrap()));
        assert_eq!(headers[TRACESTATE], "vendor=1");
    }

    #[test]
    fn an_unsampled_context_passes_unchanged() {
        let unsampled = EXAMPLE.replace("-01", "-00");
        let mut headers = with(&unsampled);
        let context = TraceContext::enter(&mut headers, Sampler::new(1.0));
        assert_eq!((context.span, headers[TRACEPARENT].to_str().unwrap()), (None, unsampled.as_str()));
    }

    #[test]
    fn another_form_is_continued_as_it_came_and_w3c_goes_first() {
        let mut headers = HeaderMap::new();
        headers.insert("b3", HeaderValue::from_static("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"));
        let context = TraceContext::enter(&mut headers, Sampler::new(0.0));
        let span = context.span.unwrap();
        assert_eq!(headers["b3"], format!("{}-{span}-1-00f067aa0ba902b7", context.trace));
        assert!(headers.get(TRACEPARENT).is_none());
        headers
            .insert(TRACEPARENT, HeaderValue::from_static("00-11111111111111111111111111111111-2222222222222222-00"));
        let context = TraceContext::enter(&mut headers, Sampler::new(1.0));
        assert_eq!((context.span, context.trace.to_string().as_str()), (None, "11111111111111111111111111111111"));
    }

    #[test]
    fn what_is_no_context_begins_a_new_trace() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            let mut headers = with(bad);
            let context = TraceContext::enter(&mut headers, Sampler::new(1.0));
            assert_eq!(context.parent, None, "{bad}");
            assert!(headers.get(TRACESTATE).is_none(), "{bad}");
            assert_eq!(read(&headers), Some((context.trace, context.span.unwrap(), true)), "{bad}");
        }
    }

    #[test]
    fn sampling_takes_its_share() {
        let sampler = Sampler::new(0.05);
        let taken = (0..100_000).filter(|_| sampler.takes(random_trace())).count();
        assert!((4_500..5_500).contains(&taken), "{taken} of 100000");
        assert!(!Sampler::new(0.0).takes(random_trace()));
        assert!(Sampler::new(1.0).takes(random_trace()));
        assert!((sampler.weight() - 20.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(number in any::<u64>()) {
            let expected = format!("{number:016x}");
            let digits = digits_of(number);
            prop_assert_eq!(std::str::from_utf8(&digits).unwrap(), expected);
        }

        #[test]
        fn any_header_is_survived(text in "[ -~]{0,80}") {
            let mut headers = with("");
            headers.insert(TRACEPARENT, HeaderValue::from_str(&text).unwrap());
            TraceContext::enter(&mut headers, Sampler::new(0.5));
            prop_assert!(read(&headers).is_some());
        }
    }
}
