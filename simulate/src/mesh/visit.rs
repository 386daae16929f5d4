//! The server: places and queue of a replica, its work, the calls it makes, and what its sidecar counts.
//!
//! A request holds its place until it is answered, also while it waits for its calls: that is how a slow dependency exhausts
//! those who call it. A client that left does not stop the work: the place stays taken for an answer that
//! nobody reads, which is what feeds retry storms.

use std::collections::VecDeque;

use tripline_breaker::jitter::SplitMix;
use tripline_model::{EdgeCounts, Reporter};

use super::agenda::{Answer, Event};
use super::count::Ended;
use super::layout::{Half, Layout, Service};
use super::{Id, World, mix};
use crate::plan::Makes;

/// An answer of 4xx takes so many times less of the server's own time.
const DECLINED_SOONER: u64 = 4;

/// One process of a service.
#[derive(Debug, Clone, Default)]
pub(super) struct Replica {
    busy: u32,
    waiting: VecDeque<Id>,
}

/// A request in a server.
pub(super) struct Visit {
    pub(super) service: usize,
    replica: usize,
    edge: usize,
    call: Id,
    attempt: u32,
    key: u64,
    began: u64,
    has_place: bool,
    /// It will be answered with 4xx: soon, and without any call.
    declined: bool,
    /// Whether the spans of its trace are kept.
    pub(super) kept: bool,
    stage: usize,
    /// Calls that are out, and since when at least one is.
    out: u32,
    out_since: u64,
    waited: u64,
    /// A required call failed.
    doomed: bool,
    call_failed: bool,
    induced: bool,
    /// The client has left.
    unread: bool,
}

/// A call of a visit that came back.
#[derive(Clone, Copy)]
pub(super) struct Returned {
    pub(super) edge: usize,
    pub(super) good: bool,
    pub(super) induced: bool,
}

