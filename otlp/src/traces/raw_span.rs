//! One span where it lies in the request.

use std::borrow::Cow;

use tripline_model::{SpanId, Timestamp, TraceId};

use super::attributes::{Attributes, RawValue, name_of, readable};
use super::fields::{Field, Fields, Malformed};
use crate::resource::Identity;
use crate::span::{MAX_EVENTS, MAX_LINKS, kind_of, status_of};
use crate::value::{MAX_VALUE_BYTES, cut};
use crate::{SpanEvent, SpanKind, SpanRecord, SpanStatus, sampling};

/// Numbers of the fields whose messages are read only when somebody asks.
const ATTRIBUTES: u32 = 9;
const EVENTS: u32 = 11;
const LINKS: u32 = 13;

/// A span whose identifiers are good; everything else is still bytes.
#[derive(Debug, Clone, Copy)]
pub struct RawSpan<'a> {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// Its parent; none for a root.
    pub parent: Option<SpanId>,
    /// Its kind.
    pub kind: SpanKind,
    /// Start, by the sender's clock.
    pub start: Timestamp,
    /// End; never before the start.
    pub end: Timestamp,
    /// Its status.
    pub status: SpanStatus,
    odd_time: bool,
    message: &'a [u8],
    name: &'a [u8],
    status_message: &'a [u8],
    trace_state: &'a [u8],
    attributes: &'a [u8],
    events: &'a [u8],
    links: &'a [u8],
}

/// Where a span lies within its request, and what it is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Start, by the sender's clock.
    pub start: Timestamp,
    /// Index into [`super::Spans::identities`].
    pub source: u32,
    /// Index into [`super::Spans::names`].
    pub name: u32,
    pub(super) from: u32,
    pub(super) len: u32,
}

/// What became of a span message.
pub(super) enum Parsed<'a> {
    Good(RawSpan<'a>),
    BadTraceId,
    BadSpanId,
}

/// A part of a message that holds all fields of one number, and perhaps others between them.
#[derive(Clone, Copy, Default)]
struct Part {
    from: usize,
    to: usize,
}

impl Part {
    fn add(&mut self, from: usize, to: usize) {
        if self.to == 0 {
            self.from = from;
        }
        self.to = to;
    }

    fn of(self, message: &[u8]) -> &[u8] {
        message.get(self.from..self.to).unwrap_or_default()
    }
}

#[inline]
pub(super) fn parse(message: &[u8]) -> Result<Parsed<'_>, Malformed> {
    let (mut trace_id, mut span_id, mut parent): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let (mut name, mut trace_state, mut status_message): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let (mut kind, mut start, mut end, mut status) = (0, 0, 0, 0);
    let (mut attributes, mut events, mut links) = (Part::default(), Part::default(), Part::default());
    let mut fields = Fields::of(message);
    loop {
        let from = message.len() - fields.left();
        let Some((number, field)) = fields.next()? else { break };
        let to = message.len() - fields.left();
        match number {
            1 => trace_id = field.bytes(message)?,
            2 => span_id = field.bytes(message)?,
            3 => trace_state = field.bytes(message)?,
            4 => parent = field.bytes(message)?,
            5 => name = field.bytes(message)?,
            6 => kind = field.varint(message)?,
            7 => start = field.fixed64(message)?,
            8 => end = field.fixed64(message)?,
            ATTRIBUTES => attributes.add(from, to),
            EVENTS => events.add(from, to),
            LINKS => links.add(from, to),
            15 => read_status(field.bytes(message)?, &mut status, &mut status_message)?,
            _ => {}
        }
        if matches!(number, ATTRIBUTES | EVENTS | LINKS) {
            field.bytes(message)?;
        }
    }
    let Some(trace_id) = TraceId::from_slice(trace_id) else { return Ok(Parsed::BadTraceId) };
    let Some(span_id) = SpanId::from_slice(span_id) else { return Ok(Parsed::BadSpanId) };
    let (start, end) = (Timestamp::from_nanos(start), Timestamp::from_nanos(end));
    Ok(Parsed::Good(RawSpan {
        trace_id,
        span_id,
        parent: SpanId::from_slice(parent),
        kind: kind_of(kind as i32),
        start,
        end: end.max(start),
        status: status_of(status as i32),
        odd_time: crate::span::is_odd(start, end),
        message,
        name,
        status_message,
        trace_state,
        attributes: attributes.of(message),
        events: events.of(message),
        links: links.of(message),
    }))
}

/// Fields of a status that comes twice are merged, as protobuf has it.
fn read_status<'a>(message: &'a [u8], code: &mut u64, text: &mut &'a [u8]) -> Result<(), Malformed> {
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            2 => *text = field.bytes(message)?,
            3 => *code = field.varint(message)?,
            _ => {}
        }
    }
    Ok(())
}

