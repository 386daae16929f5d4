//! Spans from the requests they came in straight into a Parquet file.
//!
//! The walk on arrival noted where each span lies and what it is sorted by. So the order, by service, name and start, is found among
//! numbers; then each span is taken from where it lies and written into all columns at once. What `docs/history.md` says of the
//! columns is what [`super::spans::encode`] gives; a test holds the two against each other.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use tripline_otlp::traces::{Place, RawSpan};
use tripline_otlp::{Identity, Spans};

use super::bloom::Bloom;
use super::file::{MAX_SERVICES, WriteError};
use super::frame::signed;
use super::parquet::{Bounds, Column, Layout, Spec, Type, Workshop, Writer};
use super::spans::{events_json, kind, links_json, status};

const fn spec(name: &'static str, holds: Type, layout: Layout) -> Spec {
    Spec { name, holds, layout, nullable: false }
}

/// The columns, in their order.
const SPECS: [Spec; 17] = [
    spec("trace_id", Type::Bytes, Layout::Plain),
    spec("span_id", Type::Bytes, Layout::Plain),
    Spec { nullable: true, ..spec("parent_span_id", Type::Bytes, Layout::Plain) },
    spec("service", Type::Text, Layout::Dictionary),
    spec("instance", Type::Text, Layout::Dictionary),
    spec("environment", Type::Text, Layout::Dictionary),
    spec("from_sidecar", Type::Flag, Layout::Compressed),
    spec("name", Type::Text, Layout::Dictionary),
    spec("kind", Type::Text, Layout::Dictionary),
    spec("start", Type::Time, Layout::Plain),
    spec("duration_ns", Type::Int, Layout::Plain),
    spec("status", Type::Text, Layout::Dictionary),
    spec("status_message", Type::Text, Layout::Compressed),
    spec("weight", Type::Float, Layout::Compressed),
    spec("attributes", Type::Text, Layout::Compressed),
    spec("events", Type::Text, Layout::Compressed),
    spec("links", Type::Text, Layout::Compressed),
];

/// Rows that are read or passed over together.
const ROW_GROUP: usize = 65_536;
/// Spans for which memory is asked at once: they lie all over the requests that are written.
const AT_ONCE: usize = 16;

/// What a file needs that the one before has already.
///
/// # Errors
/// When the compressor cannot be had.
pub(super) fn workshop() -> std::io::Result<Workshop> {
    Workshop::new(&SPECS)
}

/// What the manifest is to say about a file that was written.
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Earliest and latest start, in nanoseconds.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Node ids; none when there are too many to list.
    pub(super) services: Option<BTreeSet<String>>,
    pub(super) traces: Bloom,
}

/// Writes the spans of some requests to `path`; the file is safe on disk then.
///
/// # Errors
/// What the disk answers.
pub(super) fn write<'a>(
    path: &Path,
    requests: impl Iterator<Item = &'a Spans>,
    workshop: &mut Workshop,
) -> Result<Written, WriteError> {
    let mut order = Order::default();
    requests.for_each(|request| order.add(request));
    order.sort();
    let services: BTreeSet<&str> = order.sources.iter().filter(|s| s.is_used).map(|s| s.service.as_str()).collect();
    let mut written = Written {
        rows: order.keys.len() as u64,
        bytes: 0,
        from: order.keys.iter().map(|key| key.start).min().unwrap_or(0),
        to: order.keys.iter().map(|key| key.start).max().unwrap_or(0),
        services: (services.len() <= MAX_SERVICES).then(|| services.into_iter().map(str::to_owned).collect()),
        traces: Bloom::for_ids(order.keys.len()),
    };
    let mut writer = Writer::create(path, &SPECS, workshop)?;
    for group in order.keys.chunks(ROW_GROUP) {
        for keys in group.chunks(AT_ONCE) {
            let touch =
                |key: &Key| order.requests.get(key.request as usize).map_or(0, |request| request.touch(key.place));
            std::hint::black_box(keys.iter().fold(0, |all, key| all ^ touch(key)));
            for key in keys {
                let Some((span, source)) = order.span(key) else { continue };
                written.traces.insert(span.trace_id);
                row(writer.columns(), &span, key, source, &order);
            }
        }
        order.bound(writer.columns(), group);
        writer.end_group()?;
    }
    written.bytes = writer.finish()?;
    Ok(written)
}

