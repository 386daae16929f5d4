//! An incident in one sentence, and its words for people. Pure.

use tripline_api::{Candidate, Incident, Level, Phase};

use crate::format;

/// Scores that differ by no more than this are a tie.
const TIE: f64 = 1e-9;
/// Tied candidates that the sentence names.
const NAMED: usize = 3;

/// `payments-db started failing; 6 services affected`.
pub(crate) fn headline(incident: &Incident) -> String {
    let affected = incident.blast_radius.services.len();
    let (Some(verb), Some(names)) = (verb(incident), origins(incident)) else {
        return format!("{} degraded; no origin stands out", format::plural(affected, "service"));
    };
    match affected {
        0 => format!("{names} {verb}; nobody else is affected"),
        n => format!("{names} {verb}; {} affected", format::plural(n, "service")),
    }
}

/// The browser tab's title: what is wrong, for whoever looks at something else.
pub(crate) fn tab(open: &[Incident]) -> String {
    match open {
        [] => "Tripline".to_owned(),
        [one] => format!("{} · Tripline", headline(one)),
        [first, ..] => format!("({}) {} · Tripline", open.len(), headline(first)),
    }
}

/// The best candidate, or the tied ones: `payments-db`, `payments-db or pricing`.
pub(crate) fn origins(incident: &Incident) -> Option<String> {
    let best = incident.suspected_origins.first()?;
    let tied = incident.suspected_origins.iter().filter(|c| (c.score - best.score).abs() <= TIE);
    Some(tied.take(NAMED).map(candidate).collect::<Vec<_>>().join(" or "))
}

/// Whether this is the best candidate, or one of those tied with it.
pub(crate) fn is_origin(incident: &Incident, service: &str) -> bool {
    let best = incident.suspected_origins.first().map_or(0.0, |c| c.score);
    incident.suspected_origins.iter().any(|c| c.service == service && (c.score - best).abs() <= TIE)
}

/// A candidate's name: a service, or the way between two.
pub(crate) fn candidate(candidate: &Candidate) -> String {
    match &candidate.edge {
        Some(edge) => format!("the way {}", format::edge_name(edge)),
        None => format::short(&candidate.service).to_owned(),
    }
}

/// A level's word for people.
pub(crate) const fn level(level: Level) -> &'static str {
    match level {
        Level::Local => "Local",
        Level::Propagating => "Propagating",
        Level::Cascade => "Cascade",
        Level::Amplifying => "Amplifying cascade",
        Level::SelfSustaining => "Self-sustaining",
    }
}

/// A phase's word for people.
pub(crate) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "Starting",
        Phase::Spreading => "Spreading",
        Phase::Contained => "Contained",
        Phase::Recovering => "Recovering",
        Phase::Resolved => "Resolved",
    }
}

/// What a phase means, for who does not know.
pub(crate) const fn phase_meaning(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "just opened",
        Phase::Spreading => "a service joined within the last minute",
        Phase::Contained => "no service joined for a minute",
        Phase::Recovering => "the origin is well, fewer services are degraded",
        Phase::Resolved => "nothing degraded for two minutes",
    }
}

fn verb(incident: &Incident) -> Option<&'static str> {
    Some(match incident.suspected_origins.first()?.kind.as_str() {
        "latency" => "became slow",
        "network" => "became hard to reach",
        "demand" => "sends far more than usual",
        _ => "started failing",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::wave::tests::incident;

    #[test]
    fn the_sentence_names_origin_and_damage() {
        let mut one = incident(&[("shop/payments-db", 0.93), ("shop/payments", 0.1)], &[]);
        one.blast_radius.services = (0..6).map(|i| format!("shop/{i}")).collect();
        assert_eq!(headline(&one), "payments-db started failing; 6 services affected");
        if let Some(first) = one.suspected_origins.first_mut() {
            first.kind = "latency".into();
        }
        one.blast_radius.services.clear();
        assert_eq!(headline(&one), "payments-db became slow; nobody else is affected");
    }

    #[test]
    fn the_tab_tells_how_many() {
        let one = incident(&[("shop/db", 0.9)], &[]);
        assert_eq!(tab(&[]), "Tripline");
        assert_eq!(tab(std::slice::from_ref(&one)), "db started failing; 1 service affected · Tripline");
        assert_eq!(tab(&[one.clone(), one]), "(2) db started failing; 1 service affected · Tripline");
    }

    #[test]
    fn ties_and_edges_are_said_and_nothing_is_made_up() {
        let tie = incident(&[("shop/a", 0.5), ("shop/b", 0.5)], &[]);
        assert_eq!(headline(&tie), "a or b started failing; 1 service affected");
        let mut way = incident(&[("shop/b", 0.5)], &[]);
        if let Some(first) = way.suspected_origins.first_mut() {
            first.edge = Some("shop/a>shop/b:http".into());
            first.kind = "network".into();
        }
        assert_eq!(headline(&way), "the way a → b became hard to reach; 1 service affected");
        assert_eq!(headline(&incident(&[], &[])), "1 service degraded; no origin stands out");
    }
}
