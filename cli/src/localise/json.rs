//! The answer as JSON.

use serde_json::{Map, Value, json};
use tripline_collector::clock::rfc3339;
use tripline_topology::localise::{Answer, Candidate, Degraded, Evidence};
use tripline_topology::recording::{Recording, Rejections};

/// The whole answer, and what was left out of the recordings.
pub(super) fn answer(answer: &Answer, windows: &Recording, baseline: Option<&Recording>) -> Value {
    json!({
        "candidates": answer.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "unexplained": answer.unexplained,
        "degraded": answer.degraded.iter().map(degraded).collect::<Vec<_>>(),
        "entries": answer.entries.iter().map(|entry| &**entry).collect::<Vec<_>>(),
        "signal": answer.signal.as_str(),
        "belief": answer.belief,
        "rejected": {
            "windows": rejections(&windows.rejected),
            "baseline": baseline.map(|baseline| rejections(&baseline.rejected)),
        },
    })
}

fn candidate(candidate: &Candidate) -> Value {
    let mut value = json!({
        "service": &*candidate.service,
        "kind": candidate.kind.as_str(),
        "score": candidate.score,
        "rank": candidate.rank,
        "evidence": candidate.evidence.iter().map(evidence).collect::<Vec<_>>(),
    });
    if let (Some((client, server)), Some(object)) = (&candidate.edge, value.as_object_mut()) {
        object.insert("edge".into(), json!([&**client, &**server]));
    }
    value
}

fn degraded(degraded: &Degraded) -> Value {
    let reasons: Vec<&str> = degraded.reasons.iter().map(|reason| reason.as_str()).collect();
    match &degraded.client {
        Some(client) => json!({ "client": &**client, "server": &*degraded.service, "reasons": reasons }),
        None => json!({ "service": &*degraded.service, "reasons": reasons }),
    }
}

fn evidence(evidence: &Evidence) -> Value {
    let mut value = numbers(evidence);
    if let Some(object) = value.as_object_mut() {
        object.insert("kind".into(), evidence.kind().into());
        object.retain(|_, value| !value.is_null());
    }
    value
}

fn numbers(evidence: &Evidence) -> Value {
    match evidence {
        Evidence::SelfTime { operation, requests, normal_ms, allowed_ms, seen_ms, added_seconds }
        | Evidence::AnswerTime { operation, requests, normal_ms, allowed_ms, seen_ms, added_seconds } => json!({
            "operation": operation.as_deref(), "requests": requests, "normal_ms": normal_ms, "allowed_ms": allowed_ms,
            "seen_ms": seen_ms, "added_seconds": added_seconds,
        }),
        Evidence::NetworkGap { client, server, requests, normal_ms, allowed_ms, seen_ms, added_seconds } => json!({
            "client": &**client, "server": &**server, "requests": requests, "normal_ms": normal_ms,
            "allowed_ms": allowed_ms, "seen_ms": seen_ms, "added_seconds": added_seconds,
        }),
        Evidence::Failures { requests, failures, normal_share, excess, own } => json!({
            "requests": requests, "failures": failures, "normal_share": normal_share, "excess": excess, "own": own,
        }),
        Evidence::MissingCalls { client, requests, normal_calls, seen_calls, ended_early } => json!({
            "client": &**client, "requests": requests, "normal_calls": normal_calls, "seen_calls": seen_calls,
            "ended_early": ended_early,
        }),
        Evidence::Retries { client, requests, attempts } => {
            json!({ "client": &**client, "requests": requests, "attempts": attempts })
        }
        Evidence::Shed { client, calls } => json!({ "client": &**client, "calls": calls }),
        Evidence::BreakerOpened { client, at } => json!({ "client": &**client, "at": rfc3339(*at) }),
    }
}

fn rejections(rejected: &Rejections) -> Value {
    let one =
        |(reason, rejected): (&tripline_topology::recording::Rejection, &tripline_topology::recording::Rejected)| {
            (reason.to_string(), json!({ "lines": rejected.rows, "first_line": rejected.first_line }))
        };
    Value::Object(rejected.iter().map(one).collect::<Map<_, _>>())
}
