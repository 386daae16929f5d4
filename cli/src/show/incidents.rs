//! `tripline incidents`.

use tripline_api::{Incident, IncidentList};

use tripline_collector::clock::rfc3339;

use super::Listed;
use super::figures::{ago, between, count, level, phase, share};
use crate::args::IncidentArguments;
use crate::moment;
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

/// Which incidents the collector is asked for.
///
/// # Errors
/// When a time is none.
pub(super) fn query(arguments: &IncidentArguments) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut query = Vec::new();
    for (option, name, text) in [("--from", "from", &arguments.from), ("--to", "to", &arguments.to)] {
        if let Some(text) = text {
            query.push((name, rfc3339(moment::read(option, text)?)));
        }
    }
    for (name, text) in [("level", &arguments.level), ("phase", &arguments.phase), ("service", &arguments.service)] {
        query.extend(text.clone().map(|text| (name, text)));
    }
    Ok(query)
}

impl Listed for IncidentList {
    const PATH: &'static str = "incidents";

    fn table(&self) -> Table {
        let columns = [
            Left("ID"),
            Left("LEVEL"),
            Left("PHASE"),
            Right("STARTED AGO"),
            Right("LASTED"),
            Left("SUSPECTED ORIGIN"),
            Right("SCORE"),
            Right("SERVICES"),
            Right("AFFECTED"),
            Right("TRIPS"),
            Right("ALERTS"),
        ];
        let mut table = Table::new(columns, "no incidents");
        for incident in &self.incidents {
            let first = incident.suspected_origins.first();
            table.row([
                Cell::from(&incident.id),
                level(incident.level),
                phase(incident.phase),
                ago(&incident.started_at),
                lasted(incident),
                incident.origin().unwrap_or("unknown").into(),
                first.map_or_else(String::new, |candidate| format!("{:.2}", candidate.score)).into(),
                count(incident.blast_radius.services.len() as u64),
                share(incident.blast_radius.affected_request_ratio),
                count(incident.trips),
                count(incident.alerts_sent),
            ]);
        }
        table
    }
}

/// How long it lasted, or has lasted so far.
fn lasted(incident: &Incident) -> Cell {
    match &incident.resolved_at {
        Some(end) => between(&incident.started_at, end).into(),
        None => ago(&incident.started_at),
    }
}
