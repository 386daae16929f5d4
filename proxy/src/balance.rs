//! Which of several endpoints is tried first. Pure: numbers in, a place out.
//!
//! **Peak EWMA** (the default; Finagle's and Linkerd's): of two drawn at random, the one with the smaller cost. Cost is an
//! average of its latencies times one more than the requests on their way. The average follows a rise at once and falls
//! over [`DECAY`], so one slow answer is enough to send the next call elsewhere. An endpoint that was never measured costs
//! nothing until its first request is under way, then much: one call finds out. A failure never lowers the average, else an
//! endpoint that fails quickly would draw the traffic.
//!
//! **Ring hash**: [`POINTS`] points for each endpoint on a circle; a key belongs to the next point. When an endpoint joins
//! or leaves, only the keys of its own points move.
//!
//! **Slow start**: the share of an endpoint that has just joined grows from a tenth to all of it, so that a cold cache
//! is not buried. Endpoints that are there when the first answer of the resolver comes are not cold.

use std::time::Duration;

use tripline_model::Timestamp;

/// The time over which an old latency loses its weight (Finagle's number).
pub(crate) const DECAY: Duration = Duration::from_secs(10);
/// Smallest share of an endpoint that has just joined.
const FIRST_SHARE: f64 = 0.1;
/// What an endpoint with requests under way and no answer yet costs, in microseconds.
const UNKNOWN: f64 = 1e9;
/// Points of each endpoint on the ring.
const POINTS: usize = 160;

/// What is known of an endpoint's speed and age.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    /// Average latency in microseconds, as of `measured`; 0 when there was none.
    average: f64,
    measured: Timestamp,
    /// Since when it has been growing; none when it is grown.
    joined: Option<Timestamp>,
}

impl Measure {
    /// Of an endpoint without answers; `joined` begins its slow start.
    pub(crate) const fn new(now: Timestamp, joined: Option<Timestamp>) -> Self {
        Self { average: 0.0, measured: now, joined }
    }

    /// Begins the slow start again, after an ejection.
    pub(crate) const fn rejoin(&mut self, now: Timestamp) {
        self.joined = Some(now);
    }

    /// Takes in how long an answer took.
    pub(crate) fn answered(&mut self, took: Duration, now: Timestamp) {
        let took = took.as_secs_f64() * 1e6;
        let weight = fade(now.since(self.measured));
        self.average = if took > self.average { took } else { self.average * weight + took * (1.0 - weight) };
        self.measured = now;
    }

    /// Takes in a failure, which only ever makes it dearer.
    pub(crate) fn failed(&mut self, took: Duration, now: Timestamp) {
        let took = took.as_secs_f64() * 1e6;
        if took > self.average {
            self.average = took;
            self.measured = now;
        }
    }

    /// Peak EWMA's cost of one more request.
    pub(crate) fn cost(&self, in_flight: u32, now: Timestamp) -> f64 {
        if self.average == 0.0 {
            return if in_flight == 0 { 0.0 } else { UNKNOWN * f64::from(in_flight) };
        }
        self.average * fade(now.since(self.measured)) * f64::from(in_flight + 1)
    }

    /// Its share of a grown endpoint's traffic.
    pub(crate) fn share(&mut self, slow_start: Duration, now: Timestamp) -> f64 {
        let Some(joined) = self.joined else { return 1.0 };
        let age = now.since(joined);
        if age >= slow_start {
            self.joined = None;
            return 1.0;
        }
        (age.as_secs_f64() / slow_start.as_secs_f64()).max(FIRST_SHARE)
    }
}

