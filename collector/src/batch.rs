//! What one accepted OTLP request held, decoded once and shared by everyone behind the receiver.

use tripline_model::{BreakerTransition, SidecarReport, Timestamp};
use tripline_otlp::{LogRecord, Spans};

/// The content of one accepted request.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Where the journal holds it; positions grow by one and are never reused. 0 when there is no journal.
    pub position: u64,
    /// When it was received, by the collector's clock.
    pub received_at: Timestamp,
    /// Sidecar reports, repeats already taken out.
    pub reports: Vec<SidecarReport>,
    /// Breaker transitions, repeats already taken out.
    pub transitions: Vec<BreakerTransition>,
    /// Spans, as the bytes they came in.
    pub spans: Spans,
    /// Log records; those that carry transitions are in here, too.
    pub logs: Vec<LogRecord>,
}

impl Batch {
    /// What the live graph needs, and what history keeps: the one is done with its part in milliseconds, the other holds the
    /// bytes until it writes.
    #[must_use]
    pub fn split(mut self) -> (Self, Self) {
        let (spans, kept) = std::mem::take(&mut self.spans).split();
        let history = Self {
            position: self.position,
            received_at: self.received_at,
            reports: Vec::new(),
            transitions: self.transitions.clone(),
            spans: kept,
            logs: std::mem::take(&mut self.logs),
        };
        (Self { spans, ..self }, history)
    }
}
