//! The breaker itself: closed, open, half open.
//!
//! **Closed** counts every attempt that ended. It trips on a run of failures or on a share of failures or slow answers in
//! the window ([`Policy`]). An answer that is no failure ends the run; 4xx are such answers, because the server
//! works. Callers who left count as nothing. A *soft* failure (429) counts for the share and ends no run: the server asks
//! for less, it is not broken.
//!
//! **Open** rejects everything until its time is over. The time doubles with each trip in a row; a breaker that stayed
//! closed for a whole window starts again at the first time.
//!
//! **Half open** lets a few probes pass. Enough successes close it, one failure (a soft or slow one too) opens it again.
//! Each probe has a deadline, after which its place is free: a probe that was cancelled or hangs never wedges the
//! breaker. A result that belongs to an earlier state, told by the generation in its permit, is ignored: what was
//! sent before the trip says nothing about after.
//!
//! A trip may be *suppressed* by the caller when too many endpoints of the same service are ejected already; the
//! counts then start afresh, and only the first suppressed trip of a window is to be published.
//!
//! **Forced**: an operator may hold a breaker open or closed, for a drill. Held closed it counts and never trips; held
//! open it never probes. Let go, an open one probes first, and a closed one goes on with what it has counted.

use std::fmt;
use std::time::Duration;

use tripline_model::{BreakerState, FailureOrigin, Timestamp, TraceId, TransitionReason};

use crate::jitter::SplitMix;
use crate::policy::{Policy, RatioRule};
use crate::window::{Count, Window};

/// Traces kept as examples of a trip.
const EXAMPLES: usize = 3;

/// Whether a call may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Admit(Permit),
    /// It may, as a probe of a half-open breaker.
    Probe(Permit),
    /// It may not.
    Reject(Rejection),
}

/// What came of asking, and the change that asking brought about (open to half open).
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The answer.
    pub admission: Admission,
    /// A change of state to publish.
    pub change: Option<Change>,
}

/// Goes with an admitted call and back into [`Breaker::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    generation: u64,
    probe: Option<u64>,
}

/// Why a call was rejected: what tripped the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// The reason of the last trip.
    pub reason: TransitionReason,
    /// Where the failures came from.
    pub origin: FailureOrigin,
    /// How long it will go on rejecting; zero when only its probes are full.
    pub retry_after: Duration,
}

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// What came of it.
    pub outcome: Outcome,
    /// From sending to the end, or to the head of the answer if that is all that was waited for.
    pub took: Duration,
    /// An example to look at.
    pub trace: Option<TraceId>,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer that is no failure, 4xx included.
    Success,
    /// The server asks for less (429).
    Soft(Fault),
    /// A failing answer, or none.
    Failure(Fault),
    /// The caller left; says nothing about the server.
    Cancelled,
}

/// One failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Whose it is.
    pub origin: FailureOrigin,
    /// What was seen.
    pub error: LastError,
}

/// The last status or error seen; written like `503` or `timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastError {
    /// None so far.
    #[default]
    None,
    /// A status code.
    Status(u16),
    /// An error of this side, in one word.
    Word(&'static str),
}

impl fmt::Display for LastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Status(code) => write!(f, "{code}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// Whether the breaker may trip now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TripLeave {
    /// It may.
    Granted,
    /// Too many of its kind are open.
    Denied,
}

/// What an operator holds a breaker at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// Rejects everything.
    Open,
    /// Passes everything.
    Closed,
}

/// What recording a result did.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// Counted, or ignored as belonging to an earlier state.
    Counted,
    /// The state changed.
    Changed(Change),
    /// It would have tripped, but was denied; the first time in a window. From and to are both closed.
    Suppressed(Change),
    /// The same again within the window of the first.
    SuppressedAgain,
}

