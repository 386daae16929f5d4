//! What the live task owns, as a state machine that is given `now`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tripline_api as api;
use tripline_model::{BreakerTransition, EdgeKey, EdgeWindow, Protocol, ServiceName, SidecarReport, Timestamp};
use tripline_topology::detect::{Detector, Settings};
use tripline_topology::{BreakerInfo, GraphSummary, Limits, Observed, ServiceGraph};

use super::attribute::Attribution;
use super::convert::{self, Placed};
use super::explain::Explain;
use super::folded::Openings;
use super::learned::Learned;
use super::sidecars::Sidecars;
use super::{Counters, Notification, View};
use crate::batch::Batch;
use crate::pair::Pairer;

/// The window of the published view.
const VIEW_WINDOW: Duration = Duration::from_secs(60);
/// Longest window that can be asked for.
const MAX_WINDOW: Duration = Duration::from_secs(600);
/// How long a resolved incident stays in the view.
const SHOW_RESOLVED: Duration = Duration::from_secs(3600);

/// What is to be done after an event.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) notifications: Vec<Notification>,
    /// What incidents swallowed, with their ids.
    pub(super) folded: Vec<(String, api::FoldedAlert)>,
    pub(super) windows: Vec<EdgeWindow>,
    pub(super) incidents_changed: bool,
}

/// The graph, the pairing, the detector, and what the view shows beside them.
pub(super) struct State {
    graph: ServiceGraph,
    detector: Detector,
    pairer: Pairer,
    explain: Explain,
    attribution: Attribution,
    sidecars: Sidecars,
    transitions: VecDeque<api::Transition>,
    openings: Openings,
    /// Newest first, with the time of resolution.
    incidents: Vec<(api::Incident, Option<Timestamp>)>,
    minute: GraphSummary,
    placed: Placed,
    /// As of so many changes.
    breakers: (u64, Arc<Vec<api::Breaker>>),
    /// The view before the published one, for its memory.
    retired: Option<Arc<View>>,
    counters: Counters,
}

impl State {
    pub(super) fn new(limits: Limits, settings: Settings) -> Self {
        let graph = ServiceGraph::new(limits);
        Self {
            minute: GraphSummary::of(&graph, VIEW_WINDOW, Timestamp::default()),
            graph,
            detector: Detector::new(settings),
            pairer: Pairer::default(),
            explain: Explain::default(),
            attribution: Attribution::default(),
            sidecars: Sidecars::default(),
            transitions: VecDeque::new(),
            openings: Openings::default(),
            incidents: Vec::new(),
            placed: Placed::default(),
            breakers: (0, Arc::default()),
            retired: None,
            counters: Counters::default(),
        }
    }

    /// Takes over what was normal before a restart.
    pub(super) fn restore(&mut self, learned: Learned, now: Timestamp) {
        let restored = self.detector.restore(learned.baselines, learned.until, now);
        let (taken, refused, dropped) = (restored.taken, restored.refused, restored.dropped);
        if taken + refused + dropped > 0 {
            tracing::info!(taken, refused, dropped, "baselines from before the restart");
        }
    }

    /// Takes in what one request held. A breaker that opened is judged at once.
    pub(super) fn take(&mut self, batch: &Batch, now: Timestamp) -> Effects {
        self.pairer.observe(&batch.spans, now);
        for report in &batch.reports {
            self.take_report(report, batch.received_at, now);
        }
        let mut opened = false;
        for transition in &batch.transitions {
            opened |= self.take_transition(transition, now);
        }
        if opened { self.evaluate(now) } else { Effects::default() }
    }

    /// Notes how long a tick took, with its view.
    pub(super) fn note_tick(&mut self, took: Duration) {
        self.counters.ticks.note(took);
    }

    /// Once a second: lets late halves go, judges, tidies.
    pub(super) fn tick(&mut self, now: Timestamp) -> Effects {
        let paired = self.pairer.tick(now);
        for traced in &paired.windows {
            self.attribution.note(traced, now);
            self.explain.note_calls(traced, now);
            self.observe(&traced.window, now);
        }
        for key in &paired.retracted {
            self.graph.forget_guess(key);
            self.explain.note_retracted(key, now);
        }
        self.explain.note_silent(paired.silent, now);
        for window in self.attribution.due(now) {
            self.observe(&window, now);
        }
        self.graph.tidy(now);
        self.explain.tidy(now);
        self.sidecars.tidy(now);
        let mut effects = self.evaluate(now);
        effects.windows = self.graph.drain_windows(now);
        self.incidents.retain(|(_, resolved)| resolved.is_none_or(|at| now.since(at) <= SHOW_RESOLVED));
        effects
    }

    /// The graph over the last `window`.
    pub(super) fn graph(&mut self, window: Duration, now: Timestamp) -> api::Graph {
        let window = window.clamp(Duration::from_secs(1), MAX_WINDOW);
        let summary = GraphSummary::of(&self.graph, window, now);
        self.placed.place(&summary);
        convert::graph(&summary, &self.placed, self.incidents.iter().map(|(incident, _)| incident), None)
    }

    /// Why there is an edge between two services, or none.
    pub(super) fn explain(&self, client: &ServiceName, server: &ServiceName) -> api::Explanation {
        self.explain.explain(client, server)
    }

    /// Takes back a view that another one has replaced.
    pub(super) fn retire(&mut self, view: Arc<View>) {
        self.retired = Some(view);
    }

