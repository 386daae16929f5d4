//! Spans as columns, and back as the API shows them.

use polars::prelude::*;
use tripline_api as api;
use tripline_otlp::{SpanEvent, SpanKind, SpanRecord, SpanStatus};

use super::frame::{Columns, Table, attributes_of, json_of, millis};
use crate::clock::rfc3339;

/// Encodes spans; columns as `docs/history.md` lists them.
pub(super) fn encode(spans: &[&SpanRecord]) -> PolarsResult<DataFrame> {
    let each = || spans.iter();
    let mut columns = Columns::of_height(spans.len());
    columns
        .text("trace_id", each().map(|s| s.trace_id.to_string()))
        .text("span_id", each().map(|s| s.span_id.to_string()))
        .maybe_text("parent_span_id", each().map(|s| s.parent.map(|id| id.to_string())))
        .text("service", each().map(|s| s.service.to_string()))
        .text("instance", each().map(|s| &s.instance))
        .text("environment", each().map(|s| &s.environment))
        .flag("from_sidecar", each().map(|s| s.from_sidecar))
        .text("name", each().map(|s| &s.name))
        .text("kind", each().map(|s| kind(s.kind)))
        .time("start", each().map(|s| s.start))
        .int("duration_ns", each().map(|s| u64::try_from(s.end.since(s.start).as_nanos()).unwrap_or(u64::MAX)))
        .text("status", each().map(|s| status(s.status)))
        .text("status_message", each().map(|s| &s.status_message))
        .float("weight", each().map(|s| s.weight))
        .text("attributes", each().map(|s| json_of(&s.attributes)))
        .text("events", each().map(|s| events_json(&s.events)))
        .text("links", each().map(|s| links_json(s)));
    columns.finish()
}

/// Decodes spans in the order of `frame`.
pub(super) fn decode(frame: &DataFrame) -> PolarsResult<Vec<api::Span>> {
    let table = Table(frame);
    let [trace_id, span_id, parent, service] =
        [table.text("trace_id")?, table.text("span_id")?, table.text("parent_span_id")?, table.text("service")?];
    let [instance, name, kind, status] =
        [table.text("instance")?, table.text("name")?, table.text("kind")?, table.text("status")?];
    let [message, attributes, events] =
        [table.text("status_message")?, table.text("attributes")?, table.text("events")?];
    let (start, duration) = (table.int("start")?, table.int("duration_ns")?);
    let span = |row| api::Span {
        trace_id: trace_id.owned(row),
        span_id: span_id.owned(row),
        parent_span_id: parent.owned(row),
        service: service.owned(row),
        instance: instance.owned(row),
        name: name.owned(row),
        kind: kind.owned(row),
        started_at: rfc3339(start.time(row)),
        duration_ms: millis(duration.at(row)),
        status: status.owned(row),
        status_message: message.owned(row),
        attributes: attributes_of(attributes.at(row)),
        events: serde_json::from_str(events.at(row)).unwrap_or_default(),
    };
    Ok((0..frame.height()).map(span).collect())
}

/// Decodes what [`super::query`] aggregated for each trace.
pub(super) fn decode_summaries(frame: &DataFrame) -> PolarsResult<Vec<api::TraceSummary>> {
    let table = Table(frame);
    let [trace_id, root_service, root_name] =
        [table.text("trace_id")?, table.text("root_service")?, table.text("root_name")?];
    let [first, last, spans, errors] =
        [table.int("first")?, table.int("last")?, table.int("spans")?, table.int("errors")?];
    let services = table.list("services")?;
    let services_of = |row| -> Vec<String> {
        let series = services.get_as_series(row).unwrap_or_default();
        let mut names: Vec<String> =
            series.str().map(|names| names.iter().flatten().map(str::to_owned).collect()).unwrap_or_default();
        names.sort_unstable();
        names
    };
    let summary = |row| api::TraceSummary {
        trace_id: trace_id.owned(row),
        started_at: rfc3339(first.time(row)),
        duration_ms: millis(last.at(row).saturating_sub(first.at(row))),
        root_service: root_service.owned(row),
        root_name: root_name.owned(row),
        spans: spans.at(row),
        errors: errors.at(row),
        services: services_of(row),
    };
    Ok((0..frame.height()).map(summary).collect())
}

fn events_json(events: &[SpanEvent]) -> String {
    let events: Vec<_> = events.iter().map(|e| api::SpanEvent { at: rfc3339(e.at), name: e.name.clone() }).collect();
    serde_json::to_string(&events).unwrap_or_default()
}

fn links_json(span: &SpanRecord) -> String {
    let links: Vec<_> = span
        .links
        .iter()
        .map(|(trace, span)| serde_json::json!({"trace_id": trace.to_string(), "span_id": span.to_string()}))
        .collect();
    serde_json::Value::from(links).to_string()
}

const fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

const fn status(status: SpanStatus) -> &'static str {
    match status {
        SpanStatus::Unset => "unset",
        SpanStatus::Ok => "ok",
        SpanStatus::Error => "error",
    }
}
