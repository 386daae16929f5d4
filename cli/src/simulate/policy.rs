//! Other breaker settings for an edge, as `--set EDGE.NAME=VALUE` gives them, and those that an edge seems to have had.

use std::time::Duration;

use tripline_breaker::{Policy, RatioRule};
use tripline_model::{BreakerState, BreakerTransition, Ratio, ServiceName, TransitionReason};
use tripline_simulate::what_if::{WhatIfError, with_setting};

/// A change of one setting of the breakers of one edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who calls.
    pub client: ServiceName,
    /// Who is called.
    pub server: ServiceName,
    name: String,
    value: String,
}

impl Change {
    /// Reads `CLIENT>SERVER.NAME=VALUE`; the edge may end in its protocol, as `shop/web>shop/cart:http`.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn read(text: &str) -> Result<Self, String> {
        let form = || "expected EDGE.NAME=VALUE, as in 'shop/web>shop/cart.max_failures=10'".to_owned();
        let (left, value) = text.rsplit_once('=').ok_or_else(form)?;
        let (edge, name) = left.rsplit_once('.').ok_or_else(form)?;
        let (client, server) = edge.split_once('>').filter(|(a, b)| !a.is_empty() && !b.is_empty()).ok_or_else(form)?;
        let server = server.rsplit_once(':').map_or(server, |(server, _protocol)| server);
        with_setting(Policy::default(), name, value).map_err(|error| error.to_string())?;
        Ok(Self { client: client.into(), server: server.into(), name: name.into(), value: value.into() })
    }

    /// Whether it is about this edge.
    pub(crate) fn is_of(&self, (client, server): (&ServiceName, &ServiceName)) -> bool {
        self.client == *client && self.server == *server
    }

    /// The policy with the change made.
    ///
    /// # Errors
    /// Never for a change that was read: its value was found good.
    pub(crate) fn apply(&self, policy: Policy) -> Result<Policy, WhatIfError> {
        with_setting(policy, &self.name, &self.value)
    }
}

/// `max_failures=10`, as it was given.
impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// What can be told of the policy that an edge had from what its breakers did, with a sentence for each thing told.
///
/// A trip names the limit that was reached; the shortest time that a breaker was open is its first open time. What no transition
/// shows is the default.
pub(crate) fn seen(transitions: &[BreakerTransition]) -> (Policy, Vec<String>) {
    let mut policy = Policy::default();
    let mut told = Vec::new();
    let tripped = |reason| {
        let mut trips = transitions.iter().filter(move |t| t.to == BreakerState::Open && t.reason == reason);
        trips.next_back().map(|transition| transition.threshold)
    };
    if let Some(limit) = tripped(TransitionReason::ConsecutiveFailures).filter(|limit| (1.0..1e6).contains(limit)) {
        policy.consecutive_failures = limit as u32;
        told.push(format!("max_failures was {limit}: the limit that its trips name"));
    }
    match tripped(TransitionReason::FailureRatio) {
        Some(limit) if limit > 0.0 => {
            let rule = policy.failures.unwrap_or(RatioRule { threshold: Ratio::new(limit), volume: VOLUME });
            policy.failures = Some(RatioRule { threshold: Ratio::new(limit), ..rule });
            told.push(format!("failure_ratio was {limit}: the limit that its trips name"));
        }
        _ if !told.is_empty() => {
            policy.failures = None;
            told.push("failure_ratio was off: no trip names it, as with App Mesh's outlier detection".into());
        }
        _ => {}
    }
    let open = transitions.iter().filter(|t| t.from == BreakerState::Open).map(|t| t.time_in_from);
    if let Some(shortest) = open.min().filter(|time| *time >= Duration::from_millis(100)) {
        policy.open_first = shortest;
        policy.open_longest = policy.open_longest.max(shortest);
        told.push(format!(
            "open_first was about {:.1} s: the shortest time that a breaker stayed open",
            shortest.as_secs_f64()
        ));
    }
    if told.is_empty() {
        told.push("no breaker of the edge tripped in that time: the default policy stands for the one it had".into());
    }
    (policy, told)
}

/// Attempts below which a share says nothing, when nobody says otherwise.
const VOLUME: u64 = 20;

#[cfg(test)]
mod tests {
    use tripline_model::FailureOrigin;

    use super::*;

    #[test]
    fn a_change_names_its_edge_and_sets_one_thing() {
        let change = Change::read("shop/web>shop/cart.v2:http.max_failures=10").expect("good");
        assert_eq!((change.client.to_string(), change.server.to_string()), ("shop/web".into(), "shop/cart.v2".into()));
        let policy = change.apply(Policy::default()).expect("a good value");
        assert_eq!(policy, Policy { consecutive_failures: 10, ..Policy::default() });
        assert_eq!(change.to_string(), "max_failures=10");
    }

    #[test]
    fn wrong_changes_say_what_is_right() {
        for (text, told) in [
            ("max_failures=10", "EDGE.NAME=VALUE"),
            ("a.max_failures=10", "EDGE.NAME=VALUE"),
            ("a>b.failures=10", "there are max_failures,"),
            ("a>b.max_failures=few", "a whole number"),
            ("a>b.failure_ratio=2", "a share"),
        ] {
            let error = Change::read(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    fn transition(from: BreakerState, to: BreakerState, reason: TransitionReason) -> BreakerTransition {
        BreakerTransition {
            breaker: "b".into(),
            client: "shop/web".into(),
            client_instance: "one".into(),
            server: "shop/cart".into(),
            route: String::new(),
            endpoint: String::new(),
            at: Default::default(),
            from,
            to,
            reason,
            window_total: 9,
            window_failed: 7,
            window_slow: 0,
            threshold: if reason == TransitionReason::ConsecutiveFailures { 7.0 } else { 0.0 },
            last_error: String::new(),
            origin: FailureOrigin::Remote,
            time_in_from: Duration::from_secs(3),
            sequence: 1,
            traces: Vec::new(),
        }
    }

    #[test]
    fn what_breakers_did_tells_their_rules() {
        use BreakerState::{Closed, HalfOpen, Open};
        let did = [
            transition(Closed, Open, TransitionReason::ConsecutiveFailures),
            transition(Open, HalfOpen, TransitionReason::TimeElapsed),
        ];
        let (policy, told) = seen(&did);
        assert_eq!((policy.consecutive_failures, policy.failures), (7, None));
        assert_eq!((policy.open_first, told.len()), (Duration::from_secs(3), 3), "{told:?}");
        assert_eq!(seen(&[]).0, Policy::default());
    }
}
