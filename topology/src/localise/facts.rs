//! What the rows say: every service and edge in the incident against its own baseline.

use std::collections::{BTreeMap, BTreeSet};

use tripline_model::{BreakerState, Timestamp};

use super::series::{Pane, Shift, Side, belief, panes, shift, stands_alone};
use super::{LocaliseError, Question};
use crate::detect::{Settings, Verdicts, is_failing};
use crate::recording::{EdgeRow, Name, Recording, ServiceRow};
use crate::robust::{ENOUGH, binomial_z};

/// Failures in the incident against their share in the baseline.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Failed {
    pub(super) requests: f64,
    pub(super) failures: f64,
    /// Share of the baseline's requests that failed.
    pub(super) normal: f64,
    /// Failures above that share.
    pub(super) excess: f64,
    /// How far the excess is believed.
    pub(super) belief: f64,
    /// Whether two of three windows were failing by the detector's rule.
    pub(super) holds: bool,
}

/// One operation of a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) name: Option<Name>,
    pub(super) self_time: Option<Shift>,
    pub(super) latency: Option<Shift>,
    pub(super) calls_out: Option<Shift>,
}

/// One service in the incident.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Service {
    pub(super) requests: f64,
    pub(super) operations: Vec<Operation>,
    pub(super) failed: Option<Failed>,
    /// Those of the failures that had no failed call of their own.
    pub(super) failed_own: Option<Failed>,
    /// Whether most of its requests in the baseline succeeded, and there were some.
    pub(super) was_healthy: bool,
}

/// One edge in the incident.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Edge {
    pub(super) requests: f64,
    pub(super) attempts: f64,
    /// Client's latency less the server's.
    pub(super) gap: Option<Shift>,
    pub(super) client_latency: Option<Shift>,
    /// Whether rows in the baseline or the incident tell its latency.
    pub(super) has_latency: bool,
    pub(super) failed: Option<Failed>,
    /// Shed calls above their share in the baseline.
    pub(super) shed: f64,
    /// First opening of a breaker on it within the incident.
    pub(super) opened: Option<Timestamp>,
}

/// Everything that is known, by index: nodes and edges are sorted by name.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) attempts: f64,
    pub(super) min_requests: f64,
    pub(super) names: Vec<Name>,
    pub(super) services: Vec<Service>,
    pub(super) ends: Vec<(usize, usize)>,
    pub(super) edges: Vec<Edge>,
    pub(super) entries: Vec<usize>,
    /// Edges by client.
    pub(super) out: Vec<Vec<usize>>,
    /// Edges by server.
    pub(super) into: Vec<Vec<usize>>,
}

/// Rows of one key, before and in the incident.
struct Rows<'a, R> {
    before: Vec<&'a R>,
    during: Vec<&'a R>,
}

impl<R> Default for Rows<'_, R> {
    fn default() -> Self {
        Self { before: Vec::new(), during: Vec::new() }
    }
}

impl Facts {
    pub(super) fn collect(
        settings: &Settings,
        windows: &Recording,
        baseline: Option<&Recording>,
        question: &Question,
    ) -> Result<Self, LocaliseError> {
        check_time(windows, question)?;
        let normal = baseline.unwrap_or(windows);
        let names: Vec<Name> = windows.nodes().union(&normal.nodes()).cloned().collect();
        let pairs: BTreeSet<&(Name, Name)> = windows.edges.iter().chain(&normal.edges).collect();
        let index = |name: &Name| names.binary_search(name).unwrap_or_default();
        let ends: Vec<(usize, usize)> = pairs.iter().map(|(client, server)| (index(client), index(server))).collect();

        let during = |at: Timestamp, length| {
            let middle = at + length / 2;
            middle >= question.from && middle < question.to
        };
        // With a baseline of its own the rest of the recording is not asked: the fault may have begun before it was noticed.
        let before = |at: Timestamp, length| at + length <= question.from || (baseline.is_some() && at >= question.to);
        let mut services: BTreeMap<(&Name, Option<&Name>), Rows<'_, ServiceRow>> = BTreeMap::new();
        for row in normal.services.iter().filter(|row| before(row.at, row.length)) {
            services.entry((&row.service, row.operation.as_ref())).or_default().before.push(row);
        }
        for row in windows.services.iter().filter(|row| during(row.at, row.length)) {
            services.entry((&row.service, row.operation.as_ref())).or_default().during.push(row);
        }
        let mut calls: BTreeMap<(usize, usize), Rows<'_, EdgeRow>> = BTreeMap::new();
        for row in normal.calls.iter().filter(|row| before(row.at, row.length)) {
            calls.entry((index(&row.client), index(&row.server))).or_default().before.push(row);
        }
        for row in windows.calls.iter().filter(|row| during(row.at, row.length)) {
            calls.entry((index(&row.client), index(&row.server))).or_default().during.push(row);
        }
        let deepest =
            services.values().map(|rows| rows.before.len()).chain(calls.values().map(|rows| rows.before.len()));
        if deepest.max().unwrap_or(0) < ENOUGH {
            return Err(LocaliseError::NoBaseline);
        }

        let mut facts = Self::empty(settings, names, ends);
        facts.add_services(settings, &services);
        facts.add_edges(settings, &calls);
        facts.add_breakers(windows, question);
        facts.entries = facts.entry_points(question);
        Ok(facts)
    }

