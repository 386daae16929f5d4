//! Spans as columns, and back as the API shows them.

use std::borrow::Cow;
use std::collections::HashMap;

use polars::prelude::*;
use tripline_api as api;
use tripline_model::{SpanId, Timestamp, TraceId};
use tripline_otlp::traces::RawSpan;
use tripline_otlp::{Identity, SpanKind, SpanStatus, Spans};

use super::frame::{Columns, Table, attributes_of, millis};
use crate::clock::rfc3339;

/// Encodes the spans of some requests, sorted by service, name and start; columns as `docs/history.md` lists them.
///
/// One walk finds out the order, a second writes the columns in it, straight from the bytes: sorting numbers here costs
/// a tenth of what sorting a frame by texts does.
///
/// Spans that are not `wanted` are left out.
pub(super) fn encode<'a>(
    requests: impl Iterator<Item = &'a Spans>,
    wanted: impl Fn(&RawSpan<'a>) -> bool,
) -> PolarsResult<DataFrame> {
    let mut order = Order::default();
    requests.for_each(|request| order.add(request, &wanted));
    let rows = order.sorted();
    let each = || rows.iter();
    let mut columns = Columns::of_height(rows.len());
    columns
        .bytes("trace_id", each().map(|row| Some(row.span.trace_id.as_bytes())))
        .bytes("span_id", each().map(|row| Some(row.span.span_id.as_bytes())))
        .bytes("parent_span_id", each().map(|row| row.span.parent.as_ref().map(SpanId::as_bytes)))
        .text("service", each().map(|row| row.source.service.as_str()))
        .text("instance", each().map(|row| &row.source.identity.instance))
        .text("environment", each().map(|row| &row.source.identity.environment))
        .flag("from_sidecar", each().map(|row| row.source.identity.from_sidecar))
        .text("name", each().map(|row| row.span.name()))
        .text("kind", each().map(|row| kind(row.span.kind)))
        .time("start", each().map(|row| row.span.start))
        .int("duration_ns", each().map(|row| row.duration_ns()))
        .text("status", each().map(|row| status(row.span.status)))
        .text("status_message", each().map(|row| row.span.status_message()))
        .float("weight", each().map(|row| row.span.weight()))
        .written("attributes", each(), |row, out| {
            let mut text = Vec::new();
            row.span.write_attributes(&mut text);
            out.push_str(&String::from_utf8_lossy(&text));
        })
        .text("events", each().map(|row| events_json(&row.span)))
        .text("links", each().map(|row| links_json(&row.span)));
    columns.finish()
}

/// A service as rows name it.
struct Source<'a> {
    identity: &'a Identity,
    service: String,
}

/// One span, and what it is sorted by.
struct Row<'a, 'b> {
    span: RawSpan<'a>,
    source: &'b Source<'a>,
}

impl Row<'_, '_> {
    fn duration_ns(&self) -> u64 {
        u64::try_from(self.span.end.since(self.span.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Finds the order of rows by comparing numbers: names are ranked once.
#[derive(Default)]
struct Order<'a> {
    sources: Vec<Source<'a>>,
    names: HashMap<Cow<'a, str>, u32>,
    /// Span, source, number of its name.
    spans: Vec<(RawSpan<'a>, u32, u32)>,
}

impl<'a> Order<'a> {
    fn add(&mut self, request: &'a Spans, wanted: &impl Fn(&RawSpan<'a>) -> bool) {
        let first = self.sources.len() as u32;
        let source = |identity: &'a Identity| Source { identity, service: identity.service.to_string() };
        self.sources.extend(request.identities.iter().map(source));
        request.each(|span, source| {
            if !wanted(&span) {
                return;
            }
            let next = self.names.len() as u32;
            let name = *self.names.entry(span.name()).or_insert(next);
            self.spans.push((span, first + source, name));
        });
    }

    fn sorted(&self) -> Vec<Row<'a, '_>> {
        let services = ranks(self.sources.iter().map(|source| source.service.as_str()));
        let mut names = vec![""; self.names.len()];
        for (name, number) in &self.names {
            if let Some(place) = names.get_mut(*number as usize) {
                *place = name;
            }
        }
        let names = ranks(names.into_iter());
        let rank = |ranks: &[u32], index: u32| ranks.get(index as usize).copied().unwrap_or_default();
        let mut keys: Vec<(u32, u32, Timestamp, u32)> = (0..)
            .zip(&self.spans)
            .map(|(index, (span, source, name))| (rank(&services, *source), rank(&names, *name), span.start, index))
            .collect();
        keys.sort_unstable();
        let row = |(.., index): (u32, u32, Timestamp, u32)| {
            let (span, source, _) = self.spans.get(index as usize)?;
            Some(Row { span: *span, source: self.sources.get(*source as usize)? })
        };
        keys.into_iter().filter_map(row).collect()
    }
}

/// The place of each text among all, in their order; equal texts have equal places.
fn ranks<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<u32> {
    let texts: Vec<&str> = texts.collect();
    let mut distinct = texts.clone();
    distinct.sort_unstable();
    distinct.dedup();
    texts.iter().map(|text| distinct.binary_search(text).unwrap_or_default() as u32).collect()
}

/// Decodes spans in the order of `frame`.
pub(super) fn decode(frame: &DataFrame) -> PolarsResult<Vec<api::Span>> {
    let table = Table(frame);
    let [trace_id, span_id, parent] = [table.ids("trace_id")?, table.ids("span_id")?, table.ids("parent_span_id")?];
    let [service, instance, name] = [table.text("service")?, table.text("instance")?, table.text("name")?];
    let (kind, status) = (table.text("kind")?, table.text("status")?);
    let [message, attributes, events] =
        [table.text("status_message")?, table.text("attributes")?, table.text("events")?];
    let (start, duration) = (table.int("start")?, table.int("duration_ns")?);
    let span = |row| api::Span {
        trace_id: trace_id.hex(row),
        span_id: span_id.hex(row),
        parent_span_id: parent.hex(row),
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
    let (trace_id, root_service, root_name) =
        (table.ids("trace_id")?, table.text("root_service")?, table.text("root_name")?);
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
        trace_id: trace_id.hex(row),
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

pub(super) fn events_json(span: &RawSpan<'_>) -> Cow<'static, str> {
    if !span.has_events() {
        return "[]".into();
    }
    let events: Vec<_> =
        span.events().into_iter().map(|e| api::SpanEvent { at: rfc3339(e.at), name: e.name }).collect();
    serde_json::to_string(&events).unwrap_or_default().into()
}

pub(super) fn links_json(span: &RawSpan<'_>) -> Cow<'static, str> {
    if !span.has_links() {
        return "[]".into();
    }
    let link = |(trace, span): (TraceId, SpanId)| serde_json::json!({"trace_id": trace.to_string(), "span_id": span.to_string()});
    let links: Vec<_> = span.links().map(link).collect();
    if links.is_empty() { "[]".into() } else { serde_json::Value::from(links).to_string().into() }
}

pub(super) const fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

pub(super) const fn status(status: SpanStatus) -> &'static str {
    match status {
        SpanStatus::Unset => "unset",
        SpanStatus::Ok => "ok",
        SpanStatus::Error => "error",
    }
}
