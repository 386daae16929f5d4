//! What the graph needs of a span, taken out in one walk over its attributes.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};
use tripline_model::{Protocol, SpanId, Timestamp, TraceId};

use super::Stop;
use super::attributes::RawValue;
use super::raw_span::RawSpan;
use crate::semconv::{Key, MessagingStep, Said, Word};
use crate::{Peer, SpanKind, SpanStatus, wire};

/// The index of no peer.
pub const NO_PEER: u32 = u32::MAX;
/// The index of no link.
pub const NO_LINK: u32 = u32::MAX;

/// One span, as the graph sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpanFacts {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// Its parent; none for a root.
    pub parent: Option<SpanId>,
    /// Start, by the sender's clock.
    pub start: Timestamp,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// Index into [`super::Spans::identities`].
    pub source: u32,
    /// Index into [`super::Spans::peers`], or [`NO_PEER`].
    pub peer: u32,
    /// Index of the first span it links to into [`super::Spans::links`], or [`NO_LINK`].
    pub link: u32,
    /// How many spans it stands for, at least 1.
    pub weight: u32,
    /// Its kind.
    pub kind: SpanKind,
    /// What was spoken.
    pub protocol: Protocol,
    /// What it did with messages.
    pub step: MessagingStep,
    /// Whether the call failed.
    pub failed: bool,
    /// Whether it says how the call ended, by a status or by an answer.
    pub knows_outcome: bool,
}

/// Takes the facts out of one span after the other; remembers the peers of a request.
#[derive(Default)]
pub(super) struct FactsWriter<'a> {
    said: Said<'a>,
    known_peers: FxHashMap<u64, u32>,
}

impl<'a> FactsWriter<'a> {
    pub(super) fn facts(
        &mut self,
        span: &RawSpan<'a>,
        source: u32,
        (peers, links): (&mut Vec<Peer>, &mut Vec<(TraceId, SpanId)>),
    ) -> Result<SpanFacts, Stop> {
        self.said.begin(span.kind, span.status);
        let mut attributes = span.attributes();
        while let Some((key, value)) = attributes.next()? {
            if let RawValue::Other(message) = value {
                wire::check_value(message)?;
            }
            if let Some(key) = Key::of(key) {
                self.said.note(key, word(value));
            }
        }
        span.check()?;
        Ok(SpanFacts {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent: span.parent,
            start: span.start,
            duration_ns: u64::try_from(span.end.since(span.start).as_nanos()).unwrap_or(u64::MAX),
            source,
            peer: self.peer(peers),
            link: link(span, links),
            weight: span.weight().round().clamp(1.0, 1e6) as u32,
            kind: span.kind,
            protocol: self.said.protocol(),
            step: self.said.messaging_step(),
            failed: self.said.failed(),
            knows_outcome: span.status != SpanStatus::Unset || self.said.has_answer(),
        })
    }

    /// The peer, made once for all spans of the request that describe it in the same words.
    fn peer(&mut self, peers: &mut Vec<Peer>) -> u32 {
        if !self.said.may_have_peer() {
            return NO_PEER;
        }
        let mut hasher = FxHasher::default();
        self.said.peer_words(|key, word| {
            (key as u8).hash(&mut hasher);
            match word {
                Word::Text(text) => text.hash(&mut hasher),
                Word::Int(int) => int.hash(&mut hasher),
                Word::Bool(bool) => bool.hash(&mut hasher),
                Word::Other => 7_u8.hash(&mut hasher),
            }
        });
        let said = &self.said;
        *self.known_peers.entry(hasher.finish()).or_insert_with(|| match said.peer() {
            Some(peer) => {
                peers.push(peer);
                u32::try_from(peers.len() - 1).unwrap_or(NO_PEER)
            }
            None => NO_PEER,
        })
    }
}

fn link(span: &RawSpan<'_>, links: &mut Vec<(TraceId, SpanId)>) -> u32 {
    let Some(link) = span.links().next() else { return NO_LINK };
    links.push(link);
    u32::try_from(links.len() - 1).unwrap_or(NO_LINK)
}

fn word(value: RawValue<'_>) -> Word<'_> {
    match value {
        RawValue::Text(bytes) => std::str::from_utf8(bytes).map_or(Word::Other, Word::Text),
        RawValue::Bool(bool) => Word::Bool(bool),
        RawValue::Int(int) => Word::Int(int),
        RawValue::Double(_) | RawValue::Other(_) => Word::Other,
    }
}
