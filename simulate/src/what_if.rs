//! What if a breaker had had other rules? Replays the recorded traffic of one edge through the sidecar's own breaker code, under its
//! rules as they were and as they might be.
//!
//! Windows tell how many requests there were, how many attempts failed and how long they took, not which and when. So requests are
//! spread evenly over their window, each attempt fails with the share that failed in it, and takes a time drawn from its histogram.
//! A failed attempt is repeated as often as failed ones were in that window. What would have become of requests that were really rejected nobody knows:
//! attempts then fail like those that did reach the server in that window, and where fewer than 20 did, in the windows before it.
//!
//! Both replays draw the same numbers for the same request, so what differs between them comes of the rules. The replay under the old rules beside what
//! was really recorded tells how far to trust the other ([`Answer::recorded`]). What is assumed stands in [`Answer::assumptions`], in words
//! that are meant to be shown with the numbers. Equal input gives equal answers.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use thiserror::Error;
use tripline_breaker::jitter::SplitMix;
use tripline_breaker::{Admission, Breaker, Change, Fault, LastError, Outcome, Permit, Policy, Sample, TripLeave};
use tripline_model::{
    BreakerState, BreakerTransition, EdgeCounts, EdgeWindow, FailureOrigin, Ratio, Reporter, Timestamp,
};

/// Requests that one replay goes through at most; an hour of 5,000 a second.
pub const MAX_REQUESTS: u64 = 20_000_000;
/// Attempts of one request at most.
const MAX_ATTEMPTS: u32 = 10;

/// What was recorded of one edge.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// Windows as the client's sidecars counted them, of any length, in any order; other reporters' are refused.
    pub windows: &'a [EdgeWindow],
    /// Transitions of the breakers on this edge; others are left out.
    pub transitions: &'a [BreakerTransition],
    /// Breakers that shared the traffic: sidecars of the client times endpoints. None: as many as the transitions name, at least one.
    pub breakers: Option<usize>,
}

/// What came of the traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Came {
    /// Requests that the application made.
    pub requests: u64,
    /// Those that ended badly: failed after all retries, or rejected.
    pub errors: u64,
    /// Those that a breaker rejected.
    pub shed: u64,
    /// Attempts that reached the server.
    pub attempts: u64,
    /// Times that a breaker opened, failed probes included.
    pub trips: u64,
    /// Seconds that breakers were not closed, over all of them together.
    pub not_closed: f64,
}

/// Two replays beside what really was.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the sidecars counted.
    pub recorded: Came,
    /// The model under the rules as they were: how far it is from `recorded` is how far it is wrong.
    pub before: Came,
    /// The model under the other rules.
    pub after: Came,
    /// What the model takes for granted, a sentence each.
    pub assumptions: Vec<String>,
}

/// Why nothing can be said.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WhatIfError {
    /// There is nothing to replay.
    #[error("no window of this edge was recorded in that time: choose a time with traffic")]
    NoTraffic,
    /// Windows that the client's sidecar did not count.
    #[error(
        "the windows of this edge were counted by the server or from spans, which know nothing of attempts: the client needs a sidecar"
    )]
    NotTheClients,
    /// Windows of several edges.
    #[error("the windows are of more than one edge: give those of one")]
    SeveralEdges,
    /// Numbers that cannot be true together.
    #[error("{0} of the windows have numbers that cannot be true together")]
    Implausible(usize),
    /// More than can be replayed.
    #[error("{0} requests are more than {MAX_REQUESTS}: choose a shorter time")]
    TooMany(u64),
    /// No such rule.
    #[error("a breaker has no rule \"{0}\": there are {list}", list = SETTINGS.join(", "))]
    UnknownSetting(String),
    /// Not a value of that rule.
    #[error("\"{value}\" is no value of {setting}: {expected}")]
    BadValue {
        /// The rule.
        setting: String,
        /// What was given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
}

/// The rules that [`with_setting`] knows.
pub const SETTINGS: [&str; 7] =
    ["max_failures", "failure_ratio", "volume", "window_s", "open_s", "open_longest_s", "successes_to_close"];

