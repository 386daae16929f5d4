//! `tripline detect`: what the live detector would have said of recorded windows. Needs no collector.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use tripline_collector::clock::rfc3339;
use tripline_model::Timestamp;
use tripline_topology::detect::{Candidate, Hop, HopEvent, Incident, Level, Notice, Phase, Settings};
use tripline_topology::recording::{Recording, RecordingLimits};
use tripline_topology::replay::{Replayed, replay};

use crate::args::{DetectArguments, Output};
use crate::exit::Outcome;
use crate::style::{self, tell, yellow};
use crate::table::Column::{Left, Right};
use crate::table::Table;

/// Runs `tripline detect`.
pub(crate) fn run(arguments: &DetectArguments) -> Outcome {
    let recording = read(&arguments.windows)?;
    let replayed = replay(&recording, Settings::default());
    let text = match arguments.output {
        Output::Json => format!("{:#}\n", whole(&replayed, &recording)),
        Output::Table => table(&replayed).render(style::colours_on_stdout()),
    };
    Ok(style::answer(&text)?)
}

fn read(path: &Path) -> anyhow::Result<Recording> {
    let described = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(described)?;
    let recording =
        tripline_recording::read(BufReader::new(file), RecordingLimits::default()).with_context(described)?;
    for (reason, rejected) in &recording.rejected {
        let (rows, line) = (rejected.rows, rejected.first_line);
        let what = format_args!("{}: {rows} lines left out: {reason}, first in line {line}", path.display());
        tell(format_args!("{} {what}", yellow("warning:")));
    }
    Ok(recording)
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

fn whole(replayed: &Replayed, recording: &Recording) -> Value {
    let notices = replayed.notices.iter().map(|(at, notice, about)| {
        json!({
            "at": rfc3339(*at), "notice": of_notice(*notice), "incident": about.id, "level": of_level(about.level),
            "suspected_origin": about.candidates.first().map(subject),
        })
    });
    let rejected = recording.rejected.iter().map(|(reason, rejected)| {
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
