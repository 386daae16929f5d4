//! What a span did with a message: only some steps of its way are calls between services.
//!
//! Instrumentations make up to five spans of one message: created, sent, received by a poll, processed, settled. The graph
//! counts sending (service to queue) and processing (queue to service), each once.

use super::{Key, MESSAGING_SYSTEM, Said};
use crate::SpanKind;

const OPERATION: &[Key] = &[Key::MessagingOperationType, Key::MessagingOperation];

/// One step of a message's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MessagingStep {
    /// It is not about messages.
    #[default]
    None,
    /// Handed to the broker.
    Send,
    /// Given to the application's code.
    Process,
    /// Made, polled for, or settled: part of a step that another span tells.
    Other,
}

impl Said<'_> {
    /// What it did with a message.
    pub(crate) fn messaging_step(&self) -> MessagingStep {
        let by_kind = match self.kind {
            SpanKind::Producer => MessagingStep::Send,
            SpanKind::Consumer => MessagingStep::Process,
            _ if self.text(MESSAGING_SYSTEM).is_none() => return MessagingStep::None,
            SpanKind::Client => MessagingStep::Send,
            _ => MessagingStep::Other,
        };
        match self.text(OPERATION) {
            Some("send" | "publish") => MessagingStep::Send,
            Some("process" | "deliver") => MessagingStep::Process,
            Some("create" | "receive" | "settle") => MessagingStep::Other,
            _ => by_kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Pairs, span};
    use super::*;

    #[test]
    fn steps_follow_the_operation_then_the_kind() {
        let kafka = ("messaging.system", "kafka");
        let cases: &[(SpanKind, Pairs<'_>, MessagingStep)] = &[
            (SpanKind::Client, &[], MessagingStep::None),
            (SpanKind::Server, &[], MessagingStep::None),
            (SpanKind::Producer, &[], MessagingStep::Send),
            (SpanKind::Consumer, &[], MessagingStep::Process),
            (SpanKind::Client, &[kafka], MessagingStep::Send),
            (SpanKind::Client, &[kafka, ("messaging.operation.type", "receive")], MessagingStep::Other),
            (SpanKind::Consumer, &[kafka, ("messaging.operation", "receive")], MessagingStep::Other),
            (SpanKind::Consumer, &[kafka, ("messaging.operation", "process")], MessagingStep::Process),
            (SpanKind::Producer, &[kafka, ("messaging.operation.type", "create")], MessagingStep::Other),
            (SpanKind::Producer, &[kafka, ("messaging.operation", "publish")], MessagingStep::Send),
        ];
        for (kind, attributes, expected) in cases {
            assert_eq!(span(*kind, attributes).said().messaging_step(), *expected, "{kind:?} {attributes:?}");
        }
    }
}
