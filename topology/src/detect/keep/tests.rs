//! Baselines go down and come back.

use proptest::prelude::*;
use tripline_model::{EdgeCounts, EdgeWindow, Histogram, NodeKind, Reporter};

use super::*;
use crate::detect::Settings;
use crate::{Limits, ServiceGraph};

const START: u64 = 1_000_000;

/// Feeds `user > web > db` second by second; each second has its own latency in ms.
struct Feed {
    graph: ServiceGraph,
    second: u64,
}

impl Feed {
    fn new() -> Self {
        Self { graph: ServiceGraph::new(Limits::default()), second: START }
    }

    fn go(&mut self, detectors: &mut [&mut Detector], millis: &[u64]) {
        for millis in millis {
            for (client, server, kind) in [("user", "web", NodeKind::User), ("web", "db", NodeKind::Service)] {
                for reporter in [Reporter::Client, Reporter::Server] {
                    let mut times = Histogram::default();
                    (0..20).for_each(|_| times.record(Duration::from_millis(*millis)));
                    let window = EdgeWindow {
                        key: EdgeKey { client: client.into(), server: server.into(), protocol: Default::default() },
                        reporter,
                        client_kind: kind,
                        server_kind: NodeKind::Service,
                        start: Timestamp::from_secs(self.second),
                        length: Duration::from_secs(1),
                        counts: EdgeCounts { requests: 20, attempts: 20, failed: millis % 2, ..EdgeCounts::default() },
                        latency: times.clone(),
                        self_time: times,
                        secured: false,
                    };
                    self.graph.observe(&window, Timestamp::from_secs(self.second + 1));
                }
            }
            self.second += 1;
            let now = Timestamp::from_secs(self.second);
            detectors.iter_mut().for_each(|detector| drop(detector.evaluate(&self.graph, now)));
        }
    }

    /// Nothing flows.
    fn rest(&mut self, detector: &mut Detector, seconds: u64) {
        for _ in 0..seconds {
            self.second += 1;
            detector.evaluate(&self.graph, Timestamp::from_secs(self.second));
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.second)
    }
}

fn detector() -> Detector {
    Detector::new(Settings::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_detector_that_got_its_baselines_back_goes_on_as_one_that_never_stopped(
        before in prop::collection::vec(5_u64..9, 60..200),
        after in prop::collection::vec(5_u64..9, 0..100),
    ) {
        let (mut feed, mut whole) = (Feed::new(), detector());
        feed.go(&mut [&mut whole], &before);
        // The last three windows are not learned from yet; silence lets them settle.
        feed.rest(&mut whole, 25 - before.len() as u64 % 5);
        let now = feed.now();
        let states: Vec<BaselineState> = whole.baselines().collect();
        let mut back = detector();
        back.judged_to = whole.judged_to;
        let restored = back.restore(states.clone(), now, now);
        prop_assert_eq!(restored, Restored { taken: states.len(), ..Restored::default() });
        prop_assert_eq!(&back.baselines().collect::<Vec<_>>(), &states);
        feed.go(&mut [&mut whole, &mut back], &after);
        prop_assert_eq!(back.baselines().collect::<Vec<_>>(), whole.baselines().collect::<Vec<_>>());
    }
}

#[test]
fn a_restored_detector_sees_at_once_what_is_slow() {
    let (mut feed, mut whole) = (Feed::new(), detector());
    feed.go(&mut [&mut whole], &[6; 120]);
    let states: Vec<BaselineState> = whole.baselines().collect();
    assert_eq!(states.len(), 4);
    let (mut back, mut blank) = (detector(), detector());
    back.restore(states, feed.now(), feed.now());
    feed.go(&mut [&mut back, &mut blank], &[200; 20]);
    assert_eq!((back.incidents().count(), blank.incidents().count()), (1, 0));
}

#[test]
fn what_cannot_be_is_refused_and_what_is_old_is_left_out() {
    let now = Timestamp::from_secs(START);
    let level = |samples: &[f32], stride, skipped| LevelState { samples: samples.to_vec(), stride, skipped };
    let state = |requests, failed, latency| BaselineState {
        of: BaselineOf::Edge("a>b:http".parse().unwrap()),
        requests,
        failed,
        latency,
        served: LevelState::default(),
        gap: LevelState::default(),
    };
    let well = state(10.0, 1.0, level(&[0.1], 1, 0));
    let bad = [
        state(f64::NAN, 0.0, LevelState::default()),
        state(10.0, 11.0, LevelState::default()),
        state(10.0, -1.0, LevelState::default()),
        state(10.0, 1.0, level(&[f32::INFINITY], 1, 0)),
        state(10.0, 1.0, level(&[-0.1], 1, 0)),
        state(10.0, 1.0, level(&[0.1], 0, 0)),
        state(10.0, 1.0, level(&[0.1], 19, 0)),
        state(10.0, 1.0, level(&[0.1], 2, 2)),
        state(10.0, 1.0, level(&[0.1; 41], 1, 0)),
    ];
    let count = bad.len();
    let refused = detector().restore(bad, now, now);
    assert_eq!(refused, Restored { refused: count, ..Restored::default() });
    let old = detector().restore([well.clone()], now, now + KEPT + Duration::from_secs(1));
    assert_eq!(old, Restored { dropped: 1, ..Restored::default() });
    let mut kept = detector();
    assert_eq!(kept.restore([well], now, now), Restored { taken: 1, ..Restored::default() });
    kept.evaluate(&ServiceGraph::new(Limits::default()), now + KEPT + Duration::from_secs(1));
    assert_eq!(kept.baselines().count(), 0, "nobody came for it");
}
