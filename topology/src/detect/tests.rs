//! Timelines in, incidents and notices out.

use std::time::Duration;

use tripline_model::{
    BreakerState, BreakerTransition, EdgeCounts, EdgeWindow, FailureOrigin, Histogram, NodeKind, Protocol, Reporter,
    ServiceName, TransitionReason,
};

use super::*;
use crate::{BreakerInfo, Limits};

mod apart;

const CHAIN: [&str; 6] = ["user", "shop/gateway", "shop/web", "shop/checkout", "shop/payments", "shop/db"];
const START: Timestamp = Timestamp::from_secs(1_000_000);

/// A shop whose checkout chain can be broken, fed second by second.
struct Shop {
    graph: ServiceGraph,
    detector: Detector,
    second: u64,
    notices: Vec<(u64, Notice, String)>,
    latest: BTreeMap<String, Incident>,
}

impl Shop {
    fn new() -> Self {
        Self {
            graph: ServiceGraph::new(Limits::default()),
            detector: Detector::new(Settings::default()),
            second: 0,
            notices: Vec::new(),
            latest: BTreeMap::new(),
        }
    }

    fn now(&self) -> Timestamp {
        START + Duration::from_secs(self.second)
    }

    /// One second on one edge, seen by both sidecars (the user has none).
    fn flow(&mut self, pair: (&str, &str), counts: EdgeCounts, times: (u64, u64)) {
        if pair.0 != "user" {
            self.report(Reporter::Client, pair, counts, times);
        }
        self.report(Reporter::Server, pair, counts, times);
    }

    /// The same seen by one of the two; milliseconds that requests took, and those of the server's own.
    fn report(
        &mut self,
        reporter: Reporter,
        (client, server): (&str, &str),
        mut counts: EdgeCounts,
        (millis, self_millis): (u64, u64),
    ) {
        let answered = counts.requests - counts.shed;
        let times = |millis| {
            let mut histogram = Histogram::default();
            (0..answered).for_each(|_| histogram.record(Duration::from_millis(millis)));
            histogram
        };
        if reporter == Reporter::Server {
            counts.requests -= counts.shed;
            counts.failed -= counts.shed;
            counts.shed = 0;
            (counts.attempts, counts.retries, counts.answered_failures) = (0, 0, 0);
        } else {
            (counts.origin_failures, counts.propagated_failures) = (0, 0);
        }
        let window = EdgeWindow {
            key: EdgeKey { client: client.into(), server: server.into(), protocol: Protocol::Http },
            reporter,
            client_kind: if client == "user" { NodeKind::User } else { NodeKind::Service },
            server_kind: NodeKind::Service,
            start: self.now() - Duration::from_secs(1),
            length: Duration::from_secs(1),
            counts,
            latency: times(millis),
            self_time: if reporter == Reporter::Server { times(self_millis) } else { Histogram::default() },
            secured: false,
        };
        self.graph.observe(&window, self.now());
    }

    fn breaker(&mut self, client: &str, server: &str, to: BreakerState) {
        let key = EdgeKey { client: client.into(), server: server.into(), protocol: Protocol::Http };
        let from = if to == BreakerState::Closed { BreakerState::HalfOpen } else { BreakerState::Closed };
        let transition = BreakerTransition {
            breaker: key.to_string(),
            client: key.client.clone(),
            client_instance: "1".into(),
            server: key.server.clone(),
            route: String::new(),
            endpoint: String::new(),
            at: self.now(),
            from,
            to,
            reason: TransitionReason::ConsecutiveFailures,
            window_total: 10,
            window_failed: 10,
            window_slow: 0,
            threshold: 5.0,
            last_error: "503".into(),
            origin: FailureOrigin::Remote,
            time_in_from: Duration::ZERO,
            sequence: self.second,
            traces: Vec::new(),
        };
        let info = BreakerInfo {
            breaker: key.to_string(),
            client_instance: "1".into(),
            route: String::new(),
            endpoint: String::new(),
            state: to,
            since: self.now(),
            trips: 1,
            last_reason: Some(transition.reason),
        };
        self.graph.observe_breaker(&key, info, self.now());
        self.detector.observe(&transition, key);
    }

