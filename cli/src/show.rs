//! Look-ups: each asks the collector for one thing and writes it as a table or as the API's own JSON.

mod breakers;
mod edges;
mod explain;
mod figures;
mod folded;
mod incident;
mod incidents;
mod logs;
mod operations;
mod proxies;
mod services;
mod top;
mod trace;
mod traces;
mod watch;

use serde::de::DeserializeOwned;

use crate::args::{ApiArguments, IncidentArguments, ListArguments, Output, ShowCommand, StatisticsArguments};
use crate::client::{Client, ClientError, segment};
use crate::exit::Outcome;
use crate::style;
use crate::table::Table;

/// Runs one look-up.
pub(crate) async fn run(command: ShowCommand, api: &ApiArguments) -> Outcome {
    let client = Client::new(api)?;
    match command {
        ShowCommand::Services(arguments) => show_at::<tripline_api::ServiceList>(&client, &arguments).await,
        ShowCommand::Edges(arguments) => show_at::<tripline_api::EdgeList>(&client, &arguments).await,
        ShowCommand::Breakers(list) => show::<tripline_api::BreakerList>(&client, &[], &list).await,
        ShowCommand::Proxies(list) => show::<tripline_api::ProxyList>(&client, &[], &list).await,
        ShowCommand::Incidents(arguments) => match &arguments.id {
            None => {
                let query = incidents::query(&arguments)?;
                let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
                show::<tripline_api::IncidentList>(&client, &query, &arguments.list).await
            }
            Some(id) => one_incident(&client, id, &arguments).await,
        },
        ShowCommand::Top(arguments) => top::run(&client, &arguments).await,
        ShowCommand::Trace(arguments) => trace::run(&client, &arguments).await,
        ShowCommand::Traces(arguments) => traces::run(&client, &arguments).await,
        ShowCommand::Operations(arguments) => operations::run(&client, &arguments).await,
        ShowCommand::Logs(arguments) => logs::run(&client, &arguments).await,
        ShowCommand::Explain(arguments) => explain::run(&client, &arguments).await,
    }
}

/// A list of the API that can be shown as a table.
trait Listed: DeserializeOwned {
    /// Its path, which is also the name of its list.
    const PATH: &'static str;

    /// Its rows.
    fn table(&self) -> Table;
}

async fn show<T: Listed>(client: &Client, query: &[(&str, &str)], arguments: &ListArguments) -> Outcome {
    watch::shown(arguments, async || written::<T>(client, client.get_list(T::PATH, query).await?, arguments)).await
}

/// Lists that can be had for a time in the past, too; they come in one page.
async fn show_at<T: Listed>(client: &Client, arguments: &StatisticsArguments) -> Outcome {
    let wanted = [("at", arguments.at.as_deref()), ("window", arguments.window.as_deref())];
    let query: Vec<(&str, &str)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let list = &arguments.list;
    watch::shown(list, async || written::<T>(client, client.get_json(T::PATH, &query).await?, list)).await
}

fn written<T: Listed>(client: &Client, list: serde_json::Value, arguments: &ListArguments) -> Shown {
    match arguments.output {
        Output::Json => Ok(json(&list, arguments.watch)),
        Output::Table => Ok(client.read::<T>(T::PATH, list)?.table().render(style::colours_on_stdout())),
    }
}

async fn one_incident(client: &Client, id: &str, arguments: &IncidentArguments) -> Outcome {
    let path = format!("incidents/{}", segment(id));
    let list = &arguments.list;
    watch::shown(list, async || {
        let value = client.get_json(&path, &[]).await?;
        match list.output {
            Output::Json => Ok(json(&value, list.watch)),
            Output::Table => {
                let incident = client.read::<tripline_api::Incident>(&path, value)?;
                let coloured = style::colours_on_stdout();
                if arguments.folded {
                    return Ok(folded::report(&incident, coloured));
                }
                Ok(incident::report(&incident, coloured))
            }
        }
    })
    .await
}

/// Indented for people; one line for each when there will be many.
fn json(value: &serde_json::Value, many: bool) -> String {
    let written = if many { value.to_string() } else { format!("{value:#}") };
    written + "\n"
}

/// What a look-up gives to write.
type Shown = Result<String, ClientError>;
