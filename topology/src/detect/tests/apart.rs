//! Faults that hurt the same callers, at once or one after another, are incidents of their own.

use super::*;

impl Shop {
    /// Seconds in which a page has two optional parts, 80 requests a second each; of a part's name and how many of its calls fail, all of them
    /// when its breaker sheds them.
    fn run_parts(&mut self, seconds: u64, parts: [(&str, u64, u64); 2]) {
        self.run_parts_while(seconds, 0, parts);
    }

    /// The same while a share of all checkouts fails in the database.
    fn run_parts_while(&mut self, seconds: u64, failing_percent: u64, parts: [(&str, u64, u64); 2]) {
        for _ in 0..seconds {
            for (part, failed, shed) in parts {
                let counts = EdgeCounts {
                    requests: 80,
                    failed: failed + shed,
                    shed,
                    attempts: 80 - shed,
                    answered_failures: failed,
                    origin_failures: failed,
                    ..EdgeCounts::default()
                };
                self.second += 1;
                self.flow(("shop/catalogue", part), counts, (5, 4));
                self.second -= 1;
            }
            self.run(1, failing_percent, &[]);
        }
    }

    fn origins(&self) -> Vec<String> {
        self.latest.values().filter_map(|incident| Some(incident.origin()?.service.to_string())).collect()
    }
}

/// As seen in the demo: five failures tripped a breaker, of which the normal share left four and a bit, and both were one incident.
#[test]
fn a_breaker_that_went_dark_after_five_failures_keeps_two_faults_apart() {
    let mut shop = Shop::new();
    shop.run_parts(1, [("shop/ads", 1, 0), ("shop/search", 1, 0)]);
    shop.run_parts(60, [("shop/ads", 0, 0), ("shop/search", 0, 0)]);
    shop.run_parts(1, [("shop/ads", 5, 0), ("shop/search", 0, 0)]);
    shop.breaker("shop/catalogue", "shop/ads", BreakerState::Open);
    shop.run_parts(3, [("shop/ads", 0, 80), ("shop/search", 0, 0)]);
    shop.run_parts(1, [("shop/ads", 0, 80), ("shop/search", 5, 0)]);
    shop.breaker("shop/catalogue", "shop/search", BreakerState::Open);
    shop.run_parts(10, [("shop/ads", 0, 80), ("shop/search", 0, 80)]);
    assert_eq!(shop.origins(), ["shop/ads", "shop/search"]);
}

/// As seen in the demo: counts of who calls both came before those of what it calls, so that for a second it seemed to fail by itself, and two became one.
#[test]
fn who_calls_both_does_not_make_two_faults_one() {
    let mut shop = Shop::new();
    let well = [("shop/ads", 0, 0), ("shop/search", 0, 0)];
    shop.run_parts(60, well);
    shop.run_parts(1, [("shop/ads", 5, 0), ("shop/search", 0, 0)]);
    shop.breaker("shop/catalogue", "shop/ads", BreakerState::Open);
    shop.run_parts(3, [("shop/ads", 0, 80), ("shop/search", 0, 0)]);
    shop.run_parts(1, [("shop/ads", 0, 80), ("shop/search", 5, 0)]);
    shop.breaker("shop/catalogue", "shop/search", BreakerState::Open);
    shop.breaker("shop/web", "shop/catalogue", BreakerState::Open);
    shop.run_parts(3, [("shop/ads", 0, 80), ("shop/search", 0, 80)]);
    assert_eq!(shop.origins(), ["shop/ads", "shop/search"]);
    let counts = EdgeCounts { requests: 60, attempts: 60, failed: 20, origin_failures: 20, ..EdgeCounts::default() };
    shop.flow(("shop/web", "shop/catalogue"), counts, (5, 4));
    shop.run_parts(10, [("shop/ads", 0, 80), ("shop/search", 0, 80)]);
    assert_eq!(shop.origins(), ["shop/ads", "shop/search"]);
    assert!(shop.latest.values().all(|incident| incident.phase != Phase::Resolved), "neither went into the other");
}

