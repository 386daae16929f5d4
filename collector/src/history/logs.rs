//! Log records as columns, and back as the API shows them.

use polars::prelude::*;
use tripline_api as api;
use tripline_model::{SpanId, TraceId};
use tripline_otlp::LogRecord;

use super::frame::{Columns, Table, attributes_of, json_of};
use crate::clock::rfc3339;

/// Encodes log records; columns as `docs/history.md` lists them.
pub(super) fn encode(logs: &[&LogRecord]) -> PolarsResult<DataFrame> {
    let each = || logs.iter();
    let mut columns = Columns::of_height(logs.len());
    columns
        .time("time", each().map(|l| l.at))
        .text("service", each().map(|l| l.service.to_string()))
        .text("instance", each().map(|l| &l.instance))
        .int("severity_number", each().map(|l| u64::from(l.severity_number)))
        .text("severity", each().map(|l| &l.severity))
        .text("body", each().map(|l| &l.body))
        .text("event", each().map(|l| &l.event))
        .bytes("trace_id", each().map(|l| l.trace_id.as_ref().map(TraceId::as_bytes)))
        .bytes("span_id", each().map(|l| l.span_id.as_ref().map(SpanId::as_bytes)))
        .text("attributes", each().map(|l| json_of(&l.attributes)));
    columns.finish()
}

/// Decodes log records in the order of `frame`, each with its time in nanoseconds.
pub(super) fn decode(frame: &DataFrame) -> PolarsResult<Vec<(u64, api::Log)>> {
    let table = Table(frame);
    let [service, severity, body, event] =
        [table.text("service")?, table.text("severity")?, table.text("body")?, table.text("event")?];
    let (trace_id, span_id, attributes) = (table.ids("trace_id")?, table.ids("span_id")?, table.text("attributes")?);
    let at = table.int("time")?;
    let log = |row| api::Log {
        at: rfc3339(at.time(row)),
        service: service.owned(row),
        severity: severity.owned(row),
        body: body.owned(row),
        event: event.owned(row),
        trace_id: trace_id.hex(row),
        span_id: span_id.hex(row),
        attributes: attributes_of(attributes.at(row)),
    };
    Ok((0..frame.height()).map(|row| (at.at(row), log(row))).collect())
}
