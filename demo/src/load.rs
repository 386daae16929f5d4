//! The load: users who arrive at a constant rate, whether or not the shop answers.
//!
//! An open loop, because a closed one (send, wait, send) slows down exactly when the shop does and so hides the
//! failure. Arrivals are planned ahead as offsets from the start and fired when due; whoever is late is fired at once,
//! so that the rate holds over time. Requests in flight are bounded: an arrival that finds no place is counted as
//! skipped, never queued. The whole count belongs to the task that runs [`run`]; others read what it publishes.

mod arrivals;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderValue, Method, Request, Uri};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tripline_model::Histogram;

pub use arrivals::Arrivals;

use crate::caller::{Body, Caller};
use crate::shop::{self, Visit};

/// Requests in flight at once, at most; at 200 a second this is five seconds without any answer.
pub const MAX_IN_FLIGHT: usize = 1000;
/// How long a user waits.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// What the load has seen so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests sent.
    pub sent: u64,
    /// Answers below 500.
    pub succeeded: u64,
    /// Answers of 500 and above.
    pub failed: u64,
    /// Requests without any answer: refused, broken off, timed out.
    pub unanswered: u64,
    /// Arrivals that found all places taken.
    pub skipped: u64,
    /// Time to the whole answer.
    pub latency: Histogram,
}

impl LoadReport {
    /// Requests that ended, well or not.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.unanswered
    }
}

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an answer of this status.
    Answered(u16),
    /// Without one.
    Unanswered,
}

/// Sends [`shop::VISITS`] to `entrance` at `rate` requests a second until `stop` completes, then waits for the answers.
///
/// `reports` is brought up to date with every request that starts or ends. Equal seeds give equal visits and times.
pub async fn run(
    entrance: SocketAddr,
    arrivals: Arrivals,
    stop: impl Future<Output = ()>,
    reports: &watch::Sender<LoadReport>,
) {
    let users = Arc::new(Caller::new(entrance, PATIENCE));
    let visit = move |visit: &'static Visit| {
        let users = Arc::clone(&users);
        async move {
            match users.call(request(visit)).await {
                Ok(answer) => Ended::Answered(answer.status().as_u16()),
                Err(error) => {
                    tracing::debug!(%error, path = visit.path, "no answer");
                    Ended::Unanswered
                }
            }
        }
    };
    drive(arrivals, visit, stop, reports).await;
}

/// [`run`] with any way to make a visit.
async fn drive<F: Future<Output = Ended> + Send + 'static>(
    mut arrivals: Arrivals,
    visit: impl Fn(&'static Visit) -> F,
    stop: impl Future<Output = ()>,
    reports: &watch::Sender<LoadReport>,
) {
    let start = Instant::now();
    let mut under_way = JoinSet::new();
    let mut next = arrivals.next_arrival();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = sleep_until(start + next.after) => {
                if under_way.len() < MAX_IN_FLIGHT {
                    let visiting = visit(next.visit);
                    under_way.spawn(async move {
                        let sent = Instant::now();
                        let ended = visiting.await;
                        (ended, sent.elapsed())
                    });
                    reports.send_modify(|report| report.sent += 1);
                } else {
                    reports.send_modify(|report| report.skipped += 1);
                }
                next = arrivals.next_arrival();
            }
            Some(Ok((ended, took))) = under_way.join_next() => reports.send_modify(|report| count(report, ended, took)),
        }
    }
    while let Some(last) = under_way.join_next().await {
        if let Ok((ended, took)) = last {
            reports.send_modify(|report| count(report, ended, took));
        }
    }
}

fn count(report: &mut LoadReport, ended: Ended, took: Duration) {
    match ended {
        Ended::Answered(status) if status < 500 => report.succeeded += 1,
        Ended::Answered(_) => report.failed += 1,
        Ended::Unanswered => report.unanswered += 1,
    }
    if ended != Ended::Unanswered {
        report.latency.record(took);
    }
}

fn request(visit: &'static Visit) -> Request<Body> {
    let mut request = Request::new(Body::default());
    *request.method_mut() = if visit.method == "POST" { Method::POST } else { Method::GET };
    *request.uri_mut() = Uri::from_static(visit.path);
    if let Ok(host) = HeaderValue::try_from(shop::host_of("gateway")) {
        request.headers_mut().insert(HOST, host);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn drive_for(seconds: u64, rate: f64, answer_after: Duration) -> LoadReport {
        let reports = watch::Sender::new(LoadReport::default());
        let visit = move |_: &'static Visit| async move {
            tokio::time::sleep(answer_after).await;
            Ended::Answered(200)
        };
        let stop = tokio::time::sleep(Duration::from_secs(seconds));
        drive(Arrivals::new(rate, 7), visit, stop, &reports).await;
        reports.borrow().clone()
    }

    fn due(rate: f64, seconds: u64) -> u64 {
        let mut arrivals = Arrivals::new(rate, 7);
        std::iter::repeat_with(|| arrivals.next_arrival())
            .take_while(|a| a.after < Duration::from_secs(seconds))
            .count() as u64
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_do_not_slow_the_load() {
        let fast = drive_for(20, 40.0, Duration::from_millis(5)).await;
        let slow = drive_for(20, 40.0, Duration::from_secs(15)).await;
        assert_eq!(fast.sent, due(40.0, 20));
        assert_eq!(slow.sent, fast.sent);
        assert_eq!((slow.skipped, slow.ended()), (0, slow.sent));
        assert!(slow.latency.quantile(0.5).is_some_and(|p50| p50 > Duration::from_secs(14)));
    }

    #[tokio::test(start_paused = true)]
    async fn arrivals_without_a_place_are_skipped_not_queued() {
        let stuck = drive_for(10, 200.0, Duration::from_secs(60)).await;
        assert_eq!(stuck.sent, MAX_IN_FLIGHT as u64);
        assert_eq!(stuck.sent + stuck.skipped, due(200.0, 10));
    }

    #[tokio::test]
    async fn a_shop_that_is_not_there_is_counted_as_unanswered() {
        let nowhere =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("address");
        let reports = watch::Sender::new(LoadReport::default());
        let mut seen = reports.subscribe();
        let stop = async move {
            seen.wait_for(|report| report.ended() >= 10).await.map(|_| ()).expect("the load runs");
        };
        run(nowhere, Arrivals::new(500.0, 7), stop, &reports).await;
        let report = reports.borrow().clone();
        assert_eq!((report.unanswered, report.succeeded), (report.sent, 0));
    }
}
