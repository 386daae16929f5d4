//! Fuzzing without a fuzzer: requests of real senders, changed at random, thousands of times a second.
//!
//! Each target starts from a corpus and applies one to eight changes to one of its entries. What is run depends on the seed alone, so
//! a find is repeated with the seed and the round that its message names:
//! `TRIPLINE_FUZZ_SEED=7 TRIPLINE_FUZZ_ROUNDS=5000 cargo test --release --package tripline-otlp fuzz`. `cargo xtask fuzz` runs each
//! target with one seed after the other for a minute. What finds a fault becomes a test beside the code that was at fault.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::traces::{Spans, tests as oracle};
use crate::{span, wire, xray, zipkin};

/// Rounds within the test suite, where this is a reminder and no search.
const ROUNDS: u64 = 3_000;
/// No input grows longer.
const LONGEST: usize = 64 * 1024;

const PYTHON_SDK: &[u8] = include_bytes!("../fixtures/python-sdk-traces.binpb");
const OTLP_JSON: &[u8] = br#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},"scopeSpans":[{"scope":{"name":"s"},
    "spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":"GET","kind":3,
    "startTimeUnixNano":"1800000000000000000","endTimeUnixNano":1800000001000000000,"status":{"code":2,"message":"no"},
    "events":[{"timeUnixNano":"1","name":"e"}],"links":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B175"}],
    "attributes":[{"key":"n","value":{"intValue":"7"}},{"key":"m","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":1.5}]}}}]}]}]}]}"#;
const ZIPKIN: &[u8] = br#"[{"traceId":"5af7183fb1d4cf5f","parentId":"6b221d5bc9e6496c","id":"352bff9a74ca9ad2","kind":"CLIENT","name":"get /api",
    "timestamp":1556604172355737,"duration":1431,"shared":true,"localEndpoint":{"serviceName":"backend","ipv4":"192.168.99.1","port":3306},
    "remoteEndpoint":{"ipv4":"172.19.0.2","ipv6":"2001:db8::c001","port":58648},"annotations":[{"timestamp":1556604172355737,"value":"ws"}],
    "tags":{"http.method":"GET","http.path":"/api","error":"1"}}]"#;
const XRAY: &[u8] = br#"{"format":"json","version":1}
{"name":"Scorekeep","id":"70de5b6f19ff9a0a","start_time":1.478293361271E9,"trace_id":"1-581cf771-a006649127e371903a2de979","end_time":1.478293361449E9,
    "http":{"request":{"url":"http://scorekeep.example.com/api/user","method":"POST","client_ip":"205.251.233.183"},"response":{"status":200}},
    "aws":{"ec2":{"instance_id":"i-1"}},"annotations":{"a":1},"metadata":{"default":{"b":[1,2]}},"error":true,"cause":{"exceptions":[{"message":"m"}]},
    "subsegments":[{"name":"DynamoDB","id":"3ecd7d1b2a1f4e9b","start_time":1.478293361300E9,"end_time":1.478293361400E9,"namespace":"aws",
    "sql":{"url":"jdbc:postgresql://aawijb5u25wdoy.cpamxznpdoq8.us-west-2.rds.amazonaws.com:5432/ebdb"}}]}"#;

/// Numbers from a seed: SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One change; of those that are known to find faults in readers of such formats.
fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    let to = (at + 1 + chance.below(32)).min(input.len());
    match chance.below(10) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => input[at] = chance.next() as u8,
        2 if at < input.len() => {
            input[at] = *[0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'[', b'{', b'0'].get(chance.below(10)).unwrap()
        }
        3 => input.insert(at, chance.next() as u8),
        4 => drop(input.drain(at.min(to)..to)),
        5 => input.truncate(at),
        // A part twice, many times, or in another place.
        6 => {
            let part = input[at.min(to)..to].repeat(1 + chance.below(3));
            input.splice(at..at, part);
        }
        7 => {
            let part = input[at.min(to)..to].repeat(chance.below(200));
            input.splice(at..at, part);
        }
        8 => {
            let other = &corpus[chance.below(corpus.len())];
            let from = chance.below(other.len() + 1);
            let part = other[from..(from + chance.below(200)).min(other.len())].to_vec();
            let place = chance.below(input.len() + 1);
            input.splice(place..place, part);
        }
        // A length or a number that is far too large.
        _ => drop(input.splice(at..to.min(at + 1).max(at), [0xff; 10].into_iter().take(1 + chance.below(10)))),
    }
    input.truncate(LONGEST);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs `check` on changed entries of `corpus`.
fn fuzz(corpus: &[&[u8]], check: impl Fn(&[u8])) {
    let (seed, rounds) = (setting("TRIPLINE_FUZZ_SEED", 1), setting("TRIPLINE_FUZZ_ROUNDS", ROUNDS));
    let mut chance = Chance(seed);
    let mut corpus: Vec<Vec<u8>> = corpus.iter().map(|entry| entry.to_vec()).collect();
    let originals = corpus.len();
    for round in 0..rounds {
        let mut input = corpus[chance.below(corpus.len())].clone();
        for _ in 0..=chance.below(8) {
            change(&mut input, &corpus, &mut chance);
        }
        if catch_unwind(AssertUnwindSafe(|| check(&input))).is_err() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("seed {seed}, round {round}: {} bytes {hex}", input.len());
        }
        // Some of what was changed is changed further, so that the search goes deeper than eight changes.
        if chance.below(50) == 0 && !input.is_empty() {
            if corpus.len() < originals + 64 {
                corpus.push(input);
            } else {
                let place = originals + chance.below(64);
                corpus[place] = input;
            }
        }
    }
}

#[test]
fn fuzz_the_walk_against_prost() {
    let json = wire::decode_traces_json(OTLP_JSON).map(|request| prost::Message::encode_to_vec(&request)).unwrap();
    fuzz(&[PYTHON_SDK, &json], |input| {
        let walked = Spans::read(input.to_vec().into());
        if let Ok(request) = wire::decode_traces_protobuf(input) {
            // Whatever prost takes, the walk takes too, and reads the same.
            oracle::assert_same(&walked.unwrap(), &span::decode(request));
        } else if let Ok(spans) = walked {
            // Only a text that is not UTF-8 may be taken beyond that; then all of it must be readable still.
            assert_eq!(spans.records().len(), spans.len());
        }
    });
}

#[test]
fn fuzz_json() {
    fuzz(&[OTLP_JSON], |input| {
        if let Ok(spans) = Spans::read_json(input) {
            assert_eq!(spans.records().len(), spans.len());
        }
        let _no_panic = (wire::decode_metrics_json(input).is_ok(), wire::decode_logs_json(input).is_ok());
    });
}

#[test]
fn fuzz_zipkin() {
    fuzz(&[ZIPKIN], |input| {
        if let Ok(foreign) = zipkin::decode(input) {
            let spans = Spans::read(foreign.to_protobuf()).unwrap();
            assert_eq!(spans.len(), foreign.records.len(), "what is taken in is what was read");
        }
    });
}

#[test]
fn fuzz_udp() {
    fuzz(&[XRAY], |input| {
        if let Ok(foreign) = xray::decode_datagram(input) {
            let spans = Spans::read(foreign.to_protobuf()).unwrap();
            assert_eq!(spans.len(), foreign.records.len(), "what is taken in is what was read");
        }
    });
}