impl<'a> RawSpan<'a> {
    #[inline]
    pub(super) fn place(&self, body: &[u8], source: u32, name: u32) -> Place {
        // Requests are far below four gigabytes.
        let from = (self.message.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
        Place { start: self.start, source, name, from: from as u32, len: self.message.len() as u32 }
    }

    /// Operation, as its bytes came.
    pub(super) const fn name_bytes(&self) -> &'a [u8] {
        self.name
    }

    /// Operation, cut.
    #[must_use]
    pub fn name(&self) -> Cow<'a, str> {
        name_of(self.name)
    }

    /// What the status says, cut.
    #[must_use]
    pub fn status_message(&self) -> Cow<'a, str> {
        match readable(self.status_message, MAX_VALUE_BYTES) {
            Cow::Borrowed(text) => Cow::Borrowed(cut(text, MAX_VALUE_BYTES)),
            Cow::Owned(text) => Cow::Owned(cut(&text, MAX_VALUE_BYTES).to_owned()),
        }
    }

    /// How many spans it stands for.
    #[must_use]
    pub fn weight(&self) -> f64 {
        if self.trace_state.is_empty() {
            return 1.0;
        }
        std::str::from_utf8(self.trace_state).map_or(1.0, sampling::weight)
    }

    /// Whether its end was before its start, or a time is before 2000 or after 2100.
    #[must_use]
    pub const fn has_odd_time(&self) -> bool {
        self.odd_time
    }

    /// Calls `each` for every attribute, bounded in number; stops silently at what is malformed, which was refused on arrival.
    pub fn each_attribute(&self, mut each: impl FnMut(&'a [u8], RawValue<'a>)) {
        let mut attributes = self.attributes();
        while let Ok(Some((key, value))) = attributes.next() {
            each(key, value);
        }
    }

    /// Whether it links to other spans.
    #[must_use]
    pub const fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// Whether it has events.
    #[must_use]
    pub const fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Its events, bounded in number.
    #[must_use]
    pub fn events(&self) -> Vec<SpanEvent> {
        messages(self.events, EVENTS).filter_map(|event| read_event(event).ok()).take(MAX_EVENTS).collect()
    }

    /// The spans it links to, bounded in number.
    pub fn links(&self) -> impl Iterator<Item = (TraceId, SpanId)> + use<'a> {
        messages(self.links, LINKS).filter_map(|link| read_link(link).ok().flatten()).take(MAX_LINKS)
    }

    /// As a record of its own.
    #[must_use]
    pub fn to_record(&self, identity: &Identity) -> SpanRecord {
        let mut attributes = Vec::new();
        self.each_attribute(|key, value| attributes.extend(value.flat().map(|v| (name_of(key).into_owned(), v))));
        SpanRecord {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent: self.parent,
            service: identity.service.clone(),
            instance: identity.instance.clone(),
            environment: identity.environment.clone(),
            from_sidecar: identity.from_sidecar,
            name: self.name().into_owned(),
            kind: self.kind,
            start: self.start,
            end: self.end,
            status: self.status,
            status_message: self.status_message().into_owned(),
            attributes,
            events: self.events(),
            links: self.links().collect(),
            weight: self.weight(),
        }
    }

    pub(super) const fn attributes(&self) -> Attributes<'a> {
        Attributes::of(self.attributes, ATTRIBUTES)
    }

    /// Whether events and links are well formed.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        for (part, number) in [(self.events, EVENTS), (self.links, LINKS)] {
            let mut fields = Fields::of(part);
            while let Some((found, field)) = fields.next()? {
                if found == number {
                    let message = field.bytes(part)?;
                    if number == EVENTS { read_event(message).map(drop)? } else { read_link(message).map(drop)? }
                }
            }
        }
        Ok(())
    }
}

fn messages(part: &[u8], wanted: u32) -> impl Iterator<Item = &[u8]> {
    let mut fields = Fields::of(part);
    std::iter::from_fn(move || fields.next().ok().flatten()).filter_map(move |(number, field)| match field {
        Field::Delimited(message) if number == wanted => Some(message),
        _ => None,
    })
}

fn read_event(message: &[u8]) -> Result<SpanEvent, Malformed> {
    let (mut at, mut name) = (0, &[][..]);
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => at = field.fixed64(message)?,
            2 => name = field.bytes(message)?,
            _ => {}
        }
    }
    Ok(SpanEvent { at: Timestamp::from_nanos(at), name: name_of(name).into_owned() })
}

fn read_link(message: &[u8]) -> Result<Option<(TraceId, SpanId)>, Malformed> {
    let (mut trace, mut span) = (&[][..], &[][..]);
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => trace = field.bytes(message)?,
            2 => span = field.bytes(message)?,
            _ => {}
        }
    }
    Ok(TraceId::from_slice(trace).zip(SpanId::from_slice(span)))
}