    fn empty(settings: &Settings, names: Vec<Name>, ends: Vec<(usize, usize)>) -> Self {
        let (mut out, mut into) = (vec![Vec::new(); names.len()], vec![Vec::new(); names.len()]);
        for (at, (client, server)) in ends.iter().enumerate() {
            if let Some(out) = out.get_mut(*client) {
                out.push(at);
            }
            if let Some(into) = into.get_mut(*server) {
                into.push(at);
            }
        }
        Self {
            attempts: settings.attempts,
            min_requests: settings.min_requests as f64,
            services: vec![Service::default(); names.len()],
            edges: vec![Edge::default(); ends.len()],
            names,
            ends,
            entries: Vec::new(),
            out,
            into,
        }
    }

    fn add_services(&mut self, settings: &Settings, rows: &BTreeMap<(&Name, Option<&Name>), Rows<'_, ServiceRow>>) {
        let mut whole: BTreeMap<usize, Rows<'_, ServiceRow>> = BTreeMap::new();
        for ((name, operation), rows) in rows {
            let Ok(at) = self.names.binary_search(name) else { continue };
            let all = whole.entry(at).or_default();
            all.before.extend(&rows.before);
            all.during.extend(&rows.during);
            let measure = |read: fn(&ServiceRow) -> Option<f64>, side| {
                shift(settings, &service_panes(&rows.before, read), &service_panes(&rows.during, read), side)
            };
            let operation = Operation {
                name: operation.cloned(),
                self_time: measure(|row| row.self_ms, Side::Above),
                latency: measure(|row| row.latency_ms, Side::Above),
                calls_out: measure(|row| row.calls_out, Side::Below).filter(|calls| calls.normal > 0.0),
            };
            if let Some(service) = self.services.get_mut(at) {
                service.operations.push(operation);
            }
        }
        for (at, rows) in whole {
            let Some(service) = self.services.get_mut(at) else { continue };
            service.requests = rows.during.iter().map(|row| row.requests).sum();
            let counts = |read: fn(&ServiceRow) -> Option<f64>| {
                let of = |rows: &[&ServiceRow]| {
                    let pane = |row: &&ServiceRow| {
                        let share = read(row)? / row.requests;
                        Some(Pane { at: row.at, length: row.length, requests: row.requests, value: share })
                    };
                    panes(rows.iter().map(pane))
                };
                failed(settings, &of(&rows.before), &of(&rows.during))
            };
            service.failed = counts(|row| row.failures);
            service.failed_own = counts(|row| row.failures_own);
            let asked: f64 = rows.before.iter().map(|row| row.requests).sum();
            let lost: f64 = rows.before.iter().filter_map(|row| row.failures).sum();
            service.was_healthy = asked > 0.0 && lost < 0.5 * asked;
        }
    }

    fn add_edges(&mut self, settings: &Settings, rows: &BTreeMap<(usize, usize), Rows<'_, EdgeRow>>) {
        for (ends, rows) in rows {
            let Some(edge) = self.ends.binary_search(ends).ok().and_then(|at| self.edges.get_mut(at)) else { continue };
            let measure = |read: fn(&EdgeRow) -> Option<f64>| {
                let (before, during) = (edge_panes(&rows.before, read), edge_panes(&rows.during, read));
                (shift(settings, &before, &during, Side::Above), !before.is_empty() || !during.is_empty())
            };
            let share = |read: fn(&EdgeRow) -> Option<f64>| {
                let of = |rows: &[&EdgeRow]| panes(rows.iter().map(|row| edge_pane(row, read(row)? / row.requests)));
                failed(settings, &of(&rows.before), &of(&rows.during))
            };
            edge.requests = rows.during.iter().map(|row| row.requests).sum();
            edge.attempts = edge.requests + rows.during.iter().filter_map(|row| row.retries).sum::<f64>();
            edge.gap = measure(|row| Some(row.client_latency_ms? - row.server_latency_ms?)).0;
            (edge.client_latency, edge.has_latency) = measure(|row| row.client_latency_ms);
            edge.failed = share(|row| row.failures);
            edge.shed = share(|row| row.shed).map_or(0.0, |shed| shed.excess);
        }
    }

