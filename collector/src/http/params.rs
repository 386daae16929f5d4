//! Query parameters: how each is written, what stands for one left out, and within what bounds it must lie.

use std::time::Duration;

use serde::Deserialize;
use tripline_model::{Timestamp, TraceId};
use utoipa::IntoParams;

use super::answer::Refusal;
use crate::clock::{self, parse_rfc3339};
use crate::history::{MAX_LIMIT, Page};

/// The window that the published view holds.
pub(super) const VIEW_WINDOW: Duration = Duration::from_secs(60);
/// The longest window of the live graph.
const LONGEST_WINDOW: Duration = Duration::from_secs(600);
/// The longest window of the past: as long as windows of hours are kept by default.
const LONGEST_PAST: Duration = Duration::from_secs(400 * 86_400);
const DEFAULT_LIMIT: usize = 50;
/// What is looked through when no `from` is given.
const DEFAULT_RANGE: Duration = Duration::from_secs(3_600);

/// Of which graph.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct GraphParams {
    /// Length of the window: `60s`, `5m`, `2h`, `7d`, or seconds; 60 s when left out. 1 s to 10 min, with `at` up to 400 days.
    pub(super) window: Option<String>,
    /// End of the window, from history: RFC 3339 or Unix seconds; now when left out. Rounded down to ten seconds, and to minutes or
    /// hours in a window of 100 of them or where only these are stored: the answer tells its true window.
    pub(super) at: Option<String>,
    /// Only this namespace and what talks to it.
    pub(super) namespace: Option<String>,
}

/// Which two graphs.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DifferenceParams {
    /// End of the window to compare with: RFC 3339 or Unix seconds.
    pub(super) compare: String,
    /// End of the window to look at; now when left out.
    pub(super) at: Option<String>,
    /// Length of both windows: `60s`, `5m`, `2h`, `7d`, or seconds; 60 s when left out. 1 s to 10 min, with `at` up to 400 days.
    pub(super) window: Option<String>,
    /// Only this namespace and what talks to it.
    pub(super) namespace: Option<String>,
}

/// Which operations.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationParams {
    /// Node id of the service.
    pub(super) service: String,
    /// From when: RFC 3339 or Unix seconds; an hour before `to` when left out.
    pub(super) from: Option<String>,
    /// Until when: RFC 3339 or Unix seconds; now when left out.
    pub(super) to: Option<String>,
    /// 1 to 1000; 50 when left out.
    pub(super) limit: Option<usize>,
}

/// Over which window.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowParams {
    /// Length of the window: `60s`, `5m`, `2h`, `7d`, or seconds; 60 s when left out. 1 s to 10 min, with `at` up to 400 days.
    pub(super) window: Option<String>,
    /// End of the window, from history: RFC 3339 or Unix seconds; now when left out. Rounded down as for the graph.
    pub(super) at: Option<String>,
}

/// Between whom.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainParams {
    /// Node id of who calls.
    pub(super) client: String,
    /// Node id of who is called.
    pub(super) server: String,
}

/// In which range of time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RangeParams {
    /// From when: RFC 3339 or Unix seconds.
    pub(super) from: Option<String>,
    /// Until when: RFC 3339 or Unix seconds.
    pub(super) to: Option<String>,
}

/// Which incidents.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct IncidentParams {
    /// From when: RFC 3339 or Unix seconds; with neither `from` nor `to`, unresolved ones and those of the last hour.
    pub(super) from: Option<String>,
    /// Until when: RFC 3339 or Unix seconds; now when only `from` is given.
    pub(super) to: Option<String>,
    /// Of these levels, separated by commas.
    pub(super) level: Option<String>,
    /// In these phases, separated by commas.
    pub(super) phase: Option<String>,
    /// Node id of a service that is suspected or hurt.
    pub(super) service: Option<String>,
    /// 1 to 1000; 200 when left out.
    pub(super) limit: Option<usize>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

/// In which range of time, and which page of it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PageParams {
    /// From when: RFC 3339 or Unix seconds; an hour before `to` when left out.
    pub(super) from: Option<String>,
    /// Until when: RFC 3339 or Unix seconds; now when left out.
    pub(super) to: Option<String>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

/// Which traces.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceParams {
    /// Node id of a service that has a span in it.
    pub(super) service: Option<String>,
    /// Name of a span in it; of that service, when one is given.
    pub(super) operation: Option<String>,
    /// `KEY=VALUE` of an attribute of a span in it; of that service and name, when given.
    pub(super) attribute: Option<String>,
    /// Least duration in milliseconds.
    pub(super) min_ms: Option<f64>,
    /// With a span in error, or without any.
    pub(super) error: Option<bool>,
    /// From when: RFC 3339 or Unix seconds; an hour before `to` when left out.
    pub(super) from: Option<String>,
    /// Until when: RFC 3339 or Unix seconds; now when left out.
    pub(super) to: Option<String>,
    /// 1 to 1000; 50 when left out.
    pub(super) limit: Option<usize>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

/// Which log records.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogParams {
    /// Node id of the service.
    pub(super) service: Option<String>,
    /// Trace id.
    pub(super) trace: Option<String>,
    /// Text that the body or the event name holds, upper and lower case alike.
    pub(super) q: Option<String>,
    /// From when: RFC 3339 or Unix seconds; an hour before `to` when left out.
    pub(super) from: Option<String>,
    /// Until when: RFC 3339 or Unix seconds; now when left out.
    pub(super) to: Option<String>,
    /// 1 to 1000; 50 when left out.
    pub(super) limit: Option<usize>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

/// The length of a window of the live graph.
pub(super) fn window(text: Option<&str>) -> Result<Duration, Refusal> {
    let expected = "expected 1s to 10m, such as 60s or 5m; with `at` longer ones, too";
    length(text, LONGEST_WINDOW, expected)
}

