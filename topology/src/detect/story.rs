//! The path of an incident in causal order, and the level that can be read off it.
//!
//! Causal order is who calls whom: an edge into the suspected origin is at distance one, an edge into one of its clients at distance two.
//! Wall clocks of sidecars only order edges of one distance, so skewed clocks cannot turn a cascade around.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tripline_model::{EdgeKey, ServiceName, Timestamp, TransitionReason};

use super::{Level, Suspect, Trip};

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
pub(super) fn distances<'a>(
    origin: &Suspect,
    degraded: impl Iterator<Item = &'a EdgeKey>,
) -> BTreeMap<ServiceName, usize> {
    let mut callers: BTreeMap<&ServiceName, Vec<&EdgeKey>> = BTreeMap::new();
    for key in degraded {
        callers.entry(&key.server).or_default().push(key);
    }
    let mut distance = BTreeMap::from([(origin.service.clone(), 0)]);
    let mut front = VecDeque::from([(origin.service.clone(), 0)]);
    while let Some((server, here)) = front.pop_front() {
        for key in callers.get(&server).into_iter().flatten() {
            if here == 0 && origin.edge.as_ref().is_some_and(|edge| edge != *key) {
                continue;
            }
            if !distance.contains_key(&key.client) {
                distance.insert(key.client.clone(), here + 1);
                front.push_back((key.client.clone(), here + 1));
            }
        }
    }
    distance
}

/// The hops in causal order: from the suspected origin to the entry points.
pub(super) fn path(origin: &Suspect, degraded: &BTreeMap<EdgeKey, (Timestamp, bool)>, trips: &[&Trip]) -> Vec<Hop> {
    let distance = distances(origin, degraded.keys());
    let mut first: BTreeMap<&EdgeKey, &Trip> = BTreeMap::new();
    for trip in trips {
        first.entry(&trip.key).or_insert(trip);
    }
    let mut hops: Vec<Hop> = degraded
        .iter()
        .filter_map(|(key, (onset, slow))| {
            let distance = distance.get(&key.server)? + 1;
            let trip = first.get(key);
            let (at, event) = match trip {
                Some(trip) => (trip.at, HopEvent::Tripped(trip.reason)),
                None => (*onset, if *slow { HopEvent::Slow } else { HopEvent::Failing }),
            };
            Some(Hop { distance, key: key.clone(), at, event })
        })
        .collect();
    hops.sort_by(|a, b| (a.distance, a.at, &a.key).cmp(&(b.distance, b.at, &b.key)));
    hops
}

/// What the level is read from.
pub(super) struct Reach<'a> {
    pub(super) origin: &'a Suspect,
    pub(super) degraded: &'a BTreeSet<EdgeKey>,
    pub(super) entry_points: &'a BTreeSet<ServiceName>,
    pub(super) tripped: &'a BTreeSet<EdgeKey>,
    /// Attempts per request on the worst edge into the origin.
    pub(super) attempts: f64,
}

/// Attempts per request from which a cascade is amplifying.
const AMPLIFYING: f64 = 1.5;

/// How far it has gone. Self-sustaining needs time and is decided by the incident itself.
pub(super) fn level(reach: &Reach<'_>) -> Level {
    let distance = distances(reach.origin, reach.degraded.iter());
    // Servers of degraded edges, by distance: a service at distance n is degraded because of the origin n hops away.
    let hops = reach.degraded.iter().filter_map(|key| distance.get(&key.server)).copied().max().unwrap_or(0);
    let entry_through_another = reach.degraded.iter().any(|key| {
        reach.entry_points.contains(&key.server) && distance.get(&key.server).is_some_and(|hops| *hops >= 2)
    });
    let tripped_by_distance: BTreeSet<usize> =
        reach.tripped.iter().filter_map(|key| distance.get(&key.server)).copied().collect();
    let trips_in_chain = tripped_by_distance.iter().any(|hops| tripped_by_distance.contains(&(hops + 1)));
    if hops >= 2 || entry_through_another || trips_in_chain {
        if reach.attempts >= AMPLIFYING { Level::Amplifying } else { Level::Cascade }
    } else if hops == 1 {
        Level::Propagating
    } else {
        Level::Local
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

    fn level_of(degraded: &[&str], tripped: &[&str], attempts: f64) -> Level {
        level(&Reach {
            origin: &suspect("db"),
            degraded: &degraded.iter().map(|text| key(text)).collect(),
            entry_points: &["web".into()].into(),
            tripped: &tripped.iter().map(|text| key(text)).collect(),
            attempts,
        })
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
        let at = Timestamp::from_secs;
        let degraded = [
            (key("pay>db"), (at(30), false)),
            (key("shop>pay"), (at(10), false)),
            (key("web>shop"), (at(20), true)),
            (key("far>away"), (at(1), false)),
        ]
        .into();
        let trip = Trip {
            at: at(31),
            key: key("pay>db"),
            reason: TransitionReason::FailureRatio,
            induced: false,
            unanswered: false,
            numbers: (20, 10, 0.5),
        };
        let hops = path(&suspect("db"), &degraded, &[&trip]);
        let told: Vec<_> = hops.iter().map(|hop| (hop.distance, hop.key.to_string(), hop.at.as_secs())).collect();
        assert_eq!(
            told,
            [(1, "pay>db:http".into(), 31), (2, "shop>pay:http".into(), 10), (3, "web>shop:http".into(), 20)]
        );
        assert_eq!(hops[2].event, HopEvent::Slow);
    }
}
