//! What the documents say about calling one node, as the rules of its breakers, balancing and budget.
//!
//! Three layers: the defaults of [`tripline_breaker::policy`], over them App Mesh's `outlierDetection` of the server's
//! listener, over that the node's TrafficPolicy field by field. `outlierDetection` maps so: `maxServerErrors` is the run of
//! failures and switches the shares off (App Mesh had none), `interval` is the window, `baseEjectionDuration` the first open
//! time without jitter, `maxEjectionPercent` the share of endpoints that may be ejected. Slow is four fifths of the time
//! that the server's own listener gives a request; where that has no limit, nothing is slow.

use std::time::Duration;

use tripline_breaker::{BudgetPolicy, Jitter, Policy, RatioRule, SlowRule};
use tripline_mesh::{Balance, BreakerRules, Limits, OutlierDetection, TrafficPolicy, WeightedTarget};
use tripline_model::Ratio;

/// Share of several endpoints that may be ejected at once, in percent.
const MAX_EJECTION_PERCENT: u8 = 50;
/// Time in which a new endpoint grows to its full share.
const SLOW_START: Duration = Duration::from_secs(10);
/// Attempts below which a share says nothing, where only the share is written.
const VOLUME: u64 = 20;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TargetRules {
    /// Of each endpoint's breaker.
    pub(crate) endpoint: Policy,
    /// Of each route's breaker, if they have any.
    pub(crate) route: Option<Policy>,
    /// Of the whole service's breaker, if it has one.
    pub(crate) service: Option<Policy>,
    /// Share of several endpoints that may be ejected at once.
    pub(crate) max_ejection_percent: u8,
    /// How an endpoint is chosen.
    pub(crate) balance: Balance,
    /// Time in which a new endpoint grows to its full share.
    pub(crate) slow_start: Duration,
    /// Calls at once.
    pub(crate) limits: Limits,
    /// Of retries.
    pub(crate) budget: BudgetPolicy,
}

impl TargetRules {
    /// Of a target as the configuration has it.
    pub(crate) fn of(target: &WeightedTarget) -> Self {
        let none = TrafficPolicy::default();
        let policy = target.policy.as_deref().unwrap_or(&none);
        let default = default_policy(target.per_request);
        let detection = target.outlier_detection.as_ref();
        let endpoint = detection.map_or(default, |detection| of_detection(detection, default));
        let mut max_ejection_percent = detection.map_or(MAX_EJECTION_PERCENT, |d| d.max_ejection_percent);
        if let Some(percent) = policy.endpoint_breaker.and_then(|rules| rules.max_ejection_percent) {
            max_ejection_percent = percent;
        }
        let mut budget = BudgetPolicy::default();
        if let Some(percent) = policy.retry_percent {
            budget.ratio = Ratio::new(f64::from(percent) / 100.0);
        }
        budget.per_second = policy.retries_per_second.unwrap_or(budget.per_second);
        Self {
            endpoint: policy.endpoint_breaker.map_or(endpoint, |rules| overlay(endpoint, &rules)),
            route: policy.route_breaker.map(|rules| overlay(default, &rules)),
            service: policy.service_breaker.map(|rules| overlay(default, &rules)),
            max_ejection_percent,
            balance: policy.balance.clone(),
            slow_start: policy.slow_start.unwrap_or(SLOW_START),
            limits: policy.limits,
            budget,
        }
    }
}

fn default_policy(per_request: Option<Duration>) -> Policy {
    let default = Policy::default();
    let slow = default.slow.zip(per_request).map(|(rule, limit)| SlowRule { longer_than: limit.mul_f64(0.8), ..rule });
    Policy { slow, ..default }
}

fn of_detection(detection: &OutlierDetection, default: Policy) -> Policy {
    Policy {
        consecutive_failures: detection.max_server_errors,
        failures: None,
        slow: None,
        window: detection.interval,
        open_first: detection.base_ejection,
        open_longest: default.open_longest.max(detection.base_ejection),
        jitter: Jitter::None,
        ..default
    }
}

fn overlay(base: Policy, rules: &BreakerRules) -> Policy {
    let share = |written: Option<u8>, base: Option<RatioRule>| match written {
        Some(0) => None,
        Some(percent) => {
            let volume = base.map_or(VOLUME, |rule| rule.volume);
            Some(RatioRule { threshold: Ratio::new(f64::from(percent) / 100.0), volume })
        }
        None => base,
    };
    let volume = |rule: RatioRule| RatioRule { volume: rules.minimum_requests.map_or(rule.volume, u64::from), ..rule };
    let default_slow = Policy::default().slow;
    let slow_share =
        share(rules.slow_percent, base.slow.or(default_slow.filter(|_| rules.slower_than.is_some())).map(|s| s.share));
    let longer_than =
        rules.slower_than.or(base.slow.map(|slow| slow.longer_than)).or(default_slow.map(|s| s.longer_than));
    Policy {
        consecutive_failures: rules.consecutive_failures.unwrap_or(base.consecutive_failures),
        failures: share(rules.failure_percent, base.failures).map(volume),
        slow: slow_share.zip(longer_than).map(|(share, longer_than)| SlowRule { longer_than, share: volume(share) }),
        window: rules.window.unwrap_or(base.window),
        open_first: rules.open_time.unwrap_or(base.open_first),
        open_longest: rules.longest_open_time.unwrap_or(base.open_longest),
        probes: rules.probes.unwrap_or(base.probes),
        probe_deadline: rules.probe_deadline.unwrap_or(base.probe_deadline),
        successes_to_close: rules.successes_to_close.unwrap_or(base.successes_to_close),
        jitter: base.jitter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlier_detection_keeps_app_mesh_s_meaning_and_a_policy_goes_over_it() {
        let detection = OutlierDetection {
            max_server_errors: 7,
            interval: Duration::from_secs(3),
            base_ejection: Duration::from_secs(90),
            max_ejection_percent: 20,
        };
        let policy = of_detection(&detection, default_policy(Some(Duration::from_secs(15))));
        assert_eq!((policy.consecutive_failures, policy.failures, policy.slow), (7, None, None));
        assert_eq!((policy.open_first, policy.open_longest), (Duration::from_secs(90), Duration::from_secs(90)));
        let rules = BreakerRules { failure_percent: Some(30), minimum_requests: Some(5), ..BreakerRules::default() };
        let over = overlay(policy, &rules);
        assert_eq!(over.failures, Some(RatioRule { threshold: Ratio::new(0.3), volume: 5 }));
        assert_eq!(over.consecutive_failures, 7);
    }

    #[test]
    fn slow_follows_the_time_that_a_request_has() {
        assert_eq!(default_policy(None).slow, None);
        let slow = default_policy(Some(Duration::from_secs(60))).slow.unwrap();
        assert_eq!((slow.longer_than, slow.share.volume), (Duration::from_secs(48), 20));
        let asked = BreakerRules { slower_than: Some(Duration::from_millis(200)), ..BreakerRules::default() };
        let slow = overlay(default_policy(None), &asked).slow.unwrap();
        assert_eq!((slow.longer_than, slow.share.threshold), (Duration::from_millis(200), Ratio::new(0.8)));
        let off = BreakerRules { slow_percent: Some(0), failure_percent: Some(0), ..BreakerRules::default() };
        let off = overlay(Policy::default(), &off);
        assert_eq!((off.slow, off.failures), (None, None));
    }
}
