//! Windows of edges added up: ten seconds to minutes, minutes to hours, so that months of the graph are small and quick to read.
//!
//! Adding up reads what is on disk and writes files of the coarser kind; how far it came ([`Rolled`]) is stored in the same
//! manifest that names those files, so that after a crash at any moment each window was added up once or not at all. A minute is
//! added up [`LATE`] after its end, in which the live graph takes late reports, and a few at a time ([`AT_ONCE`]); an hour once all of
//! its minutes are. A window that comes later still is kept as it is, and answers as long as windows of ten seconds are kept.
//!
//! Counts add up and histograms merge without loss, so a quantile over a year is as exact as one over ten seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tripline_model::{EdgeKey, EdgeWindow, NodeKind, Reporter, Timestamp};

use super::kind::Kind;
use super::manifest::{Entry, Manifest};

/// How long after its end a minute is added up.
const LATE: Duration = Duration::from_secs(180);
/// Minutes that are added up together, to write few files; as many again when there is a backlog.
const AT_ONCE: Duration = Duration::from_secs(300);
/// Windows of ten seconds beyond which minutes are added up one by one, to bound memory.
const MANY_ROWS: u64 = 400_000;

/// Up to when windows were added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Rolled {
    /// Into minutes, in nanoseconds.
    minutes: u64,
    /// Into hours, in nanoseconds.
    hours: u64,
}

/// Windows that are to be added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// What they are.
    pub(super) of: Kind,
    /// What they become.
    pub(super) into: Kind,
    /// Those that start from here on.
    pub(super) from: Timestamp,
    /// And before this.
    pub(super) to: Timestamp,
}

impl Rolled {
    /// Everything up to `at`.
    #[cfg(test)]
    pub(super) const fn up_to(at: Timestamp) -> Self {
        Self { minutes: at.as_nanos(), hours: at.as_nanos() }
    }

    /// As far as the files tell: to the end of the latest sum of each kind.
    pub(super) fn of_files(files: &[Entry]) -> Self {
        let end = |kind: Kind| {
            let latest = files.iter().filter(|e| e.kind == kind).map(|e| Timestamp::from_nanos(e.to)).max();
            latest.zip(kind.pane()).map_or(0, |(start, pane)| (start + pane).as_nanos())
        };
        Self { minutes: end(Kind::EdgesMinute), hours: end(Kind::EdgesHour) }
    }

    /// Up to when windows of a kind are there; none for a kind that nothing is added up into.
    pub(super) const fn until(self, kind: Kind) -> Option<Timestamp> {
        match kind {
            Kind::EdgesMinute => Some(Timestamp::from_nanos(self.minutes)),
            Kind::EdgesHour => Some(Timestamp::from_nanos(self.hours)),
            _ => None,
        }
    }

    /// Whether rows of `kind` that start up to `at` were added up, if they ever are.
    pub(super) fn holds(self, kind: Kind, at: Timestamp) -> bool {
        match kind {
            Kind::Edges => at.as_nanos() < self.minutes,
            Kind::EdgesMinute => at.as_nanos() < self.hours,
            _ => true,
        }
    }

    /// Notes that `due` was added up.
    pub(super) fn note(&mut self, due: &Due) {
        match due.into {
            Kind::EdgesHour => self.hours = due.to.as_nanos(),
            _ => self.minutes = due.to.as_nanos(),
        }
    }
}

/// What is to be added up next, if anything.
pub(super) fn due(manifest: &Manifest, now: Timestamp) -> Option<Due> {
    hours(manifest).or_else(|| minutes(manifest, now))
}

fn minutes(manifest: &Manifest, now: Timestamp) -> Option<Due> {
    let pane = Kind::EdgesMinute.pane()?;
    let done = Timestamp::from_nanos(manifest.rolled.minutes);
    let from = first(manifest, Kind::Edges, done)?.window_start(pane);
    let end = (now - LATE).window_start(pane);
    if end < from + AT_ONCE {
        return None;
    }
    let rows: u64 = sources(manifest, Kind::Edges, (from, from + AT_ONCE)).map(|entry| entry.rows).sum();
    let length = if rows > MANY_ROWS { pane } else { AT_ONCE };
    Some(Due { of: Kind::Edges, into: Kind::EdgesMinute, from, to: from + length })
}

fn hours(manifest: &Manifest) -> Option<Due> {
    let pane = Kind::EdgesHour.pane()?;
    let done = Timestamp::from_nanos(manifest.rolled.hours);
    let from = first(manifest, Kind::EdgesMinute, done)?.window_start(pane);
    let to = from + pane;
    (to.as_nanos() <= manifest.rolled.minutes).then_some(Due { of: Kind::EdgesMinute, into: Kind::EdgesHour, from, to })
}

/// The earliest time from `done` on that a file of a kind may tell about.
fn first(manifest: &Manifest, kind: Kind, done: Timestamp) -> Option<Timestamp> {
    let files = manifest.files.iter().filter(|e| e.kind == kind && e.to >= done.as_nanos());
    files.map(|e| Timestamp::from_nanos(e.from).max(done)).min()
}