fn row(columns: &mut [Column], span: &RawSpan<'_>, key: &Key, source: &Source<'_>, order: &Order<'_>) {
    let [trace, id, parent, service, instance, environment, sidecar, name, kinds, start, duration, rest @ ..] = columns
    else {
        return;
    };
    let [statuses, message, weight, attributes, events, links] = rest else { return };
    trace.text(|out| out.extend_from_slice(span.trace_id.as_bytes()));
    id.text(|out| out.extend_from_slice(span.span_id.as_bytes()));
    match span.parent {
        Some(id) => parent.text(|out| out.extend_from_slice(id.as_bytes())),
        None => parent.null(),
    }
    service.number(source.service_number, || &source.service);
    instance.number(key.source, || &source.identity.instance);
    environment.number(key.source, || &source.identity.environment);
    sidecar.bits(u64::from(source.identity.from_sidecar));
    name.number(key.name, || order.names.get(key.name as usize).map_or("", |name| name));
    kinds.number(span.kind as u32, || kind(span.kind));
    start.bits(signed(key.start).cast_unsigned());
    duration.bits(signed(u64::try_from(span.end.since(span.start).as_nanos()).unwrap_or(u64::MAX)).cast_unsigned());
    statuses.number(span.status as u32, || status(span.status));
    message.text(|out| out.extend_from_slice(span.status_message().as_bytes()));
    weight.bits(span.weight().to_bits());
    attributes.text(|out| span.write_attributes(out));
    events.text(|out| out.extend_from_slice(events_json(span).as_bytes()));
    links.text(|out| out.extend_from_slice(links_json(span).as_bytes()));
}

/// Who sent spans; equal ones of several requests are one.
struct Source<'a> {
    identity: &'a Identity,
    service: String,
    service_number: u32,
    service_rank: u32,
    is_used: bool,
}

/// What a span is sorted by, and where it lies.
#[derive(Clone, Copy)]
struct Key {
    service_rank: u32,
    name_rank: u32,
    start: u64,
    source: u32,
    name: u32,
    request: u32,
    place: Place,
}

/// Finds the order of rows by comparing numbers: names are ranked once.
#[derive(Default)]
struct Order<'a> {
    requests: Vec<&'a Spans>,
    sources: Vec<Source<'a>>,
    by_identity: HashMap<&'a Identity, u32>,
    names: Vec<Cow<'a, str>>,
    by_name: HashMap<Cow<'a, str>, u32>,
    keys: Vec<Key>,
}

impl<'a> Order<'a> {
    fn add(&mut self, request: &'a Spans) {
        let number = self.requests.len() as u32;
        self.requests.push(request);
        let sources: Vec<u32> = request.identities.iter().map(|identity| self.source(identity)).collect();
        let names: Vec<u32> = request.names().map(|name| self.name(name)).collect();
        self.keys.extend(request.places.iter().map(|place| Key {
            service_rank: 0,
            name_rank: 0,
            start: place.start.as_nanos(),
            source: sources.get(place.source as usize).copied().unwrap_or_default(),
            name: names.get(place.name as usize).copied().unwrap_or_default(),
            request: number,
            place: *place,
        }));
    }

    fn name(&mut self, name: Cow<'a, str>) -> u32 {
        if let Some(number) = self.by_name.get(&name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.clone());
        self.by_name.insert(name, number);
        number
    }

    fn source(&mut self, identity: &'a Identity) -> u32 {
        let next = self.sources.len() as u32;
        let number = *self.by_identity.entry(identity).or_insert(next);
        if number == next {
            let service = identity.service.to_string();
            let source = Source { identity, service, service_number: next, service_rank: 0, is_used: false };
            self.sources.push(source);
        }
        number
    }

    fn sort(&mut self) {
        let ranks_of_services = ranks(self.sources.iter().map(|source| source.service.as_str()));
        for (source, rank) in self.sources.iter_mut().zip(&ranks_of_services) {
            (source.service_rank, source.service_number) = (*rank, *rank);
        }
        let ranks_of_names = ranks(self.names.iter().map(|name| &**name));
        for key in &mut self.keys {
            if let Some(source) = self.sources.get_mut(key.source as usize) {
                source.is_used = true;
                key.service_rank = source.service_rank;
            }
            key.name_rank = ranks_of_names.get(key.name as usize).copied().unwrap_or_default();
        }
        self.keys.sort_unstable_by_key(|key| (key.service_rank, key.name_rank, key.start));
    }

    fn span(&self, key: &Key) -> Option<(RawSpan<'a>, &Source<'a>)> {
        let span = self.requests.get(key.request as usize)?.at(key.place)?;
        Some((span, self.sources.get(key.source as usize)?))
    }

    /// Notes the least and greatest values of the columns by which row groups are chosen.
    fn bound(&self, columns: &mut [Column], group: &[Key]) {
        let services = || group.iter().filter_map(|key| self.sources.get(key.source as usize));
        let text = |least: Option<&str>, greatest: Option<&str>| -> Bounds {
            Some((least?.as_bytes().to_vec(), greatest?.as_bytes().to_vec()))
        };
        let by_service = text(
            services().min_by_key(|source| source.service_rank).map(|source| source.service.as_str()),
            services().max_by_key(|source| source.service_rank).map(|source| source.service.as_str()),
        );
        let by_name = text(
            group
                .iter()
                .min_by_key(|key| key.name_rank)
                .and_then(|key| self.names.get(key.name as usize))
                .map(|n| &**n),
            group
                .iter()
                .max_by_key(|key| key.name_rank)
                .and_then(|key| self.names.get(key.name as usize))
                .map(|n| &**n),
        );
        let start = |start: Option<u64>| start.map(|start| signed(start).to_le_bytes().to_vec());
        let starts = || group.iter().map(|key| key.start);
        let by_start = start(starts().min()).zip(start(starts().max()));
        for (column, spec) in columns.iter_mut().zip(&SPECS) {
            match spec.name {
                "service" => column.bounds.clone_from(&by_service),
                "name" => column.bounds.clone_from(&by_name),
                "start" => column.bounds.clone_from(&by_start),
                _ => {}
            }
        }
    }
}