/// A change of state with its numbers; the caller adds the names.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// State before.
    pub from: BreakerState,
    /// State after.
    pub to: BreakerState,
    /// Why.
    pub reason: TransitionReason,
    /// Attempts in the window.
    pub window_total: u64,
    /// Failed ones among them.
    pub window_failed: u64,
    /// Slow ones among them.
    pub window_slow: u64,
    /// The limit that was reached: a number of failures or successes, or a share in 0..=1; 0 for elapsed time.
    pub threshold: f64,
    /// The last status or error seen.
    pub last_error: LastError,
    /// Where most of the failures came from.
    pub origin: FailureOrigin,
    /// How long it had been in `from`.
    pub time_in_from: Duration,
    /// Up to three traces of failed attempts, the latest last.
    pub traces: Vec<TraceId>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    total: u64,
    failed: u64,
    slow: u64,
    local: u64,
    induced: u64,
}

impl Count for Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            failed: self.failed + other.failed,
            slow: self.slow + other.slow,
            local: self.local + other.local,
            induced: self.induced + other.induced,
        }
    }
}

impl Counts {
    /// Where most failures came from; the server when in doubt.
    const fn origin(self) -> FailureOrigin {
        let remote = self.failed.saturating_sub(self.local).saturating_sub(self.induced);
        if remote >= self.local && remote >= self.induced {
            FailureOrigin::Remote
        } else if self.induced >= self.local {
            FailureOrigin::Induced
        } else {
            FailureOrigin::Local
        }
    }
}

/// A probe under way.
#[derive(Debug, Clone, Copy)]
struct Probe {
    id: u64,
    deadline: Timestamp,
}

/// One breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    policy: Policy,
    random: SplitMix,
    window: Window<Counts>,
    state: BreakerState,
    since: Timestamp,
    /// Counts changes of state; a permit of an older one is stale.
    generation: u64,
    /// Failures in a row.
    run: u32,
    /// Trips in a row, which lengthen the open time.
    streak: u32,
    trips: u64,
    open_until: Timestamp,
    probes: Vec<Probe>,
    next_probe: u64,
    probe_successes: u32,
    last_error: LastError,
    last_trip: (TransitionReason, FailureOrigin),
    suppressed_at: Option<Timestamp>,
    forced: Option<Forced>,
    examples: Vec<TraceId>,
}

impl Breaker {
    /// A closed breaker. Equal seeds draw equal open times.
    #[must_use]
    pub fn new(policy: Policy, seed: u64, now: Timestamp) -> Self {
        Self {
            policy,
            random: SplitMix::new(seed),
            window: Window::new(policy.window),
            state: BreakerState::Closed,
            since: now,
            generation: 0,
            run: 0,
            streak: 0,
            trips: 0,
            open_until: now,
            probes: Vec::new(),
            next_probe: 0,
            probe_successes: 0,
            last_error: LastError::None,
            last_trip: (TransitionReason::ConsecutiveFailures, FailureOrigin::Remote),
            suppressed_at: None,
            forced: None,
            examples: Vec::new(),
        }
    }

    /// Its state as of the last call of [`Self::admit`], [`Self::record`] or [`Self::tick`].
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// Since when it is in its state.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// How often it has left the closed state or failed its probes.
    #[must_use]
    pub const fn trips(&self) -> u64 {
        self.trips
    }

    /// What it is held at.
    #[must_use]
    pub const fn forced(&self) -> Option<Forced> {
        self.forced
    }

    /// Holds it open or closed, or lets it go.
    pub fn force(&mut self, forced: Option<Forced>, now: Timestamp) -> Option<Change> {
        let before = std::mem::replace(&mut self.forced, forced);
        let to = match (before, forced) {
            (_, Some(Forced::Open)) => BreakerState::Open,
            (_, Some(Forced::Closed)) => BreakerState::Closed,
            // What was held open says nothing about the server, so a few calls find out.
            (Some(Forced::Open), None) => BreakerState::HalfOpen,
            (_, None) => return None,
        };
        if to == self.state {
            return None;
        }
        let change = self.change(to, TransitionReason::Forced, 0.0, now);
        if to == BreakerState::Closed {
            self.forget();
        }
        Some(change)
    }

