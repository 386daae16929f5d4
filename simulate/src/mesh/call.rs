//! The client's sidecar: attempts with their time limits, retries with their budget, what it counts of a call.
//!
//! A user is a client without a sidecar: no breaker, no retry in between, nothing counted, but patience that ends.

use std::time::Duration;

use tripline_breaker::jitter::SplitMix;
use tripline_breaker::{Fault, LastError, Outcome, Sample};
use tripline_model::{EdgeCounts, FailureOrigin, Reporter};

use super::agenda::{Answer, Event};
use super::count::Ended;
use super::layout::Half;
use super::target::Picked;
use super::visit::Returned;
use super::{Id, SECOND, World, mix};

/// Back-off before the first retry, and the longest; the sidecar's own.
const BACK_OFF: (u64, u64) = (25_000_000, 250_000_000);
/// First wait before a lost packet is sent again; Linux' least.
const SENT_AGAIN: u64 = 200_000_000;
/// A user who asks again waits about so long.
const ASKS_AFTER: u64 = SECOND;

/// A call under way.
pub(super) struct Call {
    pub(super) edge: usize,
    /// Replica of the client.
    client: usize,
    parent: Option<Id>,
    pub(super) key: u64,
    /// Whether the spans of its trace are kept.
    pub(super) kept: bool,
    began: u64,
    deadline: u64,
    counts: EdgeCounts,
    /// Attempts so far, which is also the number of the current one.
    pub(super) attempt: u32,
    /// The attempt that is out.
    pub(super) out: Option<Out>,
    /// The endpoint of the last attempt.
    last: Option<usize>,
    induced: bool,
    /// How often the user asks again.
    asks_left: u32,
}

/// An attempt that is out.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) picked: Picked,
    sent: u64,
    /// Once it has reached the server.
    pub(super) visit: Option<Id>,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Good,
    Failed,
    Shed,
}

