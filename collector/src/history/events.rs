//! Breaker transitions as columns, and back as the API shows them.

use polars::prelude::*;
use tripline_api as api;
use tripline_model::BreakerTransition;

use super::frame::{Columns, Table, Texts};
use crate::clock::rfc3339;

/// Encodes transitions; columns as `docs/history.md` lists them.
pub(super) fn encode(transitions: &[&BreakerTransition]) -> PolarsResult<DataFrame> {
    let each = || transitions.iter();
    let mut columns = Columns::of_height(transitions.len());
    columns
        .time("time", each().map(|t| t.at))
        .text("breaker", each().map(|t| &t.breaker))
        .text("client", each().map(|t| t.client.to_string()))
        .text("client_instance", each().map(|t| &t.client_instance))
        .text("server", each().map(|t| t.server.to_string()))
        .text("route", each().map(|t| &t.route))
        .text("endpoint", each().map(|t| &t.endpoint))
        .text("from_state", each().map(|t| t.from.as_str()))
        .text("to_state", each().map(|t| t.to.as_str()))
        .text("reason", each().map(|t| t.reason.as_str()))
        .text("origin", each().map(|t| t.origin.as_str()))
        .int("window_total", each().map(|t| t.window_total))
        .int("window_failed", each().map(|t| t.window_failed))
        .int("window_slow", each().map(|t| t.window_slow))
        .float("threshold", each().map(|t| t.threshold))
        .text("last_error", each().map(|t| &t.last_error))
        .int("time_in_from_ms", each().map(|t| u64::try_from(t.time_in_from.as_millis()).unwrap_or(u64::MAX)))
        .int("sequence", each().map(|t| t.sequence))
        .text("traces", each().map(|t| traces_json(t)));
    columns.finish()
}

/// Decodes transitions in the order of `frame`.
pub(super) fn decode(frame: &DataFrame) -> PolarsResult<Vec<api::Transition>> {
    let table = Table(frame);
    let [breaker, client, server, endpoint] =
        [table.text("breaker")?, table.text("client")?, table.text("server")?, table.text("endpoint")?];
    let (instance, route) = (table.text("client_instance")?, table.text("route")?);
    let [from, to, reason, origin] =
        [table.text("from_state")?, table.text("to_state")?, table.text("reason")?, table.text("origin")?];
    let (last_error, traces) = (table.text("last_error")?, table.text("traces")?);
    let (at, total, failed) = (table.int("time")?, table.int("window_total")?, table.int("window_failed")?);
    let (slow, lasted, sequence) = (table.int("window_slow")?, table.int("time_in_from_ms")?, table.int("sequence")?);
    let threshold = table.float("threshold")?;
    let transition = |row| api::Transition {
        at: rfc3339(at.time(row)),
        breaker: breaker.owned(row),
        client: client.owned(row),
        client_instance: instance.owned(row),
        server: server.owned(row),
        route: route.owned(row),
        endpoint: endpoint.owned(row),
        from: state(&from, row),
        to: state(&to, row),
        reason: reason.owned(row),
        origin: origin.owned(row),
        window_total: total.at(row),
        window_failed: failed.at(row),
        window_slow: slow.at(row),
        threshold: threshold.at(row),
        last_error: last_error.owned(row),
        time_in_from_ms: lasted.at(row),
        sequence: sequence.at(row),
        traces: serde_json::from_str(traces.at(row)).unwrap_or_default(),
    };
    Ok((0..frame.height()).map(transition).collect())
}

fn traces_json(transition: &BreakerTransition) -> String {
    let traces: Vec<String> = transition.traces.iter().map(ToString::to_string).collect();
    serde_json::Value::from(traces).to_string()
}

fn state(words: &Texts, row: usize) -> api::BreakerState {
    let known = api::BreakerState::ALL.iter().find(|state| state.as_str() == words.at(row));
    known.copied().unwrap_or(api::BreakerState::None)
}