/// Files with windows of a kind that start in `[from, to)`.
pub(super) fn sources(
    manifest: &Manifest,
    kind: Kind,
    (from, to): (Timestamp, Timestamp),
) -> impl Iterator<Item = &Entry> {
    manifest.files.iter().filter(move |e| e.kind == kind && e.from < to.as_nanos() && e.to >= from.as_nanos())
}

/// Windows added up, by edge, reporter and pane.
#[derive(Debug)]
pub(super) struct Sums {
    pane: Duration,
    sums: BTreeMap<(Timestamp, EdgeKey, Reporter), EdgeWindow>,
}

impl Sums {
    /// None yet, to be added up over `pane`.
    pub(super) const fn over(pane: Duration) -> Self {
        Self { pane, sums: BTreeMap::new() }
    }

    /// Adds a window to the pane it starts in.
    pub(super) fn add(&mut self, window: EdgeWindow) {
        let start = window.start.window_start(self.pane);
        let pane = self.pane;
        match self.sums.entry((start, window.key.clone(), window.reporter)) {
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(EdgeWindow { start, length: pane, ..window });
            }
            std::collections::btree_map::Entry::Occupied(mut sum) => {
                let sum = sum.get_mut();
                sum.counts.merge(&window.counts);
                sum.latency.merge(&window.latency);
                sum.self_time.merge(&window.self_time);
                sum.secured &= window.secured;
                // Whoever is not told apart yet counts as a service.
                let told = |known, now| if known == NodeKind::Service { now } else { known };
                sum.client_kind = told(sum.client_kind, window.client_kind);
                sum.server_kind = told(sum.server_kind, window.server_kind);
            }
        }
    }

    /// The sums, in order of time.
    pub(super) fn windows(&self) -> impl Iterator<Item = &EdgeWindow> {
        self.sums.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::window;
    use proptest::prelude::*;

    fn file(kind: Kind, from: u64, to: u64, rows: u64) -> Entry {
        let nanos = |seconds: u64| Timestamp::from_secs(seconds).as_nanos();
        Entry {
            kind,
            path: format!("{from}"),
            written_at: nanos(to),
            from: nanos(from),
            to: nanos(to),
            rows,
            bytes: 1,
            level: 0,
            services: None,
            has_operations: false,
        }
    }

    fn told(manifest: &Manifest, now: u64) -> Option<(Kind, u64, u64)> {
        due(manifest, Timestamp::from_secs(now)).map(|due| (due.into, due.from.as_secs(), due.to.as_secs()))
    }

    #[test]
    fn minutes_wait_for_late_reports_and_hours_for_their_minutes() {
        let mut manifest = Manifest { files: vec![file(Kind::Edges, 7_230, 12_000, 100)], ..Manifest::default() };
        assert_eq!(told(&manifest, 7_679), None);
        assert_eq!(told(&manifest, 7_680), Some((Kind::EdgesMinute, 7_200, 7_500)));
        let mut steps = Vec::new();
        while let Some(due) = due(&manifest, Timestamp::from_secs(12_000)) {
            manifest.rolled.note(&due);
            manifest.files.push(file(due.into, due.from.as_secs(), due.to.as_secs() - 60, 1));
            steps.push((due.into, due.from.as_secs(), due.to.as_secs()));
        }
        assert_eq!(steps.len(), 15 + 1, "{steps:?}");
        assert_eq!(steps[12], (Kind::EdgesHour, 7_200, 10_800));
        assert_eq!(steps[15], (Kind::EdgesMinute, 11_400, 11_700));
    }

    #[test]
    fn a_pause_is_passed_over_and_a_crowd_taken_minute_by_minute() {
        let rolled = Rolled::up_to(Timestamp::from_secs(7_200));
        let later = file(Kind::Edges, 90_000, 93_000, MANY_ROWS + 1);
        let manifest = Manifest { rolled, files: vec![later], ..Manifest::default() };
        assert_eq!(told(&manifest, 100_000), Some((Kind::EdgesMinute, 90_000, 90_060)));
    }

    proptest! {
        #[test]
        fn adding_up_in_steps_is_adding_up_at_once(seconds in prop::collection::vec((0u64..7_200, 0u64..9), 1..60)) {
            let windows = || seconds.iter().map(|(at, requests)| window(*at, *requests));
            let (mut minutes, mut stepwise) = (Sums::over(Duration::from_secs(60)), Sums::over(Duration::from_secs(3_600)));
            windows().for_each(|window| minutes.add(window));
            minutes.windows().for_each(|window| stepwise.add(window.clone()));
            let mut at_once = Sums::over(Duration::from_secs(3_600));
            windows().for_each(|window| at_once.add(window));
            let told = |sums: &Sums| -> Vec<_> {
                sums.windows().map(|w| (w.start, w.counts, w.latency.buckets().collect::<Vec<_>>())).collect()
            };
            prop_assert_eq!(told(&stepwise), told(&at_once));
        }
    }
}
