//! How a cascade ran through the graph: wave numbers from the suspected origin outwards. Pure.
//!
//! The incident's path is a list of hops with times. The picture needs to know for every hop how far from the origin it
//! is: hops into the origin are wave 1, hops into their clients wave 2, and so on (breadth first over the path's own
//! hops, dependents-wards). A hop that hangs together with none of these, because a silent one between was bridged,
//! takes the wave of the latest hop before it in time. Closings are no hops: they end the cascade, they do not spread it.

use std::collections::BTreeMap;

use tripline_api::{Incident, PathEvent};

/// The cascade of one incident, to be drawn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cascade {
    /// Its id.
    pub(crate) incident: String,
    /// The best candidates, all of them when they are tied.
    pub(crate) origins: Vec<String>,
    /// Wave by (client, server).
    pub(crate) hops: BTreeMap<(String, String), u32>,
    /// Wave by node: 0 for origins, and for what is degraded without being on the path the last wave.
    pub(crate) nodes: BTreeMap<String, u32>,
}

/// Scores that differ by no more than this are a tie.
const TIE: f64 = 1e-9;

impl Cascade {
    /// Reads an incident.
    pub(crate) fn of(incident: &Incident) -> Self {
        let best = incident.suspected_origins.first().map_or(0.0, |c| c.score);
        let tied = incident.suspected_origins.iter().filter(|c| (c.score - best).abs() <= TIE);
        let origins: Vec<String> = tied.map(|c| c.service.clone()).collect();
        let hops = number(&origins, &first_times(incident));
        let last = hops.values().copied().max().unwrap_or(1);
        let mut nodes: BTreeMap<String, u32> = origins.iter().map(|origin| (origin.clone(), 0)).collect();
        for ((client, _), wave) in &hops {
            let known = nodes.entry(client.clone()).or_insert(*wave);
            *known = (*known).min(*wave);
        }
        for service in incident.blast_radius.services.iter().chain(&incident.blast_radius.entry_points) {
            nodes.entry(service.clone()).or_insert(last);
        }
        Self { incident: incident.id.clone(), origins, hops, nodes }
    }

    /// The wave in which the hop was hit.
    pub(crate) fn wave(&self, client: &str, server: &str) -> Option<u32> {
        // Two keys of a map cannot be borrowed as one pair; a path has a dozen hops.
        self.hops.iter().find(|((c, s), _)| c == client && s == server).map(|(_, wave)| *wave)
    }
}

/// The time of each hop's first sign.
fn first_times(incident: &Incident) -> BTreeMap<(String, String), u64> {
    let mut times = BTreeMap::new();
    for step in incident.path.iter().filter(|step| step.event != PathEvent::Closed && step.client != step.server) {
        let known = times.entry((step.client.clone(), step.server.clone())).or_insert(step.lag_ms);
        *known = step.lag_ms.min(*known);
    }
    times
}

fn number(origins: &[String], times: &BTreeMap<(String, String), u64>) -> BTreeMap<(String, String), u32> {
    let mut hops: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut reached: Vec<&str> = origins.iter().map(String::as_str).collect();
    let mut wave = 0;
    while !reached.is_empty() {
        wave += 1;
        let new: Vec<&(String, String)> =
            times.keys().filter(|hop| !hops.contains_key(*hop) && reached.contains(&hop.1.as_str())).collect();
        for hop in &new {
            hops.insert((*hop).clone(), wave);
        }
        reached = new.iter().map(|hop| hop.0.as_str()).collect();
    }
    let mut apart: Vec<(&(String, String), u64)> =
        times.iter().filter(|(hop, _)| !hops.contains_key(*hop)).map(|(hop, time)| (hop, *time)).collect();
    apart.sort_by_key(|(_, time)| *time);
    for (hop, time) in apart {
        let before = hops.iter().filter(|(other, _)| times.get(*other).is_some_and(|t| *t <= time));
        let wave = before.map(|(_, wave)| *wave).max().unwrap_or(1);
        hops.insert(hop.clone(), wave);
    }
    hops
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tripline_api::{Amplification, BlastRadius, Candidate, Level, PathStep, Phase};

    /// An incident whose path has these hops, each with its lag.
    pub(crate) fn incident(origins: &[(&str, f64)], path: &[(&str, &str, PathEvent, u64)]) -> Incident {
        let candidate = |&(service, score): &(&str, f64)| Candidate {
            service: service.into(),
            edge: None,
            kind: "errors".into(),
            score,
            evidence: vec![],
            traces: vec![],
            logs: vec![],
        };
        let step = |&(client, server, event, lag_ms): &(&str, &str, PathEvent, u64)| PathStep {
            at: "2026-11-21T09:00:00Z".into(),
            client: client.into(),
            server: server.into(),
            event,
            reason: "errors".into(),
            lag_ms,
        };
        Incident {
            id: "01J".into(),
            level: Level::Cascade,
            phase: Phase::Spreading,
            started_at: "2026-11-21T09:00:00Z".into(),
            detected_at: "2026-11-21T09:00:02Z".into(),
            updated_at: "2026-11-21T09:00:12Z".into(),
            resolved_at: None,
            suspected_origins: origins.iter().map(candidate).collect(),
            unexplained: 0.0,
            path: path.iter().map(step).collect(),
            blast_radius: BlastRadius {
                services: vec!["web".into()],
                edges: vec![],
                entry_points: vec!["gateway".into()],
                entries: vec![],
                affected_request_ratio: 0.4,
                requests_failed: 40,
                requests_total: 100,
            },
            amplification: Amplification { attempts_per_request: 1.0, demand: 1.0 },
            trips: 2,
            raw_alerts: 9,
            alerts_sent: 1,
            folded: vec![],
        }
    }

    use PathEvent::{Closed, Degraded, Tripped};

    #[test]
    fn waves_count_hops_from_the_origin_whatever_the_clocks_say() {
        let cascade = Cascade::of(&incident(
            &[("db", 0.9), ("web", 0.1)],
            &[
                ("checkout", "payments", Degraded, 900),
                ("payments", "db", Degraded, 1_000),
                ("payments", "db", Tripped, 2_000),
                ("web", "checkout", Tripped, 3_000),
                ("payments", "db", Closed, 60_000),
            ],
        ));
        assert_eq!(cascade.origins, ["db"]);
        assert_eq!(cascade.wave("payments", "db"), Some(1));
        assert_eq!(cascade.wave("checkout", "payments"), Some(2));
        assert_eq!(cascade.wave("web", "checkout"), Some(3));
        assert_eq!(cascade.wave("cart", "pricing"), None);
        assert_eq!(cascade.nodes["db"], 0);
        assert_eq!(cascade.nodes["web"], 3);
        assert_eq!(cascade.nodes["gateway"], 3);
    }

    #[test]
    fn a_bridged_hop_takes_the_wave_of_what_came_before_it() {
        let path = [("payments", "db", Degraded, 0), ("web", "checkout", Degraded, 500)];
        let cascade = Cascade::of(&incident(&[("db", 0.9)], &path));
        assert_eq!(cascade.wave("web", "checkout"), Some(1));
    }

    #[test]
    fn a_tie_has_two_origins_and_a_cycle_ends() {
        let path = [("a", "b", Degraded, 0), ("b", "a", Degraded, 10)];
        let cascade = Cascade::of(&incident(&[("a", 0.5), ("b", 0.5)], &path));
        assert_eq!(cascade.origins, ["a", "b"]);
        assert_eq!(cascade.hops.len(), 2);
        assert_eq!(Cascade::of(&incident(&[], &path)).hops.len(), 2);
    }
}