impl World<'_> {
    /// Begins a call, of a request or of a user who may ask again so often.
    pub(super) fn start_call(&mut self, edge: usize, client: usize, parent: Option<Id>, (key, asks_left): (u64, u32)) {
        let planned = &self.layout.edges[edge];
        let timeout = self.layout.effects.timeout(edge, self.now).unwrap_or(planned.timeout);
        // A client that passes no trace context on begins a trace with each call.
        let goes_on =
            parent.and_then(|parent| self.visits.get(parent)).filter(|at| self.layout.services[at.service].traced);
        let begins = || SplitMix::new(mix(key, 17)).unit() < self.layout.sampled;
        let call = Call {
            edge,
            client,
            parent,
            key,
            kept: goes_on.map_or_else(begins, |visit| visit.kept),
            began: self.now,
            deadline: self.now + timeout,
            counts: EdgeCounts::default(),
            attempt: 0,
            out: None,
            last: None,
            induced: false,
            asks_left,
        };
        if planned.retries > 0 {
            let now = self.stamp();
            self.targets[edge][client].budget.request(now);
        }
        let id = self.calls.insert(call);
        self.attempt(id);
    }

    /// Sends an attempt, if a breaker lets it.
    fn attempt(&mut self, id: Id) {
        let now = self.stamp();
        let Some(call) = self.calls.get_mut(id) else { return };
        let (edge, client) = (call.edge, call.client);
        let key = mix(call.key, u64::from(call.attempt) | 1 << 32);
        let pick = self.targets[edge][client].pick(key, call.last, now);
        let picked = pick.picked;
        if let Ok(picked) = picked {
            call.attempt += 1;
            call.counts.attempts += 1;
            call.counts.retries = call.counts.attempts - 1;
            call.out = Some(Out { picked, sent: self.now, visit: None });
            call.last = Some(picked.member);
            let (attempt, deadline) = (call.attempt, call.deadline);
            let limit = deadline.min(self.now + self.layout.edges[edge].per_try);
            let arrives = self.now + self.way(edge, key);
            if arrives < limit {
                self.agenda.plan(arrives, Event::Deliver { call: id, attempt });
            }
            self.agenda.plan(limit, Event::Limit { call: id, attempt });
        } else if call.attempt == 0 {
            call.induced = true;
            self.end_call(id, End::Shed);
        } else {
            self.end_call(id, End::Failed);
        }
        for (member, change) in pick.changes {
            self.publish(edge, (client, member), &change);
        }
    }

    /// Time on the network, one way, with what faults add.
    pub(super) fn way(&self, edge: usize, key: u64) -> u64 {
        let mut random = SplitMix::new(mix(key, 7));
        let usual = self.layout.edges[edge].network as f64 * (0.75 + 0.5 * random.unit());
        let mut lost = 0;
        let loss = self.layout.effects.edge_loss(edge, self.now);
        while lost < 8 && loss > 0.0 && random.unit() < loss {
            lost += 1;
        }
        usual as u64 + self.layout.effects.edge_delay(edge, self.now) / 2 + SENT_AGAIN * ((1 << lost) - 1)
    }

    /// An answer of an attempt arrives.
    pub(super) fn answered(&mut self, id: Id, attempt: u32, answer: Answer) {
        let fault = |origin, error| Outcome::Failure(Fault { origin, error });
        let outcome = match answer {
            Answer::Good => Outcome::Success,
            Answer::Failing => fault(FailureOrigin::Remote, LastError::Status(503)),
            Answer::Induced => fault(FailureOrigin::Induced, LastError::Status(503)),
            Answer::Refused => fault(FailureOrigin::Local, LastError::Word("connect_refused")),
            Answer::Reset => fault(FailureOrigin::Local, LastError::Word("reset")),
        };
        self.attempt_ends(id, attempt, outcome);
    }

    /// The time of an attempt is over.
    pub(super) fn out_of_time(&mut self, id: Id, attempt: u32) {
        let out = self.calls.get(id).filter(|call| call.attempt == attempt).and_then(|call| call.out);
        if let Some(visit) = out.and_then(|out| out.visit) {
            self.client_left(visit);
        }
        let fault = Fault { origin: FailureOrigin::Local, error: LastError::Word("timeout") };
        self.attempt_ends(id, attempt, Outcome::Failure(fault));
    }

    fn attempt_ends(&mut self, id: Id, attempt: u32, outcome: Outcome) {
        let now = self.stamp();
        let Some(call) = self.calls.get_mut(id).filter(|call| call.attempt == attempt) else { return };
        let Some(out) = call.out.take() else { return };
        let (edge, client) = (call.edge, call.client);
        if let Outcome::Failure(fault) = outcome {
            call.induced = fault.origin == FailureOrigin::Induced;
            match fault.origin {
                FailureOrigin::Local => call.counts.transport_failures += 1,
                FailureOrigin::Remote => call.counts.answered_failures += 1,
                FailureOrigin::Induced => {
                    call.counts.answered_failures += 1;
                    call.counts.induced += 1;
                }
            }
        }
        let sample = Sample { outcome, took: Duration::from_nanos(self.now - out.sent), trace: None };
        let change = self.targets[edge][client].ends(out.picked, sample, now);
        if let Some(change) = change {
            self.publish(edge, (client, out.picked.member), &change);
        }
        if outcome == Outcome::Success {
            self.end_call(id, End::Good);
        } else if !self.plan_retry(id) {
            self.end_call(id, End::Failed);
        }
    }

    /// Whether there will be another attempt.
    fn plan_retry(&mut self, id: Id) -> bool {
        let now = self.stamp();
        let Some(call) = self.calls.get(id) else { return false };
        let planned = &self.layout.edges[call.edge];
        let unbounded = self.layout.effects.unbounded_retries(call.edge, self.now);
        let (retries, budget) = unbounded.map_or((planned.retries, planned.budget), |retries| (retries, false));
        if !planned.guarded || call.attempt > retries {
            return false;
        }
        let back_off = (BACK_OFF.0 << (call.attempt - 1).min(8)).min(BACK_OFF.1);
        let part = SplitMix::new(mix(call.key, u64::from(call.attempt) | 1 << 33)).unit();
        let at = self.now + (back_off as f64 * part) as u64;
        if at >= call.deadline || (budget && !self.targets[call.edge][call.client].budget.take(now)) {
            return false;
        }
        self.agenda.plan(at, Event::Again { call: id });
        true
    }

    /// The back-off of a retry is over.
    pub(super) fn try_again(&mut self, id: Id) {
        self.attempt(id);
    }

    /// What the spans of one call tell, where no sidecar does: the call, and as many others as were not sampled.
    pub(super) fn count_spans(&mut self, edge: usize, failed: u64, took: u64) {
        let weight = (1.0 / self.layout.sampled).round() as u64;
        let failed = failed * weight;
        self.tallies.count(&Ended {
            edge,
            reporter: Reporter::Spans,
            at: self.now,
            counts: EdgeCounts { requests: weight, attempts: weight, failed, ..EdgeCounts::default() },
            latency: Some(took),
            self_time: None,
        });
    }

    fn end_call(&mut self, id: Id, end: End) {
        let Some(mut call) = self.calls.remove(id) else { return };
        let edge = &self.layout.edges[call.edge];
        call.counts.requests = 1;
        call.counts.failed = u64::from(end != End::Good);
        call.counts.shed = u64::from(end == End::Shed);
        // A sidecar that died has counted nothing.
        let alive = call.parent.is_none_or(|parent| self.visits.get(parent).is_some());
        if edge.guarded && alive {
            let ahead = edge.client.map_or(0, |client| self.layout.services[client].clock_ahead);
            self.tallies.count(&Ended {
                edge: call.edge,
                reporter: Reporter::Client,
                at: self.now.saturating_add_signed(ahead),
                counts: call.counts,
                latency: (end != End::Shed).then(|| self.now - call.began),
                self_time: None,
            });
        }
        if call.kept && alive && edge.told_by == Some(Half::Client) {
            self.count_spans(call.edge, call.counts.failed, self.now - call.began);
        }
        if let Some(parent) = call.parent {
            let returned = Returned { edge: call.edge, good: end == End::Good, induced: call.induced };
            self.call_returned(parent, returned);
        } else if end != End::Good && call.asks_left > 0 {
            let part = 0.5 + SplitMix::new(mix(call.key, 11)).unit();
            let ask = Event::Ask { edge: call.edge as u32, key: mix(call.key, 13), left: call.asks_left - 1 };
            self.agenda.plan(self.now + (ASKS_AFTER as f64 * part) as u64, ask);
        }
    }
}
