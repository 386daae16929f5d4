//! Who may call the local application, and how often.
//!
//! The client is known by what its sidecar says (until mTLS tells it for certain); a caller that says nothing is `user`. A
//! denied request gets 403, one too many 429 with `Retry-After`; both are counted under the client's name, which the counts
//! bound. Without policies nothing is looked at.
//!
//! **Rate limits** are GCRA (ATM's generic cell rate algorithm, 1996): each client has one time, at which its next request would be
//! exactly on schedule; a request may be early by the burst. No tokens are refilled by a timer, and a client costs 8 bytes.
//! At most [`MAX_CLIENTS`] clients have a schedule of their own, the rest share one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tripline_mesh::{AuthorizationPolicy, NodePolicies, RateLimit, RequestHead};
use tripline_model::{ServiceName, Timestamp};

use crate::tally::MAX_CLIENTS;

/// The rules of one node.
#[derive(Debug, Clone)]
pub(crate) struct InboundRules(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    declared: NodePolicies,
    limits: Vec<Limiter>,
    counts: Mutex<FxHashMap<ServiceName, [u64; 2]>>,
    any: bool,
}

/// Why a request may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// No policy allows it, or one denies it.
    Denied,
    /// It comes too often; when the next may come.
    TooMany(Duration),
}

/// Refused requests of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TurnedCount {
    /// Who called.
    pub(crate) client: ServiceName,
    /// Not allowed.
    pub(crate) denied: u64,
    /// Too often.
    pub(crate) limited: u64,
}

impl InboundRules {
    /// Of a node's policies.
    pub(crate) fn new(policies: &NodePolicies) -> Self {
        Self(Arc::new(Rules {
            limits: policies.rate_limits.iter().cloned().map(Limiter::new).collect(),
            any: !policies.authorization.is_empty() || !policies.rate_limits.is_empty(),
            declared: policies.clone(),
            counts: Mutex::default(),
        }))
    }