fn fade(age: Duration) -> f64 {
    (-age.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

/// The circle of a ring hash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ring {
    /// Point and place of its endpoint, by point.
    points: Vec<(u64, usize)>,
}

impl Ring {
    /// A ring of endpoints by their labels and their shares relative to the largest.
    pub(crate) fn new<'a>(labels: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let mut points: Vec<(u64, usize)> = labels
            .enumerate()
            .flat_map(|(place, (label, share))| {
                let count = (POINTS as f64 * share).ceil() as usize;
                (0..count).map(move |point| (hash(format!("{label}#{point}").as_bytes()), place))
            })
            .collect();
        points.sort_unstable();
        Self { points }
    }

    /// The places of the endpoints that a key belongs to, nearest first; some come more than once.
    pub(crate) fn walk(&self, key: u64) -> impl Iterator<Item = usize> {
        let first = self.points.partition_point(|(point, _)| *point < key);
        let (before, after) = self.points.split_at_checked(first).unwrap_or((&[], &self.points));
        after.iter().chain(before).map(|(_, place)| *place)
    }
}

/// FNV-1a, mixed at the end so that similar labels lie far apart. The same in every process, so that all clients agree.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn a_rise_counts_at_once_and_a_fall_slowly() {
        let mut measure = Measure::new(at(0), None);
        assert_eq!(measure.cost(0, at(0)), 0.0, "unknown and idle: worth a try");
        assert!(measure.cost(1, at(0)) > 1e8, "unknown and busy: wait for the answer");
        measure.answered(Duration::from_millis(1), at(0));
        measure.answered(Duration::from_millis(100), at(1));
        assert!((measure.cost(0, at(1)) - 100_000.0).abs() < 1.0);
        measure.answered(Duration::from_millis(1), at(2));
        assert!(measure.cost(0, at(2)) > 99_000.0);
        assert!((measure.cost(3, at(2)) / measure.cost(0, at(2)) - 4.0).abs() < 1e-6);
        assert!(measure.cost(0, at(30_000)) < 6_000.0, "forgotten after a while, so it is tried again");
    }

    #[test]
    fn failing_fast_makes_nobody_cheap() {
        let mut measure = Measure::new(at(0), None);
        measure.answered(Duration::from_millis(20), at(0));
        let before = measure.cost(0, at(1));
        measure.failed(Duration::from_micros(50), at(1));
        assert!((measure.cost(0, at(1)) - before).abs() < 1e-6);
        measure.failed(Duration::from_secs(1), at(1));
        assert!(measure.cost(0, at(1)) > before);
    }

    #[test]
    fn a_new_endpoint_grows() {
        let mut measure = Measure::new(at(0), Some(at(0)));
        let slow_start = Duration::from_secs(10);
        let shares: Vec<f64> = [0, 2_000, 5_000, 10_000].map(|t| measure.share(slow_start, at(t))).to_vec();
        assert_eq!(shares, [0.1, 0.2, 0.5, 1.0]);
        measure.rejoin(at(20_000));
        assert_eq!(measure.share(slow_start, at(20_000)), 0.1);
        assert_eq!(Measure::new(at(0), Some(at(0))).share(Duration::ZERO, at(0)), 1.0, "no slow start");
    }

    #[test]
    fn keys_spread_and_only_those_of_the_missing_move() {
        let labels: Vec<String> = (0..10).map(|n| format!("10.0.0.{n}:80")).collect();
        let all = Ring::new(labels.iter().map(|label| (label.as_str(), 1.0)));
        let fewer = Ring::new(labels[..9].iter().map(|label| (label.as_str(), 1.0)));
        let mut counts = [0; 10];
        let mut moved = 0;
        for number in 0..10_000_u32 {
            let key = hash(&number.to_be_bytes());
            let place = all.walk(key).next().unwrap();
            counts[place] += 1;
            let now = fewer.walk(key).next().unwrap();
            assert!(place == 9 || now == place, "a key of an endpoint that stayed has moved");
            moved += usize::from(place == 9);
        }
        assert!(counts.iter().all(|count| (600..1_500).contains(count)), "{counts:?}");
        assert_eq!(moved, counts[9]);
        assert_eq!(Ring::default().walk(7).next(), None);
    }
}
