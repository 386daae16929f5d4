//! Judging a past range of our own history again, with the thresholds that are given now.
//!
//! History keeps windows of ten seconds, the live detector judges five seconds made of panes of one. So what follows from counts is
//! seen up to ten seconds later, and onsets are known to ten seconds; breaker transitions are kept to the
//! nanosecond and open incidents as fast as they did. What reached the collector later than fifteen seconds is in no window. Histograms,
//! reporters, protocols and kinds of nodes are kept whole. Ids of incidents are made anew.
//!
//! The windows before the range only teach the baselines: what they bring is not told, unless it goes on into the range.
//! After the end nothing is known, and nothing is made of the silence.

use std::time::Duration;

use tripline_model::Timestamp;
use tripline_topology::detect::{Evaluation, Settings};
use tripline_topology::replay::{Replay, Replayed};

use crate::past::Past;

/// What the detector would have told between two times.
pub(super) fn judge(past: &Past, (from, to): (Timestamp, Timestamp), settings: Settings) -> Replayed {
    let longest = past.windows.iter().map(|window| window.length.as_secs()).max().unwrap_or(0);
    let settings = Settings { window: settings.window.max(Duration::from_secs(longest)), ..settings };
    let mut replayed = Replayed::default();
    Replay::new(settings).run((&past.windows, &past.transitions), &settings, |now, evaluation| {
        if now <= to {
            take(&mut replayed, now, evaluation);
        }
    });
    replayed.notices.retain(|(at, ..)| *at >= from);
    replayed.incidents.retain(|incident| incident.resolved.is_none_or(|resolved| resolved >= from));
    replayed
}

fn take(replayed: &mut Replayed, now: Timestamp, evaluation: Evaluation) {
    for incident in evaluation.changed {
        match replayed.incidents.iter_mut().find(|known| known.id == incident.id) {
            Some(known) => *known = incident,
            None => replayed.incidents.push(incident),
        }
    }
    for (notice, id) in evaluation.notices {
        if let Some(incident) = replayed.incidents.iter().find(|known| known.id == id) {
            replayed.notices.push((now, notice, incident.clone()));
        }
    }
    replayed.incidents.retain(|incident| !evaluation.merged.contains(&incident.id));
}

#[cfg(test)]
mod tests {
    use tripline_model::{EdgeCounts, EdgeWindow, Histogram, NodeKind, Reporter};
    use tripline_topology::detect::Notice;

    use super::*;

    const START: u64 = 1_700_000_000;

    /// Ten minutes of user > web > db; db fails everything from `fault` on for a minute.
    fn past(fault: u64) -> Past {
        let mut windows = Vec::new();
        for at in (0..600).step_by(10) {
            for (client, server) in [("user", "shop/web"), ("shop/web", "shop/db")] {
                for reporter in [Reporter::Client, Reporter::Server] {
                    if client == "user" && reporter == Reporter::Client {
                        continue;
                    }
                    let failed = if (fault..fault + 60).contains(&at) { 500 } else { 0 };
                    let (own, passed) = if server == "shop/db" { (failed, 0) } else { (0, failed) };
                    let mut latency = Histogram::default();
                    (0..500).for_each(|_| latency.record(Duration::from_millis(5)));
                    windows.push(EdgeWindow {
                        key: format!("{client}>{server}:http").parse().expect("an edge"),
                        reporter,
                        client_kind: if client == "user" { NodeKind::User } else { NodeKind::Service },
                        server_kind: NodeKind::Service,
                        start: Timestamp::from_secs(START + at),
                        length: Duration::from_secs(10),
                        counts: EdgeCounts {
                            requests: 500,
                            failed,
                            attempts: 500,
                            answered_failures: failed,
                            origin_failures: if reporter == Reporter::Server { own } else { 0 },
                            propagated_failures: if reporter == Reporter::Server { passed } else { 0 },
                            ..EdgeCounts::default()
                        },
                        latency: latency.clone(),
                        self_time: latency,
                        secured: false,
                    });
                }
            }
        }
        Past { windows, transitions: Vec::new() }
    }

    fn told(fault: u64, range: (u64, u64), settings: Settings) -> Vec<(Notice, u64, String)> {
        let at = |seconds| Timestamp::from_secs(START + seconds);
        let replayed = judge(&past(fault), (at(range.0), at(range.1)), settings);
        let origin = |incident: &tripline_topology::detect::Incident| {
            incident.origin().map(|origin| origin.service.to_string()).unwrap_or_default()
        };
        replayed.notices.iter().map(|(at, notice, i)| (*notice, at.as_secs() - START, origin(i))).collect()
    }

    #[test]
    fn a_past_fault_is_told_again_with_its_origin_within_two_windows() {
        let all = told(300, (0, 600), Settings::default());
        assert_eq!(
            all.first().map(|(notice, _, origin)| (*notice, origin.as_str())),
            Some((Notice::Opened, "shop/db"))
        );
        assert!((310..=325).contains(&all[0].1), "{all:?}");
        assert_eq!(all.last().map(|(notice, ..)| *notice), Some(Notice::Resolved), "{all:?}");
    }

    #[test]
    fn thresholds_given_now_decide() {
        let deaf = Settings { min_failures: 1_000_000, ..Settings::default() };
        assert_eq!(told(300, (0, 600), deaf), []);
    }

    #[test]
    fn only_what_falls_into_the_range_is_told_and_silence_after_it_is_no_recovery() {
        let before_the_end = told(300, (0, 350), Settings::default());
        assert_eq!(before_the_end.len(), 1, "opened and nothing else: {before_the_end:?}");
        let after_the_opening = told(300, (340, 600), Settings::default());
        assert!(after_the_opening.iter().all(|(notice, ..)| *notice != Notice::Opened), "{after_the_opening:?}");
    }
}
