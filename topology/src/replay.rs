//! Runs the detector over what was recorded, in the recording's own time.
//!
//! [`Replay`] is the collector's loop without its clock: windows and transitions in, what the detector says out. A window is taken
//! at its end and judged at the next look, 300 ms after each full second; a breaker that opens is judged at once, and its state is repeated
//! each second, as sidecars do. [`replay`] drives it from a [`Recording`]: rows are put in order of time first, so a recording whose rows came late or
//! in another order, within what a recording accepts, gives the same incidents.
//!
//! A recording knows less than a sidecar reports. Means stand for every request of their window; failures of a service are divided
//! among its callers as those saw them fail; what a caller saw fail and the server did not is taken for unanswered. Where a service has
//! rows but no call to it has, its callers in the graph, or users when it has none, share its requests evenly.

mod windows;

use std::collections::BTreeMap;
use std::time::Duration;

use tripline_model::{BreakerState, BreakerTransition, EdgeKey, EdgeWindow, Protocol, Timestamp};

use crate::detect::{Detector, Evaluation, Incident, Notice, Settings};
use crate::recording::Recording;
use crate::{BreakerInfo, Limits, ServiceGraph};

/// The loop looks so long after each full second.
pub const LOOK: Duration = Duration::from_millis(300);

/// The graph, the detector, and the breakers as last heard of.
#[derive(Debug)]
pub struct Replay {
    graph: ServiceGraph,
    detector: Detector,
    breakers: BTreeMap<(String, String), (EdgeKey, BreakerInfo)>,
}

/// What a whole recording came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replayed {
    /// Incidents in the order of their opening, each as it was last, those that went into another left out.
    pub incidents: Vec<Incident>,
    /// What would have been told, when, about which incident as it was then.
    pub notices: Vec<(Timestamp, Notice, Incident)>,
}

impl Replay {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            graph: ServiceGraph::new(Limits { window: settings.window, ..Limits::default() }),
            detector: Detector::new(settings),
            breakers: BTreeMap::new(),
        }
    }

    /// Takes a window.
    pub fn window(&mut self, window: &EdgeWindow, now: Timestamp) {
        self.graph.observe(window, now);
    }

    /// Takes a transition; one that opens a breaker is judged at once.
    pub fn transition(&mut self, transition: &BreakerTransition) -> Option<Evaluation> {
        let (client, server) = (transition.client.clone(), transition.server.clone());
        let key = EdgeKey { client, server, protocol: Protocol::Http };
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
        opened.then(|| self.detector.evaluate(&self.graph, transition.at))
    }

    /// A second is over.
    pub fn look(&mut self, now: Timestamp) -> Evaluation {
        for (key, breaker) in self.breakers.values() {
            self.graph.observe_breaker(key, BreakerInfo { last_reason: None, ..breaker.clone() }, now);
        }
        self.graph.tidy(now);
        self.detector.evaluate(&self.graph, now)
    }

    /// Runs over windows and transitions in order of time, second by second, until incidents had time to resolve, and hands
    /// each evaluation to `see` together with its time.
    pub fn run(
        &mut self,
        (windows, transitions): (&[EdgeWindow], &[BreakerTransition]),
        settings: &Settings,
        mut see: impl FnMut(Timestamp, Evaluation),
    ) {
        let second = Duration::from_secs(1);
        let starts =
            windows.iter().map(|window| window.start).chain(transitions.iter().map(|transition| transition.at));
        let ends = windows.iter().map(|window| window.start + window.length);
        let Some(first) = starts.min() else { return };
        let last = ends.chain(transitions.iter().map(|transition| transition.at)).max().unwrap_or(first);
        let (mut windows, mut transitions) = (windows.iter().peekable(), transitions.iter().peekable());
        let rest = settings.resolve_after + settings.window * 6;
        let mut end = first.window_start(second) + second;
        while end <= last + rest {
            let now = end + LOOK;
            while let Some(transition) = transitions.next_if(|transition| transition.at <= now) {
                if let Some(evaluation) = self.transition(transition) {
                    see(transition.at, evaluation);
                }
            }
            while let Some(window) = windows.next_if(|window| window.start + window.length <= end) {
                self.window(window, now);
            }
            see(now, self.look(now));
            end = end + second;
        }
    }
}

/// Runs the detector over a whole recording. Windows longer than the settings' make the settings' window as long.
#[must_use]
pub fn replay(recording: &Recording, settings: Settings) -> Replayed {
    let (windows, transitions) = windows::of(recording);
    let longest = windows.iter().map(|window| window.length.as_secs()).max().unwrap_or(0);
    let settings = Settings { window: settings.window.max(Duration::from_secs(longest)), ..settings };
    let mut replayed = Replayed::default();
    Replay::new(settings).run((&windows, &transitions), &settings, |now, evaluation| replayed.take(now, evaluation));
    replayed
}

impl Replayed {
    fn take(&mut self, now: Timestamp, evaluation: Evaluation) {
        for incident in evaluation.changed {
            match self.incidents.iter_mut().find(|known| known.id == incident.id) {
                Some(known) => *known = incident,
                None => self.incidents.push(incident),
            }
        }
        for (notice, id) in evaluation.notices {
            if let Some(incident) = self.incidents.iter().find(|known| known.id == id) {
                self.notices.push((now, notice, incident.clone()));
            }
        }
        self.incidents.retain(|incident| !evaluation.merged.contains(&incident.id));
    }
}

#[cfg(test)]
mod tests;