    /// Whether they were made of these policies, so that their schedules and counts may go on.
    pub(crate) fn is_of(&self, policies: &NodePolicies) -> bool {
        self.0.declared.authorization == policies.authorization && self.0.declared.rate_limits == policies.rate_limits
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_any(&self) -> bool {
        self.0.any
    }

    /// Judges one request.
    pub(crate) fn judge(&self, client: &ServiceName, head: &impl RequestHead, now: Timestamp) -> Result<(), Turned> {
        let judged = match AuthorizationPolicy::decide(&self.0.declared.authorization, client, head) {
            Err(_) => Err(Turned::Denied),
            Ok(()) => self.0.limits.iter().try_for_each(|limit| limit.take(client, head, now).map_err(Turned::TooMany)),
        };
        if let Err(turned) = judged {
            self.count(client, turned);
        }
        judged
    }

    /// What was refused so far, by client.
    pub(crate) fn counts(&self) -> Vec<TurnedCount> {
        let counts = self.lock();
        let count = |(client, [denied, limited]): (&ServiceName, &[u64; 2])| TurnedCount {
            client: client.clone(),
            denied: *denied,
            limited: *limited,
        };
        let mut all: Vec<TurnedCount> = counts.iter().map(count).collect();
        all.sort_by(|a, b| a.client.cmp(&b.client));
        all
    }

    fn count(&self, client: &ServiceName, turned: Turned) {
        let mut counts = self.lock();
        let full = counts.len() >= MAX_CLIENTS && !counts.contains_key(client);
        let client = if full { ServiceName::overflow() } else { client.clone() };
        counts.entry(client).or_default()[usize::from(turned != Turned::Denied)] += 1;
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<ServiceName, [u64; 2]>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One rate limit at work.
#[derive(Debug)]
struct Limiter {
    rule: RateLimit,
    /// Time of one request, in nanoseconds.
    step: u64,
    /// How early a request may be, in nanoseconds.
    slack: u64,
    all: AtomicU64,
    /// By client; locked for one look-up.
    clients: Mutex<FxHashMap<ServiceName, u64>>,
}

impl Limiter {
    fn new(rule: RateLimit) -> Self {
        let period = u64::try_from(rule.period.as_nanos()).unwrap_or(u64::MAX);
        let step = (period / u64::from(rule.requests.max(1))).max(1);
        let slack = step.saturating_mul(u64::from(rule.burst.max(1) - 1));
        Self { rule, step, slack, all: AtomicU64::new(0), clients: Mutex::default() }
    }

    fn take(&self, client: &ServiceName, head: &impl RequestHead, now: Timestamp) -> Result<(), Duration> {
        if self.rule.matches.as_ref().is_some_and(|matches| !matches.matches(head)) {
            return Ok(());
        }
        if self.rule.per_client {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(due) = clients.get_mut(client) {
                return self.schedule(due, now.as_nanos());
            }
            if clients.len() < MAX_CLIENTS {
                return self.schedule(clients.entry(client.clone()).or_insert(0), now.as_nanos());
            }
        }
        let mut judged = Ok(());
        let moved = |due: u64| {
            let mut due = due;
            judged = self.schedule(&mut due, now.as_nanos());
            Some(due)
        };
        // The closure always answers, so the update always succeeds.
        let _ = self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
        judged
    }

    fn schedule(&self, due: &mut u64, now: u64) -> Result<(), Duration> {
        let start = (*due).max(now);
        let early = start - now;
        if early > self.slack {
            return Err(Duration::from_nanos(early - self.slack));
        }
        *due = start.saturating_add(self.step);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Any;

    impl RequestHead for Any {
        fn method(&self) -> &str {
            "GET"
        }
        fn path(&self) -> &str {
            "/"
        }
        fn query(&self) -> &str {
            ""
        }
        fn header(&self, _: &str) -> Option<std::borrow::Cow<'_, str>> {
            None
        }
        fn scheme(&self) -> &str {
            "http"
        }
        fn port(&self) -> Option<u16> {
            None
        }
    }

    fn rules(requests: u32, burst: u32, per_client: bool) -> InboundRules {
        let limit = RateLimit {
            id: ServiceName::new("shop", "l"),
            node: ServiceName::new("shop", "n"),
            matches: None,
            per_client,
            requests,
            period: Duration::from_secs(1),
            burst,
        };
        InboundRules::new(&NodePolicies { rate_limits: vec![limit], ..NodePolicies::default() })
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn each_client_has_its_burst_and_then_its_rate() {
        let rules = rules(10, 3, true);
        let (web, search) = (ServiceName::new("shop", "web"), ServiceName::new("shop", "search"));
        let passed = |client: &ServiceName, now| (0..10).filter(|_| rules.judge(client, &Any, now).is_ok()).count();
        assert_eq!((passed(&web, at(0)), passed(&search, at(0))), (3, 3));
        assert_eq!(rules.judge(&web, &Any, at(0)), Err(Turned::TooMany(Duration::from_millis(100))));
        assert_eq!(passed(&web, at(100)), 1);
        assert_eq!(passed(&web, at(10_000)), 3, "what was not used does not add up beyond the burst");
        assert!(rules.counts().iter().any(|count| count.client == web && count.limited > 0 && count.denied == 0));
    }

    #[test]
    fn strangers_share_one_schedule_past_the_bound() {
        let rules = rules(1, 1, true);
        let passed =
            (0..10_000).filter(|n| rules.judge(&ServiceName::new("x", &n.to_string()), &Any, at(0)).is_ok()).count();
        assert_eq!(passed, MAX_CLIENTS + 1);
        assert!(rules.counts().len() <= MAX_CLIENTS + 1);
    }

    proptest! {
        #[test]
        fn in_no_span_of_time_do_more_pass_than_rate_and_burst(
            steps in prop::collection::vec(0u64..400, 1..300),
            requests in 1u32..50,
            burst in 1u32..20,
        ) {
            let rules = rules(requests, burst, false);
            let client = ServiceName::new("shop", "web");
            let (mut now, mut passed) = (0, Vec::new());
            for step in steps {
                now += step;
                if rules.judge(&client, &Any, at(now)).is_ok() {
                    passed.push(now);
                }
                let last = passed.last().copied().unwrap_or_default();
                for (count, first) in passed.iter().rev().enumerate() {
                    let allowed = f64::from(burst) + f64::from(requests) * (last - first) as f64 / 1000.0;
                    prop_assert!((count + 1) as f64 <= allowed + 1e-3, "{} in {} ms", count + 1, last - first);
                }
            }
        }
    }
}