/// A policy with one rule changed, as written in `EDGE.max_failures=10`. `max_failures` is the number of failures in a row and `failure_ratio` a share in
/// 0..=1; 0 switches either off. `volume` is how many attempts the share needs; times are seconds.
///
/// # Errors
/// When there is no such rule, or the value is none of its.
pub fn with_setting(mut policy: Policy, setting: &str, value: &str) -> Result<Policy, WhatIfError> {
    let bad = |expected| WhatIfError::BadValue { setting: setting.to_owned(), value: value.to_owned(), expected };
    let whole = || value.parse::<u32>().map_err(|_| bad("a whole number"));
    let seconds = || {
        let seconds = value.parse::<f64>().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
        seconds.map(Duration::from_secs_f64).ok_or_else(|| bad("seconds, from 0.001 to 86400"))
    };
    match setting {
        "max_failures" => policy.consecutive_failures = whole()?,
        "failure_ratio" => {
            let share = value.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
            let threshold = Ratio::new(share.ok_or_else(|| bad("a share from 0 to 1"))?);
            let rule = policy.failures.or(Policy::default().failures);
            policy.failures = rule.filter(|_| threshold.get() > 0.0);
            if let Some(rule) = &mut policy.failures {
                rule.threshold = threshold;
            }
        }
        "volume" => {
            let volume = u64::from(whole()?);
            if let Some(rule) = &mut policy.failures {
                rule.volume = volume;
            }
        }
        "window_s" => policy.window = seconds()?,
        "open_s" => policy.open_first = seconds()?,
        "open_longest_s" => policy.open_longest = seconds()?,
        "successes_to_close" => policy.successes_to_close = whole()?.max(1),
        other => return Err(WhatIfError::UnknownSetting(other.to_owned())),
    }
    Ok(policy)
}

/// Replays `recorded` under two policies. Equal seeds draw equal numbers.
///
/// # Errors
/// When there is no traffic, or none that the client's sidecars counted, or numbers that cannot be.
pub fn what_if(recorded: &Recorded<'_>, before: Policy, after: Policy, seed: u64) -> Result<Answer, WhatIfError> {
    let windows = in_order(recorded)?;
    let key = windows.first().map(|window| &window.key);
    let ours = |t: &&BreakerTransition| key.is_some_and(|key| t.client == key.client && t.server == key.server);
    let transitions: Vec<&BreakerTransition> = recorded.transitions.iter().filter(ours).collect();
    let named: BTreeSet<_> = transitions.iter().map(|t| (&t.client_instance, &t.breaker)).collect();
    let breakers = recorded.breakers.unwrap_or(named.len()).clamp(1, 1_000);
    let replay = |policy| Replay::new(&windows, policy, (breakers, seed)).run(seed);
    Ok(Answer {
        recorded: really(&windows, &transitions),
        before: replay(before),
        after: replay(after),
        assumptions: assumptions(&windows, breakers, recorded.breakers.is_none()),
    })
}

fn in_order<'a>(recorded: &Recorded<'a>) -> Result<Vec<&'a EdgeWindow>, WhatIfError> {
    let all = recorded.windows;
    let mut windows: Vec<&EdgeWindow> = all.iter().filter(|window| window.reporter == Reporter::Client).collect();
    let requests = windows.iter().fold(0_u64, |sum, window| sum.saturating_add(window.counts.requests));
    let implausible = windows.iter().filter(|window| !window.counts.is_plausible() || window.length.is_zero()).count();
    match windows.first() {
        None if all.is_empty() => return Err(WhatIfError::NoTraffic),
        None => return Err(WhatIfError::NotTheClients),
        Some(first) if windows.iter().any(|window| window.key != first.key) => return Err(WhatIfError::SeveralEdges),
        Some(_) if implausible > 0 => return Err(WhatIfError::Implausible(implausible)),
        Some(_) if requests == 0 => return Err(WhatIfError::NoTraffic),
        Some(_) if requests > MAX_REQUESTS => return Err(WhatIfError::TooMany(requests)),
        Some(_) => {}
    }
    windows.sort_by_key(|window| window.start);
    Ok(windows)
}

