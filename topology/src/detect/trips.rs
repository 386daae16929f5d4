//! Openings of breakers, in the order of their times and by edge.

use std::collections::{BTreeMap, VecDeque};

use tripline_model::{BreakerState, BreakerTransition, EdgeKey, FailureOrigin, Timestamp, TransitionReason};

use super::near::Near;

/// Openings remembered; more than any incident has, and a bound on what a hostile sidecar can fill.
const MAX_TRIPS: usize = 10_000;

/// One opening of a breaker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trip {
    pub(super) at: Timestamp,
    pub(super) reason: TransitionReason,
    pub(super) induced: bool,
    /// Most of what failed got no answer.
    pub(super) unanswered: bool,
    /// Attempts in the breaker's window, failed ones among them, and the limit that was reached.
    pub(super) numbers: (u64, u64, f64),
}

/// One opening with the edge whose breaker it was.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EdgeTrip {
    pub(super) key: EdgeKey,
    pub(super) trip: Trip,
}

/// The openings on each edge of a [`Near`], side by side in memory: they are asked for one edge after the other.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TripsAlong {
    /// By the number of the edge, where its openings begin.
    begins: Vec<usize>,
    trips: Vec<Trip>,
}

impl TripsAlong {
    /// Those of the edge with that number, by time.
    pub(super) fn of(&self, number: usize) -> &[Trip] {
        let end = self.begins.get(number + 1).copied().unwrap_or(self.trips.len());
        self.begins.get(number).and_then(|begin| self.trips.get(*begin..end)).unwrap_or_default()
    }
}

/// The latest openings.
#[derive(Debug, Default)]
pub(super) struct Trips {
    /// From closed, by time: a failed probe is the same trip going on.
    order: VecDeque<EdgeTrip>,
    by_edge: BTreeMap<EdgeKey, Vec<Trip>>,
    /// Every opening, also of a breaker whose probe failed: each would have been an alert.
    openings: VecDeque<(Timestamp, EdgeKey)>,
    /// Openings ever.
    revision: u64,
}

impl Trips {
    pub(super) fn new() -> Self {
        Self { order: VecDeque::new(), by_edge: BTreeMap::new(), openings: VecDeque::new(), revision: 0 }
    }

    /// Notes a breaker's transition on the edge `key`, if it is an opening.
    pub(super) fn note(&mut self, transition: &BreakerTransition, key: EdgeKey) {
        if transition.to != BreakerState::Open {
            return;
        }
        if self.openings.len() == MAX_TRIPS {
            self.openings.pop_front();
        }
        self.openings.push_back((transition.at, key.clone()));
        self.revision += 1;
        if transition.from != BreakerState::Closed {
            return;
        }
        if self.order.len() == MAX_TRIPS {
            self.forget_oldest();
        }
        let trip = Trip {
            at: transition.at,
            reason: transition.reason,
            induced: transition.origin == FailureOrigin::Induced,
            unanswered: transition.origin == FailureOrigin::Local,
            numbers: (transition.window_total, transition.window_failed, transition.threshold),
        };
        self.insert(key, trip);
    }

    /// A number that changes with every opening.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// All trips, by time.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &EdgeTrip> {
        self.order.iter()
    }

    /// Those of each edge of `near`.
    pub(super) fn along(&self, near: &Near) -> TripsAlong {
        let mut along = TripsAlong { begins: Vec::with_capacity(near.edges.len()), trips: Vec::new() };
        for (at, _, trips) in near.among(self.by_edge.iter()) {
            along.begins.resize(at + 1, along.trips.len());
            along.trips.extend_from_slice(trips);
        }
        along
    }

    /// Those of one edge, by time.
    pub(super) fn of(&self, key: &EdgeKey) -> &[Trip] {
        self.by_edge.get(key).map_or(&[], Vec::as_slice)
    }

    /// Every opening since `since`, failed probes among them, in the order of arrival.
    pub(super) fn openings(&self, since: Timestamp) -> impl Iterator<Item = &EdgeKey> {
        self.openings.iter().filter(move |(at, _)| *at >= since).map(|(_, key)| key)
    }

    /// Sidecars' events arrive slightly out of order; the lists are kept in the order of their times.
    fn insert(&mut self, key: EdgeKey, trip: Trip) {
        let of_edge = self.by_edge.entry(key.clone()).or_default();
        of_edge.insert(of_edge.partition_point(|known| known.at <= trip.at), trip);
        let at = self.order.partition_point(|known| known.trip.at <= trip.at);
        self.order.insert(at, EdgeTrip { key, trip });
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        if let Some(of_edge) = self.by_edge.get_mut(&oldest.key) {
            // The first of its edge by time is the one.
            of_edge.remove(0);
            if of_edge.is_empty() {
                self.by_edge.remove(&oldest.key);
            }
        }
    }
}