    /// Asks whether a call may leave now.
    pub fn admit(&mut self, now: Timestamp) -> Decision {
        let change = self.tick(now);
        let permit = Permit { generation: self.generation, probe: None };
        let admission = match self.state {
            BreakerState::Closed => Admission::Admit(permit),
            BreakerState::HalfOpen => self.start_probe(now).map_or_else(|| self.reject(now), Admission::Probe),
            BreakerState::Open => self.reject(now),
        };
        Decision { admission, change }
    }

    /// Lets time pass without a call: an open breaker whose time is over becomes half open.
    pub fn tick(&mut self, now: Timestamp) -> Option<Change> {
        if self.state != BreakerState::Open || now < self.open_until || self.forced.is_some() {
            return None;
        }
        Some(self.change(BreakerState::HalfOpen, TransitionReason::TimeElapsed, 0.0, now))
    }

    /// Records how an admitted call ended.
    pub fn record(&mut self, permit: Permit, sample: Sample, now: Timestamp, leave: TripLeave) -> Recorded {
        if permit.generation != self.generation {
            return Recorded::Counted;
        }
        match self.state {
            BreakerState::Closed => self.record_closed(sample, now, leave),
            BreakerState::HalfOpen => self.record_probe(permit, sample, now),
            BreakerState::Open => Recorded::Counted,
        }
    }

    fn record_closed(&mut self, sample: Sample, now: Timestamp, leave: TripLeave) -> Recorded {
        if sample.outcome == Outcome::Cancelled {
            return Recorded::Counted;
        }
        self.count(sample, now);
        if self.forced.is_some() {
            return Recorded::Counted;
        }
        let Some((reason, threshold)) = self.reason_to_trip(sample, now) else {
            return Recorded::Counted;
        };
        if leave == TripLeave::Denied {
            let change = self.describe(BreakerState::Closed, reason, threshold, now);
            self.run = 0;
            self.window.clear();
            if self.suppressed_at.is_some_and(|at| now.since(at) < self.policy.window) {
                return Recorded::SuppressedAgain;
            }
            self.suppressed_at = Some(now);
            return Recorded::Suppressed(change);
        }
        let calm = now.since(self.since) >= self.policy.window;
        self.streak = if calm || self.trips == 0 { 0 } else { self.streak.saturating_add(1) };
        Recorded::Changed(self.trip(reason, threshold, now))
    }

    fn record_probe(&mut self, permit: Permit, sample: Sample, now: Timestamp) -> Recorded {
        let Some(place) = self.probes.iter().position(|probe| Some(probe.id) == permit.probe) else {
            return Recorded::Counted;
        };
        self.probes.swap_remove(place);
        if sample.outcome == Outcome::Cancelled {
            return Recorded::Counted;
        }
        self.count(sample, now);
        if sample.outcome != Outcome::Success || self.is_slow(sample) {
            self.streak = self.streak.saturating_add(1);
            return Recorded::Changed(self.trip(TransitionReason::ProbeFailed, 1.0, now));
        }
        self.probe_successes += 1;
        let needed = self.policy.successes_to_close.max(1);
        if self.probe_successes < needed {
            return Recorded::Counted;
        }
        let change = self.change(BreakerState::Closed, TransitionReason::ProbeSucceeded, f64::from(needed), now);
        self.forget();
        Recorded::Changed(change)
    }

    /// Begins to count afresh.
    fn forget(&mut self) {
        self.run = 0;
        self.window.clear();
        self.examples.clear();
    }