    /// What everyone may see now.
    pub(super) fn view(&mut self, now: Timestamp) -> View {
        let pairing = self.pairer.counters();
        let counters = Counters {
            spans_paired: pairing.paired,
            spans_unpaired: pairing.unpaired,
            spans_evicted: pairing.evicted,
            spans_repeated: pairing.repeated,
            peers_retracted: pairing.retracted,
            calls_dropped: pairing.dropped,
            ..self.counters
        };
        // Whoever still looks at it keeps it.
        let spare = self.retired.take().and_then(Arc::into_inner).map(|view| (view.reading, view.graph));
        self.minute.follow(&self.graph, now);
        self.placed.place(&self.minute);
        let incidents = self.incidents.iter().map(|(incident, _)| incident);
        View {
            reading: self.minute.readings,
            graph: convert::graph(&self.minute, &self.placed, incidents, spare),
            incidents: self.incidents.iter().map(|(incident, _)| incident.clone()).collect(),
            breakers: self.breakers(),
            transitions: self.transitions.iter().cloned().collect(),
            proxies: self.sidecars.list(now),
            counters,
        }
    }

    /// Every breaker: with tens of thousands of them, hardly ever another list than a second ago.
    fn breakers(&mut self) -> Arc<Vec<api::Breaker>> {
        let changes = self.graph.breaker_changes();
        if self.breakers.0 != changes {
            self.breakers = (changes, Arc::new(convert::breakers(&self.graph)));
        }
        Arc::clone(&self.breakers.1)
    }

    fn take_report(&mut self, report: &SidecarReport, received_at: Timestamp, now: Timestamp) {
        self.sidecars.note(report, received_at);
        self.graph.observe_sidecar(&report.sidecar.service, now);
        for window in &report.edges {
            if let Some(window) = self.attribution.resolve(window, now) {
                self.observe(&window, now);
            }
        }
        for status in &report.breakers {
            let key = self.edge_between(&report.sidecar.service, &status.server);
            let info = BreakerInfo {
                breaker: status.breaker.clone(),
                client_instance: report.sidecar.instance.clone(),
                route: status.route.clone(),
                endpoint: status.endpoint.clone(),
                state: status.state,
                since: status.since,
                trips: status.trips,
                last_reason: None,
            };
            self.graph.observe_breaker(&key, info, now);
        }
    }

    /// Answers whether a breaker opened.
    fn take_transition(&mut self, transition: &BreakerTransition, now: Timestamp) -> bool {
        self.counters.transitions += 1;
        let key = self.edge_between(&transition.client, &transition.server);
        let trips = self.graph.edge(&key).map_or(0, |edge| {
            edge.breakers()
                .find(|known| {
                    known.breaker == transition.breaker && known.client_instance == transition.client_instance
                })
                .map_or(0, |known| known.trips)
        });
        let opened = transition.to == tripline_model::BreakerState::Open;
        let info = BreakerInfo {
            breaker: transition.breaker.clone(),
            client_instance: transition.client_instance.clone(),
            route: transition.route.clone(),
            endpoint: transition.endpoint.clone(),
            state: transition.to,
            since: transition.at,
            trips: trips + u64::from(opened),
            last_reason: Some(transition.reason),
        };
        self.graph.observe_breaker(&key, info, now);
        self.openings.note(transition, &key);
        self.detector.observe(transition, key);
        self.transitions.push_front(convert::transition(transition));
        self.transitions.truncate(api::stream::MAX_TRANSITIONS);
        opened
    }

    /// The edge that a breaker between two services guards: one that carries traffic, else HTTP.
    fn edge_between(&self, client: &ServiceName, server: &ServiceName) -> EdgeKey {
        let key = |protocol| EdgeKey { client: client.clone(), server: server.clone(), protocol };
        [Protocol::Http, Protocol::Grpc, Protocol::Tcp]
            .into_iter()
            .map(key)
            .find(|key| self.graph.edge(key).is_some())
            .unwrap_or_else(|| key(Protocol::Http))
    }

    fn observe(&mut self, window: &EdgeWindow, now: Timestamp) {
        let counter = match self.graph.observe(window, now) {
            Observed::Counted => &mut self.counters.windows,
            Observed::Folded => &mut self.counters.windows_folded,
            Observed::Implausible => &mut self.counters.windows_implausible,
            Observed::OutOfTime => &mut self.counters.windows_out_of_time,
        };
        *counter += 1;
        self.explain.note_window(window, now);
    }

    fn evaluate(&mut self, now: Timestamp) -> Effects {
        let evaluation = self.detector.evaluate(&self.graph, now);
        let mut effects = Effects { incidents_changed: !evaluation.changed.is_empty(), ..Effects::default() };
        for incident in &evaluation.changed {
            let known = self.incidents.iter().position(|(known, _)| known.id == incident.id);
            let before = known.and_then(|at| self.incidents.get(at)).map(|(before, _)| before);
            let mut wire = convert::incident(incident);
            let had = before.map(|before| before.folded.as_slice()).unwrap_or_default();
            let fresh = self.openings.fold(incident, had, &mut wire);
            self.openings.link(incident, before, &mut wire);
            effects.folded.extend(fresh.into_iter().map(|alert| (incident.id.clone(), alert)));
            match known.and_then(|at| self.incidents.get_mut(at)) {
                Some(known) => *known = (wire, incident.resolved),
                None => self.incidents.insert(0, (wire, incident.resolved)),
            }
        }
        for (notice, id) in evaluation.notices {
            if let Some((incident, _)) = self.incidents.iter().find(|(known, _)| known.id == id) {
                effects.notifications.push(Notification { notice, incident: incident.clone() });
            }
        }
        self.incidents.retain(|(incident, _)| !evaluation.merged.contains(&incident.id));
        effects
    }
}

#[cfg(test)]
mod tests;
