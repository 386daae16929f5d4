//! Which faults are on, when they end, and what is to be done about it: pure, given the time since the demo began.
//!
//! A service has one fault at a time; a new one ends the one before. A crash is an end and a later start of a process,
//! the other kinds are told to the service. A service that restarts for another reason forgets its fault, so
//! [`FaultBook::still_on`] says what to tell it again.

use std::collections::VecDeque;
use std::time::Duration;

use tripline_api::{DemoFault, DemoFaultKind, DemoFaultList};
use tripline_collector::clock;
use tripline_demo::fault::{Command, FaultKind, FaultPlan};
use tripline_demo::shop::{SERVICES, ServiceSpec};
use tripline_model::Timestamp;

/// Faults remembered; the oldest that are over go first.
const MAX_REMEMBERED: usize = 100;

/// What has to happen to a service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Effect {
    /// Tell it.
    Tell(&'static str, Command),
    /// End its process.
    Crash(&'static str),
    /// Start its process again.
    Revive(&'static str),
}

/// All faults, scripted, on and over.
#[derive(Debug, Default)]
pub(super) struct FaultBook {
    scripted: Vec<FaultPlan>,
    faults: VecDeque<Fault>,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    service: &'static str,
    kind: FaultKind,
    started: Duration,
    ends: Duration,
    on: bool,
}

impl FaultBook {
    /// Adds scripted faults, their starts counted from `start`.
    pub(super) fn script(&mut self, plans: &[FaultPlan], start: Duration) {
        self.scripted.extend(plans.iter().map(|plan| FaultPlan { after: start + plan.after, ..*plan }));
    }

    /// Starts a fault now.
    pub(super) fn start(
        &mut self,
        service: &'static str,
        kind: FaultKind,
        lasting: Duration,
        now: Duration,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let before = self.end_where(|fault| fault.service == service, now).first().copied();
        match (before, kind.impairment()) {
            (Some(FaultKind::Crash), None) => {}
            (Some(FaultKind::Crash), Some(_)) => effects.push(Effect::Revive(service)),
            (_, None) => effects.push(Effect::Crash(service)),
            _ => {}
        }
        if let Some(impairment) = kind.impairment() {
            effects.push(Effect::Tell(service, Command::Impair(impairment, lasting)));
        }
        self.faults.push_front(Fault { service, kind, started: now, ends: now + lasting, on: true });
        if self.faults.len() > MAX_REMEMBERED
            && let Some(oldest_over) = self.faults.iter().rposition(|fault| !fault.on)
        {
            self.faults.remove(oldest_over);
        }
        effects
    }

    /// Starts what is due and ends what is over.
    pub(super) fn poll(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        for fault in self.faults.iter_mut().filter(|fault| fault.on && fault.ends <= now) {
            fault.on = false;
            effects.push(match fault.kind {
                FaultKind::Crash => Effect::Revive(fault.service),
                _ => Effect::Tell(fault.service, Command::Recover),
            });
        }
        let (due, later) = std::mem::take(&mut self.scripted).into_iter().partition(|plan| plan.after <= now);
        self.scripted = later;
        let due: Vec<FaultPlan> = due;
        effects.extend(due.iter().flat_map(|plan| self.start(plan.service, plan.kind, plan.lasting, now)));
        effects
    }

    /// What a service that was started anew has to be told.
    pub(super) fn still_on(&self, service: &str, now: Duration) -> Option<Command> {
        let fault = self.faults.iter().find(|fault| fault.on && fault.service == service && fault.ends > now)?;
        fault.kind.impairment().map(|impairment| Command::Impair(impairment, fault.ends.saturating_sub(now)))
    }

    /// Faults that are on, as people read them, with the time left.
    pub(super) fn on(&self, now: Duration) -> Vec<String> {
        let on = self.faults.iter().filter(|fault| fault.on);
        on.map(|f| format!("{} {}, {} s left", f.service, f.kind, f.ends.saturating_sub(now).as_secs())).collect()
    }

    /// The newest fault as the API has it.
    pub(super) fn newest(&self, began: Timestamp) -> Option<DemoFault> {
        self.faults.front().map(|fault| fault.to_api(began))
    }

    /// All faults as the API has them; `began` is when the demo did.
    pub(super) fn list(&self, began: Timestamp) -> DemoFaultList {
        DemoFaultList {
            faults: self.faults.iter().map(|fault| fault.to_api(began)).collect(),
            services: SERVICES.iter().map(|service| service.identity().to_string()).collect(),
        }
    }

    /// Ends the faults that `which` picks, answers their kinds.
    fn end_where(&mut self, which: impl Fn(&Fault) -> bool, now: Duration) -> Vec<FaultKind> {
        let ended = self.faults.iter_mut().filter(|fault| fault.on && which(fault));
        ended
            .map(|fault| {
                (fault.on, fault.ends) = (false, now);
                fault.kind
            })
            .collect()
    }
}

impl Fault {
    fn to_api(self, began: Timestamp) -> DemoFault {
        let service = ServiceSpec::named(self.service).map_or_else(String::new, |spec| spec.identity().to_string());
        DemoFault {
            service,
            kind: match self.kind {
                FaultKind::Errors => DemoFaultKind::Errors,
                FaultKind::Latency => DemoFaultKind::Latency,
                FaultKind::Crash => DemoFaultKind::Crash,
                FaultKind::Hang => DemoFaultKind::Hang,
            },
            started_at: clock::rfc3339(began + self.started),
            ends_at: clock::rfc3339(began + self.ends),
            active: self.on,
        }
    }
}

/// A kind as the API has it.
pub(super) const fn kind_of(kind: DemoFaultKind) -> FaultKind {
    match kind {
        DemoFaultKind::Errors => FaultKind::Errors,
        DemoFaultKind::Latency => FaultKind::Latency,
        DemoFaultKind::Crash => FaultKind::Crash,
        DemoFaultKind::Hang => FaultKind::Hang,
    }
}

#[cfg(test)]
mod tests {
    use tripline_demo::fault::Impairment;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_script_runs_from_the_start_of_the_load() {
        let plan = "payments-db:errors:20s:40s".parse().expect("a plan");
        let mut book = FaultBook::default();
        book.script(&[plan], s(3));
        assert_eq!(book.poll(s(22)), []);
        assert_eq!(book.poll(s(23)), [Effect::Tell("payments-db", Command::Impair(Impairment::Errors, s(40)))]);
        assert_eq!(book.poll(s(62)), []);
        assert_eq!(book.on(s(60)), ["payments-db errors, 3 s left"]);
        assert_eq!(book.poll(s(63)), [Effect::Tell("payments-db", Command::Recover)]);
        assert_eq!(book.poll(s(64)), []);
    }

    #[test]
    fn a_crash_ends_and_revives_the_process_once() {
        let mut book = FaultBook::default();
        assert_eq!(book.start("cart", FaultKind::Crash, s(10), s(0)), [Effect::Crash("cart")]);
        assert_eq!(book.start("cart", FaultKind::Crash, s(20), s(5)), [], "it is down already");
        assert_eq!(book.poll(s(12)), [], "the first one was replaced");
        assert_eq!(book.poll(s(25)), [Effect::Revive("cart")]);
    }

    #[test]
    fn a_new_fault_replaces_the_one_before() {
        let mut book = FaultBook::default();
        book.start("cart", FaultKind::Crash, s(10), s(0));
        let hang = Effect::Tell("cart", Command::Impair(Impairment::Hang, s(30)));
        assert_eq!(book.start("cart", FaultKind::Hang, s(30), s(4)), [Effect::Revive("cart"), hang]);
        assert_eq!(book.still_on("cart", s(14)), Some(Command::Impair(Impairment::Hang, s(20))));
        let listed = book.list(Timestamp::from_secs(1_795_255_200));
        let shown: Vec<_> = listed.faults.iter().map(|f| (f.kind.as_str(), f.active, f.ends_at.as_str())).collect();
        assert_eq!(shown, [("hang", true, "2026-11-21T10:00:34Z"), ("crash", false, "2026-11-21T10:00:04Z")]);
        assert_eq!(listed.services.len(), 12);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut book = FaultBook::default();
        for n in 0..500 {
            book.start("web", FaultKind::Errors, s(1), s(n));
        }
        assert_eq!(book.list(Timestamp::default()).faults.len(), MAX_REMEMBERED);
    }
}