    fn evaluate(&mut self) {
        self.graph.tidy(self.now());
        let evaluation = self.detector.evaluate(&self.graph, self.now());
        for incident in evaluation.changed {
            self.latest.insert(incident.id.clone(), incident);
        }
        let second = self.second;
        self.notices.extend(evaluation.notices.into_iter().map(|(notice, id)| (second, notice, id)));
    }

    /// `seconds` of checkouts of which a share in percent fails in the database, and browsing that is well. Breakers
    /// that are open shed all their calls.
    fn run(&mut self, seconds: u64, failing_percent: u64, open: &[usize]) {
        for _ in 0..seconds {
            self.second += 1;
            let mut alive = 40;
            for (hop, pair) in CHAIN.windows(2).enumerate() {
                let browsing = if hop <= 1 { 60 } else { 0 };
                let is_open = open.contains(&hop);
                let failed = if open.iter().any(|at| *at >= hop) { alive } else { alive * failing_percent / 100 };
                let is_db = hop == CHAIN.len() - 2;
                let counts = EdgeCounts {
                    requests: alive + browsing,
                    failed,
                    shed: if is_open { alive } else { 0 },
                    attempts: if is_open { 0 } else { alive + browsing },
                    answered_failures: if is_open { 0 } else { failed },
                    origin_failures: if is_db && !is_open { failed } else { 0 },
                    propagated_failures: if is_db || is_open { 0 } else { failed },
                    ..EdgeCounts::default()
                };
                self.flow((pair[0], pair[1]), counts, (5 * (CHAIN.len() - hop) as u64, 4));
                if is_open {
                    alive = 0;
                }
            }
            let browsing = EdgeCounts { requests: 60, attempts: 60, ..EdgeCounts::default() };
            self.flow(("shop/web", "shop/catalogue"), browsing, (5, 4));
            self.heartbeat();
            self.evaluate();
        }
    }

    /// Sidecars tell the state of their breakers each second.
    fn heartbeat(&mut self) {
        let known: Vec<(EdgeKey, BreakerInfo)> = self
            .graph
            .edges()
            .flat_map(|(key, state)| state.breakers().map(move |breaker| (key.clone(), breaker.clone())))
            .collect();
        for (key, breaker) in known {
            self.graph.observe_breaker(&key, BreakerInfo { last_reason: None, ..breaker }, self.now());
        }
    }

    fn told(&self) -> Vec<Notice> {
        self.notices.iter().map(|(_, notice, _)| *notice).collect()
    }

    fn only(&self) -> &Incident {
        assert_eq!(self.latest.len(), 1, "{:#?}", self.latest.values().map(|i| &i.path).collect::<Vec<_>>());
        self.latest.values().next().unwrap()
    }
}

#[test]
fn a_quiet_hour_has_no_incident() {
    let mut shop = Shop::new();
    shop.run(3600, 0, &[]);
    assert!(shop.latest.is_empty() && shop.notices.is_empty());
}

#[test]
fn a_failing_database_is_one_cascade_told_three_times() {
    let mut shop = Shop::new();
    shop.run(30, 0, &[]);
    shop.run(1, 100, &[]);
    shop.breaker("shop/payments", "shop/db", BreakerState::Open);
    shop.evaluate();
    assert_eq!(shop.told(), [Notice::Opened], "a breaker alone opens it at once");
    shop.run(2, 100, &[4]);
    shop.breaker("shop/checkout", "shop/payments", BreakerState::Open);
    shop.run(37, 100, &[3]);
    let incident = shop.only();
    assert_eq!(incident.origin().unwrap().service, ServiceName::from("shop/db"));
    assert!(incident.level >= Level::Cascade, "{:?}", incident.level);
    let hops: Vec<String> = incident.path.iter().map(|hop| hop.key.client.to_string()).collect();
    assert_eq!(hops, ["shop/payments", "shop/checkout", "shop/web", "shop/gateway", "user"]);
    let blast: Vec<String> = incident.blast.services.iter().map(ToString::to_string).collect();
    assert_eq!(blast, ["shop/checkout", "shop/gateway", "shop/payments", "shop/web"]);
    assert_eq!(incident.blast.entries[0].service, ServiceName::from("shop/gateway"));
    assert_eq!(incident.trips, 2);

    shop.breaker("shop/payments", "shop/db", BreakerState::Closed);
    shop.breaker("shop/checkout", "shop/payments", BreakerState::Closed);
    shop.run(150, 0, &[]);
    assert_eq!(shop.only().phase, Phase::Resolved);
    assert_eq!(shop.told(), [Notice::Opened, Notice::LevelRose, Notice::Resolved]);
}

