//! What is remembered of a span while it waits: what its call needs, not its attributes.

use std::time::Duration;

use tripline_model::{EdgeKey, NodeKind, Protocol, ServiceName, SpanId, Timestamp};
use tripline_otlp::{Peer, SpanKind, SpanRecord};

use super::{Call, whole_request};

/// A span in waiting.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) service: ServiceName,
    pub(super) parent: Option<SpanId>,
    pub(super) kind: SpanKind,
    pub(super) protocol: Protocol,
    pub(super) start: Timestamp,
    pub(super) duration: Duration,
    pub(super) failed: bool,
    /// How many spans it stands for, at least 1.
    pub(super) weight: u64,
    /// Whom its attributes say it called.
    peer: Option<Peer>,
    /// Children seen, of any service.
    pub(super) children: u32,
    /// Children seen of another service.
    pub(super) other_children: u32,
}

impl Slot {
    pub(super) fn of(span: &SpanRecord) -> Self {
        let calls = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        Self {
            service: span.service.clone(),
            parent: span.parent,
            kind: span.kind,
            protocol: span.protocol(),
            start: span.start,
            duration: span.end.since(span.start),
            failed: span.failed(),
            weight: span.weight.round().clamp(1.0, 1e6) as u64,
            peer: if calls { span.peer() } else { None },
            children: 0,
            other_children: 0,
        }
    }

    /// Whether it called a database, which will never send the other half.
    pub(super) fn calls_database(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.kind == NodeKind::Database)
    }

    /// The call to the peer that its attributes name; none when they name none, or itself.
    pub(super) fn call_to_peer(&self) -> Option<Call> {
        let peer = self.peer.as_ref().filter(|peer| peer.service != self.service)?;
        let protocol = match peer.kind {
            NodeKind::Database => Protocol::Database,
            NodeKind::Queue => Protocol::Messaging,
            _ => self.protocol,
        };
        Some(Call {
            key: EdgeKey { client: self.service.clone(), server: peer.service.clone(), protocol },
            client_kind: NodeKind::Service,
            server_kind: peer.kind,
            start: self.start,
            latency: self.duration,
            counts: whole_request(self.failed, self.weight),
            seen_by_server: false,
        })
    }
}
