//! `tripline trace ID`: one trace as a tree, each span with its start, its length and how it ended.
//!
//! Spans whose parent was not recorded stand at the top, as sampling and lost spans make them. A cycle of parents,
//! which only a broken client can send, is cut where it closes: every span is shown exactly once.

use std::collections::BTreeMap;

use tripline_api::{Span, Trace};
use tripline_collector::clock;

use crate::args::{Output, TraceArguments};
use crate::client::{Client, segment};
use crate::exit::Outcome;
use crate::style::{self, Tone};
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

/// Deeper spans are shown at this depth.
const MAX_INDENT: usize = 40;

/// Runs `tripline trace`.
pub(super) async fn run(client: &Client, arguments: &TraceArguments) -> Outcome {
    let path = format!("traces/{}", segment(&arguments.id));
    let text = match arguments.output {
        Output::Json => super::json(&client.get_json(&path, &[]).await?, false),
        Output::Table => tree(&client.get(&path, &[]).await?).render(style::colours_on_stdout()),
    };
    Ok(style::answer(&text)?)
}

fn tree(trace: &Trace) -> Table {
    let columns = [Right("AT MS"), Right("TOOK MS"), Left("STATUS"), Left("KIND"), Left("SERVICE"), Left("SPAN")];
    let mut table = Table::new(columns, "no spans of this trace are recorded");
    let start = trace.spans.iter().filter_map(|span| clock::parse_rfc3339(&span.started_at)).min();
    for (depth, span) in ordered(&trace.spans) {
        let offset = clock::parse_rfc3339(&span.started_at).zip(start).map(|(at, start)| at.since(start));
        let tone = if span.status == "error" { Tone::Bad } else { Tone::Plain };
        table.row([
            Cell::from(offset.map_or_else(|| "-".to_owned(), |offset| format!("{:.1}", offset.as_secs_f64() * 1000.0))),
            format!("{:.1}", span.duration_ms).into(),
            Cell::toned(&span.status, tone),
            Cell::from(&span.kind),
            Cell::from(&span.service),
            format!("{}{}", "  ".repeat(depth.min(MAX_INDENT)), span.name).into(),
        ]);
    }
    table
}

/// Every span once, parents before children, with its depth.
fn ordered(spans: &[Span]) -> Vec<(usize, &Span)> {
    let known: BTreeMap<&str, usize> = spans.iter().zip(0..).map(|(span, at)| (span.span_id.as_str(), at)).collect();
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut tops = Vec::new();
    for (span, at) in spans.iter().zip(0..) {
        match known.get(span.parent_span_id.as_str()) {
            Some(parent) if *parent != at => children.entry(*parent).or_default().push(at),
            _ => tops.push(at),
        }
    }
    let mut shown = vec![false; spans.len()];
    let mut order = Vec::with_capacity(spans.len());
    // Starts that no top leads to are parts of cycles.
    for start in tops.into_iter().chain(0..spans.len()) {
        let mut waiting = vec![(0, start)];
        while let Some((depth, at)) = waiting.pop() {
            if std::mem::replace(&mut shown[at], true) {
                continue;
            }
            order.push((depth, &spans[at]));
            waiting.extend(children.get(&at).into_iter().flatten().rev().map(|child| (depth + 1, *child)));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str) -> Span {
        serde_json::from_value(serde_json::json!({
            "trace_id": "t", "span_id": id, "parent_span_id": parent, "service": "shop/web", "instance": "", "name": id,
            "kind": "server", "started_at": "2026-11-21T09:00:00Z", "duration_ms": 1.5, "status": "ok",
            "status_message": "", "attributes": {}, "events": []
        }))
        .expect("a span")
    }

    #[test]
    fn children_follow_their_parents_and_every_span_is_shown_once() {
        let cases = [
            (vec![("c", "b"), ("a", ""), ("b", "a"), ("d", "a")], "a0 b1 c2 d1"),
            (vec![("b", "lost"), ("a", "")], "b0 a0"),
            (vec![("a", "b"), ("b", "a"), ("c", "c")], "c0 a0 b1"),
        ];
        for (spans, expected) in cases {
            let spans: Vec<Span> = spans.into_iter().map(|(id, parent)| span(id, parent)).collect();
            let order: Vec<String> = ordered(&spans).iter().map(|(d, s)| format!("{}{d}", s.span_id)).collect();
            assert_eq!(order.join(" "), expected);
        }
    }
}