/// What the sidecars counted.
fn really(windows: &[&EdgeWindow], transitions: &[&BreakerTransition]) -> Came {
    let mut counts = EdgeCounts::default();
    windows.iter().for_each(|window| counts.merge(&window.counts));
    let left = transitions.iter().filter(|t| t.from != BreakerState::Closed);
    Came {
        requests: counts.requests,
        errors: counts.failed,
        shed: counts.shed,
        attempts: counts.attempts,
        trips: transitions.iter().filter(|t| t.to == BreakerState::Open).count() as u64,
        not_closed: left.map(|t| t.time_in_from.as_secs_f64()).sum(),
    }
}

fn assumptions(windows: &[&EdgeWindow], breakers: usize, guessed: bool) -> Vec<String> {
    let few = |counts: &EdgeCounts| counts.attempts < Weather::ENOUGH && counts.shed > 0;
    let dark = windows.iter().filter(|window| few(&window.counts)).count();
    let shed: u64 = windows.iter().map(|window| window.counts.shed).sum();
    let mut texts = vec![
        "The server answers as it did: more or fewer requests make it neither worse nor better.".to_owned(),
        "Clients ask as they did: nobody asks more or less because of what failed.".to_owned(),
        "Within a window requests come evenly and fail by chance, each for itself; runs of failures are longer when \
         failures come in bursts."
            .to_owned(),
        format!(
            "{breakers} breaker(s) shared the traffic evenly{}.",
            if guessed { ", as many as were seen to change" } else { "" }
        ),
    ];
    if shed > 0 {
        texts.push(format!(
            "{shed} requests were really rejected; what the server would have said to them is taken from those that did reach it in the same \
             window{}.",
            if dark > 0 { format!(", and in {dark} windows that had fewer than 20, from those before as well") } else { String::new() }
        ));
    }
    texts
}

/// How attempts end in a window.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    /// Share of attempts that fail, and of those without an answer among them.
    failing: f64,
    unanswered: f64,
    /// Share of failed attempts that are repeated.
    repeated: f64,
}

impl Weather {
    /// Attempts whose outcomes say how the server fares: behind an open breaker few get through, and one probe proves little.
    const ENOUGH: u64 = 20;

    /// Of the window at a place, and of those before it until enough attempts were made; of the first window with any when there were none before.
    fn at(windows: &[&EdgeWindow], place: usize) -> Self {
        let (until_now, later) = windows.split_at((place + 1).min(windows.len()));
        let mut counts = EdgeCounts::default();
        for window in until_now.iter().rev().chain(later) {
            counts.merge(&window.counts);
            if counts.attempts >= Self::ENOUGH {
                break;
            }
        }
        let failed = counts.answered_failures + counts.transport_failures;
        Self {
            failing: failed as f64 / counts.attempts.max(1) as f64,
            unanswered: counts.transport_failures as f64 / failed.max(1) as f64,
            repeated: (counts.retries as f64 / failed.max(1) as f64).min(1.0),
        }
    }
}

/// One request on its way through its attempts.
#[derive(Debug, Clone, Copy)]
struct Call {
    seed: u64,
    breaker: usize,
    /// Attempts made so far.
    attempts: u32,
    /// Place of its window.
    window: usize,
    weather: Weather,
}

/// An attempt under way.
#[derive(Debug)]
struct UnderWay {
    ends: Timestamp,
    number: u64,
    call: Call,
    permit: Permit,
    sample: Sample,
    repeats: bool,
}

/// The earliest end is the greatest, as the heap wants it.
impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.ends, other.number).cmp(&(self.ends, self.number))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for UnderWay {}

/// One replay.
struct Replay<'a> {
    windows: &'a [&'a EdgeWindow],
    breakers: Vec<Breaker>,
    under_way: BinaryHeap<UnderWay>,
    number: u64,
    came: Came,
}

