//! What a service answers, and how long it takes for that.

use std::f64::consts::TAU;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// Spread of the own time: a tenth of the requests takes 1.6 times the median or longer, a hundredth 2.3 times.
const SIGMA: f64 = 0.36;
/// No request takes longer than so many medians.
const LONGEST_MEDIANS: f64 = 4.0;

/// Draws a time from the log-normal distribution with this median, as service times are distributed, its tail cut.
pub(super) fn own_time(median_us: u32) -> Duration {
    let (radius, angle) = (rand::random::<f64>(), rand::random::<f64>() * TAU);
    // Box and Muller: two uniform numbers make a normal one; 1 - u keeps the logarithm away from zero.
    let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * angle.cos();
    let medians = (SIGMA * normal).exp().min(LONGEST_MEDIANS);
    Duration::from_micros((f64::from(median_us) * medians) as u64)
}

/// All is well, apart from optional services that did not answer.
pub(super) fn done(service: &str, left_out: &[&str]) -> Response<Full<Bytes>> {
    let left_out: Vec<String> = left_out.iter().map(|name| format!("\"{name}\"")).collect();
    json(StatusCode::OK, format!("{{\"service\":\"{service}\",\"left_out\":[{}]}}\n", left_out.join(",")))
}

/// It failed; `reason` is made of our own words, which need no escaping.
pub(super) fn failed(status: StatusCode, service: &str, reason: &str) -> Response<Full<Bytes>> {
    json(status, format!("{{\"service\":\"{service}\",\"error\":\"{}\"}}\n", reason.replace(['"', '\\'], "'")))
}

/// There is nothing at this path.
pub(super) fn not_found(service: &str) -> Response<Full<Bytes>> {
    failed(StatusCode::NOT_FOUND, service, "nothing at this path")
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_times_lie_around_the_median_and_are_bounded() {
        let mut times: Vec<u128> = (0..4001).map(|_| own_time(3000).as_micros()).collect();
        times.sort_unstable();
        assert!((2800..3200).contains(&times[2000]), "{}", times[2000]);
        assert!(times[4000] <= 12_000);
        assert!(times[3600] > 4000, "no tail: {}", times[3600]);
    }
}