/// As seen in the demo: breakers opened for two new faults nearer to the users, on edges that a fault from before them had hurt as well.
#[test]
fn what_is_new_stays_apart_from_a_fault_that_recovers_on_the_same_way() {
    for (first, second) in [("shop/ads", "shop/search"), ("shop/search", "shop/ads")] {
        let mut shop = Shop::new();
        let well = [(first, 0, 0), (second, 0, 0)];
        shop.run_parts(40, well);
        shop.run_parts_while(20, 50, well);
        shop.run_parts(20, well);
        assert_eq!(shop.only().phase, Phase::Recovering);
        let before = shop.notices.len();
        for (client, server) in [("shop/catalogue", first), ("shop/catalogue", second), ("shop/gateway", "shop/web")] {
            shop.breaker(client, server, BreakerState::Open);
            shop.evaluate();
        }
        shop.run_parts(1, [(first, 5, 0), (second, 5, 0)]);
        shop.run_parts(10, [(first, 0, 80), (second, 0, 80)]);
        assert_eq!(shop.origins(), ["shop/db", first, second]);
        let told: Vec<Notice> = shop.notices[before..].iter().map(|(_, notice, _)| *notice).collect();
        // The first spreads to the gateway; neither goes into another.
        assert_eq!(told, [Notice::Opened, Notice::Opened, Notice::LevelRose]);
    }
}

#[test]
fn a_fault_below_the_origin_of_an_incident_that_is_over_is_a_new_one() {
    let mut shop = Shop::new();
    shop.run(60, 0, &[]);
    for _ in 0..20 {
        // Half of the checkouts fail there; the payments never hear of them.
        shop.second += 1;
        for (hop, pair) in CHAIN.windows(2).enumerate().take(3) {
            let requests = if hop <= 1 { 100 } else { 40 };
            let origin = if hop == 2 { 20 } else { 0 };
            let counts = EdgeCounts {
                requests,
                attempts: requests,
                failed: 20,
                answered_failures: 20,
                origin_failures: origin,
                propagated_failures: 20 - origin,
                ..EdgeCounts::default()
            };
            shop.flow((pair[0], pair[1]), counts, (5 * (CHAIN.len() - hop) as u64, 4));
        }
        shop.evaluate();
    }
    shop.run(160, 0, &[]);
    assert_eq!((shop.only().phase, shop.origins()), (Phase::Resolved, vec!["shop/checkout".to_owned()]));
    // Whoever calls the one that was at fault then is heard of first.
    for (client, server) in [("shop/web", "shop/checkout"), ("shop/payments", "shop/db")] {
        shop.breaker(client, server, BreakerState::Open);
        shop.evaluate();
    }
    shop.run(20, 50, &[]);
    assert_eq!(shop.origins(), ["shop/checkout", "shop/db"]);
    // Where the first one began shows something of its own as well: it stays the second's.
    for _ in 0..20 {
        shop.second += 1;
        for (hop, pair) in CHAIN.windows(2).enumerate() {
            let (requests, failed) = (if hop <= 1 { 100 } else { 40 }, if hop <= 2 { 20 } else { 10 });
            let origin = if hop == 2 || hop == 4 { 10 } else { 0 };
            let counts = EdgeCounts {
                requests,
                attempts: requests,
                failed,
                answered_failures: failed,
                origin_failures: origin,
                propagated_failures: failed - origin,
                ..EdgeCounts::default()
            };
            shop.flow((pair[0], pair[1]), counts, (5 * (CHAIN.len() - hop) as u64, 4));
        }
        shop.evaluate();
    }
    let phases: Vec<Phase> = shop.latest.values().map(|incident| incident.phase).collect();
    assert_eq!((phases[0], phases.len()), (Phase::Resolved, 2), "{phases:?}");
    assert_ne!(phases[1], Phase::Resolved);
}

