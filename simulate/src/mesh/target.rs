//! A service as one sidecar calls it: the choice of an endpoint, a breaker for each, the retry budget.
//!
//! The breakers and the budget are the sidecar's own code. The choice among endpoints follows the sidecar's rules: the
//! less loaded of two drawn at random, then every other; at most half of several may be ejected, never the last; the
//! only one is its service's breaker and does open.

use tripline_breaker::{
    Admission, Breaker, BudgetPolicy, Change, Forced, Permit, Policy, Recorded, Rejection, RetryBudget, Sample,
    TripLeave,
};
use tripline_model::{BreakerState, Timestamp};

use super::layout::Edge;
use super::{START, mix};

/// The target.
pub(super) struct Target {
    members: Vec<Member>,
    pub(super) budget: RetryBudget,
    guarded: bool,
    seed: u64,
}

struct Member {
    breaker: Breaker,
    on_their_way: u32,
}

/// An endpoint that may be called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picked {
    pub(super) member: usize,
    pub(super) permit: Option<Permit>,
}

/// What asking brought.
pub(super) struct Pick {
    pub(super) picked: Result<Picked, Rejection>,
    pub(super) changes: Vec<(usize, Change)>,
}

impl Target {
    pub(super) fn new(edge: &Edge, members: usize, seed: u64) -> Self {
        let mut target = Self {
            members: Vec::with_capacity(members),
            budget: RetryBudget::new(BudgetPolicy::default()),
            guarded: edge.breaker,
            seed,
        };
        for member in 0..members {
            let breaker = Breaker::new(edge.policy, mix(seed, member as u64), START);
            target.members.push(Member { breaker, on_their_way: 0 });
        }
        target
    }

    /// Starts all breakers afresh with other rules, as a sidecar does that is given another configuration. Those that were not closed are now.
    pub(super) fn set_policy(&mut self, policy: Policy, now: Timestamp) -> Vec<(usize, Change)> {
        let mut changes = Vec::new();
        for (at, member) in self.members.iter_mut().enumerate() {
            changes.extend(member.breaker.force(Some(Forced::Closed), now).map(|change| (at, change)));
            member.breaker = Breaker::new(policy, mix(self.seed, at as u64), now);
        }
        changes
    }

    /// Chooses an endpoint with the numbers that `key` gives, another one than `avoid` if there is any.
    pub(super) fn pick(&mut self, key: u64, avoid: Option<usize>, now: Timestamp) -> Pick {
        let count = self.members.len();
        let first = if count == 1 { 0 } else { self.draw(key, avoid) };
        let mut changes = Vec::new();
        if !self.guarded {
            self.members[first].on_their_way += 1;
            return Pick { picked: Ok(Picked { member: first, permit: None }), changes };
        }
        let mut rejected = None;
        for step in 0..count {
            let at = (first + step) % count;
            let member = &mut self.members[at];
            let decision = member.breaker.admit(now);
            changes.extend(decision.change.map(|change| (at, change)));
            match decision.admission {
                Admission::Admit(permit) | Admission::Probe(permit) => {
                    member.on_their_way += 1;
                    return Pick { picked: Ok(Picked { member: at, permit: Some(permit) }), changes };
                }
                Admission::Reject(rejection) => {
                    rejected.get_or_insert(rejection);
                }
            }
        }
        match rejected {
            Some(rejection) => Pick { picked: Err(rejection), changes },
            None => Pick { picked: Ok(Picked { member: first, permit: None }), changes },
        }
    }

    /// Records how a call ended.
    pub(super) fn ends(&mut self, picked: Picked, sample: Sample, now: Timestamp) -> Option<Change> {
        let leave = self.leave();
        let member = &mut self.members[picked.member];
        member.on_their_way = member.on_their_way.saturating_sub(1);
        match member.breaker.record(picked.permit?, sample, now, leave) {
            Recorded::Changed(change) => Some(change),
            Recorded::Counted | Recorded::Suppressed(_) | Recorded::SuppressedAgain => None,
        }
    }

    /// Lets open breakers whose time is over become half open.
    pub(super) fn tick(&mut self, now: Timestamp) -> Vec<(usize, Change)> {
        if !self.guarded {
            return Vec::new();
        }
        let members = self.members.iter_mut().enumerate();
        members.filter_map(|(at, member)| member.breaker.tick(now).map(|change| (at, change))).collect()
    }

    fn leave(&self) -> TripLeave {
        let count = self.members.len();
        let ejected = self.members.iter().filter(|member| member.breaker.state() != BreakerState::Closed).count();
        if count == 1 || ejected < (count / 2).max(1).min(count.saturating_sub(1)) {
            TripLeave::Granted
        } else {
            TripLeave::Denied
        }
    }

    fn draw(&self, number: u64, avoid: Option<usize>) -> usize {
        let count = self.members.len();
        let one = (number % count as u64) as usize;
        let other = (one + 1 + ((number >> 32) % (count as u64 - 1)) as usize) % count;
        let burden = |at: usize| (avoid == Some(at), self.members[at].on_their_way);
        if burden(other) < burden(one) { other } else { one }
    }
}