#[test]
fn breakers_of_one_chain_that_trip_in_any_order_before_any_count_are_one_incident() {
    let mut shop = Shop::new();
    shop.run(30, 0, &[]);
    // As seen in a running mesh: all of them within a moment, the middle one last.
    for (client, server) in [("shop/payments", "shop/db"), ("shop/web", "shop/checkout")] {
        shop.breaker(client, server, BreakerState::Open);
        shop.evaluate();
    }
    assert_eq!(shop.only().origin().unwrap().service, ServiceName::from("shop/db"));
    shop.breaker("shop/checkout", "shop/payments", BreakerState::Open);
    shop.evaluate();
    shop.run(20, 100, &[4]);
    assert_eq!(shop.only().origin().unwrap().service, ServiceName::from("shop/db"));
    assert_eq!(shop.told()[0], Notice::Opened);
    assert!(!shop.told()[1..].contains(&Notice::Opened), "{:?}", shop.told());
}

/// As seen in the demo on a busy machine: a report came in while those of the services behind were still under way.
#[test]
fn who_is_counted_first_is_not_blamed_for_what_others_have_not_told_yet() {
    let mut shop = Shop::new();
    shop.run(60, 0, &[]);
    for (client, server) in [("shop/payments", "shop/db"), ("shop/web", "shop/checkout"), ("shop/gateway", "shop/web")]
    {
        shop.breaker(client, server, BreakerState::Open);
    }
    shop.second += 1;
    let counts = EdgeCounts { requests: 60, failed: 20, shed: 12, attempts: 48, ..EdgeCounts::default() };
    shop.report(Reporter::Client, ("shop/gateway", "shop/web"), counts, (25, 4));
    shop.evaluate();
    assert_eq!(shop.only().origin().unwrap().service, ServiceName::from("shop/db"));
}

#[test]
fn failures_without_any_breaker_are_seen_within_three_windows() {
    let mut shop = Shop::new();
    shop.run(60, 0, &[]);
    shop.run(16, 50, &[]);
    assert_eq!(shop.only().origin().unwrap().service, ServiceName::from("shop/db"));
    assert!(shop.only().detected.since(START + Duration::from_secs(60)) <= Duration::from_secs(12));
}

#[test]
fn a_slow_service_is_found_by_its_own_time() {
    let mut shop = Shop::new();
    shop.run(60, 0, &[]);
    for _ in 0..30 {
        shop.second += 1;
        for (hop, pair) in CHAIN.windows(2).enumerate() {
            // As many as before: more of them would be a reason of its own.
            let requests = if hop <= 1 { 100 } else { 40 };
            let well = EdgeCounts { requests, attempts: requests, ..EdgeCounts::default() };
            let own = if pair[1] == "shop/payments" { 304 } else { 4 };
            let added = if hop <= 3 { 300 } else { 0 };
            shop.flow((pair[0], pair[1]), well, (5 * (CHAIN.len() - hop) as u64 + added, own));
        }
        shop.evaluate();
    }
    let candidate = &shop.only().candidates[0];
    assert_eq!((candidate.suspect.service.to_string(), candidate.kind), ("shop/payments".into(), SuspectKind::Latency));
}

