//! Trace requests for the collector's benchmark: bytes of OTLP, made by hand, the same for every run but for their times.
//!
//! 1,000 spans a request, half of them clients and half the servers that they called, in the shape that HTTP instrumentation gives
//! them: six attributes, some 277 bytes a span.

use std::time::{SystemTime, UNIX_EPOCH};

/// Spans of a request.
pub(super) const SPANS: usize = 1_000;

/// Numbers from a seed: SplitMix64.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Who calls whom, as numbers of services.
pub(super) type Call = (usize, usize);

/// Three calls from each of 59 services to later ones.
pub(super) fn small_mesh(chance: &mut Chance) -> Vec<Call> {
    let calls = (0..59).flat_map(|client| [client; 3]);
    calls.map(|client| (client, client + 1 + chance.below(59 - client as u64) as usize)).collect()
}

/// Ten tiers of a thousand services; each calls eleven of the next tier, those of the first twelve: 100,000 edges.
pub(super) fn large_mesh() -> Vec<Call> {
    let tier = 1_000;
    let calls = |client: usize| {
        let calls = if client < tier { 12 } else { 11 };
        (0..calls).map(move |step| (client, (client / tier + 1) * tier + (client + step * 83) % tier))
    };
    (0..9 * tier).flat_map(calls).collect()
}

#[expect(clippy::disallowed_methods, reason = "the spans are to be of now; nothing here runs in a paused clock")]
fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// A request with one client and one server span for each of `calls`.
pub(super) fn request(calls: &[Call], chance: &mut Chance) -> Vec<u8> {
    let now = now_ns();
    let mut by_service: Vec<(usize, Vec<u8>)> = Vec::new();
    for (client, server) in calls {
        let (trace, span, begin) =
            ([chance.next(), chance.next() | 1], chance.next() | 1, now - chance.below(1_000_000_000));
        let status = if chance.below(50) == 0 { 500 } else { 200 };
        let parent = chance.next() | 1;
        for (service, kind, id, parent) in [(*client, 3, span, parent), (*server, 2, chance.next() | 1, span)] {
            let end = begin + 100_000 + chance.below(100_000_000);
            let path = format!("/api/v1/items/{}", chance.below(1_000_000));
            let span = one(&Span { trace, id, parent, kind, begin, end, path: &path, server: *server, status });
            let place = by_service.iter().position(|(known, _)| *known == service).unwrap_or_else(|| {
                by_service.push((service, Vec::new()));
                by_service.len() - 1
            });
            if let Some((_, spans)) = by_service.get_mut(place) {
                field(spans, 2, &span);
            }
        }
    }
    let mut request = Vec::new();
    for (service, spans) in by_service {
        let mut resource = Vec::new();
        let name = name(service);
        for (key, value) in [
            ("service.name", name.as_str()),
            ("service.namespace", "shop"),
            ("service.instance.id", name.as_str()),
            ("telemetry.sdk.language", "rust"),
        ] {
            text(&mut resource, 1, key, value);
        }
        let (mut resource_spans, mut scope_spans, mut scope) = (Vec::new(), Vec::new(), Vec::new());
        field(&mut scope, 1, b"bench");
        field(&mut scope_spans, 1, &scope);
        scope_spans.extend(spans);
        field(&mut resource_spans, 1, &resource);
        field(&mut resource_spans, 2, &scope_spans);
        field(&mut request, 1, &resource_spans);
    }
    request
}

fn name(service: usize) -> String {
    format!("svc-{service:03}")
}

struct Span<'a> {
    trace: [u64; 2],
    id: u64,
    parent: u64,
    kind: u64,
    begin: u64,
    end: u64,
    path: &'a str,
    server: usize,
    status: u64,
}

fn one(span: &Span<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let [high, low] = span.trace;
    field(&mut out, 1, &[high.to_be_bytes(), low.to_be_bytes()].concat());
    field(&mut out, 2, &span.id.to_be_bytes());
    field(&mut out, 4, &span.parent.to_be_bytes());
    field(&mut out, 5, b"GET /api/v1/items/{id}");
    number(&mut out, 6, span.kind);
    for (field, time) in [(7, span.begin), (8, span.end)] {
        out.push(field << 3 | 1);
        out.extend(time.to_le_bytes());
    }
    text(&mut out, 9, "http.request.method", "GET");
    text(&mut out, 9, "url.path", span.path);
    text(&mut out, 9, "server.address", &name(span.server));
    whole(&mut out, 9, "server.port", 8080);
    whole(&mut out, 9, "http.response.status_code", span.status);
    text(&mut out, 9, "network.protocol.version", "1.1");
    if span.status == 500 {
        let mut status = Vec::new();
        number(&mut status, 3, 2);
        field(&mut out, 15, &status);
    }
    out
}

fn text(out: &mut Vec<u8>, number: u8, key: &str, value: &str) {
    let mut any = Vec::new();
    field(&mut any, 1, value.as_bytes());
    attribute(out, number, key, &any);
}

fn whole(out: &mut Vec<u8>, field: u8, key: &str, value: u64) {
    let mut any = Vec::new();
    number(&mut any, 3, value);
    attribute(out, field, key, &any);
}

fn attribute(out: &mut Vec<u8>, number: u8, key: &str, any: &[u8]) {
    let mut attribute = Vec::new();
    field(&mut attribute, 1, key.as_bytes());
    field(&mut attribute, 2, any);
    field(out, number, &attribute);
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
