//! Runs the live detector over what sidecars reported, second by second, as the collector does.
//!
//! A window arrives at the end of its second and is judged at the next look, 300 ms later; a breaker that opens is judged
//! at once. Sidecars tell the state of their breakers every second. What came in the same second may have come in any order: the list
//! of windows is read by time only.

use std::collections::BTreeMap;
use std::time::Duration;

use tripline_model::{BreakerState, BreakerTransition, EdgeKey, Timestamp};
use tripline_topology::detect::{Detector, Evaluation, Incident, Notice, Settings};
use tripline_topology::{BreakerInfo, Limits, ServiceGraph};

use crate::mesh::{Reported, START};

/// The collector looks so long after each full second.
const LOOK: Duration = Duration::from_millis(300);

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

/// Runs the detector over a report of so many seconds, and then until incidents had time to resolve.
#[must_use]
pub fn watch(reported: &Reported, seconds: u64, settings: Settings) -> Verdict {
    let mut live = Live::new(settings);
    let mut windows = reported.windows.iter().peekable();
    let mut transitions = reported.transitions.iter().peekable();
    let rest = settings.resolve_after.as_secs() + 30;
    for second in 1..=seconds + rest {
        let end = START + Duration::from_secs(second);
        let now = end + LOOK;
        while let Some(transition) = transitions.next_if(|transition| transition.at <= now) {
            live.transition(transition);
        }
        while let Some(window) = windows.next_if(|window| window.start + window.length <= end) {
            live.graph.observe(window, now);
        }
        live.look(now);
    }
    live.verdict
}

struct Live {
    graph: ServiceGraph,
    detector: Detector,
    breakers: BTreeMap<(String, String), (EdgeKey, BreakerInfo)>,
    verdict: Verdict,
}

impl Live {
    fn new(settings: Settings) -> Self {
        Self {
            graph: ServiceGraph::new(Limits::default()),
            detector: Detector::new(settings),
            breakers: BTreeMap::new(),
            verdict: Verdict::default(),
        }
    }

    fn transition(&mut self, transition: &BreakerTransition) {
        let key = EdgeKey {
            client: transition.client.clone(),
            server: transition.server.clone(),
            protocol: tripline_model::Protocol::Http,
        };
        let place = (transition.client_instance.clone(), transition.breaker.clone());
        let opened = transition.to == BreakerState::Open;
        let trips = self.breakers.get(&place).map_or(0, |(_, known)| known.trips) + u64::from(opened);
        let info = BreakerInfo {
            breaker: transition.breaker.clone(),
            client_instance: transition.client_instance.clone(),
            route: transition.route.clone(),
            endpoint: transition.endpoint.clone(),
            state: transition.to,
            since: transition.at,
            trips,
            last_reason: Some(transition.reason),
        };
        self.graph.observe_breaker(&key, info.clone(), transition.at);
        self.detector.observe(transition, key.clone());
        self.breakers.insert(place, (key, info));
        if opened {
            self.judge(transition.at);
        }
    }

    fn look(&mut self, now: Timestamp) {
        for (key, breaker) in self.breakers.values() {
            self.graph.observe_breaker(key, BreakerInfo { last_reason: None, ..breaker.clone() }, now);
        }
        self.graph.tidy(now);
        self.judge(now);
    }

    fn judge(&mut self, now: Timestamp) {
        let Evaluation { changed, notices, merged } = self.detector.evaluate(&self.graph, now);
        for incident in changed {
            let known = self.verdict.incidents.iter_mut().find(|known| known.opened.id == incident.id);
            let Some(known) = known else {
                self.verdict.incidents.push(Watched {
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
        for known in &mut self.verdict.incidents {
            known.merged |= merged.contains(&known.end.id);
        }
        self.verdict.notices.extend(notices.into_iter().map(|(notice, id)| (now, notice, id)));
    }
}
