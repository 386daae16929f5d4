//! Is the way at fault rather than the server? Breakers that trip for nothing, and requests that are lost between two that are well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tripline_model::{Reporter, ServiceName, Timestamp, TransitionReason};

use super::View;
use crate::detect::blame::Flow;
use crate::detect::near::NearEdge;
use crate::detect::trips::Trip;
use crate::graph::{Brief, EdgeState, FINE_SECS};

/// A breaker is too eager when what reached the server failed less significantly than this (binomial z), three standard deviations,
/// and its first trip was to be expected.
const EAGER_Z: f64 = 3.0;
/// Trips expected in the breaker's window above which a trip is chance.
const CHANCE: f64 = 0.01;
/// A share of failures below which a baseline does not go: nobody never fails.
const SHARE_FLOOR: f64 = 0.001;

/// Whether an edge's breaker rejects although what reaches the server is as well as ever: of `arrived` attempts `failed` did, `share` of them
/// normally.
pub(super) fn is_eager(
    view: &View<'_>,
    (edge, trips): (&NearEdge, &[Trip]),
    since: Timestamp,
    (failed, arrived, share): (f64, f64, f64),
) -> bool {
    if trips.last().is_none_or(|last| last.at < since) {
        return false;
    }
    // Each trip takes its failures to happen: what was seen between trips is chosen by them.
    let beyond = failed - share * arrived - taken_by_trips(trips, since);
    let significance = beyond / (arrived * share * (1.0 - share) + 1.0).sqrt();
    let by_chance = |(_, state)| tripped_by_chance((state, trips), since, share);
    significance < EAGER_Z && view.graph.at(edge.place).is_some_and(by_chance)
}

/// Failures in a row that the trips of an edge since then needed.
fn taken_by_trips(trips: &[Trip], since: Timestamp) -> f64 {
    let in_a_row = |trip: &&Trip| trip.at >= since && trip.reason == TransitionReason::ConsecutiveFailures;
    trips.iter().filter(in_a_row).map(|trip| trip.numbers.2).sum()
}

/// For so long before an incident the normal share of failed attempts is read.
const BEFORE: Duration = Duration::from_secs(60);

/// Whether the first trip of an edge since then had to be expected at its normal share of failed attempts: a run of `t` failures begins with
/// any of `n` attempts with the chance `share^t`; a ratio is chance when it is within three standard deviations.
fn tripped_by_chance((state, trips): (&EdgeState, &[Trip]), since: Timestamp, share: f64) -> bool {
    // A breaker counts attempts, of which retries hide the failed ones: each retry follows one.
    let hidden = || {
        let before = state.brief_by(Reporter::Client, since - BEFORE, since);
        f64::from(before.retries) / f64::from(before.attempts.max(1))
    };
    let hidden = if state.has_retried { hidden() } else { 0.0 };
    let share = (share + hidden).max(SHARE_FLOOR);
    let by_chance = |trip: &Trip| {
        let (total, failed, limit) = trip.numbers;
        let total = total.max(1) as f64;
        match trip.reason {
            TransitionReason::ConsecutiveFailures => total * share.powf(limit) >= CHANCE,
            TransitionReason::FailureRatio => {
                (failed as f64 - share * total) / (total * share * (1.0 - share) + 1.0).sqrt() < EAGER_Z
            }
            TransitionReason::Forced => true,
            _ => false,
        }
    };
    // Later ones have few attempts in their window and say little: what comes through between them is judged as a whole.
    trips.iter().find(|trip| trip.at >= since).is_some_and(by_chance)
}

/// In which moments a server's sidecar saw requests answered well.
pub(super) struct Lives<'a> {
    view: &'a View<'a>,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
    seconds: BTreeMap<ServiceName, BTreeSet<u32>>,
}

impl<'a> Lives<'a> {
    /// For how long lost requests are compared with answered ones.
    const SPAN: Duration = Duration::from_secs(90);
    /// Moments with lost requests that tell a lost way from a server that has just died.
    const ENOUGH: usize = 3;

    pub(super) fn new(view: &'a View<'a>, (since, now): (Timestamp, Timestamp)) -> Self {
        Self { view, since, until: now.min(since + Self::SPAN), now, seconds: BTreeMap::new() }
    }

    /// How many of an edge's failures were lost on the way: its server neither failed them nor was slow, and answered others at the same moments.
    pub(super) fn lost(&mut self, edge: &NearEdge, flow: &Flow) -> f64 {
        let lost = (flow.reached - flow.answered).max(0.0);
        if lost < 1.0 || flow.seen.is_none() {
            return 0.0;
        }
        let Some((key, state)) = self.view.graph.at(edge.place) else { return 0.0 };
        let served = state.brief_by(Reporter::Server, self.since, self.until).mean();
        let watch = self.view.watches.at(state);
        let slow = served.zip(watch).and_then(|(served, watch)| watch.serves_slowly(self.view.settings, served));
        if slow != Some(false) {
            return 0.0;
        }
        let panes = state.seconds_by(Reporter::Client, self.since, self.until);
        let moment = moment(self.now);
        let seconds: BTreeSet<u32> = panes.filter(|pane| pane.transport_failures > 0).map(moment).collect();
        let alive = self.alive(&key.server);
        let answered = seconds.iter().filter(|at| alive.contains(at)).count();
        if seconds.len() >= Self::ENOUGH && answered * 2 >= seconds.len() { lost } else { 0.0 }
    }

    fn alive(&mut self, server: &ServiceName) -> &BTreeSet<u32> {
        let (view, since, until, now) = (self.view, self.since, self.until, self.now);
        self.seconds.entry(server.clone()).or_insert_with(|| {
            let states = view.graph.edges_into(server);
            let panes = states.flat_map(|(_, state)| state.seconds_by(Reporter::Server, since, until));
            panes.filter(|pane| pane.requests > pane.failed).map(moment(now)).collect()
        })
    }
}

/// When a pane was: its second, or of one that may have been merged with its neighbours its ten seconds.
fn moment(now: Timestamp) -> impl Fn(Brief) -> u32 {
    let fine_from = now.as_secs().saturating_sub(FINE_SECS.into());
    move |pane| if u64::from(pane.start) < fine_from { pane.start / 10 } else { pane.start }
}

#[cfg(test)]
mod tests {
    use tripline_model::{EdgeCounts, EdgeKey, EdgeWindow, Histogram, NodeKind};

    use super::*;
    use crate::{Limits, ServiceGraph};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn a_breaker_is_expected_to_trip_on_the_failures_that_retries_have_always_hidden() {
        let key: EdgeKey = "shop/web>shop/cart:http".parse().unwrap();
        let trip = Trip {
            at: NOW,
            reason: TransitionReason::ConsecutiveFailures,
            induced: false,
            unanswered: false,
            numbers: (1_000, 5, 5.0),
        };
        for (retries, expected) in [(0, false), (500, true)] {
            let mut graph = ServiceGraph::new(Limits::default());
            let window = EdgeWindow {
                key: key.clone(),
                reporter: Reporter::Client,
                client_kind: NodeKind::Service,
                server_kind: NodeKind::Service,
                start: NOW - Duration::from_secs(10),
                length: Duration::from_secs(1),
                counts: EdgeCounts { requests: 500, attempts: 500 + retries, retries, ..EdgeCounts::default() },
                latency: Histogram::default(),
                self_time: Histogram::default(),
                secured: false,
            };
            graph.observe(&window, NOW);
            let by_chance = tripped_by_chance((graph.edge(&key).unwrap(), &[trip]), NOW, 0.01);
            assert_eq!(by_chance, expected, "{retries} retries");
        }
    }
}
