//! Pairs spans into calls between services that report no counts of their own. `docs/graph.md` has the rules for people, and
//! `pair/cases.rs` a table of traces and the edges that they must give.
//!
//! A call is seen where the service identity (namespace, name, environment) changes between a span and its parent, whatever the
//! kinds of the two: CLIENT -> CLIENT -> SERVER through a gateway and SERVER -> SERVER through a proxy give the right edges, and a
//! proxy that reports under its application's name collapses into it. Where one half is missing, what the other says of its peer
//! stands for it: a database and a queue at once, for they never report; anything else after [`LINGER`], as a guess that is taken
//! back when the server shows up, up to [`LATE`] after the client.
//!
//! Spans arrive in any order. At most [`MAX_WAITING`] are remembered; beyond, an old one of those who have many goes ([`rings`]), as if its
//! time had come, and is counted. Each span is looked at with two look-ups by identifier and allocates nothing.

mod aliases;
mod calls;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod hostile;
mod index;
mod names;
mod reason;
mod rings;
mod slot;
#[cfg(test)]
mod tests;
mod waiting;

use std::time::Duration;

use rustc_hash::FxHashSet;
use tripline_model::{EdgeCounts, EdgeKey, NodeKind, Protocol, ServiceName, Timestamp};
use tripline_otlp::{MessagingStep, SpanFacts, SpanKind, Spans};

pub use calls::TracedWindow;
pub use reason::{CALL_REASONS, CallReason, SILENT_REASONS, SilentReason};
pub use rings::MAX_WAITING;

use aliases::Aliases;
use calls::{Call, CallWindows};
use names::{Names, Node, USER};
use rings::{Place, Ring, Rings};
use slot::{Identity, Named, Slot, Told};
use waiting::SpanKey;

/// How long a client's span waits for its server before its peer is guessed. Exporters flush every five seconds by default.
pub const LINGER: Duration = Duration::from_secs(15);
/// How late a span may be and still find its other half.
pub const LATE: Duration = Duration::from_secs(120);
/// Spans for which memory is asked at once; as many as a processor can wait for, and some more.
const AT_ONCE: usize = 16;

/// What was counted about pairing, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairCounters {
    /// Spans that found their other half.
    pub paired: u64,
    /// Client spans that neither found a server nor named one.
    pub unpaired: u64,
    /// Spans put out because too many were waiting.
    pub evicted: u64,
    /// Spans seen before.
    pub repeated: u64,
    /// Guessed peers that were taken back because the real server showed up.
    pub retracted: u64,
    /// Calls dropped because they fell on too many edges and seconds at once.
    pub dropped: u64,
}

/// What a second of spans gave.
#[derive(Debug, Default)]
pub struct Paired {
    /// Calls, by edge and second.
    pub windows: Vec<TracedWindow>,
    /// Edges to guessed peers that turned out to be another service.
    pub retracted: Vec<EdgeKey>,
    /// Spans that made no edge, by service and [`SilentReason`].
    pub silent: Vec<(ServiceName, [u64; SILENT_REASONS])>,
}

/// Spans in waiting. One task owns it.
#[derive(Debug, Default)]
pub struct Pairer {
    names: Names,
    waiting: Rings,
    aliases: Aliases,
    calls: CallWindows,
    retracted: FxHashSet<(Node, Node, Protocol)>,
    silent: rustc_hash::FxHashMap<Node, [u64; SILENT_REASONS]>,
    counters: PairCounters,
    /// The request at hand: its identities, each with whose share it waits on, and peers by number.
    sources: Vec<(Identity, Node)>,
    peers: Vec<Named>,
}

impl Pairer {
    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> PairCounters {
        PairCounters { dropped: self.calls.dropped, ..self.counters }
    }

    /// Takes the spans of one request, which arrived at `now`.
    pub fn observe(&mut self, spans: &Spans, now: Timestamp) {
        let names = &mut self.names;
        self.sources.clear();
        self.sources.extend(spans.identities.iter().map(|source| {
            let node = names.number(&source.service, now);
            let identity = Identity { node, environment: names.environment(&source.environment) };
            (identity, if names.is_established(node, now) { node } else { rings::NEWCOMERS })
        }));
        self.peers.clear();
        self.peers
            .extend(spans.peers.iter().map(|peer| Named { node: names.number(&peer.service, now), kind: peer.kind }));
        for facts in spans.facts.chunks(AT_ONCE) {
            let touched = facts.iter().fold(0, |all, facts| {
                all ^ self.waiting.touch(SpanKey { trace: facts.trace_id, span: facts.span_id }, facts.parent)
            });
            std::hint::black_box(touched);
            facts.iter().for_each(|facts| self.observe_one(facts, spans, now));
        }
    }

