//! `tripline explain`: why there is an edge between two services, or none.

use tripline_api::Explanation;

use super::figures::time_of_day;
use crate::args::{ExplainArguments, Output};
use crate::client::Client;
use crate::exit::Outcome;
use crate::style::{self, Tone};
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

/// Runs `tripline explain`.
pub(super) async fn run(client: &Client, arguments: &ExplainArguments) -> Outcome {
    let query = [("client", arguments.client.as_str()), ("server", arguments.server.as_str())];
    let text = match arguments.output {
        Output::Json => super::json(&client.get_json("explain", &query).await?, false),
        Output::Table => {
            let told: Explanation = client.get("explain", &query).await?;
            format!("{}\n\n{}", told.verdict, table(&told).render(style::colours_on_stdout()))
        }
    };
    Ok(style::answer(&text)?)
}

fn table(told: &Explanation) -> Table {
    let columns = [Left("WHERE"), Right("COUNT"), Left("LAST"), Left("WHY")];
    let mut table = Table::new(columns, "nothing was counted");
    let edge = format!("{} > {}", told.client, told.server);
    let without = |service: &str| format!("{service}, no edge");
    let groups = [
        (edge, &told.evidence, Tone::Plain),
        (without(&told.client), &told.client_without_edge, Tone::Dim),
        (without(&told.server), &told.server_without_edge, Tone::Dim),
    ];
    for (place, counts, tone) in groups {
        for count in counts {
            table.row([
                Cell::toned(&place, tone),
                Cell::from(count.count.to_string()),
                Cell::from(time_of_day(&count.last)),
                Cell::toned(&count.text, tone),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use tripline_api::ExplainedCount;

    use super::*;

    #[test]
    fn reasons_stand_below_each_other() {
        let count = |text: &str, count| ExplainedCount {
            reason: "r".into(),
            text: text.into(),
            count,
            last: "2026-11-21T09:00:00Z".into(),
        };
        let told = Explanation {
            client: "a".into(),
            server: "b".into(),
            verdict: "a calls b".into(),
            evidence: vec![count("because", 7)],
            client_without_edge: vec![count("seen before", 3)],
            server_without_edge: Vec::new(),
        };
        let text = table(&told).render(false);
        assert!(text.contains("a > b") && text.contains("because") && text.contains("a, no edge"), "{text}");
    }
}
