//! The path of an incident in causal order, and the level that can be read off it.
//!
//! Causal order is who calls whom: an edge into the suspected origin is at distance one, an edge into one of its clients at distance two.
//! Wall clocks of sidecars only order edges of one distance, so skewed clocks cannot turn a cascade around.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use tripline_model::{EdgeKey, ServiceName, Timestamp, TransitionReason};

use super::incident::Onset;
use super::trips::{EdgeTrip, Trip};
use super::{Level, Suspect};

/// What happened on a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopEvent {
    /// Its breaker opened.
    Tripped(TransitionReason),
    /// Failures left their baseline.
    Failing,
    /// Latency left its baseline.
    Slow,
}

/// One degraded edge of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Calls between it and the suspected origin, from 1.
    pub distance: usize,
    /// Which edge.
    pub key: EdgeKey,
    /// When it was first seen degraded; of a tripped edge, when its breaker opened.
    pub at: Timestamp,
    /// What happened.
    pub event: HopEvent,
}

/// Distance of each service from the suspected origin over degraded edges, towards its dependents. Edges whose server is
/// unreachable that way are not part of the story.
fn distances<'a>(origin: &'a Suspect, degraded: impl Iterator<Item = &'a EdgeKey>) -> HashMap<&'a ServiceName, usize> {
    let mut callers: HashMap<&ServiceName, Vec<&'a EdgeKey>> = HashMap::new();
    for key in degraded {
        callers.entry(&key.server).or_default().push(key);
    }
    let mut distance = HashMap::from([(&origin.service, 0)]);
    let mut front = VecDeque::from([(&origin.service, 0)]);
    while let Some((server, here)) = front.pop_front() {
        for key in callers.get(server).into_iter().flatten() {
            if here == 0 && origin.edge.as_ref().is_some_and(|edge| edge != *key) {
                continue;
            }
            if !distance.contains_key(&key.client) {
                distance.insert(&key.client, here + 1);
                front.push_back((&key.client, here + 1));
            }
        }
    }
    distance
}

/// The hops in causal order, from the suspected origin to the entry points, and how far they reach. `trips` are in the order of their times.
pub(super) fn of(
    origin: &Suspect,
    degraded: &BTreeMap<EdgeKey, Onset>,
    trips: &[EdgeTrip],
    entry_points: &BTreeSet<ServiceName>,
) -> (Vec<Hop>, Reach) {
    let distance = distances(origin, degraded.keys());
    let mut first: HashMap<&EdgeKey, &Trip> = HashMap::new();
    for EdgeTrip { key, trip } in trips {
        first.entry(key).or_insert(trip);
    }
    let mut hops: Vec<Hop> = degraded
        .iter()
        .filter_map(|(key, onset)| {
            let distance = distance.get(&key.server)? + 1;
            let (at, event) = match first.get(key) {
                Some(trip) => (trip.at, HopEvent::Tripped(trip.reason)),
                None => (onset.at, if onset.slow { HopEvent::Slow } else { HopEvent::Failing }),
            };
            Some(Hop { distance, key: key.clone(), at, event })
        })
        .collect();
    hops.sort_by(|a, b| (a.distance, a.at, &a.key).cmp(&(b.distance, b.at, &b.key)));
    let reach = Reach::of(&hops, first.keys().filter_map(|key| distance.get(&key.server)).copied(), entry_points);
    (hops, reach)
}

/// How far a story goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Degraded services between the origin and the one that is farthest from it.
    hops: usize,
    /// It reaches an entry point through a service between.
    to_entry: bool,
    /// Breakers at neighbouring distances opened.
    in_chain: bool,
}

/// Attempts per request on the worst edge into the origin from which a cascade is amplifying.
const AMPLIFYING: f64 = 1.5;

impl Reach {
    /// `tripped` are the distances of the servers of edges with an opened breaker.
    fn of(hops: &[Hop], tripped: impl Iterator<Item = usize>, entry_points: &BTreeSet<ServiceName>) -> Self {
        // Servers of degraded edges, by distance: a service at distance n is degraded because of the origin n hops away.
        let farthest = hops.iter().map(|hop| hop.distance - 1).max().unwrap_or(0);
        let tripped: BTreeSet<usize> = tripped.collect();
        Self {
            hops: farthest,
            to_entry: hops.iter().any(|hop| hop.distance > 2 && entry_points.contains(&hop.key.server)),
            in_chain: tripped.iter().any(|hops| tripped.contains(&(hops + 1))),
        }
    }

    /// How far it has gone. Self-sustaining needs time and is decided by the incident itself.
    pub(super) fn level(self, attempts: f64) -> Level {
        if self.hops >= 2 || self.to_entry || self.in_chain {
            if attempts >= AMPLIFYING { Level::Amplifying } else { Level::Cascade }
        } else if self.hops == 1 {
            Level::Propagating
        } else {
            Level::Local
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> EdgeKey {
        format!("{text}:http").parse().unwrap()
    }

    fn suspect(service: &str) -> Suspect {
        Suspect { service: service.into(), edge: None }
    }

    fn onset(at: u64, slow: bool) -> Onset {
        Onset { at: Timestamp::from_secs(at), slow, alerts_before: None }
    }

    fn trip(text: &str, at: u64) -> EdgeTrip {
        let trip = Trip {
            at: Timestamp::from_secs(at),
            reason: TransitionReason::FailureRatio,
            induced: false,
            unanswered: false,
            numbers: (20, 10, 0.5),
        };
        EdgeTrip { key: key(text), trip }
    }

    fn level_of(degraded: &[&str], tripped: &[&str], attempts: f64) -> Level {
        let degraded = degraded.iter().map(|text| (key(text), onset(1, false))).collect();
        let tripped: Vec<EdgeTrip> = tripped.iter().map(|text| trip(text, 1)).collect();
        of(&suspect("db"), &degraded, &tripped, &["web".into()].into()).1.level(attempts)
    }

    #[test]
    fn levels_by_reach() {
        assert_eq!(level_of(&["pay>db"], &[], 1.0), Level::Local);
        assert_eq!(level_of(&["pay>db", "shop>pay"], &[], 1.0), Level::Propagating);
        assert_eq!(level_of(&["pay>db", "shop>pay", "web>shop"], &[], 1.0), Level::Cascade);
        assert_eq!(level_of(&["pay>db", "shop>pay"], &["pay>db", "shop>pay"], 1.0), Level::Cascade);
        assert_eq!(level_of(&["pay>db", "shop>pay", "web>shop"], &[], 2.0), Level::Amplifying);
        // An entry point that calls the origin itself is only one hop away.
        assert_eq!(level_of(&["web>db", "user>web"], &[], 1.0), Level::Propagating);
    }

    #[test]
    fn the_path_is_ordered_by_cause_whatever_the_clocks_say() {
        let degraded = [
            (key("pay>db"), onset(30, false)),
            (key("shop>pay"), onset(10, false)),
            (key("web>shop"), onset(20, true)),
            (key("far>away"), onset(1, false)),
        ]
        .into();
        let (hops, _) = of(&suspect("db"), &degraded, &[trip("pay>db", 31)], &BTreeSet::new());
        let told: Vec<_> = hops.iter().map(|hop| (hop.distance, hop.key.to_string(), hop.at.as_secs())).collect();
        assert_eq!(
            told,
            [(1, "pay>db:http".into(), 31), (2, "shop>pay:http".into(), 10), (3, "web>shop:http".into(), 20)]
        );
        assert_eq!(hops[2].event, HopEvent::Slow);
    }
}
