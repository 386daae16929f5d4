//! What people read in an alert. Everything is bounded: an incident of a thousand services is still one short text.

use tripline_api::{Incident, PathStep};

/// Names listed in one text.
const MAX_NAMES: usize = 12;

/// Where an incident is shown.
pub(super) fn link(public_url: &str, incident: &Incident) -> String {
    format!("{public_url}/incidents/{}", incident.id)
}

/// One line: how bad, since where, whom it hurts.
pub(super) fn summary(incident: &Incident) -> String {
    let origin = incident.suspected_origins.first();
    let suspect = origin.map_or_else(
        || "no suspected origin yet".to_owned(),
        |origin| format!("suspected origin {} ({:.0} %)", origin.service, origin.score * 100.0),
    );
    let radius = &incident.blast_radius;
    let failing = radius.affected_request_ratio * 100.0;
    let state = if incident.is_resolved() { "resolved: " } else { "" };
    format!(
        "{state}{} incident: {suspect}, {} services affected, {failing:.0} % of requests at the entry points failed",
        incident.level,
        radius.services.len()
    )
}

/// What speaks for the first candidate, a sentence each.
pub(super) fn evidence(incident: &Incident) -> String {
    let evidence = incident.suspected_origins.first().map(|origin| origin.evidence.as_slice()).unwrap_or_default();
    evidence.iter().take(MAX_NAMES).map(|e| e.text.as_str()).collect::<Vec<_>>().join("; ")
}

/// How it spread: each hop once, in order.
pub(super) fn path(incident: &Incident) -> String {
    let hop = |step: &PathStep| format!("{} -> {}: {} ({})", step.client, step.server, step.event, step.reason);
    let mut hops: Vec<String> = incident.path.iter().take(MAX_NAMES).map(hop).collect();
    if incident.path.len() > MAX_NAMES {
        hops.push(format!("and {} more", incident.path.len() - MAX_NAMES));
    }
    hops.join(", ")
}

/// Names, and how many more there are.
pub(super) fn names(names: &[String]) -> String {
    let listed = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MAX_NAMES) {
        Some(more @ 1..) => format!("{listed} and {more} more"),
        _ => listed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;

    #[test]
    fn a_person_reads_one_line() {
        let mut incident = sample::incident("A", tripline_api::Phase::Spreading);
        assert_eq!(
            summary(&incident),
            "cascade incident: suspected origin shop/payments-db (93 %), 2 services affected, 42 % of requests at the entry points failed"
        );
        assert_eq!(path(&incident), "shop/payments -> shop/payments-db: tripped (consecutive_failures)");
        incident.suspected_origins.clear();
        assert!(summary(&incident).contains("no suspected origin yet"));
        assert_eq!(evidence(&incident), "");
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let many: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
        assert!(names(&many).ends_with("s11 and 28 more"));
        assert_eq!(names(&many[..2]), "s0, s1");
        assert_eq!(names(&[]), "");
    }
}