/// One second of a calm shop in which checkout calls two more, and in which calls may take some milliseconds longer: payments with whoever waits for it, mail,
/// tax. Only payments needs the time for itself.
fn second_with(shop: &mut Shop, payments: u64, mail: u64, tax: u64) {
    shop.second += 1;
    let well = EdgeCounts { requests: 40, attempts: 40, ..EdgeCounts::default() };
    for (hop, pair) in CHAIN.windows(2).enumerate() {
        let (own, added) = (if pair[1] == "shop/payments" { payments } else { 0 }, if hop <= 3 { payments } else { 0 });
        shop.flow((pair[0], pair[1]), well, (5 * (CHAIN.len() - hop) as u64 + added, 4 + own));
    }
    shop.flow(("shop/checkout", "shop/mail"), well, (5 + mail, 4));
    shop.flow(("shop/checkout", "shop/tax"), well, (5 + tax, 4));
    shop.evaluate();
}

#[test]
fn who_wavers_beside_an_incident_joins_it_only_with_three_tenths_of_what_its_caller_lost() {
    let mut shop = Shop::new();
    (0..60).for_each(|_| second_with(&mut shop, 0, 0, 0));
    (0..30).for_each(|_| second_with(&mut shop, 300, 0, 0));
    assert_eq!(shop.only().origin().unwrap().service, ServiceName::from("shop/payments"));
    // Mail adds less than a sixth of what calls to checkout lost, tax half of it.
    (0..40).for_each(|_| second_with(&mut shop, 300, 45, 150));
    let edges = &shop.only().blast.edges;
    assert!(edges.contains(&"shop/checkout>shop/tax:http".parse().unwrap()), "{edges:?}");
    assert!(!edges.contains(&"shop/checkout>shop/mail:http".parse().unwrap()), "{edges:?}");
}

#[test]
fn a_fault_that_comes_back_within_ten_minutes_keeps_its_identity_and_is_told_again() {
    let mut shop = Shop::new();
    shop.run(60, 0, &[]);
    shop.run(20, 50, &[]);
    shop.run(200, 0, &[]);
    assert_eq!(shop.only().phase, Phase::Resolved);
    shop.run(20, 50, &[]);
    assert!(shop.only().resolved.is_none());
    assert_eq!(shop.told(), [Notice::Opened, Notice::Resolved, Notice::Opened]);
}