impl<'a> Replay<'a> {
    fn new(windows: &'a [&'a EdgeWindow], policy: Policy, (breakers, seed): (usize, u64)) -> Self {
        let start = windows.first().map_or_else(Timestamp::default, |window| window.start);
        let breakers = (0..breakers).map(|at| Breaker::new(policy, mixed(seed, at as u64), start)).collect();
        Self { windows, breakers, under_way: BinaryHeap::new(), number: 0, came: Came::default() }
    }

    fn run(mut self, seed: u64) -> Came {
        let mut end = Timestamp::default();
        for (window, recorded) in self.windows.iter().enumerate() {
            let weather = Weather::at(self.windows, window);
            let gap = recorded.length.as_nanos() as f64 / recorded.counts.requests.max(1) as f64;
            for at in 0..recorded.counts.requests {
                let now = recorded.start + Duration::from_nanos((gap * (at as f64 + 0.5)) as u64);
                self.settle(now);
                self.came.requests += 1;
                let seed = mixed(seed, self.came.requests << 8);
                let breaker = (seed % self.breakers.len() as u64) as usize;
                self.attempt(Call { seed, breaker, attempts: 0, window, weather }, now);
            }
            end = end.max(recorded.start + recorded.length);
        }
        self.settle(end);
        let open = self.breakers.iter().filter(|breaker| breaker.state() != BreakerState::Closed);
        self.came.not_closed += open.map(|breaker| end.since(breaker.since()).as_secs_f64()).sum::<f64>();
        self.came
    }

    /// One attempt of a request leaves, or is rejected.
    fn attempt(&mut self, mut call: Call, now: Timestamp) {
        let decision = self.breakers[call.breaker].admit(now);
        decision.change.iter().for_each(|change| self.came.note(change));
        let (Admission::Admit(permit) | Admission::Probe(permit)) = decision.admission else {
            self.came.errors += 1;
            self.came.shed += u64::from(call.attempts == 0);
            return;
        };
        call.attempts += 1;
        self.came.attempts += 1;
        self.number += 1;
        let mut random = SplitMix::new(mixed(call.seed, u64::from(call.attempts)));
        let (fails, kind, time, again) = (random.unit(), random.unit(), random.unit(), random.unit());
        let failed = fails < call.weather.failing;
        let outcome = if failed { Outcome::Failure(fault(kind, call.weather.unanswered)) } else { Outcome::Success };
        let window = self.windows.get(call.window);
        let took = window.and_then(|window| window.latency.quantile(time)).unwrap_or_default();
        self.under_way.push(UnderWay {
            ends: now + took,
            number: self.number,
            permit,
            sample: Sample { outcome, took, trace: None },
            repeats: failed && again < call.weather.repeated && call.attempts < MAX_ATTEMPTS,
            call,
        });
    }

    /// Everything that ends until `now`: breakers are told, and what is repeated leaves again.
    fn settle(&mut self, now: Timestamp) {
        while self.under_way.peek().is_some_and(|next| next.ends <= now) {
            let Some(ended) = self.under_way.pop() else { return };
            let breaker = &mut self.breakers[ended.call.breaker];
            let recorded = breaker.record(ended.permit, ended.sample, ended.ends, TripLeave::Granted);
            if let tripline_breaker::Recorded::Changed(change) = recorded {
                self.came.note(&change);
            }
            if ended.repeats {
                self.attempt(ended.call, ended.ends);
            } else if ended.sample.outcome != Outcome::Success {
                self.came.errors += 1;
            }
        }
    }
}

impl Came {
    fn note(&mut self, change: &Change) {
        self.trips += u64::from(change.to == BreakerState::Open);
        if change.from != BreakerState::Closed {
            self.not_closed += change.time_in_from.as_secs_f64();
        }
    }
}

fn fault(kind: f64, unanswered: f64) -> Fault {
    if kind < unanswered {
        Fault { origin: FailureOrigin::Local, error: LastError::Word("timeout") }
    } else {
        Fault { origin: FailureOrigin::Remote, error: LastError::Status(503) }
    }
}

/// A new number from another and a place.
const fn mixed(seed: u64, place: u64) -> u64 {
    SplitMix::new(seed ^ place.wrapping_mul(0xd1b5_4a32_d192_ed03)).next_u64()
}

#[cfg(test)]
mod tests;
