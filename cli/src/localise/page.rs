//! The answer as a page for people.

use std::fmt::Write;

use tripline_collector::clock::rfc3339;
use tripline_topology::localise::{Answer, Candidate, Degraded, Evidence, Signal};

use crate::style::{Tone, printable};
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

/// Candidates told with their evidence; the others stand in the table only.
const TOLD: usize = 3;
/// Candidates in the table.
const SHOWN: usize = 10;
/// Lines of what was degraded.
const DEGRADED_SHOWN: usize = 20;

/// The whole page.
pub(super) fn answer(answer: &Answer, coloured: bool) -> String {
    let what = match answer.signal {
        Signal::Latency => "added latency",
        Signal::Failures => "failed requests",
    };
    let entries: Vec<&str> = answer.entries.iter().take(5).map(|entry| &**entry).collect();
    let more = if answer.entries.len() > 5 { ", ..." } else { "" };
    let mut page = format!("SUSPECTED ORIGINS of the {what} of {}{more}\n\n", printable(&entries.join(", ")));
    page.push_str(&table(&answer.candidates).render(coloured));
    // Writing to a String cannot fail.
    let _ = writeln!(page, "\nunexplained: {}", percent(answer.unexplained));
    if answer.belief < 0.5 {
        page.push_str("the entry points themselves are hardly out of the ordinary: take the order with care\n");
    }
    for candidate in answer.candidates.iter().take(TOLD) {
        let _ = writeln!(page, "\n{}", subject(candidate).to_uppercase());
        for evidence in &candidate.evidence {
            let _ = writeln!(page, "  {}", printable(&sentence(evidence)));
        }
    }
    page.push_str("\nDEGRADED\n");
    if answer.degraded.is_empty() {
        page.push_str("  nothing, by the detector's rules: too few requests a window, or too small a change\n");
    }
    for degraded in answer.degraded.iter().take(DEGRADED_SHOWN) {
        let _ = writeln!(page, "  {}", printable(&of_degraded(degraded)));
    }
    if let Some(more) = answer.degraded.len().checked_sub(DEGRADED_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(page, "  and {more} more, see -o json");
    }
    page
}

fn table(candidates: &[Candidate]) -> Table {
    let columns = [Right("RANK"), Right("SCORE"), Left("SUSPECT"), Left("KIND")];
    let mut table = Table::new(columns, "none: nothing in the incident exceeds its baseline");
    for candidate in candidates.iter().take(SHOWN) {
        let ties = candidates.iter().filter(|other| other.rank == candidate.rank).count();
        let rank = if ties > 1 { format!("{} tie", candidate.rank) } else { candidate.rank.to_string() };
        let tone = match candidate.score {
            score if score >= 0.5 => Tone::Bad,
            score if score >= 0.1 => Tone::Warn,
            _ => Tone::Dim,
        };
        table.row([
            rank.into(),
            Cell::toned(format!("{:.2}", candidate.score), tone),
            subject(candidate).into(),
            candidate.kind.as_str().into(),
        ]);
    }
    table
}

fn subject(candidate: &Candidate) -> String {
    match &candidate.edge {
        Some((client, server)) => format!("{} -> {}", printable(client), printable(server)),
        None => printable(&candidate.service).into_owned(),
    }
}

fn of_degraded(degraded: &Degraded) -> String {
    let reasons: Vec<&str> = degraded.reasons.iter().map(|reason| reason.as_str()).collect();
    let client = degraded.client.as_ref().map(|client| format!("{client} -> ")).unwrap_or_default();
    format!("{client}{}: {}", degraded.service, reasons.join(", "))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// One sentence with the numbers of a piece of evidence.
fn sentence(evidence: &Evidence) -> String {
    let of = |operation: &Option<tripline_topology::recording::Name>| {
        operation.as_ref().map(|operation| format!(" in {operation}")).unwrap_or_default()
    };
    match evidence {
        Evidence::SelfTime { operation, requests, normal_ms, seen_ms, added_seconds, .. } => format!(
            "own time{} {seen_ms:.1} ms instead of {normal_ms:.1} ms, over {requests:.0} requests: {added_seconds:.1} s",
            of(operation)
        ),
        Evidence::AnswerTime { operation, requests, normal_ms, seen_ms, added_seconds, .. } => format!(
            "answers{} in {seen_ms:.1} ms instead of {normal_ms:.1} ms, over {requests:.0} requests: {added_seconds:.1} s",
            of(operation)
        ),
        Evidence::NetworkGap { client, server, requests, normal_ms, seen_ms, added_seconds, .. } => format!(
            "{seen_ms:.1} ms instead of {normal_ms:.1} ms lost between {client} and {server}, over {requests:.0} requests: {added_seconds:.1} s"
        ),
        Evidence::Failures { requests, failures, excess, own, .. } => {
            let own = own.map(|own| format!(", {own:.0} of them without a failed call of its own")).unwrap_or_default();
            format!("{failures:.0} of {requests:.0} requests failed, {excess:.0} more than normal{own}")
        }
        Evidence::MissingCalls { client, requests, normal_calls, seen_calls, ended_early } => format!(
            "{client} makes {seen_calls:.2} calls a request instead of {normal_calls:.2}: some {ended_early:.0} of {requests:.0} requests ended early"
        ),
        Evidence::Retries { client, requests, attempts } => {
            format!("{client} made {attempts:.0} attempts for {requests:.0} requests")
        }
        Evidence::Shed { client, calls } => format!("{client} rejected {calls:.0} calls to it before they left"),
        Evidence::BreakerOpened { client, at } => {
            format!("a breaker of {client} in front of it opened at {}", rfc3339(*at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_topology::localise::{CandidateKind, DegradedReason};

    #[test]
    fn the_page_names_suspects_ties_and_numbers() {
        let candidate = |service: &str, rank, score| Candidate {
            service: service.into(),
            edge: None,
            kind: CandidateKind::Latency,
            score,
            rank,
            evidence: vec![Evidence::SelfTime {
                operation: Some("get".into()),
                requests: 300.0,
                normal_ms: 4.0,
                allowed_ms: 1.2,
                seen_ms: 24.04,
                added_seconds: 6.0,
            }],
        };
        let found = Answer {
            candidates: vec![candidate("db", 1, 0.45), candidate("web\u{1b}[2J", 1, 0.45), candidate("ads", 3, 0.02)],
            unexplained: 0.08,
            degraded: vec![Degraded {
                service: "db".into(),
                client: Some("web".into()),
                reasons: vec![DegradedReason::NetworkGap],
            }],
            entries: vec!["web".into()],
            signal: Signal::Latency,
            belief: 0.9,
        };
        let page = answer(&found, false);
        for line in [
            "SUSPECTED ORIGINS of the added latency of web",
            "1 tie   0.45  db         latency",
            "unexplained: 8 %",
            "  own time in get 24.0 ms instead of 4.0 ms, over 300 requests: 6.0 s",
            "  web -> db: network_gap",
        ] {
            assert!(page.lines().any(|l| l.trim_end() == line), "{line}\n{page}");
        }
        assert!(!page.contains('\u{1b}'), "strangers cannot steer the terminal");
    }
}
