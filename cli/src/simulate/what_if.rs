//! `tripline simulate --from-history`: recorded traffic of an edge against other breaker settings.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tripline_model::{BreakerTransition, EdgeWindow, Reporter, ServiceName};
use tripline_simulate::what_if::{Answer, Came, Recorded, what_if};

use super::policy;
use crate::args::{ApiArguments, Output, SimulateArguments};
use crate::exit::Outcome;
use crate::past::{self, Past};
use crate::table::Column::{Left, Right};
use crate::table::Table;
use crate::{moment, style};

/// What came of one edge.
struct Compared {
    client: ServiceName,
    server: ServiceName,
    /// What was changed.
    changed: Vec<String>,
    /// How the rules before were known, a sentence each.
    known: Vec<String>,
    answer: Answer,
}

/// Runs it for every edge that a change names.
pub(super) async fn run(arguments: &SimulateArguments, range: &[String], api: &ApiArguments) -> Outcome {
    let [from, to] = range else { return Err(anyhow::anyhow!("--from-history takes two times: FROM TO").into()) };
    let range = (moment::read("--from-history", from)?, moment::read("--from-history", to)?);
    let past = past::fetch(api, range).await?;
    let edges: BTreeSet<_> = arguments.changes.iter().map(|change| (&change.client, &change.server)).collect();
    let compared = edges.into_iter().map(|edge| compare(arguments, edge, &past)).collect::<anyhow::Result<Vec<_>>>()?;
    let text = match arguments.output {
        Output::Json => format!("{:#}\n", json!({ "edges": compared.iter().map(written).collect::<Vec<_>>() })),
        Output::Table => {
            compared.iter().map(|one| page(one, style::colours_on_stdout())).collect::<Vec<_>>().join("\n")
        }
    };
    Ok(style::answer(&text)?)
}

fn compare(
    arguments: &SimulateArguments,
    (client, server): (&ServiceName, &ServiceName),
    past: &Past,
) -> anyhow::Result<Compared> {
    let of = |window: &&EdgeWindow| window.key.client == *client && window.key.server == *server;
    let windows: Vec<EdgeWindow> = past.windows.iter().filter(of).cloned().collect();
    ensure!(
        !windows.is_empty(),
        "nothing of {client}>{server} was recorded in that time; `tripline edges` lists the edges"
    );
    let counted = windows.iter().filter(|window| window.reporter == Reporter::Client).cloned().collect::<Vec<_>>();
    let windows = if counted.is_empty() { windows } else { counted };
    let ours = |transition: &&BreakerTransition| transition.client == *client && transition.server == *server;
    let transitions: Vec<BreakerTransition> = past.transitions.iter().filter(ours).cloned().collect();
    let (mut before, mut known) = policy::seen(&transitions);
    for was in arguments.was.iter().filter(|was| was.is_of((client, server))) {
        before = was.apply(before)?;
        known.push(format!("{was}: as given with --was"));
    }
    let changes: Vec<_> = arguments.changes.iter().filter(|change| change.is_of((client, server))).collect();
    let after = changes.iter().try_fold(before, |policy, change| change.apply(policy))?;
    let recorded = Recorded { windows: &windows, transitions: &transitions, breakers: None };
    let answer = what_if(&recorded, before, after, arguments.seed)
        .with_context(|| format!("cannot replay {client}>{server}"))?;
    let changed = changes.iter().map(ToString::to_string).collect();
    Ok(Compared { client: client.clone(), server: server.clone(), changed, known, answer })
}

fn page(one: &Compared, coloured: bool) -> String {
    let columns = [
        Left("WHAT"),
        Right("REQUESTS"),
        Right("ERRORS"),
        Right("SHED"),
        Right("ATTEMPTS"),
        Right("TRIPS"),
        Right("NOT CLOSED S"),
    ];
    let mut table = Table::new(columns, "");
    let changed = one.changed.join(", ");
    let model_after = format!("model with {changed}");
    let answer = &one.answer;
    let rows = [("recorded", answer.recorded), ("model as it was", answer.before), (&*model_after, answer.after)];
    for (what, came) in rows {
        table.row([
            what.to_owned().into(),
            came.requests.to_string().into(),
            came.errors.to_string().into(),
            came.shed.to_string().into(),
            came.attempts.to_string().into(),
            came.trips.to_string().into(),
            format!("{:.1}", came.not_closed).into(),
        ]);
    }
    let mut text = format!("{} > {}\n\n{}", one.client, one.server, table.render(coloured));
    if is_far(answer) {
        text.push_str("\nThe model as it was is far from the record: do not rely on the other one. Windows of ten seconds hide bursts.\n");
    }
    text.push_str("\nThe rules as they were:\n");
    one.known.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    text.push_str("\nAssumed:\n");
    answer.assumptions.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    text
}

/// Whether the model under the rules as they were trips, or fails, less than half or more than twice as often as was recorded.
fn is_far(answer: &Answer) -> bool {
    let differs = |model: u64, record: u64| model.max(record) > 2 * model.min(record).max(1);
    let (model, record) = (&answer.before, &answer.recorded);
    differs(model.trips, record.trips) || differs(model.errors, record.errors)
}

fn written(one: &Compared) -> Value {
    let came = |came: &Came| {
        json!({
            "requests": came.requests, "errors": came.errors, "shed": came.shed, "attempts": came.attempts,
            "trips": came.trips, "not_closed_seconds": came.not_closed,
        })
    };
    let answer = &one.answer;
    json!({
        "client": one.client.to_string(), "server": one.server.to_string(), "changed": one.changed,
        "recorded": came(&answer.recorded), "before": came(&answer.before), "after": came(&answer.after),
        "model_far_from_record": is_far(answer), "rules_known_from": one.known, "assumptions": answer.assumptions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_does_not_trip_where_the_breaker_did_is_far() {
        let came = |errors, trips| Came { errors, trips, ..Came::default() };
        let answer = |before| Answer { recorded: came(9, 3), before, after: before, assumptions: Vec::new() };
        assert!(is_far(&answer(came(9, 0))) && is_far(&answer(came(40, 3))));
        assert!(!is_far(&answer(came(9, 3))) && !is_far(&answer(came(6, 2))));
    }
}