/// The place of each text among all, in their order; equal texts have equal places.
fn ranks<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<u32> {
    let texts: Vec<&str> = texts.collect();
    let mut distinct = texts.clone();
    distinct.sort_unstable();
    distinct.dedup();
    texts.iter().map(|text| distinct.binary_search(text).unwrap_or_default() as u32).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use tripline_model::{SpanId, Timestamp, TraceId};
    use tripline_otlp::{SpanEvent, SpanKind, SpanRecord, SpanStatus, Value};

    use super::super::{file, spans};
    use super::*;

    /// One of many spans that differ in everything that a column can differ in.
    pub(in super::super) fn record(number: u64) -> SpanRecord {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let kinds = [SpanKind::Client, SpanKind::Server, SpanKind::Internal, SpanKind::Producer];
        SpanRecord {
            trace_id: TraceId::from_bytes((u128::from(mixed) << 64 | u128::from(number) | 1 << 80).to_be_bytes())
                .unwrap(),
            span_id: SpanId::from_bytes((number + 1).to_be_bytes()).unwrap(),
            parent: SpanId::from_bytes((mixed & 3).to_be_bytes()),
            service: format!("shop/service-{}", mixed % 7).as_str().into(),
            instance: format!("instance {}", mixed % 5).into(),
            environment: if mixed.is_multiple_of(2) { "".into() } else { "tëst".into() },
            from_sidecar: mixed.is_multiple_of(3),
            name: if mixed.is_multiple_of(11) { format!("operation {number}") } else { format!("GET /{}", mixed % 13) },
            kind: kinds[(mixed % 4) as usize],
            start: Timestamp::from_secs(1_795_000_000) + Duration::from_nanos((mixed >> 24) + number),
            end: Timestamp::from_secs(1_795_002_000),
            status: if mixed.is_multiple_of(17) { SpanStatus::Error } else { SpanStatus::Unset },
            status_message: if mixed.is_multiple_of(17) { "\"broken\"\n".into() } else { String::new() },
            attributes: vec![
                ("url.path".into(), Value::Text(format!("/items/{}\u{1}", mixed % 1_000_000))),
                ("http.response.status_code".into(), Value::Int(200 - (mixed % 900) as i64)),
                ("ratio".into(), Value::Double(0.25)),
                ("ok".into(), Value::Bool(mixed.is_multiple_of(2))),
            ],
            events: vec![
                SpanEvent { at: Timestamp::from_secs(5), name: "e".into() };
                usize::from(mixed.is_multiple_of(19))
            ],
            links: vec![
                (TraceId::from_bytes([9; 16]).unwrap(), SpanId::from_bytes([8; 8]).unwrap());
                usize::from(mixed.is_multiple_of(23))
            ],
            weight: if mixed.is_multiple_of(29) { 4.0 } else { 1.0 },
        }
    }

    fn requests(spans: u64) -> Vec<Spans> {
        let numbers: Vec<u64> = (0..spans).collect();
        numbers
            .chunks(500)
            .map(|part| Spans::of_records(&part.iter().map(|n| record(*n)).collect::<Vec<_>>()))
            .collect()
    }

    #[test]
    fn the_file_holds_what_the_frame_holds() {
        let (dir, mut workshop) = (tempfile::tempdir().unwrap(), workshop().unwrap());
        let path = dir.path().join("a.parquet");
        // More than a row group, one, a few again in the same workshop, none.
        for count in [ROW_GROUP as u64 + 5_000, 1, 700, 0] {
            let requests = requests(count);
            let written = write(&path, requests.iter(), &mut workshop).unwrap();
            let (read, frame) = (file::read(&path).unwrap(), spans::encode(requests.iter(), |_| true).unwrap());
            assert_eq!((read.height() as u64, written.rows), (count, count));
            for (read, expected) in read.columns().iter().zip(frame.columns()) {
                assert_eq!((read.name(), read.dtype()), (expected.name(), expected.dtype()));
                assert!(read.equals_missing(expected), "{count}: {}", read.name());
            }
            let entry = file::describe(super::super::kind::Kind::Spans, &frame).unwrap();
            let told = (written.from, written.to, written.rows, written.services);
            assert_eq!(told, (entry.from, entry.to, entry.rows, entry.services), "what the manifest says");
            assert_eq!(written.bytes, std::fs::metadata(&path).unwrap().len());
            let filter = dir.path().join("a.bloom");
            std::fs::write(&filter, written.traces.as_bytes()).unwrap();
            assert!((0..count).all(|number| Bloom::file_may_hold(&filter, record(number).trace_id).unwrap()));
        }
    }
}
