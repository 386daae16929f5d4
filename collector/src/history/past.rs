//! The graph as it was: which stored windows make it up.
//!
//! Windows are stored three times, by ten seconds, minutes and hours, each kept longer than the one before. A question takes the
//! coarsest that gives the same answer, for they are fewer: hours where both ends of the range are full hours, and so on. Where that
//! is not so, it asks for precision that it does not need once the range is a hundred panes long: the ends are rounded down. What is
//! not added up yet at the end of the range comes from the finer windows. Where the finer windows are gone, the range
//! grows to whole panes of those that are left; the answer tells its true range.

use std::time::Duration;

use polars::prelude::*;
use tripline_model::{EdgeWindow, Timestamp};

use super::History;
use super::edges;
use super::kind::Kind;
use super::manifest::Manifest;
use super::query::{QueryError, starts_in};

/// Length of the finest stored windows; past times are rounded down to it.
pub const PANE: Duration = Duration::from_secs(10);
/// A range of so many panes needs no better precision than one of them.
const PRECISE: u32 = 100;
/// The kinds of windows, coarsest first.
const KINDS: [Kind; 3] = [Kind::EdgesHour, Kind::EdgesMinute, Kind::Edges];

/// A range of time, the end not included.
type Range = (Timestamp, Timestamp);

impl History {
    /// The stored windows that make up the graph over the last `window` before `at`, with the true range they stand for.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn windows_at(&self, at: Timestamp, window: Duration) -> Result<(Range, Vec<EdgeWindow>), QueryError> {
        self.ask(move |question| {
            let manifest = &question.contents.manifest;
            let (kind, range) = choose(manifest, at, window);
            let mut windows = Vec::new();
            for (kind, part) in parts(manifest, kind, range) {
                let read = |rows: LazyFrame| rows.filter(starts_in(part));
                let rows = question.collect(kind, |e| e.overlaps(part.0, part.1), read)?;
                windows.extend(edges::decode(&rows)?);
            }
            Ok((range, windows))
        })
        .await
    }

    /// The windows of [`PANE`] that start in `[from, to)`, as far as they are still kept.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn edge_windows(&self, from: Timestamp, to: Timestamp) -> Result<Vec<EdgeWindow>, QueryError> {
        self.ask(move |question| {
            let read = |rows: LazyFrame| rows.filter(starts_in((from, to)));
            let rows = question.collect(Kind::Edges, |e| e.overlaps(from, to), read)?;
            Ok(edges::decode(&rows)?)
        })
        .await
    }
}

/// The coarsest kind of windows that tells enough about the `window` before `at`, and the range that they stand for.
fn choose(manifest: &Manifest, at: Timestamp, window: Duration) -> (Kind, Range) {
    let fine = (at.window_start(PANE) - window, at.window_start(PANE));
    let asked = fine.0.max(oldest(manifest).unwrap_or(fine.0));
    for kind in KINDS {
        let pane = kind.pane().unwrap_or(PANE);
        let is_exact = fine.0.window_start(pane) == fine.0 && fine.1.window_start(pane) == fine.1;
        let is_added_up = manifest.rolled.until(kind).is_none_or(|until| fine.0 < until);
        if is_added_up && (is_exact || window >= pane * PRECISE) && covers(manifest, kind, asked) {
            let end = fine.1.window_start(pane);
            return (kind, ((end - window).window_start(pane), end));
        }
    }
    let Some(kind) = KINDS.into_iter().rev().find(|kind| covers(manifest, *kind, asked)) else {
        return (Kind::Edges, fine);
    };
    let pane = kind.pane().unwrap_or(PANE);
    let end = fine.1.window_start(pane);
    (kind, (fine.0.window_start(pane), if end < fine.1 { end + pane } else { end }))
}

/// Whether windows of a kind reach back to `from`, to the hour. The finest do while nothing tells otherwise: they may be in memory.
fn covers(manifest: &Manifest, kind: Kind, from: Timestamp) -> bool {
    let hour = Duration::from_secs(3_600);
    match first(manifest, kind) {
        Some(first) => first.window_start(hour) <= from,
        None => kind == Kind::Edges && oldest(manifest).is_none(),
    }
}

