//! What comes late, or in another order, within two windows gives the same incidents.

use proptest::prelude::*;
use tripline_model::{EdgeCounts, EdgeWindow, Histogram, NodeKind, Reporter, ServiceName};

use super::*;
use crate::Limits;

const START: u64 = 1_000_000;
const SECONDS: u64 = 150;

/// `user > web > db` and `web > ads`, each second reported by both ends; from `fault` on for 40 s a share of what reaches the
/// database fails, or it is slower.
fn reports(fault: u64, failing: u64, slower: u64) -> Vec<EdgeWindow> {
    let mut reports = Vec::new();
    for second in 0..SECONDS {
        let bad = (fault..fault + 40).contains(&second);
        let hurt = |server| if bad && server != "ads" { (failing, slower) } else { (0, 0) };
        for (client, server, kind) in
            [("user", "web", NodeKind::User), ("web", "db", NodeKind::Service), ("web", "ads", NodeKind::Service)]
        {
            let (failed, added) = hurt(server);
            for reporter in [Reporter::Client, Reporter::Server] {
                let origin = server == "db" && reporter == Reporter::Server;
                let (mut latency, mut own) = (Histogram::default(), Histogram::default());
                for request in 0..40 {
                    let base = Duration::from_micros(5_000 + (request * 37 + second * 11) % 500);
                    latency.record(base + Duration::from_millis(added));
                    own.record(base + Duration::from_millis(if server == "db" { added } else { 0 }));
                }
                reports.push(EdgeWindow {
                    key: EdgeKey { client: client.into(), server: server.into(), protocol: Default::default() },
                    reporter,
                    client_kind: kind,
                    server_kind: NodeKind::Service,
                    start: Timestamp::from_secs(START + second),
                    length: Duration::from_secs(1),
                    counts: EdgeCounts {
                        requests: 40,
                        attempts: if reporter == Reporter::Client { 40 } else { 0 },
                        failed,
                        answered_failures: if reporter == Reporter::Client { failed } else { 0 },
                        origin_failures: if origin { failed } else { 0 },
                        propagated_failures: if origin || reporter == Reporter::Client { 0 } else { failed },
                        ..EdgeCounts::default()
                    },
                    latency,
                    self_time: if reporter == Reporter::Server { own } else { Histogram::default() },
                    secured: false,
                });
            }
        }
    }
    reports
}

/// What is left of an incident when the times at which things were found out are taken away.
type Outcome = (Timestamp, Level, Option<Suspect>, Arc<Vec<Hop>>, BTreeSet<ServiceName>, Arc<BTreeSet<EdgeKey>>);

/// Runs the detector over reports of which each comes so many seconds late.
fn run(reports: &[EdgeWindow], late: &[u64]) -> (Vec<Outcome>, Vec<Notice>) {
    let mut arrivals: Vec<(u64, usize)> = reports
        .iter()
        .enumerate()
        .map(|(at, report)| (report.start.as_secs() + 1 + late.get(at % late.len().max(1)).copied().unwrap_or(0), at))
        .collect();
    // Of one second, the last comes first.
    arrivals.sort_by_key(|(when, at)| (*when, usize::MAX - at));
    let (mut graph, mut detector) = (ServiceGraph::new(Limits::default()), Detector::new(Settings::default()));
    let mut arrivals = arrivals.into_iter().peekable();
    let mut notices = Vec::new();
    let mut seen: BTreeMap<String, Incident> = BTreeMap::new();
    for second in START..START + SECONDS + 200 {
        let now = Timestamp::from_secs(second) + Duration::from_millis(300);
        while let Some((_, at)) = arrivals.next_if(|(when, _)| *when <= second) {
            graph.observe(&reports[at], now);
        }
        graph.tidy(now);
        let evaluation = detector.evaluate(&graph, now);
        notices.extend(evaluation.notices.into_iter().map(|(notice, _)| notice));
        seen.extend(evaluation.changed.into_iter().map(|incident| (incident.id.clone(), incident)));
    }
    let outcome = |incident: Incident| {
        let origin = incident.origin().cloned();
        let blast = incident.blast;
        (incident.started, incident.level, origin, incident.path, blast.services, blast.edges)
    };
    (seen.into_values().map(outcome).collect(), notices)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn late_and_reordered_reports_within_two_windows_give_the_same_incidents(
        late in prop::collection::vec(0_u64..=10, 1..400),
        fault in 60_u64..80,
        failing in prop::sample::select(vec![0_u64, 12, 40]),
    ) {
        let reports = reports(fault, failing, if failing == 0 { 200 } else { 0 });
        let (in_order, told) = run(&reports, &[0]);
        let (reordered, told_late) = run(&reports, &late);
        prop_assert_eq!(in_order.len(), 1);
        prop_assert_eq!(in_order, reordered);
        prop_assert_eq!((told.first(), told.last()), (Some(&Notice::Opened), Some(&Notice::Resolved)));
        prop_assert_eq!(told_late.iter().filter(|notice| **notice == Notice::Opened).count(), 1, "{:?}", told_late);
    }
}
