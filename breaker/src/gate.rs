//! The breaker that judges by number: at most so many calls at once.
//!
//! Each call beyond the limit is rejected and all others pass, so a full gate is milder than an open breaker. It counts as
//! *open* from the first rejection until nothing was rejected for [`CALM`], so that a load that swings around the limit
//! makes one event and not one for each call. It never probes: whether there is room is known. Whoever entered must leave,
//! also when cancelled; the caller's guard sees to that.
//!
//! A limit is what Envoy calls a circuit breaker and App Mesh `connectionPool`; there is none unless somebody sets one.

use std::time::Duration;

use tripline_model::{BreakerState, FailureOrigin, Timestamp, TransitionReason};

use crate::breaker::{Change, LastError, Rejection};

/// After so long without a rejection a gate is no longer open.
pub const CALM: Duration = Duration::from_secs(1);

/// One gate.
#[derive(Debug, Clone)]
pub struct Gate {
    limit: u32,
    held: u32,
    state: BreakerState,
    since: Timestamp,
    last_rejection: Timestamp,
    /// Rejected since it is open.
    rejected: u64,
    trips: u64,
}

/// What came of asking to enter.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Whether the call may leave; if so, [`Gate::leave`] must follow.
    pub admitted: Result<(), Rejection>,
    /// A change of state to publish.
    pub change: Option<Change>,
}

impl Gate {
    /// A gate for at most `limit` calls at once.
    #[must_use]
    pub const fn new(limit: u32, now: Timestamp) -> Self {
        let state = BreakerState::Closed;
        Self { limit, held: 0, state, since: now, last_rejection: now, rejected: 0, trips: 0 }
    }

    /// Its limit.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Calls inside.
    #[must_use]
    pub const fn held(&self) -> u32 {
        self.held
    }

    /// Open while it rejects, closed otherwise; as of the last call of [`Self::enter`] or [`Self::tick`].
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// Since when it is in its state.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// How often it began to reject.
    #[must_use]
    pub const fn trips(&self) -> u64 {
        self.trips
    }

    /// Asks for a place.
    pub fn enter(&mut self, now: Timestamp) -> Entry {
        if self.held < self.limit {
            self.held += 1;
            return Entry { admitted: Ok(()), change: self.tick(now) };
        }
        self.last_rejection = now;
        let change = (self.state == BreakerState::Closed).then(|| {
            self.trips += 1;
            self.rejected = 0;
            self.change(BreakerState::Open, TransitionReason::Concurrency, now)
        });
        self.rejected = self.rejected.saturating_add(1);
        let (reason, origin) = (TransitionReason::Concurrency, FailureOrigin::Local);
        Entry { admitted: Err(Rejection { reason, origin, retry_after: Duration::ZERO }), change }
    }

    /// Gives a place back.
    pub const fn leave(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// Lets time pass: a gate that has rejected nothing for [`CALM`] is closed again.
    pub fn tick(&mut self, now: Timestamp) -> Option<Change> {
        let calm = self.state == BreakerState::Open && now.since(self.last_rejection) >= CALM;
        calm.then(|| self.change(BreakerState::Closed, TransitionReason::TimeElapsed, now))
    }

    fn change(&mut self, to: BreakerState, reason: TransitionReason, now: Timestamp) -> Change {
        let change = Change {
            at: now,
            from: self.state,
            to,
            reason,
            window_total: u64::from(self.held) + self.rejected,
            window_failed: self.rejected,
            window_slow: 0,
            threshold: f64::from(self.limit),
            last_error: LastError::Word("overflow"),
            origin: FailureOrigin::Local,
            time_in_from: now.since(self.since),
            traces: Vec::new(),
        };
        self.state = to;
        self.since = now;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn what_is_beyond_the_limit_is_rejected_with_one_event_until_it_is_calm() {
        let mut gate = Gate::new(2, at(0));
        assert!(gate.enter(at(0)).admitted.is_ok() && gate.enter(at(0)).admitted.is_ok());
        let first = gate.enter(at(10));
        assert_eq!(first.admitted.unwrap_err().reason, TransitionReason::Concurrency);
        let change = first.change.unwrap();
        assert_eq!((change.from, change.to, change.threshold), (BreakerState::Closed, BreakerState::Open, 2.0));
        assert_eq!(gate.enter(at(20)).change, None, "told already");
        gate.leave();
        assert_eq!(gate.enter(at(1_019)), Entry { admitted: Ok(()), change: None });
        gate.leave();
        let closed = gate.tick(at(1_020)).unwrap();
        assert_eq!((closed.to, closed.window_failed), (BreakerState::Closed, 2));
        assert_eq!((gate.trips(), gate.held()), (1, 1));
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_limit_and_rejects_only_when_full(
            steps in prop::collection::vec((any::<bool>(), 0u64..700), 1..300),
            limit in 0u32..6,
        ) {
            let mut gate = Gate::new(limit, at(0));
            let (mut now, mut held) = (0, 0);
            for (enter, step) in steps {
                now += step;
                let before = gate.state();
                if enter {
                    let entry = gate.enter(at(now));
                    prop_assert_eq!(entry.admitted.is_ok(), held < limit);
                    prop_assert_eq!(entry.change.is_some(), before != gate.state());
                    held += u32::from(entry.admitted.is_ok());
                } else if held > 0 {
                    gate.leave();
                    held -= 1;
                }
                prop_assert_eq!(gate.held(), held);
            }
            gate.tick(at(now + 1_000));
            prop_assert_eq!(gate.state(), BreakerState::Closed);
        }
    }
}
