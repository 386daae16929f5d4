//! The endpoints of a target, and which of them is tried first.
//!
//! **Tiers.** SRV records have priorities: endpoints of a less wanted one are called only when no endpoint of the more wanted ones lets
//! a call pass (RFC 2782). Other sources know one tier.
//!
//! **Weights.** SRV records have weights, too. Round robin and the ring give each endpoint its share. The balancings that draw two
//! endpoints draw them by weight, the same one twice if it happens so, and a heavier endpoint may have proportionally more requests on
//! their way before it counts as more loaded: among equals each gets its share, and what is slow or busy gets less. A weight of 0
//! counts as 1, the smallest that there is. Without weights the two drawn are never the same.

use std::net::SocketAddr;
use std::sync::Arc;

use tripline_breaker::{Breaker, RetryBudget};
use tripline_mesh::Balance;
use tripline_model::Timestamp;

use crate::balance::{Measure, Ring};
use crate::endpoint::Endpoint;
use crate::target_rules::TargetRules;

/// Where an endpoint is, and what its source says of it.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// Its name in events.
    pub(crate) label: String,
    /// Its addresses.
    pub(crate) addresses: Arc<[SocketAddr]>,
    /// Its share relative to the others of its tier.
    pub(crate) weight: u16,
    /// Called only when no endpoint of a smaller one lets a call pass.
    pub(crate) tier: u16,
}

impl Placed {
    /// One like any other.
    pub(crate) const fn new(label: String, addresses: Arc<[SocketAddr]>) -> Self {
        Self { label, addresses, weight: 1, tier: 0 }
    }
}

/// An endpoint and its breaker.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) breaker_id: Arc<str>,
    pub(super) breaker: Breaker,
    pub(super) measure: Measure,
    /// Until when it has asked for nothing more.
    pub(super) held_until: Timestamp,
    pub(super) weight: u16,
    pub(super) tier: u16,
}

/// What changes with every call.
#[derive(Debug)]
pub(super) struct State {
    /// By tier.
    pub(super) members: Vec<Member>,
    /// Of the first tier.
    pub(super) ring: Ring,
    pub(super) budget: RetryBudget,
    /// Draws endpoints and seeds breakers.
    pub(super) random: u64,
    pub(super) turn: usize,
    /// Until when some endpoint is held.
    pub(super) holds_until: Timestamp,
    near: Near,
}

/// The first tier.
#[derive(Debug, Clone, Copy, Default)]
struct Near {
    count: usize,
    /// All weights of it; 0 when they are the same, so that nothing is weighed.
    weights: u64,
    heaviest: u16,
}

impl State {
    pub(super) fn new(budget: RetryBudget) -> Self {
        Self {
            members: Vec::new(),
            ring: Ring::default(),
            budget,
            random: rand::random(),
            turn: 0,
            holds_until: Timestamp::from_nanos(0),
            near: Near::default(),
        }
    }

    /// The members have changed.
    pub(super) fn arrange(&mut self, with_ring: bool) {
        self.members.sort_by_key(|member| member.tier);
        let first = self.members.first().map(|member| member.tier);
        let near: Vec<&Member> = self.members.iter().take_while(|member| Some(member.tier) == first).collect();
        let heaviest = near.iter().map(|member| member.weight).max().unwrap_or(1);
        let is_even = near.iter().all(|member| member.weight == heaviest);
        let weights = if is_even { 0 } else { near.iter().map(|member| u64::from(member.weight)).sum() };
        if with_ring {
            let share = |member: &&Member| f64::from(member.weight) / f64::from(heaviest);
            self.ring = Ring::new(near.iter().map(|member| (member.endpoint.label(), share(member))));
        }
        self.near = Near { count: near.len(), weights, heaviest };
    }

    /// The places of the members in the order in which they are to be asked: one of the first tier, as the balancing says, then the rest
    /// of that tier, then the other tiers.
    pub(super) fn order(
        &mut self,
        rules: &TargetRules,
        avoid: Option<&Arc<Endpoint>>,
        now: Timestamp,
    ) -> impl Iterator<Item = usize> + use<> {
        let (near, all) = (self.near.count, self.members.len());
        let first = if near > 1 { self.draw(rules, avoid, now) } else { 0 };
        // The only one of its tier is asked last by who has just had no luck with it.
        let last = near == 1 && self.members.first().is_some_and(|only| is(avoid, &only.endpoint));
        let turns = if last { 1 } else { 0 };
        (0..all).map(move |step| {
            let step = (step + turns) % all;
            if step < near { (first + step) % near } else { step }
        })
    }

    /// The place of the member to try first; there are at least two in the first tier.
    fn draw(&mut self, rules: &TargetRules, avoid: Option<&Arc<Endpoint>>, now: Timestamp) -> usize {
        let (count, number) = (self.near.count, next_random(&mut self.random));
        let heaviest = f64::from(self.near.heaviest);
        let holding = now < self.holds_until;
        let unwanted = |member: &Member| (holding && now < member.held_until) || is(avoid, &member.endpoint);
        if rules.balance == Balance::RoundRobin {
            for _ in 0..count.max(64) {
                self.turn = (self.turn + 1) % count;
                let draw = unit(next_random(&mut self.random));
                let Some(member) = self.members.get_mut(self.turn) else { continue };
                let weight = if self.near.weights == 0 { 1.0 } else { f64::from(member.weight) / heaviest };
                let share = member.measure.share(rules.slow_start, now) * weight;
                if !unwanted(member) && (share >= 1.0 || draw < share) {
                    break;
                }
            }
            return self.turn;
        }
        let (one, other) = if self.near.weights == 0 {
            let one = (number % count as u64) as usize;
            (one, (one + 1 + ((number >> 32) % (count as u64 - 1)) as usize) % count)
        } else {
            let second = next_random(&mut self.random);
            (self.at_weight(number % self.near.weights), self.at_weight(second % self.near.weights))
        };
        let even = self.near.weights == 0;
        let mut burden = |place: usize| {
            self.members.get_mut(place).map_or((true, f64::MAX), |member| {
                let mut in_flight = member.endpoint.in_flight();
                if !even {
                    in_flight = (f64::from(in_flight) * heaviest / f64::from(member.weight)) as u32;
                }
                let cost = match rules.balance {
                    Balance::LeastRequests => f64::from(in_flight + 1),
                    _ => member.measure.cost(in_flight, now),
                };
                (unwanted(member), cost / member.measure.share(rules.slow_start, now))
            })
        };
        if burden(other) < burden(one) { other } else { one }
    }

    fn at_weight(&self, mut number: u64) -> usize {
        for (place, member) in self.members.iter().take(self.near.count).enumerate() {
            let weight = u64::from(member.weight);
            if number < weight {
                return place;
            }
            number -= weight;
        }
        0
    }
}

fn is(avoid: Option<&Arc<Endpoint>>, endpoint: &Arc<Endpoint>) -> bool {
    avoid.is_some_and(|avoid| Arc::ptr_eq(avoid, endpoint))
}

/// A number in 0..1.
fn unit(number: u64) -> f64 {
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

/// Xorshift; good enough to spread load and seeds.
pub(super) const fn next_random(state: &mut u64) -> u64 {
    let mut x = *state | 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    x
}