    fn add_breakers(&mut self, windows: &Recording, question: &Question) {
        for row in &windows.breakers {
            let at = row.transition.at;
            if row.transition.to != BreakerState::Open || at < question.from || at >= question.to {
                continue;
            }
            let ends = (self.names.binary_search(&row.client), self.names.binary_search(&row.server));
            let (Ok(client), Ok(server)) = ends else { continue };
            if let Some(edge) = self.ends.binary_search(&(client, server)).ok().and_then(|at| self.edges.get_mut(at)) {
                edge.opened = Some(edge.opened.map_or(at, |first| first.min(at)));
            }
        }
    }

    /// The entry point that was named, if the recording has it; or those that nobody calls.
    fn entry_points(&self, question: &Question) -> Vec<usize> {
        let named = question.entry.as_ref().and_then(|entry| self.names.binary_search(entry).ok());
        if let Some(named) = named {
            return vec![named];
        }
        let asked = |at: &usize| self.services.get(*at).is_some_and(|service| service.requests > 0.0);
        let called = |at: &usize| self.into.get(*at).is_some_and(|into| !into.is_empty());
        let sources: Vec<usize> = (0..self.names.len()).filter(|at| asked(at) && !called(at)).collect();
        // Clients that report nothing themselves (users, a gateway) stand before the entry points.
        let behind = self.ends.iter().filter(|(client, server)| !asked(client) && !called(client) && asked(server));
        let entries: BTreeSet<usize> = sources.into_iter().chain(behind.map(|(_, server)| *server)).collect();
        if entries.is_empty() { (0..self.names.len()).filter(asked).collect() } else { entries.into_iter().collect() }
    }

    /// Edge indices from `client`, with their servers.
    pub(super) fn calls_of(&self, client: usize) -> impl Iterator<Item = (usize, usize, &Edge)> {
        self.out
            .get(client)
            .into_iter()
            .flatten()
            .filter_map(|at| Some((*at, self.ends.get(*at)?.1, self.edges.get(*at)?)))
    }

    /// Edge indices into `server`, with their clients.
    pub(super) fn callers_of(&self, server: usize) -> impl Iterator<Item = (usize, usize, &Edge)> {
        self.into
            .get(server)
            .into_iter()
            .flatten()
            .filter_map(|at| Some((*at, self.ends.get(*at)?.0, self.edges.get(*at)?)))
    }
}

fn check_time(windows: &Recording, question: &Question) -> Result<(), LocaliseError> {
    if question.to <= question.from {
        return Err(LocaliseError::NoTime);
    }
    let of_services = windows.services.iter().map(|row| (row.at, row.length));
    let times = || of_services.clone().chain(windows.calls.iter().map(|row| (row.at, row.length)));
    let inside = |(at, length): (Timestamp, std::time::Duration)| {
        let middle = at + length / 2;
        middle >= question.from && middle < question.to
    };
    if times().any(inside) {
        return Ok(());
    }
    let first = times().map(|(at, _)| at).min().unwrap_or_default();
    let last = times().map(|(at, _)| at).max().unwrap_or_default();
    Err(LocaliseError::NoWindows { from: question.from, to: question.to, first, last })
}

fn service_panes(rows: &[&ServiceRow], read: fn(&ServiceRow) -> Option<f64>) -> Vec<Pane> {
    let pane =
        |row: &&ServiceRow| Some(Pane { at: row.at, length: row.length, requests: row.requests, value: read(row)? });
    panes(rows.iter().map(pane))
}

fn edge_pane(row: &EdgeRow, value: f64) -> Option<Pane> {
    Some(Pane { at: row.at, length: row.length, requests: row.requests, value })
}

fn edge_panes(rows: &[&EdgeRow], read: fn(&EdgeRow) -> Option<f64>) -> Vec<Pane> {
    panes(rows.iter().map(|row| edge_pane(row, read(row)?)))
}

/// Failed requests, from panes of their share.
fn failed(settings: &Settings, before: &[Pane], during: &[Pane]) -> Option<Failed> {
    let sums = |panes: &[Pane]| {
        panes
            .iter()
            .fold((0.0, 0.0), |(asked, failed), pane| (asked + pane.requests, failed + pane.requests * pane.value))
    };
    let ((asked_before, failed_before), (requests, failures)) = (sums(before), sums(during));
    if requests <= 0.0 {
        return None;
    }
    let normal = if asked_before > 0.0 { failed_before / asked_before } else { 0.0 };
    let z = binomial_z(requests, failures, normal).max(0.0);
    let mut verdicts = Verdicts::default();
    let mut holds = false;
    for pane in during.iter().filter(|pane| pane.requests >= settings.min_requests as f64) {
        let lost = (pane.requests * pane.value).round() as u64;
        let bad = is_failing(settings, pane.requests.round() as u64, lost, normal);
        verdicts.push(bad);
        holds |= verdicts.hold() || (bad && stands_alone(settings, pane.length));
    }
    let excess = (failures - requests * normal).max(0.0);
    Some(Failed { requests, failures, normal, excess, belief: belief(z / settings.z), holds })
}