    /// Once a second: lets late halves go and tells what came together.
    pub fn tick(&mut self, now: Timestamp) -> Paired {
        self.expire(now);
        let named = |(client, server, protocol): (Node, Node, Protocol)| EdgeKey {
            client: self.names.name(client),
            server: self.names.name(server),
            protocol,
        };
        let paired = Paired {
            windows: self.calls.drain(&self.names),
            retracted: self.retracted.drain().map(named).collect(),
            silent: self.silent.drain().map(|(node, counts)| (self.names.name(node), counts)).collect(),
        };
        if self.names.tidy(now) {
            self.aliases.clear();
        }
        paired
    }

    fn observe_one(&mut self, facts: &SpanFacts, spans: &Spans, now: Timestamp) {
        let Some((who, share)) = self.sources.get(facts.source as usize).copied() else { return };
        let peer = self.peers.get(facts.peer as usize).copied();
        let mut slot = Slot::of(facts, (who, share), peer, now);
        if let Some(known) = self.waiting.find(slot.key) {
            let shares = matches!(
                (known.kind, slot.kind),
                (SpanKind::Client, SpanKind::Server) | (SpanKind::Server, SpanKind::Client)
            );
            if !shares || known.who.is_same(slot.who) || known.shared.is_some() {
                self.counters.repeated += 1;
                self.note_silent(who.node, SilentReason::Repeated);
            } else {
                self.share(slot, now);
            }
            return;
        }
        let (ring, makes_room) = self.waiting.ring_for(share);
        if let Some(ring) = makes_room {
            self.evict_oldest(ring, now);
        }
        self.tell_at_once(&mut slot, now);
        self.find_parent(&mut slot, facts, spans, now);
        let (key, awaits) = (slot.key, slot.awaits);
        let place = self.waiting.add(ring, slot);
        if let Some(parent) = awaits {
            let next = self.waiting.wait_for(parent, place);
            if let Some(slot) = self.waiting.get(place) {
                slot.next_orphan = next;
            }
        }
        Ring::BOTH.into_iter().for_each(|ring| self.adopt_orphans((key, ring), place, now));
    }

    /// Calls that need no other half: to a database, to and from a queue.
    fn tell_at_once(&mut self, slot: &mut Slot, now: Timestamp) {
        if slot.step == MessagingStep::Other {
            slot.told = Told::Done;
            self.note_silent(slot.who.node, SilentReason::MessagingStep);
            return;
        }
        let Some(peer) = slot.peer.filter(|peer| peer.node != slot.who.node) else { return };
        let own = Named { node: slot.who.node, kind: NodeKind::Service };
        match (slot.step, peer.kind) {
            (MessagingStep::Process, NodeKind::Queue) => {
                slot.counted = true;
                self.tell(slot, (peer, own), (Protocol::Messaging, CallReason::Queue), now);
            }
            (MessagingStep::Send, NodeKind::Queue) => {
                slot.told = Told::Done;
                self.tell(slot, (own, peer), (Protocol::Messaging, CallReason::Queue), now);
            }
            (_, NodeKind::Database) if slot.kind == SpanKind::Client => {
                slot.told = Told::Done;
                self.tell(slot, (own, peer), (Protocol::Database, CallReason::Database), now);
            }
            _ => {}
        }
    }

    /// Joins a new span to the one that it came from, or lets it wait for that.
    fn find_parent(&mut self, slot: &mut Slot, facts: &SpanFacts, spans: &Spans, now: Timestamp) {
        let link = spans.links.get(facts.link as usize).map(|(trace, span)| SpanKey { trace: *trace, span: *span });
        let is_message = slot.step == MessagingStep::Process;
        // A batch of messages is processed in a trace of its own, which links to those who sent them.
        let by_link = link.filter(|_| is_message && !slot.counted);
        let parent = by_link.or(facts.parent.map(|span| SpanKey { trace: facts.trace_id, span }));
        match parent {
            Some(key) if key == slot.key => {}
            Some(key) => match self.waiting.find(key) {
                Some(parent) => {
                    let mut parent = *parent;
                    self.join(&mut parent, slot, now);
                    if let Some(place) = self.waiting.find(key) {
                        *place = parent;
                    }
                }
                None => slot.awaits = Some(key),
            },
            None if slot.kind == SpanKind::Server => {
                slot.counted = true;
                let users = Named { node: USER, kind: NodeKind::User };
                let server = Named { node: slot.who.node, kind: NodeKind::Service };
                self.tell(slot, (users, server), (slot.protocol, CallReason::User), now);
            }
            None if is_message && !slot.counted => self.note_silent(slot.who.node, SilentReason::QueueUnnamed),
            None => {}
        }
    }

