//! From spans to rows: who is whose child, how deep, from when to when. Pure.
//!
//! Spans come as stored: sampled, late, from several clocks. A span whose parent is not there stands at the top; a
//! circle of parents (which only broken senders write) is cut where it is entered. Children follow their parent in the
//! order of their start. Bars are shares of the whole trace.

use std::collections::{BTreeMap, BTreeSet};

use tripline_api::Span;

use crate::time;

/// One line of the waterfall.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The span.
    pub(crate) span: Span,
    /// How many parents stand above it.
    pub(crate) depth: usize,
    /// Where its bar begins: share of the trace, 0 to 1.
    pub(crate) start: f64,
    /// Length of its bar: share of the trace, 0 to 1.
    pub(crate) length: f64,
}

/// The rows of a trace and its length in milliseconds.
pub(crate) fn rows(spans: &[Span]) -> (Vec<Row>, f64) {
    let starts: Vec<f64> = spans.iter().map(|span| time::parse(&span.started_at).unwrap_or(f64::NAN)).collect();
    let begin = starts.iter().copied().filter(|s| s.is_finite()).fold(f64::INFINITY, f64::min);
    let ends = starts.iter().zip(spans).map(|(start, span)| start + span.duration_ms).filter(|end| end.is_finite());
    let total = (ends.fold(f64::NEG_INFINITY, f64::max) - begin).max(0.001);
    let total = if total.is_finite() { total } else { 1.0 };
    let row = |i: usize, depth: usize| {
        let span = spans.get(i)?.clone();
        let start = starts.get(i).copied().filter(|s| s.is_finite()).map_or(0.0, |start| (start - begin) / total);
        let length = (span.duration_ms / total).clamp(0.0, 1.0 - start.clamp(0.0, 1.0));
        Some(Row { span, depth, start, length })
    };
    let rows = order(spans, &starts).into_iter().filter_map(|(i, depth)| row(i, depth)).collect();
    (rows, total)
}

/// Positions and depths, parents before children.
fn order(spans: &[Span], starts: &[f64]) -> Vec<(usize, usize)> {
    let known: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut children: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut by_start: Vec<usize> = (0..spans.len()).collect();
    by_start
        .sort_by(|a, b| starts.get(*a).zip(starts.get(*b)).map_or(std::cmp::Ordering::Equal, |(a, b)| a.total_cmp(b)));
    let mut roots = Vec::new();
    for i in &by_start {
        let Some(span) = spans.get(*i) else { continue };
        match known.contains(span.parent_span_id.as_str()) && span.parent_span_id != span.span_id {
            true => children.entry(&span.parent_span_id).or_default().push(*i),
            false => roots.push(*i),
        }
    }
    let mut seen = BTreeSet::new();
    let mut ordered = Vec::new();
    // What hangs in a circle is reached by no root: it follows, earliest first.
    for root in roots.into_iter().chain(by_start) {
        let mut stack = vec![(root, 0)];
        while let Some((i, depth)) = stack.pop() {
            if !seen.insert(i) {
                continue;
            }
            ordered.push((i, depth));
            let below = spans.get(i).and_then(|span| children.get(span.span_id.as_str()));
            stack.extend(below.into_iter().flatten().rev().map(|child| (*child, depth + 1)));
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, second: &str, duration_ms: f64) -> Span {
        Span {
            trace_id: "t".into(),
            span_id: id.into(),
            parent_span_id: parent.into(),
            service: "shop/web".into(),
            instance: String::new(),
            name: id.into(),
            kind: "server".into(),
            started_at: format!("2026-11-21T09:00:{second}Z"),
            duration_ms,
            status: "unset".into(),
            status_message: String::new(),
            attributes: BTreeMap::new(),
            events: vec![],
        }
    }

    fn shape(rows: &[Row]) -> Vec<(&str, usize)> {
        rows.iter().map(|row| (row.span.span_id.as_str(), row.depth)).collect()
    }

    #[test]
    fn children_follow_their_parent_in_the_order_of_their_start() {
        let spans = [
            span("late", "root", "00.600", 100.0),
            span("root", "", "00.000", 1_000.0),
            span("early", "root", "00.100", 300.0),
            span("deep", "early", "00.200", 100.0),
            span("orphan", "lost", "00.900", 50.0),
        ];
        let (rows, total) = rows(&spans);
        assert_eq!(shape(&rows), [("root", 0), ("early", 1), ("deep", 2), ("late", 1), ("orphan", 0)]);
        assert!((total - 1_000.0).abs() < 1e-3);
        let deep = rows.iter().find(|row| row.span.span_id == "deep").map(|row| (row.start, row.length));
        assert!(deep.is_some_and(|(start, length)| (start - 0.2).abs() < 1e-6 && (length - 0.1).abs() < 1e-6));
    }

    #[test]
    fn circles_and_broken_times_lose_no_span() {
        let mut broken = span("c", "", "xx", 5.0);
        broken.started_at = "yesterday".into();
        let spans = [span("a", "b", "00.000", 10.0), span("b", "a", "00.001", 5.0), broken];
        let (rows, _) = rows(&spans);
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.start.is_finite() && row.length.is_finite()));
        assert_eq!(super::rows(&[]).0, vec![]);
    }
}
