//! Joins the two halves of a sidecar: which outbound calls belong to which inbound request.
//!
//! They are joined by trace id, because that is what applications pass on. For every inbound request under way the
//! correlator knows how long at least one of its calls was out, whether a call failed, and the breaker mark of a failed
//! call. From that the inbound half tells a failure that began here from one passed on, and own time from waiting.
//!
//! An application that does not pass on the trace context makes calls that belong to no request (*orphans*). While an
//! orphan happens, nobody can say whose it was, so requests that were under way at that moment count as requests whose
//! calls are not known: no self time, and after a failed orphan neither origin nor propagated. Counting such failures as
//! origins would accuse every service that merely forgets a header.
//!
//! Bounded: past [`MAX_REQUESTS`] new requests are not followed and count as not known.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tripline_model::{Timestamp, TraceId};

use crate::mark::Mark;

/// Requests followed at once.
const MAX_REQUESTS: usize = 65_536;
/// Independent maps, so that workers seldom meet at one lock.
const PARTS: usize = 16;

/// The requests under way, by trace.
#[derive(Debug)]
pub(crate) struct Correlator {
    /// Each part is locked for one look-up; both halves and all workers need it at once, and none can wait for a task.
    parts: [Mutex<FxHashMap<TraceId, Request>>; PARTS],
    orphans: AtomicU64,
    failed_orphans: AtomicU64,
}

#[derive(Debug)]
struct Request {
    /// Inbound requests of this trace under way; more than one when a service calls itself through others.
    holders: u32,
    /// Calls out right now.
    out: u32,
    out_since: Timestamp,
    waited: Duration,
    failed: bool,
    mark: Option<Mark>,
    /// When its caller stops waiting, the latest if there are several.
    deadline: Option<Timestamp>,
}

/// What an outbound call learns of the request that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Joined {
    /// When nobody waits for its answer any more.
    pub(crate) deadline: Option<Timestamp>,
}

/// An inbound request that is followed.
#[derive(Debug)]
pub(crate) struct Followed {
    trace: TraceId,
    began: Timestamp,
    known: bool,
    orphans: u64,
    failed_orphans: u64,
}

/// What an inbound request's calls came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Calls {
    /// Time outside any call; none when its calls are not known.
    pub(crate) self_time: Option<Duration>,
    /// Whether one of its calls failed; none when its calls are not known, or when one is out that may be why the request fails.
    pub(crate) failed: Option<bool>,
    /// Whether a call is out right now.
    pub(crate) waiting: bool,
    /// The breaker mark of a failed call.
    pub(crate) mark: Option<Mark>,
}

/// How an outbound call ended, as far as its request is concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CallEnd<'a> {
    /// Well.
    Fine,
    /// It failed, or the application gave it up; with the mark if a breaker caused it.
    Failed(Option<&'a Mark>),
}

