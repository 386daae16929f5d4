//! The mesh as a discrete-event simulation in virtual time.
//!
//! Everything that happens is an event in one agenda, ordered by time and then by when it was planned; there is no
//! clock and no shared random generator. Each request carries a key, and whatever is drawn for it (its
//! work, its calls, its failures, its losses) comes from that key. So a run with a fault and a run without one draw
//! the same numbers for the same requests: what differs between the two was caused by the fault.
//!
//! [`layout`] turns a plan into numbers, [`effect`] says what faults do at a moment, [`call`] is the client's sidecar, [`visit`] the
//! server, [`target`] the breakers between, [`count`] what sidecars report.

mod agenda;
mod call;
mod count;
mod effect;
mod layout;
mod slab;
mod target;
mod visit;

use std::time::Duration;

use tripline_breaker::Change;
use tripline_breaker::jitter::SplitMix;
use tripline_model::{BreakerTransition, EdgeKey, EdgeWindow, Timestamp};

use crate::plan::Plan;
use agenda::{Agenda, Event};
use call::Call;
use count::Tallies;
use layout::Layout;
use slab::{Id, Slab};
use target::Target;
use visit::{Replica, Visit};

/// When every run starts: a whole number of days since the epoch.
pub const START: Timestamp = Timestamp::from_secs(20_000 * 86_400);

/// What the sidecars of a run reported, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// Every edge that the plan has, whether anything flowed or not.
    pub edges: Vec<EdgeKey>,
    /// Windows of a second, by start, edge, reporter.
    pub windows: Vec<EdgeWindow>,
    /// Breaker transitions, by time.
    pub transitions: Vec<BreakerTransition>,
    /// Events that the simulation went through.
    pub events: u64,
}

/// Runs a plan. Equal plans and seeds give equal reports.
#[must_use]
pub fn run(plan: &Plan, seed: u64) -> Reported {
    let layout = Layout::of(plan);
    let mut world = World::new(&layout, seed);
    world.go();
    world.finish()
}

/// All that changes while a plan runs.
struct World<'a> {
    layout: &'a Layout,
    now: u64,
    agenda: Agenda,
    /// By service.
    replicas: Vec<Vec<Replica>>,
    /// By edge and replica of its client.
    targets: Vec<Vec<Target>>,
    calls: Slab<Call>,
    visits: Slab<Visit>,
    tallies: Tallies,
    transitions: Vec<BreakerTransition>,
    /// Transitions of each sidecar, by service and replica.
    sequences: Vec<Vec<u64>>,
    arrivals: Vec<SplitMix>,
    events: u64,
}

impl<'a> World<'a> {
    fn new(layout: &'a Layout, seed: u64) -> Self {
        let replicas: Vec<Vec<Replica>> =
            layout.services.iter().map(|service| vec![Replica::default(); service.replicas]).collect();
        let targets = layout
            .edges
            .iter()
            .enumerate()
            .map(|(at, edge)| {
                let clients = edge.client.map_or(1, |client| layout.services[client].replicas);
                let members = layout.services[edge.server].replicas;
                (0..clients)
                    .map(|client| Target::new(edge, members, mix(mix(seed, at as u64), client as u64)))
                    .collect()
            })
            .collect();
        Self {
            layout,
            now: 0,
            agenda: Agenda::default(),
            sequences: replicas.iter().map(|replicas| vec![0; replicas.len()]).collect(),
            replicas,
            targets,
            calls: Slab::default(),
            visits: Slab::default(),
            tallies: Tallies::new(layout.edges.len()),
            transitions: Vec::new(),
            arrivals: (0..layout.streams.len()).map(|at| SplitMix::new(mix(seed, 1 << 40 | at as u64))).collect(),
            events: 0,
        }
    }

    fn go(&mut self) {
        for stream in 0..self.layout.streams.len() {
            self.plan_arrival(stream, self.layout.streams[stream].from);
        }
        for (at, fault) in self.layout.switches.iter().enumerate() {
            self.agenda.plan(fault.at, Event::Switch { switch: at as u32 });
        }
        self.agenda.plan(SECOND, Event::Second);
        while let Some((at, event)) = self.agenda.next(self.layout.end) {
            self.now = at;
            self.events += 1;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { stream } => self.arrive(stream as usize),
            Event::Ask { edge, key, left } => self.start_call(edge as usize, 0, None, (key, left)),
            Event::Deliver { call, attempt } => self.deliver(call, attempt),
            Event::Worked { visit } => self.worked(visit),
            Event::Answer { call, attempt, answer } => self.answered(call, attempt, answer),
            Event::Limit { call, attempt } => self.out_of_time(call, attempt),
            Event::Again { call } => self.try_again(call),
            Event::Switch { switch } => self.switch(switch as usize),
            Event::Second => self.second(),
        }
    }

