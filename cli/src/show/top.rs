//! `tripline top`: services by traffic, live, under one line that says how the mesh does.

use std::time::Duration;

use tripline_api::{EdgeList, Incident, IncidentList, Node, ServiceList};

use super::figures::{percent, phase};
use super::{Shown, services, watch};
use crate::args::TopArguments;
use crate::client::Client;
use crate::exit::Outcome;
use crate::style::{self, printable};
use crate::table::Column::Left;
use crate::table::{Cell, Table};

const EVERY: Duration = Duration::from_secs(1);

/// Runs `tripline top`.
pub(super) async fn run(client: &Client, arguments: &TopArguments) -> Outcome {
    let ask = async || screen(client).await;
    if arguments.once { watch::once(ask).await } else { watch::repeated(EVERY, ask).await }
}

async fn screen(client: &Client) -> Shown {
    let mut services: ServiceList = client.read("services", client.get_list("services", &[]).await?)?;
    let edges: EdgeList = client.read("edges", client.get_list("edges", &[]).await?)?;
    let incidents: IncidentList = client.get("incidents", &[]).await?;
    services
        .services
        .sort_by(|a, b| b.requests_per_second.total_cmp(&a.requests_per_second).then_with(|| a.id.cmp(&b.id)));
    let coloured = style::colours_on_stdout();
    let open: Vec<&Incident> = incidents.incidents.iter().filter(|incident| !incident.is_resolved()).collect();
    let table = services::table(&services.services).render(coloured);
    Ok(format!("{}\n{}\n{table}", summary(&services.services, &edges), incident_lines(&open, coloured)))
}

/// One line about the mesh: what users sent into it and how that went.
fn summary(nodes: &[Node], edges: &EdgeList) -> String {
    let entries = nodes.iter().filter(|node| node.entry_point);
    let (rate, failed) = entries.fold((0.0, 0.0), |(rate, failed), node| {
        (rate + node.requests_per_second, failed + node.requests_per_second * node.error_ratio)
    });
    let ratio = if rate > 0.0 { failed / rate } else { 0.0 };
    let (services, edges) = (nodes.len(), edges.edges.len());
    format!("{services} services, {edges} edges; {rate:.1} requests/s enter, {} of them fail", percent(ratio))
}

fn incident_lines(open: &[&Incident], coloured: bool) -> String {
    let mut table =
        Table::new([Left("INCIDENT"), Left("PHASE"), Left("SUSPECTED ORIGIN"), Left("HURTS")], "no open incidents");
    for incident in open {
        table.row([
            Cell::from(&incident.id),
            phase(incident.phase),
            incident.origin().unwrap_or("unknown").into(),
            printable(&incident.blast_radius.services.join(", ")).into(),
        ]);
    }
    table.render(coloured)
}