    fn adopt_orphans(&mut self, (key, ring): (SpanKey, Ring), place: Place, now: Timestamp) {
        let mut child = self.waiting.take_orphans(key, ring);
        while child != 0 {
            // Before the ring's first: it has expired, and so have all that came before it.
            let Some(slot) = self.waiting.get((ring, child)) else { break };
            let next = std::mem::take(&mut slot.next_orphan);
            slot.awaits = None;
            let mut orphan = *slot;
            if let Some(parent) = self.waiting.get(place) {
                let mut parent = *parent;
                self.join(&mut parent, &mut orphan, now);
                if let Some(slot) = self.waiting.get(place) {
                    *slot = parent;
                }
            }
            if let Some(slot) = self.waiting.get((ring, child)) {
                *slot = orphan;
            }
            child = next;
        }
    }

    /// The second half of a span that client and server report under one id.
    fn share(&mut self, slot: Slot, now: Timestamp) {
        let key = slot.key;
        let Some(known) = self.waiting.find(key) else { return };
        let mut known = *known;
        let (mut client, server) = if known.kind == SpanKind::Client {
            (known, slot)
        } else {
            // The slot keeps its place in the ring, and whether it still waits for the parent of both.
            let server = known;
            (known.awaits, known.next_orphan) = (server.awaits, server.next_orphan);
            let client = Slot { awaits: known.awaits, next_orphan: known.next_orphan, arrived: known.arrived, ..slot };
            (client, server)
        };
        client.shared = Some(server.who);
        if !server.counted {
            self.tell_pair(&mut client, &server, (server.who, CallReason::SharedSpan), now);
            client.servers += 1;
        }
        if let Some(place) = self.waiting.find(key) {
            *place = client;
        }
    }

    /// Joins a child to its parent: a call where they belong to different services.
    fn join(&mut self, parent: &mut Slot, child: &mut Slot, now: Timestamp) {
        let within = child.who.is_same(parent.who) || parent.shared.is_some_and(|shared| child.who.is_same(shared));
        if within {
            if child.who.is_same(parent.who) && !matches!(child.kind, SpanKind::Internal) {
                // The child carries on for its service; whether the call found a server is the child's to tell.
                parent.carried_on = true;
            }
            self.note_silent(child.who.node, SilentReason::SameService);
            return;
        }
        if child.counted || child.step == MessagingStep::Other {
            return;
        }
        child.counted = true;
        let is_message = child.step == MessagingStep::Process;
        if is_message && let Some(queue) = parent.queue() {
            let own = Named { node: child.who.node, kind: NodeKind::Service };
            self.tell(child, (queue, own), (Protocol::Messaging, CallReason::Link), now);
            return;
        }
        let reason = match (parent.servers > 0 && parent.is_one_call(), child.key.trace == parent.key.trace) {
            (true, _) => CallReason::Attempt,
            (false, true) => CallReason::Paired,
            (false, false) => CallReason::Link,
        };
        self.tell_pair(parent, child, (child.who, reason), now);
        parent.servers = parent.servers.saturating_add(1);
    }

    /// A call whose both halves are there.
    fn tell_pair(&mut self, parent: &mut Slot, child: &Slot, (server, reason): (Identity, CallReason), now: Timestamp) {
        let client = parent.shared.filter(|_| reason != CallReason::SharedSpan).unwrap_or(parent.who);
        self.counters.paired += 1;
        let told = std::mem::replace(&mut parent.told, Told::Done);
        if let Some(peer) =
            parent.peer.filter(|_| parent.kind == SpanKind::Client && parent.step == MessagingStep::None)
            && peer.node != server.node
        {
            let is_new = self.aliases.learn(parent.who.node, peer.node, server.node, now);
            if is_new || told == Told::Guess {
                self.counters.retracted += u64::from(told == Told::Guess);
                self.retracted.insert((parent.who.node, peer.node, parent.protocol));
            }
        }
        if told == Told::Alias(server.node) {
            // Counted when it had waited long enough, and rightly so.
            return;
        }
        let counts = if reason == CallReason::Attempt {
            let answered_failures = if child.failed { weight_of(parent, child) } else { 0 };
            let weight = weight_of(parent, child);
            EdgeCounts { attempts: weight, retries: weight, answered_failures, ..EdgeCounts::default() }
        } else {
            whole_request(parent, child)
        };
        let by_client = parent.is_by_client();
        let call = Call {
            client: client.node,
            server: server.node,
            protocol: if parent.protocol == Protocol::default() { child.protocol } else { parent.protocol },
            client_kind: NodeKind::Service,
            server_kind: NodeKind::Service,
            start: if by_client { parent.start } else { child.start },
            latency: if by_client { parent.duration() } else { child.duration() },
            counts,
            reason,
        };
        self.calls.count(&call, now);
    }