fn oldest(manifest: &Manifest) -> Option<Timestamp> {
    KINDS.into_iter().filter_map(|kind| first(manifest, kind)).min()
}

fn first(manifest: &Manifest, kind: Kind) -> Option<Timestamp> {
    manifest.files.iter().filter(|e| e.kind == kind).map(|e| Timestamp::from_nanos(e.from)).min()
}

/// Which kind tells about which part of the range: `kind` as far as windows were added up into it, finer ones from there on.
fn parts(manifest: &Manifest, kind: Kind, (from, to): Range) -> Vec<(Kind, Range)> {
    let mut parts = Vec::new();
    let mut begin = from;
    for finer in KINDS.into_iter().skip_while(|one| *one != kind) {
        let end = manifest.rolled.until(finer).map_or(to, |until| until.min(to));
        if begin < end {
            parts.push((finer, (begin, end)));
            begin = end;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::manifest::Entry;
    use crate::history::rollup::Rolled;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;

    /// Ten seconds since day 399, minutes since day 370, hours since day 1; everything added up to the end of day 400.
    fn manifest() -> Manifest {
        let file = |kind, day: u64| Entry {
            kind,
            path: String::new(),
            written_at: 0,
            from: Timestamp::from_secs(day * DAY).as_nanos(),
            to: Timestamp::from_secs(400 * DAY).as_nanos(),
            rows: 1,
            bytes: 1,
            level: 2,
            services: None,
            has_operations: false,
        };
        let files = vec![file(Kind::Edges, 399), file(Kind::EdgesMinute, 370), file(Kind::EdgesHour, 1)];
        Manifest { files, rolled: Rolled::up_to(Timestamp::from_secs(400 * DAY)), ..Manifest::default() }
    }

    fn chosen(at: u64, window: u64) -> (Kind, u64, u64) {
        let (kind, (from, to)) = choose(&manifest(), Timestamp::from_secs(at), Duration::from_secs(window));
        (kind, from.as_secs(), to.as_secs())
    }

    #[test]
    fn the_coarsest_windows_that_tell_enough_answer() {
        let noon = 399 * DAY + 12 * HOUR;
        let long_ago = 380 * DAY + 12 * HOUR;
        let very_long_ago = 100 * DAY + 12 * HOUR;
        let table = [
            ("a full minute", (noon, 60), (Kind::EdgesMinute, noon - 60, noon)),
            ("half a minute", (noon, 30), (Kind::Edges, noon - 30, noon)),
            ("across minutes", (noon + 37, 60), (Kind::Edges, noon - 30, noon + 30)),
            ("a full hour", (noon, HOUR), (Kind::EdgesHour, noon - HOUR, noon)),
            ("two hours, roughly", (noon + 37, 2 * HOUR), (Kind::EdgesMinute, noon - 2 * HOUR, noon)),
            ("when seconds are gone", (long_ago + 37, 60), (Kind::EdgesMinute, long_ago - 60, long_ago + 60)),
            (
                "when minutes are gone",
                (very_long_ago + 37, 60),
                (Kind::EdgesHour, very_long_ago - HOUR, very_long_ago + HOUR),
            ),
            ("a month", (noon + 37, 30 * DAY), (Kind::EdgesHour, noon - 30 * DAY, noon)),
            ("now", (400 * DAY + 600, 60), (Kind::Edges, 400 * DAY + 540, 400 * DAY + 600)),
        ];
        for (what, (at, window), expected) in table {
            assert_eq!(chosen(at, window), expected, "{what}");
        }
    }

    #[test]
    fn what_is_not_added_up_yet_comes_from_finer_windows() {
        let at = |seconds| Timestamp::from_secs(400 * DAY + seconds);
        let rest = parts(&manifest(), Kind::EdgesHour, (at(0) - Duration::from_secs(HOUR), at(600)));
        assert_eq!(
            rest,
            [(Kind::EdgesHour, (at(0) - Duration::from_secs(HOUR), at(0))), (Kind::Edges, (at(0), at(600))),]
        );
    }

    #[test]
    fn a_young_collector_has_only_what_is_in_memory() {
        let at = Timestamp::from_secs(1_000);
        let told = choose(&Manifest::default(), at, Duration::from_secs(60));
        assert_eq!(told, (Kind::Edges, (Timestamp::from_secs(940), at)));
    }
}
