//! `tripline operations`: what a service does, the slowest first, over a range of time.

use tripline_api::OperationList;

use super::figures::{count, millis, share};
use crate::args::{OperationsArguments, Output};
use crate::client::Client;
use crate::exit::Outcome;
use crate::style;
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

/// Runs `tripline operations`.
pub(super) async fn run(client: &Client, arguments: &OperationsArguments) -> Outcome {
    let limit = arguments.range.limit.to_string();
    let mut query = vec![("service", arguments.service.as_str()), ("limit", limit.as_str())];
    query.extend(arguments.range.from.as_deref().map(|from| ("from", from)));
    query.extend(arguments.range.to.as_deref().map(|to| ("to", to)));
    let text = match arguments.range.output {
        Output::Json => super::json(&client.get_json("operations", &query).await?, false),
        Output::Table => table(&client.get("operations", &query).await?).render(style::colours_on_stdout()),
    };
    Ok(style::answer(&text)?)
}

fn table(list: &OperationList) -> Table {
    let columns = [
        Left("OPERATION"),
        Right("REQUESTS"),
        Right("SPANS"),
        Right("ERRORS"),
        Right("MEAN MS"),
        Right("P50 MS"),
        Right("P90 MS"),
        Right("P99 MS"),
    ];
    let mut table = Table::new(columns, "no spans of this service are stored for that time");
    for operation in &list.operations {
        table.row([
            Cell::from(&operation.name),
            count(operation.requests),
            count(operation.spans),
            share(operation.error_ratio),
            millis(operation.mean_ms),
            millis(operation.latency_ms.p50),
            millis(operation.latency_ms.p90),
            millis(operation.latency_ms.p99),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_operation() {
        let list: OperationList = serde_json::from_value(serde_json::json!({"operations": [{
            "name": "GET /cart", "spans": 5, "requests": 500, "error_ratio": 0.02, "mean_ms": 7.0,
            "latency_ms": {"p50": 5.0, "p90": 9.0, "p99": 120.0}}], "next": null}))
        .expect("a list");
        let text = table(&list).render(false);
        let last: Vec<&str> = text.lines().last().expect("a row").split_whitespace().collect();
        assert_eq!(last, ["GET", "/cart", "500", "5", "2.0", "%", "7.0", "5.0", "9.0", "120"]);
    }
}
