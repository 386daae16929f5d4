//! What is remembered of a span while it waits: what its call needs, of fixed size, no names.

use std::time::Duration;

use tripline_model::{NodeKind, Protocol, Timestamp};
use tripline_otlp::{MessagingStep, SpanFacts, SpanKind};

use super::names::Node;
use super::waiting::SpanKey;

/// Who made a span: its service, and the environment that it runs in (0: not said).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) node: Node,
    pub(super) environment: u16,
}

impl Identity {
    /// Whether a span of one under a span of the other stays within the service.
    pub(super) const fn is_same(self, other: Self) -> bool {
        self.node == other.node
            && (self.environment == 0 || other.environment == 0 || self.environment == other.environment)
    }
}

/// Whom a span says it called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) node: Node,
    pub(super) kind: NodeKind,
}

/// How far the call of a client span is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing yet.
    Nothing,
    /// A call to the peer that it names, to be taken back when the server shows up.
    Guess,
    /// A call to the server that this peer's name was known to stand for.
    Alias(Node),
    /// For good.
    Done,
}

/// A span in waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) key: SpanKey,
    /// The span that it waits for; none when that has come, or when it waits for none.
    pub(super) awaits: Option<SpanKey>,
    pub(super) start: Timestamp,
    pub(super) duration_ns: u64,
    pub(super) arrived: Timestamp,
    /// Number of the next older span that waits for the same parent.
    pub(super) next_orphan: u64,
    pub(super) who: Identity,
    /// On whose share it waits.
    pub(super) share: Node,
    /// The server's half of a span that both sides report under one id, as Zipkin does.
    pub(super) shared: Option<Identity>,
    pub(super) peer: Option<Named>,
    pub(super) weight: u32,
    pub(super) kind: SpanKind,
    pub(super) protocol: Protocol,
    pub(super) step: MessagingStep,
    pub(super) failed: bool,
    pub(super) knows_outcome: bool,
    pub(super) told: Told,
    /// Whether a span of its own service carried the call on.
    pub(super) carried_on: bool,
    /// Servers seen under it.
    pub(super) servers: u16,
    /// Whether it was counted as somebody's server.
    pub(super) counted: bool,
}

impl Slot {
    pub(super) fn of(
        facts: &SpanFacts,
        (who, share): (Identity, Node),
        peer: Option<Named>,
        arrived: Timestamp,
    ) -> Self {
        Self {
            key: SpanKey { trace: facts.trace_id, span: facts.span_id },
            awaits: None,
            start: facts.start,
            duration_ns: facts.duration_ns,
            arrived,
            next_orphan: 0,
            who,
            share,
            shared: None,
            peer,
            weight: facts.weight,
            kind: facts.kind,
            protocol: facts.protocol,
            step: facts.step,
            failed: facts.failed,
            knows_outcome: facts.knows_outcome,
            told: Told::Nothing,
            carried_on: false,
            servers: 0,
            counted: false,
        }
    }

    /// Whether it is one call of its service, so that several servers under it are attempts.
    pub(super) fn is_one_call(&self) -> bool {
        self.kind == SpanKind::Client && self.step == MessagingStep::None
    }

    /// Whether it saw the whole wait for the answer.
    pub(super) const fn is_by_client(&self) -> bool {
        matches!(self.kind, SpanKind::Client | SpanKind::Producer)
    }

    pub(super) const fn duration(&self) -> Duration {
        Duration::from_nanos(self.duration_ns)
    }

    /// The queue that it names.
    pub(super) fn queue(&self) -> Option<Named> {
        self.peer.filter(|peer| peer.kind == NodeKind::Queue)
    }
}