#[test]
fn the_same_events_give_the_same_incidents() {
    let run = || {
        let mut shop = Shop::new();
        shop.run(60, 0, &[]);
        shop.run(40, 70, &[]);
        shop.run(200, 0, &[]);
        (shop.latest, shop.notices)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_flapping_breaker_is_one_incident_with_a_count() {
    let mut shop = Shop::new();
    shop.run(60, 0, &[]);
    for _ in 0..20 {
        shop.breaker("shop/payments", "shop/db", BreakerState::Open);
        shop.evaluate();
        shop.run(5, 0, &[]);
        shop.breaker("shop/payments", "shop/db", BreakerState::Closed);
        shop.run(25, 0, &[]);
    }
    shop.run(150, 0, &[]);
    assert_eq!((shop.only().trips, shop.only().phase), (20, Phase::Resolved));
    assert_eq!(shop.told(), [Notice::Opened, Notice::Resolved]);
}

/// Strangers invent services that fail as badly as they like, and claim that known ones fail them.
fn flood(shop: &mut Shop, number: u64) {
    for stranger in 0..50 {
        let name = format!("evil/{number}-{stranger}");
        let failing = EdgeCounts { requests: 100, failed: 100, attempts: 100, ..EdgeCounts::default() };
        shop.flow((&name, "evil/target"), failing, (5, 4));
        for client in [name.as_str(), "evil/constant"] {
            let claim = EdgeWindow {
                key: EdgeKey { client: client.into(), server: "shop/catalogue".into(), protocol: Protocol::Http },
                reporter: Reporter::Client,
                client_kind: NodeKind::Service,
                server_kind: NodeKind::Service,
                start: shop.now() - Duration::from_secs(1),
                length: Duration::from_secs(1),
                counts: EdgeCounts {
                    requests: 2,
                    failed: 2,
                    attempts: 2,
                    transport_failures: 2,
                    ..EdgeCounts::default()
                },
                latency: Histogram::default(),
                self_time: Histogram::default(),
                secured: false,
            };
            shop.graph.observe(&claim, shop.now());
        }
    }
}

#[test]
fn a_flood_of_invented_services_neither_blames_healthy_ones_nor_hides_a_real_fault() {
    let mut shop = Shop::new();
    shop.graph = ServiceGraph::new(Limits { nodes: 500, edges: 1_000, ..Limits::default() });
    for second in 0..60 {
        shop.run(1, 0, &[]);
        flood(&mut shop, second);
    }
    let suspects = |shop: &Shop| -> Vec<Suspect> {
        shop.latest.values().filter_map(|incident| incident.origin().cloned()).collect()
    };
    // Whoever claims that calls fail that nobody else has seen is suspected together with what it claims.
    let blamed =
        |suspect: &Suspect| suspect.edge.as_ref().map_or(&suspect.service, |edge| &edge.client).namespace() == "shop";
    let before = suspects(&shop);
    assert!(!before.iter().any(blamed), "{before:#?}");
    for second in 60..100 {
        shop.run(1, 60, &[]);
        flood(&mut shop, second);
    }
    let after = suspects(&shop);
    let real = after.iter().filter(|suspect| suspect.service == ServiceName::from("shop/db") && suspect.edge.is_none());
    assert_eq!(real.count(), 1, "{after:#?}");
}

#[test]
fn reports_that_cannot_be_change_nothing() {
    let run = |lies: bool| {
        let mut shop = Shop::new();
        for second in 0..120 {
            shop.run(1, if second < 60 { 0 } else { 50 }, &[]);
            if lies {
                let more_failed = EdgeCounts { requests: 1, failed: 1_000, ..EdgeCounts::default() };
                let lie = EdgeWindow {
                    key: "shop/web>shop/catalogue:http".parse().unwrap(),
                    reporter: Reporter::Client,
                    client_kind: NodeKind::Service,
                    server_kind: NodeKind::Service,
                    start: shop.now() - Duration::from_secs(1),
                    length: Duration::from_secs(1),
                    counts: more_failed,
                    latency: Histogram::default(),
                    self_time: Histogram::default(),
                    secured: false,
                };
                assert_eq!(shop.graph.observe(&lie, shop.now()), crate::Observed::Implausible);
                let an_hour_off =
                    EdgeWindow { start: shop.now() - Duration::from_secs(3_600), counts: EdgeCounts::default(), ..lie };
                assert_eq!(shop.graph.observe(&an_hour_off, shop.now()), crate::Observed::OutOfTime);
            }
        }
        (shop.latest, shop.notices)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn evidence_can_be_computed_again_from_the_windows_that_it_names() {
    let mut shop = Shop::new();
    shop.run(60, 0, &[]);
    shop.run(30, 50, &[]);
    let candidate = shop.only().candidates[0].clone();
    let of = |kind| candidate.evidence.iter().find(|evidence| evidence.kind == kind).unwrap();
    let failed = |server: &str, origin: bool| -> u64 {
        let (from, to) = of(EvidenceKind::OwnErrors).span;
        let server = ServiceName::from(server);
        let edges = shop.graph.edges().filter(|(key, _)| key.server == server);
        let counts = edges.map(|(_, state)| state.counts_by(Reporter::Server, from, to));
        counts.map(|counts| if origin { counts.origin_failures } else { counts.failed }).sum()
    };
    // Nothing fails on a good day here, so every failure is above normal.
    assert_eq!(of(EvidenceKind::OwnErrors).value, failed("shop/db", true) as f64);
    assert_eq!(failed("shop/db", true), failed("shop/gateway", false));
    assert_eq!(of(EvidenceKind::ExplainsFailures).value, candidate.score.get());
    assert!((candidate.score.get() - 1.0).abs() < 1e-9);
}

/// As seen in the demo: the caller's sidecar was heard a tenth of a second before that of the service that hung.
#[test]
fn an_opening_waits_a_moment_for_breakers_further_down() {
    let chain = [("shop/web", "shop/checkout"), ("shop/payments", "shop/db")];
    for (heard, told_at) in [(1, 31), (2, 30)] {
        let mut shop = Shop::new();
        shop.run(30, 0, &[]);
        for (client, server) in chain.iter().take(heard) {
            shop.breaker(client, server, BreakerState::Open);
            assert!(shop.told().is_empty());
            shop.evaluate();
        }
        shop.run(1, 0, &[]);
        let told: Vec<_> = shop.notices.iter().map(|(second, notice, _)| (*second, *notice)).collect();
        assert_eq!(told, [(told_at, Notice::Opened)], "{heard}");
    }
}

/// What a client and a server counted in a second; of those that failed, so many were shed and so many began at the server.
fn counted(requests: u64, failed: u64, (shed, origin): (u64, u64)) -> EdgeCounts {
    EdgeCounts {
        requests,
        failed,
        shed,
        attempts: requests - shed,
        answered_failures: failed - shed,
        origin_failures: origin,
        propagated_failures: failed - shed - origin,
        ..EdgeCounts::default()
    }
}

impl Shop {
    /// A second of users who read a feed, which asks for ranks. Both breakers open once ranks fail.
    fn feed(&mut self, at_web: EdgeCounts, at_feed: EdgeCounts, at_rank: EdgeCounts) -> Option<Candidate> {
        self.second += 1;
        self.flow(("user", "shop/web"), at_web, (12, 4));
        self.flow(("shop/web", "shop/feed"), at_feed, (8, 4));
        self.flow(("shop/feed", "shop/rank"), at_rank, (4, 4));
        if at_rank.failed > 0 {
            self.breaker("shop/feed", "shop/rank", BreakerState::Open);
            self.breaker("shop/web", "shop/feed", BreakerState::Open);
        }
        self.heartbeat();
        self.evaluate();
        self.latest.values().next().map(|incident| incident.candidates[0].clone())
    }

    /// Eight requests of one second come through before the breakers open, and become forty calls; then so many seconds without any.
    fn feed_asks_too_much(&mut self, dark_for: u64) -> Option<Candidate> {
        self.feed(counted(40, 40, (0, 0)), counted(40, 40, (32, 0)), counted(40, 30, (0, 30)));
        let dark = [counted(40, 40, (0, 0)), counted(40, 40, (40, 0)), counted(0, 0, (0, 0))];
        (0..dark_for).filter_map(|_| self.feed(dark[0], dark[1], dark[2])).last()
    }
}

#[test]
fn who_asks_five_times_as_often_is_found_also_when_breakers_above_let_hardly_anybody_ask() {
    let mut shop = Shop::new();
    let well = counted(40, 0, (0, 0));
    (0..60).for_each(|_| assert_eq!(shop.feed(well, well, well), None));
    let last = shop.feed_asks_too_much(10).unwrap();
    assert_eq!((last.suspect.service.to_string(), last.kind), ("shop/feed".into(), SuspectKind::Demand));
}

#[test]
fn who_once_asked_too_much_is_suspected_of_what_it_does_when_its_incident_is_opened_again() {
    let mut shop = Shop::new();
    let well = counted(40, 0, (0, 0));
    (0..60).for_each(|_| drop(shop.feed(well, well, well)));
    // Whose demand it was is settled after a minute.
    let last = shop.feed_asks_too_much(70).unwrap();
    assert_eq!((last.suspect.service.to_string(), last.kind), ("shop/feed".into(), SuspectKind::Demand));
    for (client, server) in [("shop/feed", "shop/rank"), ("shop/web", "shop/feed")] {
        shop.breaker(client, server, BreakerState::Closed);
    }
    (0..180).for_each(|_| drop(shop.feed(well, well, well)));
    assert_eq!(shop.only().phase, Phase::Resolved);
    let (passed_on, own) = (counted(40, 30, (0, 0)), counted(40, 30, (0, 30)));
    let last = (0..30).filter_map(|_| shop.feed(passed_on, own, counted(40, 0, (0, 0)))).last().unwrap();
    assert_eq!((shop.only().resolved, last.kind), (None, SuspectKind::Errors));
    assert_eq!(last.suspect.service, ServiceName::from("shop/feed"));
}