impl World<'_> {
    /// A request reaches the server.
    pub(super) fn deliver(&mut self, id: Id, attempt: u32) {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.attempt == attempt) else { return };
        let (edge, key, kept) = (call.edge, mix(call.key, u64::from(attempt)), call.kept);
        let Some(out) = call.out.as_mut() else { return };
        let service = self.layout.edges[edge].server;
        let replica = out.picked.member;
        if self.layout.effects.is_down(service, self.now) {
            let at = self.now + self.way(edge, key);
            self.agenda.plan(at, Event::Answer { call: id, attempt, answer: Answer::Refused });
            return;
        }
        let visit = self.visits.insert(Visit {
            service,
            replica,
            edge,
            call: id,
            attempt,
            key,
            began: self.now,
            has_place: false,
            declined: false,
            kept,
            stage: 0,
            out: 0,
            out_since: 0,
            waited: 0,
            doomed: false,
            call_failed: false,
            induced: false,
            unread: false,
        });
        out.visit = Some(visit);
        let planned = &self.layout.services[service];
        let places = self.places(service);
        let place = &mut self.replicas[service][replica];
        if self.layout.effects.refuses(service, self.now) {
            self.answer(visit, false);
        } else if place.busy < places {
            self.start(visit);
        } else if place.waiting.len() < planned.queue {
            place.waiting.push_back(visit);
        } else {
            self.answer(visit, false);
        }
    }

    fn places(&self, service: usize) -> u32 {
        let share = self.layout.effects.places(service, self.now);
        ((f64::from(self.layout.services[service].concurrency) * share) as u32).max(1)
    }

    /// Gives a request a place and begins its work.
    fn start(&mut self, id: Id) {
        let Some(visit) = self.visits.get_mut(id) else { return };
        visit.has_place = true;
        let place = &mut self.replicas[visit.service][visit.replica];
        place.busy += 1;
        let service = &self.layout.services[visit.service];
        let own = work(service, &mut SplitMix::new(mix(visit.key, 1)));
        let declined = self.layout.effects.declined(visit.service, self.now);
        visit.declined = declined > 0.0 && SplitMix::new(mix(visit.key, 4)).unit() < declined;
        let own = if visit.declined { own / DECLINED_SOONER } else { own };
        let slower = self.layout.effects.slower(visit.service, place.busy, self.now);
        let took = self.layout.effects.stretched(visit.service, own + slower, self.now);
        self.agenda.plan(self.now + took, Event::Worked { visit: id });
    }

    /// Its own work is done: it fails, or makes its calls.
    pub(super) fn worked(&mut self, id: Id) {
        let Some(visit) = self.visits.get(id) else { return };
        let failing = self.layout.effects.failing(visit.service, visit.replica, self.now);
        let failing = failing.max(self.layout.services[visit.service].failing);
        if visit.declined {
            self.answer(id, true);
        } else if failing > 0.0 && SplitMix::new(mix(visit.key, 2)).unit() < failing {
            self.answer(id, false);
        } else {
            self.next_stage(id);
        }
    }

    /// Makes the calls of the next stage that has any, or answers.
    fn next_stage(&mut self, id: Id) {
        loop {
            let Some(visit) = self.visits.get_mut(id) else { return };
            let service = &self.layout.services[visit.service];
            let Some(stage) = service.stages.get(visit.stage) else { break };
            visit.stage += 1;
            let mut random = SplitMix::new(mix(visit.key, 3 + visit.stage as u64));
            let chosen: Vec<usize> = match service.makes {
                Makes::All => {
                    let share = |edge: &usize| self.layout.edges[*edge].share;
                    stage.iter().copied().filter(|edge| random.unit() < share(edge)).collect()
                }
                Makes::One => one_of(self.layout, stage, random.unit()),
            };
            let (replica, key) = (visit.replica, visit.key);
            let mut keys: Vec<(usize, u64)> = Vec::new();
            for edge in chosen {
                let times = self.layout.effects.calls(edge, self.now);
                let whole = times.floor() + f64::from(u8::from(random.unit() < times.fract()));
                keys.extend((0..whole as u64).map(|again| (edge, mix(mix(key, edge as u64 + 100), again))));
            }
            if keys.is_empty() {
                continue;
            }
            let Some(visit) = self.visits.get_mut(id) else { return };
            (visit.out, visit.out_since) = (keys.len() as u32, self.now);
            for (edge, key) in keys {
                self.start_call(edge, replica, Some(id), (key, 0));
            }
            return;
        }
        self.answer(id, true);
    }

    /// A call of a request came back.
    pub(super) fn call_returned(&mut self, id: Id, returned: Returned) {
        let Some(visit) = self.visits.get_mut(id) else { return };
        visit.out = visit.out.saturating_sub(1);
        if !returned.good {
            visit.call_failed = true;
            visit.induced |= returned.induced;
            visit.doomed |= self.layout.edges[returned.edge].required;
        }
        if visit.out > 0 {
            return;
        }
        visit.waited += self.now - visit.out_since;
        if visit.doomed { self.answer(id, false) } else { self.next_stage(id) }
    }

    /// The client does not wait any longer; its server's sidecar counts that, the work goes on.
    pub(super) fn client_left(&mut self, id: Id) {
        let Some(visit) = self.visits.get_mut(id) else { return };
        visit.unread = true;
        let (edge, took) = (visit.edge, self.now - visit.began);
        let counts = EdgeCounts { requests: 1, cancelled: 1, ..EdgeCounts::default() };
        self.count_server(edge, counts, (took, None));
    }

    fn answer(&mut self, id: Id, good: bool) {
        let Some(visit) = self.visits.remove(id) else { return };
        if visit.has_place {
            self.replicas[visit.service][visit.replica].busy -= 1;
            self.start_waiting(visit.service, visit.replica);
        }
        let took = self.now - visit.began;
        if visit.kept && self.layout.edges[visit.edge].told_by == Some(Half::Server) {
            self.count_spans(visit.edge, u64::from(!good), took);
        }
        if visit.unread {
            return;
        }
        let traced = self.layout.services[visit.service].traced;
        let counts = EdgeCounts {
            requests: 1,
            failed: u64::from(!good),
            origin_failures: u64::from(!good && traced && !visit.call_failed),
            propagated_failures: u64::from(!good && traced && visit.call_failed),
            ..EdgeCounts::default()
        };
        let own = traced.then(|| took - visit.waited);
        self.count_server(visit.edge, counts, (took, own));
        let sidecar = self.layout.services[visit.service].sidecar;
        let answer = match (good, visit.induced && traced && sidecar) {
            (true, _) => Answer::Good,
            (false, true) => Answer::Induced,
            (false, false) => Answer::Failing,
        };
        let at = self.now + self.way(visit.edge, mix(visit.key, 5));
        self.agenda.plan(at, Event::Answer { call: visit.call, attempt: visit.attempt, answer });
    }

    fn start_waiting(&mut self, service: usize, replica: usize) {
        while self.replicas[service][replica].busy < self.places(service) {
            let Some(next) = self.replicas[service][replica].waiting.pop_front() else { return };
            self.start(next);
        }
    }

    fn count_server(&mut self, edge: usize, counts: EdgeCounts, (took, own): (u64, Option<u64>)) {
        let server = &self.layout.services[self.layout.edges[edge].server];
        if server.sidecar {
            self.tallies.count(&Ended {
                edge,
                reporter: Reporter::Server,
                at: self.now.saturating_add_signed(server.clock_ahead),
                counts,
                latency: Some(took),
                self_time: own,
            });
        }
    }

    /// Every process of a service dies: what is in it gets no answer, and its sidecars count nothing of it.
    pub(super) fn go_down(&mut self, service: usize) {
        let inside: Vec<Id> =
            self.visits.iter().filter(|(_, visit)| visit.service == service).map(|(id, _)| id).collect();
        for id in inside {
            let Some(visit) = self.visits.remove(id) else { continue };
            let at = self.now + self.way(visit.edge, mix(visit.key, 5));
            self.agenda.plan(at, Event::Answer { call: visit.call, attempt: visit.attempt, answer: Answer::Reset });
        }
        self.replicas[service].iter_mut().for_each(|replica| *replica = Replica::default());
    }
}

/// One call of a stage, drawn by the shares.
fn one_of(layout: &Layout, stage: &[usize], part: f64) -> Vec<usize> {
    let shares = stage.iter().map(|edge| layout.edges[*edge].share);
    let mut left = part * shares.sum::<f64>();
    for edge in stage {
        left -= layout.edges[*edge].share;
        if left < 0.0 {
            return vec![*edge];
        }
    }
    Vec::new()
}

/// The time of its own that a request takes: log-normal (Box and Muller).
fn work(service: &Service, random: &mut SplitMix) -> u64 {
    let (u, v) = (1.0 - random.unit(), random.unit());
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    (service.median * (service.spread * normal).exp()) as u64
}