    /// A call that one span tells alone.
    fn tell(
        &mut self,
        slot: &Slot,
        (client, server): (Named, Named),
        (protocol, reason): (Protocol, CallReason),
        now: Timestamp,
    ) {
        let call = Call {
            client: client.node,
            server: server.node,
            protocol,
            client_kind: client.kind,
            server_kind: server.kind,
            start: slot.start,
            latency: slot.duration(),
            counts: of_one_span(slot),
            reason,
        };
        self.calls.count(&call, now);
    }

    /// What a client's span gives that has waited for its server in vain.
    fn guess(&mut self, slot: &mut Slot, now: Timestamp) {
        if slot.told != Told::Nothing || slot.carried_on || slot.servers > 0 || slot.shared.is_some() {
            return;
        }
        if !slot.is_by_client() {
            return;
        }
        let own = Named { node: slot.who.node, kind: NodeKind::Service };
        match slot.peer {
            None => {
                self.counters.unpaired += 1;
                self.note_silent(own.node, SilentReason::PeerUnnamed);
                slot.told = Told::Done;
            }
            Some(peer) if peer.node == own.node => slot.told = Told::Done,
            Some(peer) => match self.aliases.server(own.node, peer.node, now) {
                Some(server) => {
                    let server = Named { node: server, kind: NodeKind::Service };
                    slot.told = Told::Alias(server.node);
                    self.tell(slot, (own, server), (slot.protocol, CallReason::Alias), now);
                }
                None => {
                    slot.told = Told::Guess;
                    self.tell(slot, (own, peer), (slot.protocol, CallReason::Named), now);
                }
            },
        }
    }

    fn expire(&mut self, now: Timestamp) {
        for ring in Ring::BOTH {
            while let Some(slot) = self.waiting.not_lingered(ring) {
                if now.since(slot.arrived) <= LINGER {
                    break;
                }
                let mut slot = *slot;
                self.guess(&mut slot, now);
                if let Some(place) = self.waiting.not_lingered(ring) {
                    *place = slot;
                }
                self.waiting.has_lingered(ring);
            }
            while self.waiting.oldest(ring).is_some_and(|slot| now.since(slot.arrived) > LATE) {
                self.forget_oldest(ring, now);
            }
        }
    }

    fn evict_oldest(&mut self, ring: Ring, now: Timestamp) {
        self.counters.evicted += 1;
        if let Some(slot) = self.forget_oldest(ring, now) {
            self.note_silent(slot.who.node, SilentReason::Evicted);
        }
    }

    fn forget_oldest(&mut self, ring: Ring, now: Timestamp) -> Option<Slot> {
        let mut slot = self.waiting.pop(ring)?;
        self.guess(&mut slot, now);
        let is_callee = matches!(slot.kind, SpanKind::Server | SpanKind::Consumer);
        if slot.awaits.is_some() && is_callee && !slot.counted {
            self.note_silent(slot.who.node, SilentReason::ParentMissing);
        }
        Some(slot)
    }

    fn note_silent(&mut self, node: Node, reason: SilentReason) {
        if let Some(count) = self.silent.entry(node).or_default().get_mut(reason as usize) {
            *count += 1;
        }
    }
}

/// Both halves were sampled, so the rarer of them tells how many calls they stand for.
fn weight_of(parent: &Slot, child: &Slot) -> u64 {
    u64::from(parent.weight.max(child.weight))
}

/// One request with its first attempt, as both halves tell it.
fn whole_request(parent: &Slot, child: &Slot) -> EdgeCounts {
    let weight = weight_of(parent, child);
    // The client knows how the call ended, whatever became of its first attempt; a parent that did more than the call does not.
    let failed = if parent.is_by_client() && parent.knows_outcome { parent.failed } else { child.failed };
    let part = |is: bool| if is { weight } else { 0 };
    EdgeCounts {
        requests: weight,
        attempts: weight,
        failed: part(failed),
        answered_failures: part(child.failed),
        transport_failures: part(failed && !child.failed),
        ..EdgeCounts::default()
    }
}

/// One request, as one span tells it.
fn of_one_span(slot: &Slot) -> EdgeCounts {
    let weight = u64::from(slot.weight);
    let failed = if slot.failed { weight } else { 0 };
    EdgeCounts { requests: weight, attempts: weight, failed, answered_failures: failed, ..EdgeCounts::default() }
}
