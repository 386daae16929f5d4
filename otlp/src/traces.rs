//! The spans of a trace request, kept as the bytes they came in.
//!
//! A collector that makes a struct of each span and a string of each attribute spends nine tenths of its time on allocating
//! what nobody reads. Here the bytes stay, and one walk over them notes what the graph needs of each span ([`SpanFacts`],
//! fixed in size, names as numbers of a table that the request shares). Whoever needs more, such as history, walks over the
//! bytes again ([`Spans::each`]) and takes it from where it lies.
//!
//! # Bounds
//! The walk is four loops within each other, one for each level of OTLP's messages, and no recursion; a value of nested lists is
//! looked at by the scan of [`crate::wire`] first. It allocates 64 bytes for each span, at most [`MAX_ITEMS`] of them, and one
//! name for each resource and each peer that differs.
//!
//! # What is refused
//! What prost refuses, with one exception: a text that is not UTF-8 does not refuse the whole request, but is shown with
//! replacement characters. `traces/tests.rs` holds the walk against prost.

mod attributes;
mod facts;
mod fields;
mod json_text;
mod raw_span;
mod spare;
#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tripline_model::{SpanId, TraceId};

pub use attributes::RawValue;
pub use facts::{NO_LINK, NO_PEER, SpanFacts};
pub use raw_span::{Place, RawSpan};
pub use spare::{Entry, List};

use crate::resource::Identity;
use crate::span::RejectedSpans;
use crate::wire::{self, DecodeError, MAX_ITEMS};
use crate::{Peer, SpanRecord, sidecar};
use attributes::Attributes;
use facts::FactsWriter;
use fields::{Fields, Malformed};
use raw_span::Parsed;

/// Bytes that come from memory at once.
const CACHE_LINE: usize = 64;

/// The spans of one request.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    body: Bytes,
    count: usize,
    /// Who sent them: one for each resource.
    pub identities: Arc<Vec<Identity>>,
    /// Whom they say they called.
    pub peers: Vec<Peer>,
    /// The first link of each span that has one.
    pub links: Vec<(TraceId, SpanId)>,
    /// What the graph needs of each span, in the order received; none in what is kept for history, see [`Spans::split`].
    pub facts: List<SpanFacts>,
    /// Where each span lies, for whoever reads it again; none in what goes to the graph.
    pub places: List<Place>,
    /// Where the names that [`Place::name`] counts lie within the body.
    names: Vec<(u32, u32)>,
    /// The spans that were refused.
    pub rejected: RejectedSpans,
    /// Spans kept whose end was before their start, or whose times are before 2000 or after 2100.
    pub odd_times: u64,
}

/// Spans that came in another shape than OTLP's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Foreign {
    /// The spans in the order received.
    pub records: Vec<SpanRecord>,
    /// Those that were refused.
    pub rejected: RejectedSpans,
    /// Those that were left out because another document tells the same.
    pub left_out: u64,
}

impl Foreign {
    /// Adds those of another document.
    pub fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.rejected.trace_id += other.rejected.trace_id;
        self.rejected.span_id += other.rejected.span_id;
        self.left_out += other.left_out;
    }

    /// As an OTLP request, which goes the way of all others.
    #[must_use]
    pub fn to_protobuf(&self) -> Bytes {
        sidecar::encode_records(&self.records).encode_to_vec().into()
    }
}

/// Two are equal when they came as the same bytes.
impl PartialEq for Spans {
    fn eq(&self, other: &Self) -> bool {
        self.body == other.body
    }
}

impl Spans {
    /// Reads a protobuf request.
    ///
    /// # Errors
    /// When the bytes are none, or past a limit.
    pub fn read(body: Bytes) -> Result<Self, DecodeError> {
        let mut spans = Self::default();
        spans.walk(&body)?;
        spans.body = body;
        Ok(spans)
    }

    /// Reads an OTLP/JSON request.
    ///
    /// # Errors
    /// When the bytes are none, or past a limit.
    pub fn read_json(body: &[u8]) -> Result<Self, DecodeError> {
        Self::read(wire::decode_traces_json(body)?.encode_to_vec().into())
    }

    /// Spans that came in another shape than OTLP's, or from nowhere but a test; each under its own service.
    #[must_use]
    pub fn of_records(records: &[SpanRecord]) -> Self {
        // What was just encoded can be read; were it not so, nothing would be the honest answer.
        Self::read(sidecar::encode_records(records).encode_to_vec().into()).unwrap_or_default()
    }

    /// How many spans there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What the graph needs, without the bytes, and the bytes without that: each is held for another time, and facts for
    /// moments only.
    #[must_use]
    pub fn split(mut self) -> (Self, Self) {
        let kept = Self {
            body: std::mem::take(&mut self.body),
            count: self.count,
            identities: Arc::clone(&self.identities),
            places: std::mem::take(&mut self.places),
            names: std::mem::take(&mut self.names),
            ..Self::default()
        };
        (self, kept)
    }