    fn count(&mut self, sample: Sample, now: Timestamp) {
        let slow = self.is_slow(sample);
        let counts = self.window.at(now);
        counts.total += 1;
        counts.slow += u64::from(slow);
        let fault = match sample.outcome {
            Outcome::Success | Outcome::Cancelled => {
                self.run = 0;
                return;
            }
            Outcome::Soft(fault) => fault,
            Outcome::Failure(fault) => {
                self.run = self.run.saturating_add(1);
                fault
            }
        };
        counts.failed += 1;
        counts.local += u64::from(fault.origin == FailureOrigin::Local);
        counts.induced += u64::from(fault.origin == FailureOrigin::Induced);
        self.last_error = fault.error;
        if let Some(trace) = sample.trace {
            if self.examples.len() == EXAMPLES {
                self.examples.remove(0);
            }
            self.examples.push(trace);
        }
    }

    fn is_slow(&self, sample: Sample) -> bool {
        self.policy.slow.is_some_and(|rule| sample.took > rule.longer_than)
    }

    /// Looks at the sums only after a failure or a slow answer: nothing else can raise a share.
    fn reason_to_trip(&mut self, sample: Sample, now: Timestamp) -> Option<(TransitionReason, f64)> {
        let slow = self.is_slow(sample);
        if sample.outcome == Outcome::Success && !slow {
            return None;
        }
        let limit = self.policy.consecutive_failures;
        if limit > 0 && self.run >= limit {
            return Some((TransitionReason::ConsecutiveFailures, f64::from(limit)));
        }
        let sum = self.window.sum(now);
        let reached = |rule: RatioRule, part: u64| {
            let share = part as f64 / sum.total.max(1) as f64;
            (sum.total >= rule.volume && share >= rule.threshold.get()).then_some(rule.threshold.get())
        };
        if let Some(threshold) = self.policy.failures.and_then(|rule| reached(rule, sum.failed)) {
            return Some((TransitionReason::FailureRatio, threshold));
        }
        let threshold = self.policy.slow.and_then(|rule| reached(rule.share, sum.slow))?;
        Some((TransitionReason::SlowRatio, threshold))
    }

    fn trip(&mut self, reason: TransitionReason, threshold: f64, now: Timestamp) -> Change {
        let change = self.change(BreakerState::Open, reason, threshold, now);
        self.trips += 1;
        self.last_trip = (reason, change.origin);
        self.open_until = now + self.random.scatter(self.policy.open_time(self.streak), self.policy.jitter);
        change
    }

    fn change(&mut self, to: BreakerState, reason: TransitionReason, threshold: f64, now: Timestamp) -> Change {
        let change = self.describe(to, reason, threshold, now);
        self.state = to;
        self.since = now;
        self.generation += 1;
        self.probes.clear();
        self.probe_successes = 0;
        change
    }

    fn describe(&mut self, to: BreakerState, reason: TransitionReason, threshold: f64, now: Timestamp) -> Change {
        let sum = self.window.sum(now);
        Change {
            at: now,
            from: self.state,
            to,
            reason,
            window_total: sum.total,
            window_failed: sum.failed,
            window_slow: sum.slow,
            threshold,
            last_error: self.last_error,
            origin: if sum.failed == 0 { self.last_trip.1 } else { sum.origin() },
            time_in_from: now.since(self.since),
            traces: self.examples.clone(),
        }
    }

    fn start_probe(&mut self, now: Timestamp) -> Option<Permit> {
        self.probes.retain(|probe| now < probe.deadline);
        if self.probes.len() >= self.policy.probes.max(1) as usize {
            return None;
        }
        let id = self.next_probe;
        self.next_probe += 1;
        self.probes.push(Probe { id, deadline: now + self.policy.probe_deadline });
        Some(Permit { generation: self.generation, probe: Some(id) })
    }

    fn reject(&self, now: Timestamp) -> Admission {
        if self.forced == Some(Forced::Open) {
            let (reason, origin) = (TransitionReason::Forced, FailureOrigin::Local);
            return Admission::Reject(Rejection { reason, origin, retry_after: Duration::ZERO });
        }
        let (reason, origin) = self.last_trip;
        let retry_after = if self.state == BreakerState::Open { self.open_until.since(now) } else { Duration::ZERO };
        Admission::Reject(Rejection { reason, origin, retry_after })
    }
}

#[cfg(test)]
mod tests;