/// The length of a window of the past.
pub(super) fn past_window(text: Option<&str>) -> Result<Duration, Refusal> {
    length(text, LONGEST_PAST, "expected 1s to 400d, such as 60s, 5m, 2h or 7d")
}

fn length(text: Option<&str>, longest: Duration, expected: &str) -> Result<Duration, Refusal> {
    let Some(text) = text else { return Ok(VIEW_WINDOW) };
    let units = [('s', 1.0), ('m', 60.0), ('h', 3_600.0), ('d', 86_400.0)];
    let unit = units.into_iter().find_map(|(letter, seconds)| Some((text.strip_suffix(letter)?, seconds)));
    let (number, unit) = unit.unwrap_or((text, 1.0));
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|window| (Duration::from_secs(1)..=longest).contains(window))
        .ok_or_else(|| Refusal::bad_request(format!("window: {expected}; got \"{text}\"")))
}

/// `KEY=VALUE`.
pub(super) fn attribute(text: Option<&str>) -> Result<Option<(String, String)>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
        Refusal::bad_request(format!("attribute: expected KEY=VALUE such as http.route=/cart, got \"{text}\""))
    })?;
    Ok(Some((key.to_owned(), value.to_owned())))
}

/// A point in time.
pub(super) fn time(name: &str, text: &str) -> Result<Timestamp, Refusal> {
    let seconds = || text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parse_rfc3339(text).or_else(|| seconds().map(|since| Timestamp::default() + since)).ok_or_else(|| {
        let expected = "expected a time such as 2026-11-21T09:00:00Z or Unix seconds";
        Refusal::bad_request(format!("{name}: {expected}, got \"{text}\""))
    })
}

/// A range of time: the last hour when nothing is said.
pub(super) fn range(from: Option<&str>, to: Option<&str>) -> Result<(Timestamp, Timestamp), Refusal> {
    let to = to.map_or_else(|| Ok(clock::now()), |text| time("to", text))?;
    let from = from.map_or_else(|| Ok(to - DEFAULT_RANGE), |text| time("from", text))?;
    if from > to {
        return Err(Refusal::bad_request("from: expected a time before to"));
    }
    Ok((from, to))
}

/// Words of a list separated by commas; none when nothing is said.
pub(super) fn words<T: Copy + std::fmt::Display>(name: &str, text: Option<&str>, all: &[T]) -> Result<Vec<T>, Refusal> {
    let word = |word: &str| all.iter().copied().find(|known| known.to_string() == word);
    let list = text.into_iter().flat_map(|text| text.split(','));
    list.map(|text| {
        word(text.trim()).ok_or_else(|| {
            let known = all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Refusal::bad_request(format!("{name}: expected some of {known}, got \"{text}\""))
        })
    })
    .collect()
}

/// A page of a range of time.
pub(super) fn page(
    (from, to): (Timestamp, Timestamp),
    limit: Option<usize>,
    cursor: Option<String>,
) -> Result<Page, Refusal> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Refusal::bad_request(format!("limit: expected 1 to {MAX_LIMIT}, got {limit}")));
    }
    Ok(Page { from, to, limit, cursor })
}

/// A trace id as W3C writes it (32 hexadecimal digits) or as X-Ray does (`1-8 digits-24 digits`).
pub(super) fn trace_id(text: &str) -> Result<TraceId, Refusal> {
    let joined = text.strip_prefix("1-").map(|rest| rest.replacen('-', "", 1));
    joined.as_deref().unwrap_or(text).parse().map_err(|error| {
        let expected = "expected 32 hexadecimal digits, or X-Ray's 1-8-24 form";
        Refusal::bad_request(format!("trace: {expected}, got \"{text}\": {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_within_bounds() {
        for (text, seconds) in [("60s", 60.0), ("5m", 300.0), ("90", 90.0), ("1.5s", 1.5), ("10m", 600.0)] {
            assert_eq!(window(Some(text)).unwrap().as_secs_f64(), seconds, "{text}");
        }
        assert_eq!(window(None), Ok(VIEW_WINDOW));
        for text in ["", "0s", "11m", "-5s", "NaN", "inf", "1h", "60 s", "1e300m"] {
            assert!(window(Some(text)).is_err(), "{text}");
        }
        for (text, seconds) in [("60s", 60), ("2h", 7_200), ("400d", 400 * 86_400)] {
            assert_eq!(past_window(Some(text)), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(past_window(Some("401d")).is_err() && past_window(Some("1w")).is_err());
    }

    #[test]
    fn attributes_are_a_key_and_a_value() {
        assert_eq!(attribute(Some("a=b=c")), Ok(Some(("a".into(), "b=c".into()))));
        assert_eq!(attribute(None), Ok(None));
        assert!(attribute(Some("a")).is_err() && attribute(Some("=b")).is_err());
    }

    #[test]
    fn times_are_rfc_3339_or_unix_seconds() {
        let at = Timestamp::from_secs(1_795_251_600);
        for text in ["2026-11-21T09:00:00Z", "1795251600", "1795251600.0"] {
            assert_eq!(time("at", text), Ok(at), "{text}");
        }
        assert!(time("at", "yesterday").is_err() && time("at", "-5").is_err() && time("at", "NaN").is_err());
        assert!(range(Some("5"), Some("4")).is_err());
    }

    #[test]
    fn trace_ids_come_in_two_forms() {
        let plain = trace_id("5759e988bd862e3fe1be46a994272793").unwrap();
        assert_eq!(trace_id("1-5759e988-bd862e3fe1be46a994272793"), Ok(plain));
        assert!(trace_id("1-5759e988").is_err() && trace_id("").is_err() && trace_id(&"0".repeat(32)).is_err());
    }
}
