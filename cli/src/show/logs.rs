//! `tripline logs`: log records, the newest last, as one reads a log.

use tripline_api::LogList;

use super::figures::time_of_day;
use crate::args::{LogsArguments, Output};
use crate::client::Client;
use crate::exit::Outcome;
use crate::style::{self, Tone};
use crate::table::Column::Left;
use crate::table::{Cell, Table};

/// Runs `tripline logs`.
pub(super) async fn run(client: &Client, arguments: &LogsArguments) -> Outcome {
    let limit = arguments.limit.to_string();
    let wanted = [
        ("service", arguments.service.as_deref()),
        ("trace", arguments.trace.as_deref()),
        ("q", arguments.query.as_deref()),
        ("from", arguments.from.as_deref()),
        ("to", arguments.to.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let query: Vec<(&str, &str)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let text = match arguments.output {
        Output::Json => super::json(&client.get_json("logs", &query).await?, false),
        Output::Table => table(&client.get("logs", &query).await?).render(style::colours_on_stdout()),
    };
    Ok(style::answer(&text)?)
}

fn table(list: &LogList) -> Table {
    let columns = [Left("AT"), Left("SEVERITY"), Left("SERVICE"), Left("TRACE"), Left("TEXT")];
    let mut table = Table::new(columns, "no log records");
    for log in list.logs.iter().rev() {
        let tone = match log.severity.as_str() {
            "ERROR" | "FATAL" => Tone::Bad,
            "WARN" => Tone::Warn,
            _ => Tone::Plain,
        };
        table.row([
            Cell::from(time_of_day(&log.at)),
            Cell::toned(&log.severity, tone),
            Cell::from(&log.service),
            Cell::toned(&log.trace_id, Tone::Dim),
            if log.body.is_empty() { Cell::from(&log.event) } else { Cell::from(&log.body) },
        ]);
    }
    table
}
