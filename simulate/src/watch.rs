//! Runs the live detector over what sidecars reported, as [`tripline_topology::replay`] does, and keeps each incident as it was at three
//! moments: opened, 30 s later, last while something was degraded.

use std::time::Duration;

use tripline_model::Timestamp;
use tripline_topology::detect::{Evaluation, Incident, Notice, Settings};
use tripline_topology::replay::Replay;

use crate::mesh::Reported;

/// One incident over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// As it was when it was opened.
    pub opened: Incident,
    /// As it was 30 s later.
    pub settled: Incident,
    /// As it was last while something was degraded.
    pub last: Incident,
    /// As it is in the end.
    pub end: Incident,
    /// Whether it went into another one.
    pub merged: bool,
}

/// What the detector said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Incidents in the order of their opening.
    pub incidents: Vec<Watched>,
    /// What was told, when, about which.
    pub notices: Vec<(Timestamp, Notice, String)>,
}

/// Runs the detector over a report, and then until incidents had time to resolve.
#[must_use]
pub fn watch(reported: &Reported, settings: Settings) -> Verdict {
    let mut verdict = Verdict::default();
    let all = (reported.windows.as_slice(), reported.transitions.as_slice());
    Replay::new(settings).run(all, &settings, |now, evaluation| verdict.take(now, evaluation));
    verdict
}

impl Verdict {
    fn take(&mut self, now: Timestamp, Evaluation { changed, notices, merged }: Evaluation) {
        for incident in changed {
            let Some(known) = self.incidents.iter_mut().find(|known| known.opened.id == incident.id) else {
                self.incidents.push(Watched {
                    opened: incident.clone(),
                    settled: incident.clone(),
                    last: incident.clone(),
                    end: incident,
                    merged: false,
                });
                continue;
            };
            if now.since(incident.detected) <= Duration::from_secs(30) {
                known.settled = incident.clone();
            }
            if incident.resolved.is_none() && !merged.contains(&incident.id) {
                known.last = incident.clone();
            }
            known.end = incident;
        }
        for known in &mut self.incidents {
            known.merged |= merged.contains(&known.end.id);
        }
        self.notices.extend(notices.into_iter().map(|(notice, id)| (now, notice, id)));
    }
}