impl Correlator {
    /// Follows nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            orphans: AtomicU64::new(0),
            failed_orphans: AtomicU64::new(0),
        }
    }

    /// An inbound request begins; its caller waits until `deadline`.
    pub(crate) fn begin(&self, trace: TraceId, now: Timestamp, deadline: Option<Timestamp>) -> Followed {
        let mut part = self.part(trace);
        let room = part.len() < MAX_REQUESTS / PARTS;
        let known = match part.get_mut(&trace) {
            Some(request) => {
                request.holders += 1;
                request.deadline = request.deadline.zip(deadline).map(|(one, other)| one.max(other));
                true
            }
            None if room => {
                part.insert(trace, Request::new(now, deadline));
                true
            }
            None => false,
        };
        drop(part);
        Followed {
            trace,
            began: now,
            known,
            orphans: self.orphans.load(Ordering::Relaxed),
            failed_orphans: self.failed_orphans.load(Ordering::Relaxed),
        }
    }

    /// What the calls of a request have come to so far.
    pub(crate) fn calls(&self, followed: &Followed, now: Timestamp) -> Calls {
        let part = self.part(followed.trace);
        let Some(request) = part.get(&followed.trace).filter(|_| followed.known) else {
            return Calls { self_time: None, failed: None, waiting: false, mark: None };
        };
        let total = now.since(followed.began);
        let all_known = self.orphans.load(Ordering::Relaxed) == followed.orphans && request.holders == 1;
        let blame_known = self.failed_orphans.load(Ordering::Relaxed) == followed.failed_orphans;
        let blame_known = blame_known && request.out == 0;
        Calls {
            self_time: all_known.then(|| total.saturating_sub(request.waited_until(now))),
            failed: (request.failed || blame_known).then_some(request.failed),
            waiting: request.out > 0,
            mark: request.mark.clone(),
        }
    }

    /// An inbound request has ended.
    pub(crate) fn end(&self, followed: &Followed) {
        if !followed.known {
            return;
        }
        let mut part = self.part(followed.trace);
        if let Some(request) = part.get_mut(&followed.trace) {
            request.holders -= 1;
            if request.holders == 0 {
                part.remove(&followed.trace);
            }
        }
    }

    /// An outbound call begins; what it learns when it belongs to a request under way.
    pub(crate) fn call_begins(&self, trace: TraceId, now: Timestamp) -> Option<Joined> {
        let mut part = self.part(trace);
        let Some(request) = part.get_mut(&trace) else {
            drop(part);
            self.orphans.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if request.out == 0 {
            request.out_since = now;
        }
        request.out += 1;
        Some(Joined { deadline: request.deadline })
    }

    /// An outbound call fails, as its answer's head says: the application may answer before the body has come.
    pub(crate) fn call_fails(&self, trace: TraceId, mark: Option<&Mark>) {
        if let Some(request) = self.part(trace).get_mut(&trace) {
            request.fails(mark);
        }
    }

    /// An outbound call that belonged to a request has ended.
    pub(crate) fn call_ends(&self, trace: TraceId, end: CallEnd<'_>, now: Timestamp) {
        let mut part = self.part(trace);
        let Some(request) = part.get_mut(&trace) else { return };
        request.waited = request.waited_until(now);
        request.out_since = now;
        request.out = request.out.saturating_sub(1);
        if let CallEnd::Failed(mark) = end {
            request.fails(mark);
        }
    }

    /// An outbound call that belonged to no request has failed.
    pub(crate) fn orphan_failed(&self) {
        self.failed_orphans.fetch_add(1, Ordering::Relaxed);
    }

    fn part(&self, trace: TraceId) -> MutexGuard<'_, FxHashMap<TraceId, Request>> {
        let number = usize::from(trace.as_bytes()[15]) % PARTS;
        self.parts[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    const fn new(now: Timestamp, deadline: Option<Timestamp>) -> Self {
        Self { holders: 1, out: 0, out_since: now, waited: Duration::ZERO, failed: false, mark: None, deadline }
    }

    fn fails(&mut self, mark: Option<&Mark>) {
        self.failed = true;
        if let Some(mark) = mark {
            self.mark = Some(mark.clone());
        }
    }

    fn waited_until(&self, now: Timestamp) -> Duration {
        if self.out == 0 { self.waited } else { self.waited + now.since(self.out_since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(number: u8) -> TraceId {
        TraceId::from_bytes([number; 16]).unwrap()
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn overlapping_calls_are_waited_for_once() {
        let correlator = Correlator::new();
        let request = correlator.begin(trace(1), at(0), None);
        assert!(correlator.call_begins(trace(1), at(10)).is_some());
        assert!(correlator.call_begins(trace(1), at(20)).is_some());
        correlator.call_ends(trace(1), CallEnd::Fine, at(30));
        correlator.call_ends(trace(1), CallEnd::Fine, at(50));
        let calls = correlator.calls(&request, at(100));
        let self_time = Some(Duration::from_millis(60));
        assert_eq!(calls, Calls { self_time, failed: Some(false), waiting: false, mark: None });
        correlator.end(&request);
        assert!(correlator.part(trace(1)).is_empty());
    }

    #[test]
    fn a_failed_call_and_its_mark_are_remembered() {
        let correlator = Correlator::new();
        let request = correlator.begin(trace(1), at(0), None);
        let mark = Mark::rejected("b", "failure_ratio", "remote");
        correlator.call_begins(trace(1), at(0));
        correlator.call_ends(trace(1), CallEnd::Failed(Some(&mark)), at(1));
        let calls = correlator.calls(&request, at(2));
        assert_eq!((calls.failed, calls.mark), (Some(true), Some(mark)));
    }

    #[test]
    fn what_a_call_that_is_still_out_came_to_is_known_once_it_fails() {
        let correlator = Correlator::new();
        let request = correlator.begin(trace(1), at(0), None);
        correlator.call_begins(trace(1), at(0));
        let calls = correlator.calls(&request, at(1));
        assert_eq!((calls.failed, calls.waiting), (None, true), "it may be why");
        correlator.call_fails(trace(1), None);
        let calls = correlator.calls(&request, at(2));
        assert_eq!((calls.failed, calls.waiting), (Some(true), true));
    }

    #[test]
    fn a_call_learns_when_nobody_waits_any_more() {
        let correlator = Correlator::new();
        let deadlines = |first, second| {
            let one = correlator.begin(trace(1), at(0), first);
            let other = correlator.begin(trace(1), at(0), second);
            let joined = correlator.call_begins(trace(1), at(1)).unwrap();
            correlator.end(&one);
            correlator.end(&other);
            joined.deadline
        };
        assert_eq!(deadlines(Some(at(5)), Some(at(9))), Some(at(9)), "somebody waits longer");
        assert_eq!(deadlines(Some(at(5)), None), None, "somebody waits for ever");
    }

    #[test]
    fn calls_without_a_trace_make_requests_unknown() {
        let correlator = Correlator::new();
        let request = correlator.begin(trace(1), at(0), None);
        assert_eq!(correlator.call_begins(trace(2), at(1)), None);
        let calls = correlator.calls(&request, at(2));
        assert_eq!((calls.self_time, calls.failed), (None, Some(false)), "an orphan that went well blames nobody");
        correlator.orphan_failed();
        assert_eq!(correlator.calls(&request, at(2)).failed, None);
        let later = correlator.begin(trace(3), at(3), None);
        assert_eq!(correlator.calls(&later, at(4)).failed, Some(false), "later requests are known again");
    }

    #[test]
    fn a_service_that_is_called_again_within_its_own_trace_keeps_both() {
        let correlator = Correlator::new();
        let outer = correlator.begin(trace(1), at(0), None);
        let inner = correlator.begin(trace(1), at(1), None);
        correlator.end(&inner);
        assert!(correlator.call_begins(trace(1), at(2)).is_some());
        correlator.end(&outer);
        assert_eq!(correlator.call_begins(trace(1), at(3)), None);
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let correlator = Correlator::new();
        for number in 1..=100_000_u128 {
            correlator.begin(TraceId::from_bytes(number.to_be_bytes()).unwrap(), at(0), None);
        }
        let held: usize = correlator.parts.iter().map(|part| part.lock().unwrap().len()).sum();
        assert!(held <= MAX_REQUESTS);
    }
}