/// As seen in the demo: while a breaker near the users was open hardly anybody asked; when it had closed, usual traffic was taken for demand.
#[test]
fn traffic_that_comes_back_after_a_breaker_has_closed_is_no_demand() {
    let mut shop = Shop::new();
    let well = [("shop/ads", 0, 0), ("shop/search", 0, 0)];
    shop.run_parts(60, well);
    shop.run_parts_while(12, 50, well);
    assert_eq!(shop.origins(), ["shop/db"]);
    shop.breaker("shop/gateway", "shop/web", BreakerState::Open);
    for second in 0..45 {
        if second % 15 == 14 {
            shop.run_parts(1, well);
            continue;
        }
        shop.second += 1;
        for (pair, shed) in [(("user", "shop/gateway"), 0), (("shop/gateway", "shop/web"), 100)] {
            let answered = 100 - shed;
            let counts = EdgeCounts {
                requests: 100,
                failed: 100,
                shed,
                attempts: answered,
                answered_failures: answered,
                propagated_failures: answered,
                ..EdgeCounts::default()
            };
            shop.flow(pair, counts, (5, 4));
        }
        shop.evaluate();
    }
    shop.breaker("shop/gateway", "shop/web", BreakerState::Closed);
    shop.run_parts(4, well);
    shop.run_parts(1, [("shop/ads", 5, 0), ("shop/search", 0, 0)]);
    shop.breaker("shop/catalogue", "shop/ads", BreakerState::Open);
    for _ in 0..50 {
        shop.run_parts(1, [("shop/ads", 0, 80), ("shop/search", 0, 0)]);
        assert_eq!(shop.origins().last().map(String::as_str), Some("shop/ads"), "{}", shop.second);
    }
}

/// As seen in the demo on a machine that had less time for everybody: each service a little slower, none by as much as counts, and together the gateway.
#[test]
fn what_only_the_sum_of_many_small_delays_makes_slow_is_nobodys() {
    let mut shop = Shop::new();
    let mut second = |(gateway, own): (u64, u64), failed: u64| {
        shop.second += 1;
        for (hop, pair) in CHAIN.windows(2).enumerate() {
            let failed = if hop == 0 { failed } else { 0 };
            let counts =
                EdgeCounts { requests: 100, attempts: 100, failed, origin_failures: failed, ..EdgeCounts::default() };
            let servers = (CHAIN.len() - 1 - hop) as u64;
            let at_first = if hop == 0 { gateway } else { own };
            shop.flow((pair[0], pair[1]), counts, (at_first + (servers - 1) * own, at_first));
        }
        let counts = EdgeCounts { requests: 100, attempts: 100, ..EdgeCounts::default() };
        shop.flow(("shop/web", "shop/catalogue"), counts, (20, 20));
        shop.evaluate();
        shop.latest
            .values()
            .map(|incident| (incident.origin().map(|origin| origin.service.to_string()), incident.phase))
            .collect::<Vec<_>>()
    };
    (0..60).for_each(|_| drop(second((20, 20), 0)));
    for _ in 0..30 {
        assert_eq!(second((27, 27), 0), []);
    }
    // Nor is what was the gateway's own fault, and is over, opened again for it.
    (0..60).for_each(|_| drop(second((20, 20), 0)));
    (0..30).for_each(|_| drop(second((20, 20), 40)));
    (0..180).for_each(|_| drop(second((20, 20), 0)));
    for _ in 0..30 {
        assert_eq!(second((29, 26), 0), [(Some("shop/gateway".to_owned()), Phase::Resolved)]);
    }
    // Once it is more than each may waver by, whoever it is may be blamed.
    assert!((0..30).any(|_| second((60, 60), 0).iter().any(|(_, phase)| *phase != Phase::Resolved)));
}

