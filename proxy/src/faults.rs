//! Faults on purpose: delays and failing answers as a FaultInjection policy says, for drills.
//!
//! They happen in the client's sidecar, before a breaker or an endpoint is asked, so they touch no breaker, no retry and no
//! server. Nothing of them may be taken for a real fault: an aborted call counts as *shed*, which is never a failure of the
//! server, and carries a breaker's mark with the reason `injected`, so that what follows from it is known to be induced; a
//! delay is taken out of the measured duration; an abort's answer says `x-tripline-fault`, the spans of both say
//! `tripline.fault`, and both are counted by kind in `tripline_proxy_injected_faults_total`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Response};
use tripline_mesh::FaultInjection;

use crate::answer::{self, AnswerBody};
use crate::directory::Head;
use crate::exchange::{End, Exchange};
use crate::headers;
use crate::mark::Mark;
use crate::span::SpanEnd;
use crate::target::Target;

/// How often what was injected.
#[derive(Debug, Default)]
pub(crate) struct Injected {
    /// Calls that were made to wait.
    pub(crate) delays: AtomicU64,
    /// Calls that were answered instead of sent.
    pub(crate) aborts: AtomicU64,
}

/// Lets the policies that are about this call do what they say; the answer if one of them aborts it.
pub(crate) async fn inject(
    faults: &[FaultInjection],
    exchange: &mut Exchange,
    target: &Target,
    parts: &Parts,
    host: &str,
) -> Option<Response<AnswerBody>> {
    let head = Head { parts, host };
    for fault in faults {
        let takes = fault.matches.as_ref().is_none_or(|matches| matches.matches(&head));
        if fault.node != target.server || !takes {
            continue;
        }
        if let Some((_, delay)) = fault.delay.filter(|(percent, _)| drawn(*percent)) {
            exchange.shared().injected.delays.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(delay).await;
            exchange.injected("delay", delay);
        }
        if let Some((_, status)) = fault.abort.filter(|(percent, _)| drawn(*percent)) {
            return Some(abort(fault, exchange, target, status));
        }
    }
    None
}

fn abort(fault: &FaultInjection, exchange: &mut Exchange, target: &Target, status: u16) -> Response<AnswerBody> {
    exchange.shared().injected.aborts.fetch_add(1, Ordering::Relaxed);
    let mark = Mark::rejected(&fault.id.to_string(), "injected", "local");
    let value = mark.to_value();
    exchange.induced_by(mark);
    exchange.injected("abort", Duration::ZERO);
    exchange.settle(End::Shed);
    exchange.span_end(SpanEnd { status, error: Some("injected_fault"), ..SpanEnd::default() });
    let text = format!("{} was not called: the FaultInjection {} answers instead", target.server, fault.id);
    let mut response = answer::own(status, "injected_fault", text);
    response.headers_mut().insert(headers::BREAKER, value);
    response.headers_mut().insert(headers::FAULT, HeaderValue::from_static("abort"));
    response
}

fn drawn(percent: u8) -> bool {
    rand::random_range(0..100) < percent
}
