//! `tripline detect`: what the detector says of recorded windows, from a file or from the collector's own history.

mod again;
mod export;
pub(crate) mod thresholds;

use std::path::Path;

use serde_json::{Value, json};
use tripline_collector::clock::rfc3339;
use tripline_model::Timestamp;
use tripline_topology::detect::{Candidate, Hop, HopEvent, Incident, Level, Notice, Phase, Settings};
use tripline_topology::recording::Rejections;
use tripline_topology::replay::{Replayed, replay};

use crate::args::{ApiArguments, DetectArguments, Output};
use crate::exit::Outcome;
use crate::style::{self, tell};
use crate::table::Column::{Left, Right};
use crate::table::Table;
use crate::{moment, past, recorded};

/// Runs `tripline detect`.
pub(crate) async fn run(arguments: &DetectArguments, api: &ApiArguments) -> Outcome {
    let settings = thresholds::with(&arguments.changes);
    let (replayed, rejected) = match (&arguments.windows, &arguments.from) {
        (Some(file), _) => of_file(file, settings)?,
        (None, from) => of_history(arguments, from.as_deref().unwrap_or("1h ago"), (settings, api)).await?,
    };
    let text = match arguments.output {
        Output::Json => format!("{:#}\n", whole(&replayed, &rejected)),
        Output::Table => table(&replayed).render(style::colours_on_stdout()),
    };
    Ok(style::answer(&text)?)
}

fn of_file(file: &Path, settings: Settings) -> anyhow::Result<(Replayed, Rejections)> {
    let recording = recorded::read(file)?;
    Ok((replay(&recording, settings), recording.rejected))
}

async fn of_history(
    arguments: &DetectArguments,
    from: &str,
    (settings, api): (Settings, &ApiArguments),
) -> anyhow::Result<(Replayed, Rejections)> {
    let from = moment::read("--from", from)?;
    let to = moment::read("--to", arguments.to.as_deref().unwrap_or("now"))?;
    let past = past::fetch(api, (from - arguments.learn, to)).await?;
    if let Some(path) = &arguments.export {
        let rows = export::write(&past, path)?;
        tell(format_args!("{}: {rows} rows", path.display()));
    }
    Ok((again::judge(&past, (from, to), settings), Rejections::new()))
}

/// What would have been told, a line each.
fn table(replayed: &Replayed) -> Table {
    let columns =
        [Left("TIME"), Left("NOTICE"), Left("LEVEL"), Left("SUSPECTED ORIGIN"), Right("SERVICES"), Left("INCIDENT")];
    let mut table = Table::new(columns, "nothing would have been told");
    for (at, notice, incident) in &replayed.notices {
        table.row([
            rfc3339(*at).into(),
            of_notice(*notice).into(),
            of_level(incident.level).into(),
            incident.candidates.first().map(subject).unwrap_or_default().into(),
            incident.blast.services.len().to_string().into(),
            incident.id.as_str().into(),
        ]);
    }
    table
}

fn subject(candidate: &Candidate) -> String {
    let edge = candidate.suspect.edge.as_ref();
    edge.map_or_else(|| candidate.suspect.service.to_string(), |edge| format!("{} > {}", edge.client, edge.server))
}

fn whole(replayed: &Replayed, rejected: &Rejections) -> Value {
    let notices = replayed.notices.iter().map(|(at, notice, about)| {
        json!({
            "at": rfc3339(*at), "notice": of_notice(*notice), "incident": about.id, "level": of_level(about.level),
            "suspected_origin": about.candidates.first().map(subject),
        })
    });
    let rejected = rejected.iter().map(|(reason, rejected)| {
        json!({ "reason": reason.as_str(), "lines": rejected.rows, "first_line": rejected.first_line })
    });
    json!({
        "incidents": replayed.incidents.iter().map(incident).collect::<Vec<_>>(),
        "notices": notices.collect::<Vec<_>>(),
        "rejected": rejected.collect::<Vec<_>>(),
    })
}

fn incident(incident: &Incident) -> Value {
    let time = |at: Option<Timestamp>| at.map(rfc3339);
    let blast = &incident.blast;
    let names = |services: &mut dyn Iterator<Item = String>| services.collect::<Vec<_>>();
    json!({
        "id": incident.id,
        "level": of_level(incident.level),
        "phase": of_phase(incident.phase),
        "started_at": rfc3339(incident.started),
        "detected_at": rfc3339(incident.detected),
        "resolved_at": time(incident.resolved),
        "suspected_origins": incident.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "unexplained": incident.unexplained.get(),
        "path": incident.path.iter().map(hop).collect::<Vec<_>>(),
        "blast_radius": {
            "services": names(&mut blast.services.iter().map(ToString::to_string)),
            "edges": names(&mut blast.edges.iter().map(ToString::to_string)),
            "entry_points": blast.entries.iter().map(|entry| json!({
                "service": entry.service.to_string(), "requests": entry.requests, "failed": entry.failed,
                "added_latency_ms": entry.slower * 1e3,
            })).collect::<Vec<_>>(),
            "requests": blast.requests,
            "failed": blast.failed,
        },
        "attempts_per_request": incident.attempts_per_request,
        "demand": incident.demand,
        "trips": incident.trips,
        "raw_alerts": incident.raw_alerts,
        "alerts_sent": incident.notices,
    })
}

fn candidate(candidate: &Candidate) -> Value {
    let evidence = candidate
        .evidence
        .iter()
        .map(|evidence| json!({ "kind": evidence.kind.as_str(), "text": evidence.text, "value": evidence.value }));
    json!({
        "service": candidate.suspect.service.to_string(),
        "edge": candidate.suspect.edge.as_ref().map(ToString::to_string),
        "kind": candidate.kind.as_str(),
        "score": candidate.score.get(),
        "evidence": evidence.collect::<Vec<_>>(),
    })
}

fn hop(hop: &Hop) -> Value {
    let (event, reason) = match hop.event {
        HopEvent::Tripped(reason) => ("tripped", Some(reason.as_str())),
        HopEvent::Failing => ("failing", None),
        HopEvent::Slow => ("slow", None),
    };
    json!({
        "at": rfc3339(hop.at), "client": hop.key.client.to_string(), "server": hop.key.server.to_string(),
        "event": event, "reason": reason, "distance": hop.distance,
    })
}

const fn of_notice(notice: Notice) -> &'static str {
    match notice {
        Notice::Opened => "opened",
        Notice::LevelRose => "level_rose",
        Notice::OriginChanged => "origin_changed",
        Notice::Resolved => "resolved",
    }
}

const fn of_level(level: Level) -> &'static str {
    match level {
        Level::Local => "local",
        Level::Propagating => "propagating",
        Level::Cascade => "cascade",
        Level::Amplifying => "amplifying",
        Level::SelfSustaining => "self_sustaining",
    }
}

const fn of_phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Spreading => "spreading",
        Phase::Contained => "contained",
        Phase::Recovering => "recovering",
        Phase::Resolved => "resolved",
    }
}
