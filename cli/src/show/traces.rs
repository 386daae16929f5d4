//! `tripline traces`: one line for each trace, newest first.

use tripline_api::TraceList;

use super::figures::{count, millis, time_of_day};
use crate::args::{Output, TracesArguments};
use crate::client::Client;
use crate::exit::Outcome;
use crate::style::{self, Tone};
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

/// Runs `tripline traces`.
pub(super) async fn run(client: &Client, arguments: &TracesArguments) -> Outcome {
    let range = &arguments.range;
    let wanted = [
        ("service", arguments.service.clone()),
        ("operation", arguments.operation.clone()),
        ("attribute", arguments.attribute.clone()),
        ("min_ms", arguments.min_ms.map(|ms| ms.to_string())),
        ("error", arguments.error.map(|error| error.to_string())),
        ("from", range.from.clone()),
        ("to", range.to.clone()),
        ("limit", Some(range.limit.to_string())),
    ];
    let query: Vec<(&str, &str)> = wanted.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let text = match range.output {
        Output::Json => super::json(&client.get_json("traces", &query).await?, false),
        Output::Table => table(&client.get("traces", &query).await?).render(style::colours_on_stdout()),
    };
    Ok(style::answer(&text)?)
}

fn table(list: &TraceList) -> Table {
    let columns = [
        Left("AT"),
        Left("TRACE"),
        Right("TOOK MS"),
        Right("SPANS"),
        Right("ERRORS"),
        Left("SERVICE"),
        Left("OPERATION"),
    ];
    let mut table = Table::new(columns, "no traces");
    for trace in &list.traces {
        let errors = Cell::toned(trace.errors.to_string(), if trace.errors > 0 { Tone::Bad } else { Tone::Dim });
        table.row([
            Cell::from(time_of_day(&trace.started_at)),
            Cell::from(&trace.trace_id),
            millis(trace.duration_ms),
            count(trace.spans),
            errors,
            Cell::from(&trace.root_service),
            Cell::from(&trace.root_name),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_trace() {
        let list: TraceList = serde_json::from_value(serde_json::json!({"traces": [{
            "trace_id": "abc", "started_at": "2026-11-21T09:00:00Z", "duration_ms": 118.0, "root_service": "shop/web",
            "root_name": "GET", "spans": 7, "errors": 1, "services": ["shop/web"]}], "next": null}))
        .expect("a list");
        let text = table(&list).render(false);
        assert!(text.lines().last().is_some_and(|row| row.contains("abc") && row.ends_with("GET")), "{text}");
    }
}
