//! The verdict on a gRPC call whose status comes in the trailers, after its head has been passed on.
//!
//! Until then the breaker's permit is held, so that a call counts once and with its real outcome; a stream that lives for long
//! would keep a probe of a half-open breaker waiting, so a probe is judged by the head. The time that counts for the breaker is
//! the time to the head: how long a stream lives says nothing about its server.

use std::time::Duration;

use http::HeaderMap;
use tripline_breaker::{Fault, LastError, Outcome};
use tripline_model::{FailureOrigin, NodeKind};

use crate::exchange::{AttemptEnd, End, Exchange};
use crate::grpc::Code;
use crate::headers;
use crate::mark::Mark;
use crate::target::Picked;

/// What is still to be judged.
#[derive(Debug)]
pub(crate) enum Late {
    /// A call of the application.
    Outbound {
        /// The breaker's permit, unless it was a probe.
        picked: Option<(Picked, Duration)>,
        /// What the server's node stands for.
        from: NodeKind,
    },
    /// A request for the application.
    Inbound {
        /// Whether the caller may learn which breaker caused a failure.
        to_mesh: bool,
    },
}

impl Late {
    /// Keeps the permit of a call whose head has come, or judges it now when it is a probe.
    pub(crate) fn outbound(picked: Picked, from: NodeKind, exchange: &Exchange) -> Self {
        let shared = exchange.shared();
        let now = shared.clock.now();
        let took = picked.since(now);
        if picked.is_probe() {
            picked.ends_after(Outcome::Success, exchange.context().trace, (took, now));
            return Self::Outbound { picked: None, from };
        }
        Self::Outbound { picked: Some((picked, took)), from }
    }

    /// The trailers are here, or the stream has ended without any.
    pub(crate) fn judge(self, exchange: &mut Exchange, trailers: Option<&mut HeaderMap>) -> End {
        let code = trailers.as_deref().and_then(Code::read).unwrap_or(Code::UNKNOWN);
        exchange.grpc_status(code);
        match self {
            Self::Outbound { picked, from } => {
                let (end, outcome, mark) = code.judged(mark_of(trailers, from));
                if let Some((picked, took)) = picked {
                    let now = exchange.shared().clock.now();
                    picked.ends_after(outcome, exchange.context().trace, (took, now));
                }
                exchange.attempt_ends(end);
                if let Some(mark) = mark {
                    exchange.induced_by(mark);
                }
            }
            Self::Inbound { to_mesh } => {
                exchange.attempt_ends(if code.is_failure() { AttemptEnd::Answered } else { AttemptEnd::Success });
                let mut none = HeaderMap::new();
                let trailers = trailers.unwrap_or(&mut none);
                headers::strip_ours(trailers);
                if code.is_failure() {
                    blame(exchange, to_mesh, trailers);
                }
            }
        }
        if code.is_failure() { End::Failed } else { End::Success }
    }

    /// The server stopped in the middle.
    pub(crate) fn breaks_off(self, exchange: &Exchange) {
        if let Self::Outbound { picked: Some((picked, took)), .. } = self {
            let fault = Fault { origin: FailureOrigin::Local, error: LastError::Word("broken_answer") };
            let now = exchange.shared().clock.now();
            picked.ends_after(Outcome::Failure(fault), exchange.context().trace, (took, now));
        }
    }
}

/// Lays a failing answer of the application at the right door, and tells the caller's sidecar of the breaker behind it.
pub(crate) fn blame(exchange: &mut Exchange, to_mesh: bool, fields: &mut HeaderMap) {
    let Some(calls) = exchange.calls() else { return };
    exchange.blame(calls.failed);
    if let Some(mark) = calls.mark.filter(|_| to_mesh) {
        fields.insert(headers::BREAKER, mark.passed_on().to_value());
    }
}

/// The mark of a breaker; believed from members of the mesh only, and what others say is removed.
fn mark_of(fields: Option<&mut HeaderMap>, from: NodeKind) -> Option<Mark> {
    let fields = fields?;
    if from != NodeKind::Service {
        headers::strip_ours(fields);
        return None;
    }
    fields.get(headers::BREAKER).and_then(Mark::read)
}
