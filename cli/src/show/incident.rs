//! `tripline incidents ID`: one incident as a page for someone on call. What broke first, whom it hurts, how it spread.

use std::fmt::{self, Write};

use tripline_api::{Candidate, Incident, PathStep};

use super::figures::{between, level, percent, phase, time_of_day};
use crate::style::printable;
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

/// The whole page.
pub(super) fn report(incident: &Incident, coloured: bool) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, incident, coloured);
    page
}

fn write_page(page: &mut String, incident: &Incident, coloured: bool) -> fmt::Result {
    page.push_str(&head(incident).render(coloured));
    page.push_str("\nSUSPECTED ORIGINS\n");
    for candidate in &incident.suspected_origins {
        write_candidate(page, candidate)?;
    }
    if incident.suspected_origins.is_empty() {
        page.push_str("  none\n");
    }
    writeln!(page, "  unexplained: {}", percent(incident.unexplained))?;
    page.push_str("\nPATH, FROM THE ORIGIN TOWARDS THE ENTRY POINTS\n");
    page.push_str(&path(&incident.path).render(coloured));
    page.push_str("\nBLAST RADIUS\n");
    write_blast_radius(page, incident)
}

fn head(incident: &Incident) -> Table {
    let mut table = Table::new(
        [
            Left("INCIDENT"),
            Left("LEVEL"),
            Left("PHASE"),
            Left("STARTED"),
            Right("LASTED"),
            Right("TRIPS"),
            Right("RAW ALERTS"),
            Right("SENT"),
        ],
        "",
    );
    let end = incident.resolved_at.as_ref().unwrap_or(&incident.updated_at);
    table.row([
        Cell::from(&incident.id),
        level(incident.level),
        phase(incident.phase),
        Cell::from(&incident.started_at),
        between(&incident.started_at, end).into(),
        incident.trips.to_string().into(),
        incident.raw_alerts.to_string().into(),
        incident.alerts_sent.to_string().into(),
    ]);
    table
}

fn write_candidate(page: &mut String, candidate: &Candidate) -> fmt::Result {
    let subject = candidate.edge.as_ref().unwrap_or(&candidate.service);
    writeln!(page, "  {:.2}  {}  ({})", candidate.score, printable(subject), printable(&candidate.kind))?;
    candidate.evidence.iter().try_for_each(|evidence| writeln!(page, "        {}", printable(&evidence.text)))?;
    for trace in &candidate.traces {
        writeln!(page, "        trace {}  ({})", printable(&trace.trace_id), printable(&trace.why))?;
    }
    candidate.logs.iter().try_for_each(|log| {
        let (at, severity) = (time_of_day(&log.at), printable(&log.severity));
        writeln!(page, "        log {at}  {severity}  {}", printable(&log.body))
    })
}

fn path(steps: &[PathStep]) -> Table {
    let columns = [Right("AFTER MS"), Left("AT"), Left("CLIENT"), Left("SERVER"), Left("EVENT"), Left("REASON")];
    let mut table = Table::new(columns, "  nothing known yet");
    for step in steps {
        table.row([
            Cell::from(step.lag_ms.to_string()),
            time_of_day(&step.at).into(),
            Cell::from(&step.client),
            Cell::from(&step.server),
            step.event.as_str().into(),
            Cell::from(&step.reason),
        ]);
    }
    table
}

fn write_blast_radius(page: &mut String, incident: &Incident) -> fmt::Result {
    let radius = &incident.blast_radius;
    let names =
        |names: &[String]| if names.is_empty() { "none".to_owned() } else { printable(&names.join(", ")).into_owned() };
    writeln!(page, "  services:      {}", names(&radius.services))?;
    writeln!(page, "  entry points:  {}", names(&radius.entry_points))?;
    let (failed, total) = (radius.requests_failed, radius.requests_total);
    writeln!(page, "  requests:      {failed} of {total} failed ({})", percent(radius.affected_request_ratio))?;
    radius.entries.iter().try_for_each(|entry| {
        let (share, added) = (percent(entry.failed_ratio), entry.added_latency_ms);
        writeln!(page, "  {}: {share} failed, {added:+.0} ms at the median", printable(&entry.service))
    })?;
    let worse = &incident.amplification;
    writeln!(
        page,
        "  amplification: {:.2} attempts a request, demand {:.2} of normal",
        worse.attempts_per_request, worse.demand
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_origin_path_and_blast_radius() {
        let incident: Incident = serde_json::from_str(include_str!("incident.json")).expect("an incident");
        let page = report(&incident, false);
        let expected = [
            "0.93  shop/payments-db  (errors)",
            "        95 % of its own requests failed",
            "        trace 5759e988bd862e3fe1be46a994272793  (failed)",
            "        log 09:00:20.200  ERROR  disk full",
            "        0  09:00:20.140  shop/payments  shop/payments-db  tripped  consecutive_failures",
            "  services:      shop/payments, shop/checkout, shop/web",
            "  requests:      420 of 1000 failed (42.0 %)",
            "  shop/gateway: 42.0 % failed, +3 ms at the median",
        ];
        for line in expected {
            assert!(page.lines().any(|l| l.trim_end() == line.trim_end() || l.trim() == line.trim()), "{line}\n{page}");
        }
    }
}
