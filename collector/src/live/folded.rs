//! What an incident swallowed: the log of alerts that were not sent because one incident stands for them, and the traces that breakers named.
//!
//! Every opening of a breaker and every edge that left its baseline would have been an alert of its own under rules for single
//! signals. Once it belongs to an incident it is written into that incident instead, and can be read back: `folded` of the
//! API, `tripline incidents ID --folded`. An entry that was written once stays, also when the opening has long been forgotten here.

use std::collections::VecDeque;
use std::time::Duration;

use tripline_api as api;
use tripline_model::{BreakerState, BreakerTransition, EdgeKey, Timestamp};
use tripline_topology::detect::{HopEvent, Incident};

use crate::clock::rfc3339;

/// Entries kept of one incident; `raw_alerts` goes on counting.
const MAX_FOLDED: usize = 64;
/// Openings remembered until an incident has them: as many as the detector remembers.
const MAX_OPENINGS: usize = 10_000;
/// Traces shown of one candidate.
pub(crate) const MAX_TRACES: usize = 3;
/// A breaker may open so long before the window in which its failures are first seen.
const BEFORE: Duration = Duration::from_secs(10);

/// One opening of a breaker.
#[derive(Debug)]
struct Opening {
    at: Timestamp,
    key: EdgeKey,
    text: String,
    traces: Vec<String>,
}

/// Openings that an incident may yet claim, in the order in which they were heard of.
#[derive(Debug, Default)]
pub(super) struct Openings(VecDeque<Opening>);

impl Openings {
    /// Notes a transition on the edge `key`; only openings are of interest.
    pub(super) fn note(&mut self, transition: &BreakerTransition, key: &EdgeKey) {
        if transition.to != BreakerState::Open {
            return;
        }
        if self.0.len() == MAX_OPENINGS {
            self.0.pop_front();
        }
        let again = if transition.from == BreakerState::Closed { "opened" } else { "stayed open: a probe failed" };
        let (failed, total) = (transition.window_failed, transition.window_total);
        self.0.push_back(Opening {
            at: transition.at,
            key: key.clone(),
            text: format!(
                "breaker {} > {} {again} ({}, {failed} of {total} failed)",
                key.client, key.server, transition.reason
            ),
            traces: transition.traces.iter().map(ToString::to_string).collect(),
        });
    }

    /// Writes into `wire` what `incident` has swallowed, after what `before` says it had; answers what is new.
    pub(super) fn fold(
        &self,
        incident: &Incident,
        before: &[api::FoldedAlert],
        wire: &mut api::Incident,
    ) -> Vec<api::FoldedAlert> {
        wire.folded = before.to_vec();
        let mut fresh: Vec<(Timestamp, api::FoldedAlert)> = Vec::new();
        let mut add = |at: Timestamp, key: &EdgeKey, kind: &str, text: String| {
            let alert = api::FoldedAlert { at: rfc3339(at), edge: key.to_string(), kind: kind.into(), text };
            let known = |known: &api::FoldedAlert| {
                // The onset of an edge is corrected while it is young; it is one alert all the same.
                known.edge == alert.edge && known.kind == alert.kind && (kind != BREAKER || known.at == alert.at)
            };
            if !before.iter().any(known) && !fresh.iter().any(|(_, fresh)| known(fresh)) {
                fresh.push((at, alert));
            }
        };
        for opening in self.of(incident) {
            add(opening.at, &opening.key, BREAKER, opening.text.clone());
        }
        for hop in incident.path.iter() {
            match hop.event {
                HopEvent::Failing => add(hop.at, &hop.key, "failing", format!("more of {} fails than normal", hop.key)),
                HopEvent::Slow => add(hop.at, &hop.key, "slow", format!("{} is slower than normal", hop.key)),
                HopEvent::Tripped(_) => {}
            }
        }
        fresh.sort_by(|(a, x), (b, y)| (a, &x.edge).cmp(&(b, &y.edge)));
        let room = MAX_FOLDED.saturating_sub(wire.folded.len());
        let fresh: Vec<api::FoldedAlert> = fresh.into_iter().map(|(_, alert)| alert).take(room).collect();
        wire.folded.extend(fresh.iter().cloned());
        fresh
    }

    /// Gives every candidate the traces that breakers in front of it named, or those it had before.
    pub(super) fn link(&self, incident: &Incident, before: Option<&api::Incident>, wire: &mut api::Incident) {
        for (candidate, wire) in incident.candidates.iter().zip(&mut wire.suspected_origins) {
            let suspect = &candidate.suspect;
            let in_front = |opening: &&Opening| match &suspect.edge {
                Some(edge) => opening.key == *edge,
                None => opening.key.server == suspect.service,
            };
            let known = before.into_iter().flat_map(|before| &before.suspected_origins);
            let known = known.filter(|known| known.service == wire.service && known.edge == wire.edge);
            wire.traces = known.flat_map(|known| known.traces.clone()).collect();
            for id in self.of(incident).filter(in_front).flat_map(|opening| &opening.traces) {
                if wire.traces.len() < MAX_TRACES && wire.traces.iter().all(|known| known.trace_id != *id) {
                    wire.traces.push(api::ExampleTrace { trace_id: id.clone(), why: "breaker".into() });
                }
            }
        }
    }

