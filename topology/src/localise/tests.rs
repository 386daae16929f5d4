//! Whole incidents, made by hand: who is suspected, for what, and which laws hold whatever the recording.

use std::time::Duration;

use proptest::prelude::*;
use tripline_model::{BreakerState, BreakerTransition, FailureOrigin, Timestamp, TransitionReason};

use super::*;
use crate::recording::{BreakerRow, EdgeRow, RecordingBuilder, RecordingLimits, Row, ServiceRow};

const WINDOW: Duration = Duration::from_secs(5);
/// Windows of each recording, before and in the incident.
const BEFORE: u64 = 12;
const DURING: u64 = 6;

/// What a window of the small shop holds: user -> web -> { checkout -> { payments -> db, stock }, stock }.
#[derive(Debug, Clone, Default)]
struct Fault {
    /// Added self time by service.
    slow: Vec<(&'static str, f64)>,
    /// Added gap by edge.
    delayed: Vec<(&'static str, &'static str, f64)>,
    /// Share of the edge's requests that fail, by edge.
    failing: Vec<(&'static str, &'static str, f64)>,
    /// Share of the service's answers that fail.
    answers: Vec<(&'static str, f64)>,
    /// Share of the edge's requests that are shed.
    shed: Vec<(&'static str, &'static str, f64)>,
    /// Share of the service's calls that are not made.
    early: Vec<(&'static str, f64)>,
}

const EDGES: [(&str, &str); 6] = [
    ("user", "web"),
    ("web", "checkout"),
    ("web", "stock"),
    ("checkout", "payments"),
    ("checkout", "stock"),
    ("payments", "db"),
];
const SERVICES: [(&str, f64); 5] = [("web", 2.0), ("checkout", 5.0), ("payments", 4.0), ("stock", 1.0), ("db", 3.0)];

fn of<T: Copy + Default>(list: &[(&str, T)], name: &str) -> T {
    list.iter().find(|(of, _)| *of == name).map(|(_, value)| *value).unwrap_or_default()
}

fn on(list: &[(&str, &str, f64)], (client, server): (&str, &str)) -> f64 {
    list.iter().filter(|(a, b, _)| (*a, *b) == (client, server)).map(|(_, _, value)| *value).sum()
}

impl Fault {
    /// Time until `service` has answered, all calls in turn.
    fn latency(&self, service: &str) -> f64 {
        let calls = EDGES.iter().filter(|(client, _)| *client == service);
        of(&SERVICES, service) + of(&self.slow, service) + calls.map(|edge| self.client_latency(*edge)).sum::<f64>()
    }

    fn client_latency(&self, edge: (&str, &str)) -> f64 {
        1.0 + on(&self.delayed, edge) + self.latency(edge.1)
    }

    fn rows(&self, at: u64) -> Vec<Row> {
        // A little noise that is the same each time.
        let noise = 1.0 + 0.02 * ((at / 5 % 7) as f64 - 3.0);
        let at = Timestamp::from_secs(at);
        let mut rows = Vec::new();
        for (service, self_ms) in SERVICES {
            let calls = EDGES.iter().filter(|(client, _)| *client == service).count() as f64;
            rows.push(Row::Service(ServiceRow {
                failures: Some(100.0 * of(&self.answers, service)),
                latency_ms: Some(self.latency(service) * noise),
                self_ms: Some((self_ms + of(&self.slow, service)) * noise),
                calls_out: Some(calls * (1.0 - of(&self.early, service))),
                ..ServiceRow::new(at, WINDOW, service.into(), 100.0)
            }));
        }
        for edge in EDGES {
            let requests = 100.0 * (1.0 - of(&self.early, edge.0));
            let client_latency_ms = Some(self.client_latency(edge) * noise);
            rows.push(Row::Edge(EdgeRow {
                failures: Some(requests * on(&self.failing, edge)),
                shed: Some(requests * on(&self.shed, edge)),
                client_latency_ms,
                server_latency_ms: Some(self.latency(edge.1) * noise),
                ..EdgeRow::new(at, WINDOW, (edge.0.into(), edge.1.into()), requests)
            }));
        }
        rows
    }
}

fn record(rows: impl IntoIterator<Item = Row>) -> Recording {
    let mut builder = RecordingBuilder::new(RecordingLimits::default());
    let graph = Row::Graph(EDGES.iter().map(|(client, server)| ((*client).into(), (*server).into())).collect());
    for (row, line) in std::iter::once(graph).chain(rows).zip(1..) {
        builder.push(line, row).expect("a possible row");
    }
    builder.finish()
}

/// All rows: quiet windows, then those of the fault.
fn rows(fault: &Fault) -> Vec<Row> {
    let quiet = (0..BEFORE).flat_map(|window| Fault::default().rows(window * 5));
    quiet.chain((BEFORE..BEFORE + DURING).flat_map(|window| fault.rows(window * 5))).collect()
}

fn question(signal: Signal) -> Question {
    Question {
        from: Timestamp::from_secs(BEFORE * 5),
        to: Timestamp::from_secs((BEFORE + DURING) * 5),
        entry: Some("web".into()),
        signal: Some(signal),
    }
}

fn ask(recording: &Recording, signal: Signal) -> Answer {
    localise(&Settings::default(), recording, None, &question(signal)).expect("an answer")
}

fn first(fault: &Fault, signal: Signal) -> Candidate {
    ask(&record(rows(fault)), signal).candidates.into_iter().next().expect("a candidate")
}

#[test]
fn each_kind_of_fault_is_found_where_it_is() {
    use CandidateKind::{Errors, Latency, MissingCalls, Network};
    let table = [
        (Fault { slow: vec![("db", 40.0)], ..Fault::default() }, Signal::Latency, "db", Latency),
        (Fault { slow: vec![("web", 40.0)], ..Fault::default() }, Signal::Latency, "web", Latency),
        // Slow to be reached, for both clients.
        (
            Fault { delayed: vec![("web", "stock", 60.0), ("checkout", "stock", 55.0)], ..Fault::default() },
            Signal::Latency,
            "stock",
            Network,
        ),
        // Slow to read, from all it calls.
        (
            Fault { delayed: vec![("checkout", "payments", 60.0), ("checkout", "stock", 55.0)], ..Fault::default() },
            Signal::Latency,
            "checkout",
            Network,
        ),
        (Fault { early: vec![("checkout", 0.7)], ..Fault::default() }, Signal::Latency, "checkout", MissingCalls),
        (
            Fault {
                answers: vec![("db", 0.5), ("payments", 0.5), ("checkout", 0.5), ("web", 0.5)],
                failing: vec![("payments", "db", 0.5), ("checkout", "payments", 0.5), ("web", "checkout", 0.5)],
                ..Fault::default()
            },
            Signal::Failures,
            "db",
            Errors,
        ),
    ];
    for (fault, signal, service, kind) in table {
        let found = first(&fault, signal);
        assert_eq!((&*found.service, found.kind, &found.edge), (service, kind, &None), "{found:#?}");
        assert!(found.score > 0.5, "{found:#?}");
    }
}

#[test]
fn if_both_ends_are_equally_good_the_edge_is_suspected() {
    let fault = Fault { delayed: vec![("payments", "db", 60.0)], ..Fault::default() };
    let found = first(&fault, Signal::Latency);
    assert_eq!(found.edge, Some(("payments".into(), "db".into())));
}

#[test]
fn a_server_behind_an_open_breaker_is_dark_and_not_guilty() {
    let mut all = rows(&Fault {
        answers: vec![("payments", 0.6), ("checkout", 0.6), ("web", 0.6)],
        failing: vec![("checkout", "payments", 0.6), ("web", "checkout", 0.6)],
        shed: vec![("payments", "db", 0.6)],
        ..Fault::default()
    });
    all.push(Row::Breaker(Box::new(opening("payments", "db", BEFORE * 5 + 1))));
    all.sort_by_key(Row::at);
    let answer = ask(&record(all), Signal::Failures);
    let found = &answer.candidates[0];
    assert_eq!((&found.edge, found.kind), (&Some(("payments".into(), "db".into())), CandidateKind::Breaker));
    let opened = found.evidence.iter().any(|evidence| matches!(evidence, Evidence::BreakerOpened { .. }));
    assert!(opened, "{found:#?}");
    assert!(answer.degraded.iter().any(|degraded| degraded.reasons == [DegradedReason::Breaker]));
}

fn opening(client: &str, server: &str, at: u64) -> BreakerRow {
    let transition = BreakerTransition {
        breaker: format!("{client}>{server}"),
        client: client.into(),
        client_instance: "1".into(),
        server: server.into(),
        route: String::new(),
        endpoint: String::new(),
        at: Timestamp::from_secs(at),
        from: BreakerState::Closed,
        to: BreakerState::Open,
        reason: TransitionReason::Forced,
        window_total: 0,
        window_failed: 0,
        window_slow: 0,
        threshold: 0.0,
        last_error: String::new(),
        origin: FailureOrigin::Remote,
        time_in_from: Duration::ZERO,
        sequence: 1,
        traces: Vec::new(),
    };
    BreakerRow { client: client.into(), server: server.into(), transition }
}

#[test]
fn equal_suspects_are_a_tie_and_the_breaker_that_opened_first_decides_it() {
    let fault = Fault { slow: vec![("db", 30.0), ("stock", 15.0)], ..Fault::default() };
    let tie = ask(&record(rows(&fault)), Signal::Latency);
    let names =
        |answer: &Answer| answer.candidates.iter().take(2).map(|one| one.service.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (names(&tie), tie.candidates[0].rank, tie.candidates[1].rank),
        (vec!["stock".into(), "db".into()], 1, 1)
    );
    let mut all = rows(&fault);
    all.push(Row::Breaker(Box::new(opening("payments", "db", BEFORE * 5 + 2))));
    all.sort_by_key(Row::at);
    let decided = ask(&record(all), Signal::Latency);
    assert_eq!(names(&decided), ["db", "stock"]);
    assert_eq!((decided.candidates[0].rank, decided.candidates[1].rank), (1, 2));
}

#[test]
fn a_shared_dependency_explains_clients_that_end_early() {
    // Both lose calls, but each request still reaches stock.
    let mut all = rows(&Fault { early: vec![("web", 0.4), ("checkout", 0.4)], ..Fault::default() });
    for row in &mut all {
        if let Row::Edge(row) = row
            && &*row.server == "stock"
        {
            row.requests = 100.0;
        }
    }
    assert_eq!(&*ask(&record(all), Signal::Latency).candidates[0].service, "stock");
}

#[test]
fn requests_that_ended_early_further_in_are_not_counted_twice() {
    // What checkout gives up, web gives up, too, and loses more requests by it.
    let fault = Fault { early: vec![("checkout", 0.6), ("web", 0.55)], ..Fault::default() };
    let mut all = rows(&fault);
    for row in &mut all {
        if let Row::Edge(row) = row
            && &*row.server == "checkout"
        {
            row.requests = 100.0;
        }
    }
    assert_eq!(&*ask(&record(all), Signal::Latency).candidates[0].service, "checkout");
}

#[test]
fn who_was_never_healthy_explains_nobody() {
    // Without rows of edges, and a dependency that always failed.
    let services = |at: u64, fails: f64| {
        let row = |name: &str, failures| {
            let row = ServiceRow::new(Timestamp::from_secs(at), WINDOW, name.into(), 100.0);
            Row::Service(ServiceRow { failures: Some(failures), ..row })
        };
        [row("web", fails), row("checkout", fails), row("payments", 90.0 + fails / 10.0)]
    };
    let quiet = (0..BEFORE).flat_map(|window| services(window * 5, 0.0));
    let bad = (BEFORE..BEFORE + DURING).flat_map(|window| services(window * 5, 80.0));
    let answer = ask(&record(quiet.chain(bad)), Signal::Failures);
    assert_eq!(&*answer.candidates[0].service, "checkout", "{answer:#?}");
    assert!(answer.candidates.iter().all(|candidate| &*candidate.service != "payments"));
}

#[test]
fn evidence_can_be_recomputed_from_the_rows() {
    let fault = Fault { slow: vec![("db", 40.0)], ..Fault::default() };
    let mut all: Vec<f64> = Vec::new();
    for row in rows(&fault) {
        if let Row::Service(row) = row
            && &*row.service == "db"
        {
            all.extend(row.self_ms);
        }
    }
    let (before, during) = all.split_at(BEFORE as usize);
    let mut sorted = before.to_vec();
    sorted.sort_by(f64::total_cmp);
    let normal = sorted[sorted.len() / 2];
    let smoothed: Vec<f64> = (0..during.len())
        .map(|at| {
            let start = at.saturating_sub(1).min(during.len() - 3);
            let mut three = during[start..start + 3].to_vec();
            three.sort_by(f64::total_cmp);
            three[1]
        })
        .collect();
    let seconds: f64 = smoothed.iter().map(|ms| (ms - normal) * 100.0 / 1e3).sum();
    let found = first(&fault, Signal::Latency);
    let Some(Evidence::SelfTime { normal_ms, added_seconds, requests, .. }) = found.evidence.first() else {
        panic!("{found:#?}")
    };
    assert!((normal_ms - normal).abs() < 1e-9 && (added_seconds - seconds).abs() < 1e-9 && *requests == 600.0);
}

#[test]
fn what_cannot_be_answered_says_why() {
    let recording = record(rows(&Fault::default()));
    let ask = |from, to| {
        let (from, to) = (Timestamp::from_secs(from), Timestamp::from_secs(to));
        let question = Question { from, to, entry: None, signal: None };
        localise(&Settings::default(), &recording, None, &question).map(drop).expect_err("no answer").to_string()
    };
    assert!(ask(9, 9).contains("--from before --to"));
    assert_eq!(ask(900, 960), "no window between 900 and 960; the recording covers 0 to 85 (Unix seconds)");
    assert!(ask(5, 60).contains("give a --baseline"));
}

#[test]
fn an_entry_that_left_no_trace_does_not_hide_the_rest() {
    let silent = rows(&Fault { slow: vec![("db", 40.0)], ..Fault::default() }).into_iter().filter(|row| match row {
        Row::Service(row) => &*row.service != "web",
        Row::Edge(row) => &*row.client != "web",
        _ => true,
    });
    let answer = ask(&record(silent), Signal::Latency);
    assert_eq!((&*answer.candidates[0].service, answer.belief), ("db", 0.0));
    assert_eq!(answer.entries, ["web".into()]);
}

#[test]
fn without_an_entry_those_that_nobody_calls_are_asked() {
    let recording = record(rows(&Fault { slow: vec![("db", 40.0)], ..Fault::default() }));
    for entry in [None, Some("nobody".into())] {
        let question = Question { entry, signal: None, ..question(Signal::Latency) };
        let answer = localise(&Settings::default(), &recording, None, &question).expect("an answer");
        assert_eq!((answer.entries, answer.signal), (vec!["web".into()], Signal::Latency));
        assert_eq!(&*answer.candidates[0].service, "db");
    }
}

fn some_fault() -> impl Strategy<Value = Fault> {
    let service = prop::sample::select(SERVICES.map(|(service, _)| service).to_vec());
    let edge = prop::sample::select(EDGES.to_vec());
    (
        prop::collection::vec((service.clone(), 0.0..50.0), 0..3),
        prop::collection::vec((edge.clone(), 0.0..50.0), 0..3),
        prop::collection::vec((edge, 0.0..0.5), 0..3),
        prop::collection::vec((service, 0.0..0.9), 0..2),
    )
        .prop_map(|(slow, delayed, failing, early)| {
            let of_edges = |list: Vec<((&'static str, &'static str), f64)>| {
                list.into_iter().map(|((client, server), value)| (client, server, value)).collect()
            };
            let failing: Vec<(&'static str, &'static str, f64)> = of_edges(failing);
            let answers = failing.iter().map(|(_, server, share)| (*server, *share)).collect();
            Fault { slow, delayed: of_edges(delayed), failing, answers, early, shed: Vec::new() }
        })
}

/// `name` in another alphabet, so that the order of names changes, too.
fn renamed(name: &Name) -> Name {
    name.chars().rev().collect::<String>().into()
}

fn rename(row: Row) -> Row {
    match row {
        Row::Service(row) => Row::Service(ServiceRow { service: renamed(&row.service), ..row }),
        Row::Edge(row) => Row::Edge(EdgeRow { client: renamed(&row.client), server: renamed(&row.server), ..row }),
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scores_are_shares(fault in some_fault(), failures in any::<bool>()) {
        let signal = if failures { Signal::Failures } else { Signal::Latency };
        let answer = ask(&record(rows(&fault)), signal);
        let sum: f64 = answer.candidates.iter().map(|candidate| candidate.score).sum();
        prop_assert!(sum + answer.unexplained < 1.0 + 1e-4 && answer.candidates.iter().all(|one| one.score > 0.0));
        prop_assert!(answer.candidates.is_sorted_by(|a, b| a.rank <= b.rank));
    }

    #[test]
    fn the_order_within_a_window_does_not_matter(fault in some_fault(), seed in any::<u64>()) {
        let ordered = rows(&fault);
        let mut shuffled = ordered.clone();
        // Same times stay together; within them the order is another.
        shuffled.sort_by_key(|row| {
            let text = format!("{row:?}");
            let hash = text.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
            (row.at(), hash)
        });
        let (one, other) = (ask(&record(ordered), Signal::Latency), ask(&record(shuffled), Signal::Latency));
        prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }

    #[test]
    fn renaming_services_renames_the_answer_only(fault in some_fault()) {
        let plain = ask(&record(rows(&fault)), Signal::Latency);
        let mut builder = RecordingBuilder::new(RecordingLimits::default());
        let other_edges = EDGES.iter().map(|(client, server)| (renamed(&(*client).into()), renamed(&(*server).into())));
        let other_graph = Row::Graph(other_edges.collect());
        for (row, line) in std::iter::once(other_graph).chain(rows(&fault).into_iter().map(rename)).zip(1..) {
            builder.push(line, row).expect("a possible row");
        }
        let question = Question { entry: Some(renamed(&"web".into())), ..question(Signal::Latency) };
        let other = localise(&Settings::default(), &builder.finish(), None, &question).expect("an answer");
        prop_assert_eq!(plain.candidates.len(), other.candidates.len());
        for one in &plain.candidates {
            let same = |two: &&Candidate| {
                let edge = one.edge.as_ref().map(|(client, server)| (renamed(client), renamed(server)));
                two.service == renamed(&one.service) && two.edge == edge
            };
            let two = other.candidates.iter().find(same).expect("the same suspect under its other name");
            prop_assert!((one.score - two.score).abs() < 1e-5 && one.kind == two.kind, "{one:?} {two:?}");
        }
    }
}
