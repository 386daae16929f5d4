//! One figure over time, and how far an incident's windows exceed its baseline.

use std::time::Duration;

use tripline_model::Timestamp;

use crate::detect::{Settings, Verdicts, allowed};
use crate::robust::{SPREAD_FLOOR, median_and_mad, middle};

/// Mean of a figure over the requests of one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pane {
    pub(super) at: Timestamp,
    pub(super) length: Duration,
    pub(super) requests: f64,
    pub(super) value: f64,
}

/// Panes in the order of time, those of the same window (of several replicas, say) made one. Windows without requests tell nothing.
pub(super) fn panes(all: impl Iterator<Item = Option<Pane>>) -> Vec<Pane> {
    let mut panes: Vec<Pane> = all.flatten().filter(|pane| pane.requests > 0.0).collect();
    panes.sort_by(|a, b| {
        let requests = a.requests.total_cmp(&b.requests);
        a.at.cmp(&b.at).then(requests).then(a.value.total_cmp(&b.value)).then(a.length.cmp(&b.length))
    });
    panes.dedup_by(|next, kept| {
        let same = next.at == kept.at;
        if same {
            let requests = kept.requests + next.requests;
            kept.value = (kept.value * kept.requests + next.value * next.requests) / requests;
            kept.requests = requests;
        }
        same
    });
    panes
}

/// Which way is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Above,
    Below,
}

/// How a figure in the incident differs from its baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    /// Requests in the incident.
    pub(super) requests: f64,
    /// Median of the baseline.
    pub(super) normal: f64,
    /// What it may differ by before it counts: 3 MAD or 20 %.
    pub(super) allowed: f64,
    /// Mean over the requests of the incident, isolated windows smoothed.
    pub(super) seen: f64,
    /// Sum over requests of what is beyond the median on the bad side.
    pub(super) raw: f64,
    /// The part of it that is believed.
    pub(super) believed: f64,
    /// Whether it was beyond what is allowed in two of three windows.
    pub(super) holds: bool,
}

impl Shift {
    /// Belief over all requests, in 0..=1.
    pub(super) fn belief(&self) -> f64 {
        if self.raw > 0.0 { self.believed / self.raw } else { 0.0 }
    }
}

/// Measures `seen` against `baseline`; none when one of them is too short.
pub(super) fn shift(settings: &Settings, baseline: &[Pane], seen: &[Pane], side: Side) -> Option<Shift> {
    // A number of calls may well be constant: its spread needs no floor, because 20 % of it are a whole call.
    let floor = if side == Side::Above { SPREAD_FLOOR } else { 0.0 };
    let (normal, mad) = median_and_mad(baseline.iter().map(|pane| pane.value).collect(), floor)?;
    let requests: f64 = seen.iter().map(|pane| pane.requests).sum();
    if requests <= 0.0 {
        return None;
    }
    let allowed = allowed(settings, (normal.abs(), mad)).max(f64::MIN_POSITIVE.sqrt());
    let beyond = |value: f64| if side == Side::Above { value - normal } else { normal - value };
    let mut shift = Shift { requests, normal, allowed, seen: 0.0, raw: 0.0, believed: 0.0, holds: false };
    for (pane, value) in seen.iter().zip(smooth(settings, seen, side)) {
        let excess = beyond(value).max(0.0);
        shift.seen += value * pane.requests / requests;
        shift.raw += excess * pane.requests;
        shift.believed += excess * pane.requests * belief(excess / allowed);
    }
    let mut verdicts = Verdicts::default();
    for pane in seen.iter().filter(|pane| pane.requests >= settings.min_requests as f64) {
        let bad = beyond(pane.value) > allowed;
        verdicts.push(bad);
        shift.holds |= verdicts.hold() || (bad && stands_alone(settings, pane.length));
    }
    Some(shift)
}

/// How far an excess is believed that is `times` what is allowed.
pub(super) fn belief(times: f64) -> f64 {
    let square = times * times;
    if square.is_finite() { square / (1.0 + square) } else { 1.0 }
}

/// A window as long as three of the detector's has held two of three by itself.
pub(super) fn stands_alone(settings: &Settings, length: Duration) -> bool {
    length >= settings.window * 3
}

/// Each value replaced by the median of itself and its neighbours: one bad window among good ones goes. Of two windows the better counts.
fn smooth(settings: &Settings, panes: &[Pane], side: Side) -> Vec<f64> {
    let values: Vec<f64> = panes.iter().map(|pane| pane.value).collect();
    let alone = panes.first().is_none_or(|pane| stands_alone(settings, pane.length));
    match values.as_slice() {
        _ if alone => values,
        [a, b] => vec![if side == Side::Above { a.min(*b) } else { a.max(*b) }; 2],
        [_, _, _, ..] => (0..values.len())
            .map(|at| {
                let start = at.saturating_sub(1).min(values.len() - 3);
                values.get(start..start + 3).map_or(0.0, |three| middle(&mut three.to_vec()))
            })
            .collect(),
        _ => values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64], seconds: u64) -> Vec<Pane> {
        let length = Duration::from_secs(seconds);
        panes(values.iter().zip(0..).map(|(value, at)| {
            Some(Pane { at: Timestamp::from_secs(at * seconds), length, requests: 30.0, value: *value })
        }))
    }

    fn of(baseline: &[f64], seen: &[f64], seconds: u64) -> Shift {
        shift(&Settings::default(), &series(baseline, seconds), &series(seen, seconds), Side::Above).unwrap()
    }

    #[test]
    fn excess_is_counted_over_requests_and_believed_by_what_is_allowed() {
        let shift = of(&[10.0, 11.0, 10.0, 9.0], &[13.0, 13.0, 13.0], 5);
        assert_eq!((shift.normal, shift.allowed), (10.0, 3.0));
        assert_eq!((shift.raw, shift.believed, shift.seen), (270.0, 135.0, 13.0));
        assert!(!shift.holds && of(&[10.0, 11.0, 10.0, 9.0], &[13.1, 10.0, 13.1], 5).holds);
    }

    #[test]
    fn one_bad_short_window_is_noise_and_one_long_window_is_not() {
        assert_eq!(of(&[10.0; 9], &[10.0, 10.0, 500.0, 10.0], 5).raw, 0.0);
        assert_eq!(of(&[10.0; 9], &[10.0, 500.0], 5).raw, 0.0);
        assert!(of(&[10.0; 9], &[10.0, 10.0, 500.0, 10.0], 300).believed > 14_000.0);
    }

    #[test]
    fn fewer_than_three_windows_are_no_baseline() {
        assert!(shift(&Settings::default(), &series(&[1.0; 2], 5), &series(&[9.0; 5], 5), Side::Above).is_none());
        assert!(shift(&Settings::default(), &series(&[1.0; 5], 5), &[], Side::Above).is_none());
    }

    #[test]
    fn rows_of_one_window_become_one_pane() {
        let pane = |requests, value| {
            Some(Pane { at: Timestamp::from_secs(5), length: Duration::from_secs(5), requests, value })
        };
        let panes = panes([pane(10.0, 1.0), None, pane(0.0, 99.0), pane(30.0, 5.0)].into_iter());
        assert_eq!(panes.iter().map(|pane| (pane.requests, pane.value)).collect::<Vec<_>>(), [(40.0, 4.0)]);
    }
}