    fn of<'a>(&'a self, incident: &'a Incident) -> impl Iterator<Item = &'a Opening> {
        let since = incident.started - BEFORE;
        let until = incident.resolved.unwrap_or(Timestamp::from_nanos(u64::MAX));
        self.0
            .iter()
            .filter(move |opening| (since..=until).contains(&opening.at) && incident.blast.edges.contains(&opening.key))
    }
}

const BREAKER: &str = "breaker_opened";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tripline_model::{FailureOrigin, Ratio, TraceId, TransitionReason};
    use tripline_topology::detect::{Blast, Candidate, Hop, Level, Phase, Suspect, SuspectKind};

    use super::*;
    use crate::live::convert;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn key(text: &str) -> EdgeKey {
        format!("{text}:http").parse().unwrap()
    }

    fn opening(edge: &EdgeKey, after: u64, trace: u8) -> BreakerTransition {
        BreakerTransition {
            breaker: edge.to_string(),
            client: edge.client.clone(),
            client_instance: "one".into(),
            server: edge.server.clone(),
            route: String::new(),
            endpoint: String::new(),
            at: NOW + Duration::from_secs(after),
            from: BreakerState::Closed,
            to: BreakerState::Open,
            reason: TransitionReason::ConsecutiveFailures,
            window_total: 9,
            window_failed: 5,
            window_slow: 0,
            threshold: 5.0,
            last_error: "503".into(),
            origin: FailureOrigin::Remote,
            time_in_from: Duration::from_secs(60),
            sequence: after,
            traces: TraceId::from_bytes([trace; 16]).into_iter().collect(),
        }
    }

    fn incident(edges: &[&EdgeKey]) -> Incident {
        Incident {
            id: "A".into(),
            level: Level::Cascade,
            phase: Phase::Spreading,
            started: NOW,
            detected: NOW,
            updated: NOW,
            resolved: None,
            candidates: vec![Candidate {
                suspect: Suspect { service: "db".into(), edge: None },
                kind: SuspectKind::Errors,
                score: Ratio::ONE,
                evidence: Vec::new(),
            }],
            unexplained: Ratio::new(0.0),
            path: Arc::new(vec![Hop { distance: 2, key: key("web>pay"), at: NOW, event: HopEvent::Failing }]),
            blast: Blast { edges: Arc::new(edges.iter().map(|key| (*key).clone()).collect()), ..Blast::default() },
            attempts_per_request: 1.0,
            demand: 1.0,
            trips: 1,
            raw_alerts: 3,
            notices: 1,
        }
    }

    #[test]
    fn openings_and_degraded_edges_are_written_once_and_stay() {
        let (ours, other) = (key("pay>db"), key("far>away"));
        let mut openings = Openings::default();
        openings.note(&opening(&ours, 1, 7), &ours);
        openings.note(&opening(&other, 1, 8), &other);
        let incident = incident(&[&ours, &key("web>pay")]);
        let mut wire = convert::incident(&incident);
        let fresh = openings.fold(&incident, &[], &mut wire);
        let kinds =
            |folded: &[api::FoldedAlert]| folded.iter().map(|f| (f.kind.clone(), f.edge.clone())).collect::<Vec<_>>();
        let expected = [("failing".into(), "web>pay:http".into()), ("breaker_opened".into(), "pay>db:http".into())];
        assert_eq!((kinds(&fresh), kinds(&wire.folded)), (expected.to_vec(), expected.to_vec()));
        assert!(fresh[1].text.contains("5 of 9 failed"), "{fresh:?}");

        openings.note(&opening(&ours, 5, 9), &ours);
        let mut later = convert::incident(&incident);
        assert_eq!(openings.fold(&incident, &wire.folded, &mut later).len(), 1, "the second opening only");
        let mut last = convert::incident(&incident);
        assert!(Openings::default().fold(&incident, &later.folded, &mut last).is_empty());
        assert_eq!(last.folded.len(), 3, "what was written stays when the openings are forgotten");
    }

    #[test]
    fn a_candidate_shows_the_traces_of_the_breakers_in_front_of_it() {
        let ours = key("pay>db");
        let mut openings = Openings::default();
        (0..5).for_each(|n| openings.note(&opening(&ours, n, 1 + n as u8 / 2), &ours));
        let incident = incident(&[&ours]);
        let mut wire = convert::incident(&incident);
        openings.link(&incident, None, &mut wire);
        let ids: Vec<&str> = wire.suspected_origins[0].traces.iter().map(|trace| &trace.trace_id[..2]).collect();
        assert_eq!(ids, ["01", "02", "03"], "each once, three at most");
        let mut later = convert::incident(&incident);
        Openings::default().link(&incident, Some(&wire), &mut later);
        assert_eq!(later.suspected_origins[0].traces, wire.suspected_origins[0].traces);
    }
}