    /// Bytes that they hold in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len() + self.places.len() * size_of::<Place>()
    }

    /// The request itself, as protobuf.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Calls `each` for every span in the order received, with the index of its identity.
    pub fn each<'a>(&'a self, mut each: impl FnMut(RawSpan<'a>, u32)) {
        // It was read once, so it can be read again.
        let _read_before = walk(&self.body, |step| {
            if let Step::Span(Parsed::Good(span), source) = step {
                each(span, source);
            }
            Ok(())
        });
    }

    /// The span at a place of these spans.
    #[must_use]
    #[inline]
    pub fn at(&self, place: Place) -> Option<RawSpan<'_>> {
        let from = place.from as usize;
        match raw_span::parse(self.body.get(from..from + place.len as usize)?) {
            Ok(Parsed::Good(span)) => Some(span),
            _ => None,
        }
    }

    /// Asks memory for a span that will be read soon; what comes back is of no use but to be mixed with others, so that it is
    /// asked for.
    #[must_use]
    #[inline]
    pub fn touch(&self, place: Place) -> u8 {
        let from = place.from as usize;
        let message = self.body.get(from..from + place.len as usize).unwrap_or_default();
        message.chunks(CACHE_LINE).fold(0, |all, line| all ^ line.first().copied().unwrap_or_default())
    }

    /// The different names of these spans, cut, by the number that [`Place::name`] holds.
    pub fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let at = |(from, len): &(u32, u32)| self.body.get(*from as usize..(*from + *len) as usize);
        self.names.iter().map(move |place| attributes::name_of(at(place).unwrap_or_default()))
    }

    /// Every span as a record of its own.
    #[must_use]
    pub fn records(&self) -> Vec<SpanRecord> {
        let mut records = Vec::with_capacity(self.len());
        self.each(|span, source| {
            records.extend(self.identities.get(source as usize).map(|identity| span.to_record(identity)));
        });
        records
    }

    fn walk(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let (mut writer, mut names) = (FactsWriter::default(), NameTable::default());
        let (mut items, mut identities) = (0, Vec::new());
        let walked = walk(body, |step| {
            match step {
                Step::Resource(resources) => identities.push(identity_of(resources)?),
                Step::Span(parsed, source) => {
                    items += 1;
                    if items > MAX_ITEMS {
                        return Err(Stop::Error(DecodeError::TooManyItems));
                    }
                    match parsed {
                        Parsed::BadTraceId => self.rejected.trace_id += 1,
                        Parsed::BadSpanId => self.rejected.span_id += 1,
                        Parsed::Good(span) => {
                            self.odd_times += u64::from(span.has_odd_time());
                            self.places.push(span.place(body, source, names.number(span.name_bytes())));
                            self.facts.push(writer.facts(&span, source, (&mut self.peers, &mut self.links))?);
                        }
                    }
                }
            }
            Ok(())
        });
        (self.count, self.identities) = (self.facts.len(), Arc::new(identities));
        let offset = |name: &[u8]| (name.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
        self.names.extend(names.names.iter().map(|name| (offset(name) as u32, name.len() as u32)));
        walked.map_err(|stop| match stop {
            Stop::Malformed(malformed) => DecodeError::Malformed(malformed.position(body)),
            Stop::Error(error) => error,
        })
    }
}

/// The different names of a request's spans.
#[derive(Default)]
struct NameTable<'a> {
    names: Vec<&'a [u8]>,
    // The standard hasher: names are chosen by strangers.
    numbers: HashMap<&'a [u8], u32>,
    last: u32,
}

impl<'a> NameTable<'a> {
    #[inline]
    fn number(&mut self, name: &'a [u8]) -> u32 {
        // The one before has the same name more often than not.
        if self.names.get(self.last as usize) != Some(&name) {
            let names = &mut self.names;
            self.last = *self.numbers.entry(name).or_insert_with(|| {
                names.push(name);
                names.len() as u32 - 1
            });
        }
        self.last
    }
}

/// Why a walk ended early.
enum Stop {
    /// The bytes are no protobuf, or not of this message.
    Malformed(Malformed),
    /// A limit.
    Error(DecodeError),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        Self::Error(error)
    }
}

/// What a walk meets.
enum Step<'a> {
    /// All of one `ResourceSpans`, whose resource may stand anywhere in it.
    Resource(&'a [u8]),
    /// A span, and how many resources came before its own.
    Span(Parsed<'a>, u32),
}

fn walk<'a>(body: &'a [u8], mut each: impl FnMut(Step<'a>) -> Result<(), Stop>) -> Result<(), Stop> {
    let mut source = 0;
    let mut request = Fields::of(body);
    while let Some((number, field)) = request.next()? {
        if number != 1 {
            continue;
        }
        let resource_spans = field.bytes(body)?;
        if source as usize >= MAX_ITEMS {
            return Err(DecodeError::TooLarge.into());
        }
        each(Step::Resource(resource_spans))?;
        let mut scopes = Fields::of(resource_spans);
        while let Some((number, field)) = scopes.next()? {
            if number == 2 {
                let scope_spans = field.bytes(resource_spans)?;
                let mut spans = Fields::of(scope_spans);
                while let Some((number, field)) = spans.next()? {
                    if number == 2 {
                        each(Step::Span(raw_span::parse(field.bytes(scope_spans)?)?, source))?;
                    }
                }
            }
        }
        source += 1;
    }
    Ok(())
}

/// Who sent a `ResourceSpans`; a resource that comes in parts is one, as protobuf has it.
fn identity_of(resource_spans: &[u8]) -> Result<Identity, Stop> {
    let mut said = crate::resource::Said::default();
    let mut fields = Fields::of(resource_spans);
    while let Some((number, field)) = fields.next()? {
        if number != 1 {
            continue;
        }
        let mut attributes = Attributes::of(field.bytes(resource_spans)?, 1);
        while let Some((key, value)) = attributes.next()? {
            match value {
                RawValue::Text(bytes) => said.note(key, std::str::from_utf8(bytes).ok()),
                RawValue::Other(message) => {
                    wire::check_value(message)?;
                    said.note(key, None);
                }
                _ => said.note(key, None),
            }
        }
    }
    Ok(said.identity())
}