/// As seen in the demo: requests that failed at once came back at once, and for a second the users were suspected of asking for more.
#[test]
fn who_comes_back_sooner_because_of_failures_is_not_suspected_of_demand() {
    let mut shop = Shop::new();
    shop.run(60, 0, &[]);
    shop.second += 1;
    for (hop, pair) in CHAIN.windows(2).enumerate() {
        let requests = if hop <= 1 { 400 } else { 160 };
        let is_db = hop == CHAIN.len() - 2;
        let counts = EdgeCounts {
            requests,
            attempts: requests,
            failed: 160,
            answered_failures: 160,
            origin_failures: if is_db { 160 } else { 0 },
            propagated_failures: if is_db { 0 } else { 160 },
            ..EdgeCounts::default()
        };
        shop.flow((pair[0], pair[1]), counts, (5 * (CHAIN.len() - hop) as u64, 4));
    }
    shop.breaker("shop/payments", "shop/db", BreakerState::Open);
    shop.evaluate();
    assert_eq!(shop.origins(), ["shop/db"]);
}

/// As seen in the demo: the sidecar of the caller ended its second just after breakers had opened, and that of the payments just before. So what came in
/// was of the second before the incident and what went out of its first, as if the payments had asked the database without being asked.
#[test]
fn sidecars_whose_seconds_end_at_different_times_make_no_demand() {
    let mut shop = Shop::new();
    let (into, from) = (("shop/checkout", "shop/payments"), ("shop/payments", "shop/db"));
    shop.run(65, 0, &[]);
    let failed = EdgeCounts { requests: 30, attempts: 30, failed: 4, answered_failures: 4, ..EdgeCounts::default() };
    shop.report(Reporter::Client, into, failed, (10, 4));
    shop.second += 1;
    shop.report(Reporter::Server, into, EdgeCounts { propagated_failures: 4, ..failed }, (10, 4));
    shop.flow(from, EdgeCounts { origin_failures: 4, ..failed }, (5, 4));
    for (client, server) in [from, into] {
        shop.breaker(client, server, BreakerState::Open);
    }
    for _ in 0..30 {
        // One probe a second.
        shop.second += 1;
        let shed = EdgeCounts { requests: 40, failed: 40, shed: 39, attempts: 1, answered_failures: 1, ..failed };
        let probe = EdgeCounts { requests: 1, failed: 1, attempts: 1, answered_failures: 1, ..failed };
        shop.flow(into, EdgeCounts { propagated_failures: 1, ..shed }, (10, 4));
        shop.flow(from, EdgeCounts { origin_failures: 1, ..probe }, (5, 4));
        for pair in CHAIN.windows(2).take(3) {
            let counts = EdgeCounts { requests: 40, failed: 40, propagated_failures: 40, ..failed };
            shop.flow((pair[0], pair[1]), counts, (15, 4));
        }
        shop.evaluate();
        assert_eq!(shop.origins(), ["shop/db"], "{}", shop.second);
    }
}

/// As seen in the demo: an incident that was opened again counted from its beginning, and so suspected what had been another fault meanwhile.
#[test]
fn what_another_fault_did_between_is_no_part_of_an_incident_that_is_opened_again() {
    let mut shop = Shop::new();
    shop.run(60, 0, &[]);
    shop.run(20, 50, &[]);
    shop.run(150, 0, &[]);
    for _ in 0..30 {
        shop.second += 1;
        for (hop, pair) in CHAIN.windows(2).enumerate() {
            let failed = if hop == 0 { 90 } else { 0 };
            let requests = if hop <= 1 { 100 } else { 40 };
            let counts =
                EdgeCounts { requests, attempts: requests, failed, origin_failures: failed, ..EdgeCounts::default() };
            shop.flow((pair[0], pair[1]), counts, (5 * (CHAIN.len() - hop) as u64, 4));
        }
        shop.evaluate();
    }
    shop.run(150, 0, &[]);
    assert_eq!(shop.origins(), ["shop/db", "shop/gateway"]);
    for _ in 0..30 {
        shop.run(1, 50, &[]);
        assert_eq!(shop.origins(), ["shop/db", "shop/gateway"], "{}", shop.second);
    }
    assert_ne!(shop.latest.values().next().map(|incident| incident.phase), Some(Phase::Resolved));
}