    /// A user arrives, or would have if the rate were at its highest; the next one is planned.
    fn arrive(&mut self, at: usize) {
        let stream = &self.layout.streams[at];
        let random = &mut self.arrivals[at];
        let (chance, key) = (random.unit(), random.next_u64());
        if chance * stream.highest < stream.rate(self.now) {
            self.start_call(stream.edge, 0, None, (key, stream.asks_again));
        }
        self.plan_arrival(at, self.now);
    }

    fn plan_arrival(&mut self, at: usize, after: u64) {
        let stream = &self.layout.streams[at];
        let gap = -(1.0 - self.arrivals[at].unit()).ln() / stream.highest;
        let next = after.saturating_add((gap * 1e9) as u64);
        if next < stream.to {
            self.agenda.plan(next, Event::Arrive { stream: at as u32 });
        }
    }

    /// A fault that changes something at one moment begins or ends.
    fn switch(&mut self, at: usize) {
        let switch = &self.layout.switches[at];
        match switch.what {
            layout::Turn::Down { service } => self.go_down(service),
            layout::Turn::Policy { edge, policy } => {
                let now = self.stamp();
                for client in 0..self.targets[edge].len() {
                    for (member, change) in self.targets[edge][client].set_policy(policy, now) {
                        self.publish(edge, (client, member), &change);
                    }
                }
            }
        }
    }

    /// Open breakers whose time is over become half open, as sidecars look once a second.
    fn second(&mut self) {
        let now = self.stamp();
        for edge in 0..self.targets.len() {
            for client in 0..self.targets[edge].len() {
                for (member, change) in self.targets[edge][client].tick(now) {
                    self.publish(edge, (client, member), &change);
                }
            }
        }
        self.agenda.plan(self.now + SECOND, Event::Second);
    }

    fn publish(&mut self, edge: usize, (client, member): (usize, usize), change: &Change) {
        let told = &self.layout.edges[edge];
        let Some(service) = told.client else { return };
        let instance = &self.layout.services[service];
        let ahead = instance.clock_ahead;
        let sequence = &mut self.sequences[service][client];
        *sequence += 1;
        let endpoint = format!("{}-{member}", told.key.server.name());
        self.transitions.push(BreakerTransition {
            breaker: format!("{}>{}@{endpoint}", told.key.client, told.key.server),
            client: told.key.client.clone(),
            client_instance: format!("{}-{client}", told.key.client.name()),
            server: told.key.server.clone(),
            route: String::new(),
            endpoint,
            at: ahead_of(change.at, ahead),
            from: change.from,
            to: change.to,
            reason: change.reason,
            window_total: change.window_total,
            window_failed: change.window_failed,
            window_slow: change.window_slow,
            threshold: change.threshold,
            last_error: change.last_error.to_string(),
            origin: change.origin,
            time_in_from: change.time_in_from,
            sequence: *sequence,
            traces: Vec::new(),
        });
    }

    fn finish(mut self) -> Reported {
        let windows = self.tallies.finish(self.layout);
        // Sidecars' clocks differ, so the list is put in the order of their own times; equal ones stay as they happened.
        self.transitions.sort_by_key(|transition| transition.at);
        let mut edges: Vec<EdgeKey> = self.layout.edges.iter().map(|edge| edge.key.clone()).collect();
        edges.sort();
        edges.dedup();
        Reported { edges, windows, transitions: self.transitions, events: self.events }
    }

    fn stamp(&self) -> Timestamp {
        START + Duration::from_nanos(self.now)
    }
}

/// A second in the simulation's unit.
const SECOND: u64 = 1_000_000_000;

/// A new key from another and a number.
const fn mix(key: u64, number: u64) -> u64 {
    SplitMix::new(key ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03)).next_u64()
}

/// What a clock shows that is `nanos` ahead.
fn ahead_of(at: Timestamp, nanos: i64) -> Timestamp {
    let by = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { at - by } else { at + by }
}

#[cfg(test)]
mod tests;
