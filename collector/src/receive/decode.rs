//! From a decompressed body to records; the `otlp` crate does the work and keeps hostile bytes in bounds.

use bytes::Bytes;
use tripline_model::{BreakerTransition, SidecarReport};
use tripline_otlp::wire::{self, DecodeError, Encoding, Signal};
use tripline_otlp::{LogRecord, Spans, log, sidecar, transition};

use super::{Reason, Refusal};

/// What one request held.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) reports: Vec<SidecarReport>,
    pub(super) transitions: Vec<BreakerTransition>,
    pub(super) spans: Spans,
    pub(super) logs: Vec<LogRecord>,
    pub(super) rejected: Rejected,
}

/// What was left out of a request because it can never be good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rejected {
    /// Items.
    pub(super) items: u64,
    /// Why the first of them.
    pub(super) message: String,
}

impl Decoded {
    pub(super) fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.transitions.is_empty() && self.spans.is_empty() && self.logs.is_empty()
    }
}

/// Reads `body`.
pub(super) fn decode(signal: Signal, encoding: Encoding, body: &Bytes) -> Result<Decoded, Refusal> {
    let decoded = match signal {
        Signal::Traces => traces(encoding, body),
        Signal::Metrics => metrics(encoding, body),
        Signal::Logs => logs(encoding, body),
    };
    decoded.map_err(|error| Refusal::new(Reason::Malformed, error.to_string()))
}

fn traces(encoding: Encoding, body: &Bytes) -> Result<Decoded, DecodeError> {
    let spans = match encoding {
        Encoding::Protobuf => Spans::read(body.clone())?,
        Encoding::Json => Spans::read_json(body)?,
    };
    let rejected = Rejected { items: spans.rejected.total(), message: spans.rejected.to_string() };
    Ok(Decoded { spans, rejected, ..Decoded::default() })
}

fn metrics(encoding: Encoding, body: &[u8]) -> Result<Decoded, DecodeError> {
    let request = match encoding {
        Encoding::Protobuf => wire::decode_metrics_protobuf(body),
        Encoding::Json => wire::decode_metrics_json(body),
    };
    let decoded = sidecar::decode_reports(&request?);
    let message = decoded.rejected.first().map(ToString::to_string).unwrap_or_default();
    let rejected = Rejected { items: decoded.rejected.len() as u64, message };
    Ok(Decoded { reports: decoded.reports, rejected, ..Decoded::default() })
}

/// Log records stay log records also when they are no valid transition; only the transition is left out then.
fn logs(encoding: Encoding, body: &[u8]) -> Result<Decoded, DecodeError> {
    let request = match encoding {
        Encoding::Protobuf => wire::decode_logs_protobuf(body),
        Encoding::Json => wire::decode_logs_json(body),
    };
    let logs = log::decode(request?).logs;
    let mut decoded = Decoded::default();
    for record in logs.iter().filter(|record| transition::is_transition(record)) {
        match transition::decode(record) {
            Ok(transition) => decoded.transitions.push(transition),
            Err(error) => {
                decoded.rejected.items += 1;
                if decoded.rejected.message.is_empty() {
                    decoded.rejected.message = error.to_string();
                }
            }
        }
    }
    decoded.logs = logs;
    Ok(decoded)
}
