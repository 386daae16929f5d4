//! Which files to merge and which to let go: decisions only, the work is in [`super::job`].
//!
//! A flush every ten seconds makes 360 files an hour of each kind. [`MERGE_AT`] of them become one while the hour lasts, and
//! when it is over the whole hour becomes one file, or several of at most [`MAX_MERGED_ROWS`] rows: a quiet week of a kind is then
//! some 200 files, and each row was written three times. Neighbours in time are merged with each other, so that a question
//! about a short time opens few files.
//!
//! Files go when all their rows are older than the retention. Those of a kind go, the oldest first, when they exceed a disk budget of
//! their own, and the oldest of all when everything exceeds the whole budget: spans, logs and ten-second windows before
//! windows of minutes, those before windows of hours, and breaker events and incidents last: they are small, and one wants to
//! look back at them longest. Windows that were not added up yet do not go by age.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tripline_model::Timestamp;

use super::file::folder;
use super::kind::Kind;
use super::manifest::Entry;
use super::rollup::Rolled;
use crate::config::Retention;

/// Flushed files that become one while their hour lasts.
const MERGE_AT: usize = 16;
/// Rows of a merged file; what has to fit into memory to merge: some 250 MB of spans.
pub(super) const MAX_MERGED_ROWS: u64 = 524_288;

/// Files of one partition that become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merge {
    /// Their paths.
    pub(super) paths: BTreeSet<String>,
    /// Level of the file they become.
    pub(super) level: u8,
}

/// The next merge that is due, if any; `bad` files cannot be read and are left alone.
pub(super) fn merge_due(files: &[Entry], bad: &BTreeSet<String>, now: Timestamp) -> Option<Merge> {
    let mut partitions: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in files.iter().filter(|e| !bad.contains(&e.path)) {
        partitions.entry(entry.folder()).or_default().push(entry);
    }
    partitions.into_iter().find_map(|(partition, entries)| {
        let is_current = entries.first().is_some_and(|e| folder(e.kind, now) == partition);
        let (below, least, level) = if is_current { (1, MERGE_AT, 1) } else { (2, 2, 2) };
        let mut candidates: Vec<_> = entries.into_iter().filter(|e| e.level < below).collect();
        candidates.sort_by_key(|e| (e.from, e.written_at));
        let paths = neighbours(&candidates, least)?;
        Some(Merge { paths, level })
    })
}

/// The first neighbours, at least so many, that fit into one file. A file that fits with neither neighbour stays as it is.
fn neighbours(candidates: &[&Entry], least: usize) -> Option<BTreeSet<String>> {
    (0..candidates.len()).find_map(|first| {
        let mut rows = 0;
        let fits = |entry: &&&Entry| {
            rows += entry.rows;
            rows <= MAX_MERGED_ROWS
        };
        let paths: BTreeSet<String> =
            candidates.iter().skip(first).take_while(fits).map(|entry| entry.path.clone()).collect();
        (paths.len() >= least).then_some(paths)
    })
}

/// Paths of the files to let go now; `rolled` says which windows were added up.
pub(super) fn expired(files: &[Entry], rolled: Rolled, retention: &Retention, now: Timestamp) -> BTreeSet<String> {
    let is_too_old = |e: &&Entry| {
        e.written_at < (now - max_age(e.kind, retention)).as_nanos()
            && rolled.holds(e.kind, Timestamp::from_nanos(e.to))
    };
    let (gone, kept): (Vec<&Entry>, Vec<&Entry>) = files.iter().partition(is_too_old);
    let mut gone: BTreeSet<String> = gone.into_iter().map(|e| e.path.clone()).collect();
    for (kinds, budget) in budgets(retention) {
        let mut own: Vec<&Entry> =
            kept.iter().copied().filter(|e| kinds.contains(&e.kind) && !gone.contains(&e.path)).collect();
        own.sort_by_key(|e| (e.kind.rank(), e.written_at));
        let mut bytes: u64 = own.iter().map(|e| e.bytes).sum();
        for entry in own {
            if bytes <= budget {
                break;
            }
            bytes -= entry.bytes;
            gone.insert(entry.path.clone());
        }
    }
    gone
}

/// The disk budgets, and the kinds that share each.
fn budgets(retention: &Retention) -> [(&'static [Kind], u64); 6] {
    let own = |budget: Option<u64>| budget.unwrap_or(u64::MAX);
    [
        (&[Kind::Spans], own(retention.spans_bytes)),
        (&[Kind::Logs], own(retention.logs_bytes)),
        (&[Kind::Edges], own(retention.edges_bytes)),
        (&[Kind::EdgesMinute], own(retention.edges_1m_bytes)),
        (&[Kind::EdgesHour], own(retention.edges_1h_bytes)),
        (&Kind::ALL, retention.disk_bytes),
    ]
}

const fn max_age(kind: Kind, retention: &Retention) -> Duration {
    match kind {
        Kind::Spans => retention.spans,
        Kind::Logs => retention.logs,
        Kind::Edges => retention.edges,
        Kind::EdgesMinute => retention.edges_1m,
        Kind::EdgesHour => retention.edges_1h,
        Kind::BreakerEvents | Kind::Incidents => retention.incidents,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn entry(kind: Kind, hour: u64, number: u64, rows: u64) -> Entry {
        let at = Timestamp::from_secs(hour * HOUR + number);
        Entry {
            kind,
            path: format!("{}/{number}", folder(kind, at)),
            written_at: at.as_nanos(),
            from: 0,
            to: 0,
            rows,
            bytes: 100,
            level: 0,
            services: None,
            has_operations: false,
        }
    }

    fn due(files: &[Entry], now_hour: u64) -> Option<Merge> {
        merge_due(files, &BTreeSet::new(), Timestamp::from_secs(now_hour * HOUR))
    }

    #[test]
    fn merges_wait_for_sixteen_files_or_the_end_of_the_hour() {
        let files: Vec<_> = (0..15).map(|n| entry(Kind::Spans, 5, n, 10)).collect();
        assert_eq!(due(&files, 5), None);
        assert_eq!(due(&files, 6).map(|m| (m.paths.len(), m.level)), Some((15, 2)));
        let files: Vec<_> = (0..16).map(|n| entry(Kind::Spans, 5, n, 10)).collect();
        assert_eq!(due(&files, 5).map(|m| (m.paths.len(), m.level)), Some((16, 1)));
    }

    #[test]
    fn merging_ends() {
        let mut files: Vec<_> = (0..400).map(|n| entry(Kind::Spans, 5, n, 30_000)).collect();
        let mut rounds = 0;
        while let Some(merge) = due(&files, 7) {
            let rows = files.iter().filter(|e| merge.paths.contains(&e.path)).map(|e| e.rows).sum();
            assert!(rows <= MAX_MERGED_ROWS);
            files.retain(|e| !merge.paths.contains(&e.path));
            files.push(Entry { level: merge.level, ..entry(Kind::Spans, 5, 1_000 + rounds, rows) });
            rounds += 1;
            assert!(rounds < 100);
        }
        assert!(files.len() <= 28, "{} files", files.len());
        assert_eq!(files.iter().map(|e| e.rows).sum::<u64>(), 12_000_000);
    }

    #[test]
    fn unreadable_files_are_not_merged() {
        let files = [entry(Kind::Logs, 5, 1, 10), entry(Kind::Logs, 5, 2, 10)];
        let bad = BTreeSet::from([files[0].path.clone()]);
        assert_eq!(merge_due(&files, &bad, Timestamp::from_secs(9 * HOUR)), None);
    }

    #[test]
    fn age_and_budget_let_the_oldest_go_and_the_dear_last() {
        let files = [
            entry(Kind::Incidents, 1, 1, 1),
            entry(Kind::Spans, 2, 2, 1),
            entry(Kind::Spans, 3, 3, 1),
            entry(Kind::Incidents, 3, 4, 1),
        ];
        let gone = |incident_hours, disk_bytes| {
            let incidents = Duration::from_secs(incident_hours * HOUR);
            let retention = Retention { incidents, disk_bytes, ..Retention::default() };
            let paths = expired(&files, Rolled::default(), &retention, Timestamp::from_secs(4 * HOUR));
            files.iter().map(|e| paths.contains(&e.path)).collect::<Vec<_>>()
        };
        assert_eq!(gone(24, 1_000), [false, false, false, false]);
        assert_eq!(gone(2, 1_000), [true, false, false, false]);
        assert_eq!(gone(24, 300), [false, true, false, false]);
        assert_eq!(gone(24, 100), [true, true, true, false]);
    }

    #[test]
    fn each_kind_has_a_budget_of_its_own() {
        let files = [entry(Kind::Spans, 1, 1, 1), entry(Kind::Edges, 2, 2, 1), entry(Kind::Edges, 3, 3, 1)];
        let retention = Retention { edges_bytes: Some(150), ..Retention::default() };
        let paths = expired(&files, Rolled::default(), &retention, Timestamp::from_secs(4 * HOUR));
        assert_eq!(paths, BTreeSet::from([files[1].path.clone()]));
    }

    #[test]
    fn the_dear_outlive_the_budget_for_all() {
        let kinds = [Kind::EdgesHour, Kind::EdgesMinute, Kind::Edges, Kind::Spans];
        let files: Vec<_> = kinds.iter().zip(1..).map(|(kind, hour)| entry(*kind, hour, hour, 1)).collect();
        let left = |disk_bytes| {
            let retention = Retention { disk_bytes, ..Retention::default() };
            let gone = expired(&files, Rolled::default(), &retention, Timestamp::from_secs(5 * HOUR));
            files.iter().filter(|e| !gone.contains(&e.path)).map(|e| e.kind).collect::<Vec<_>>()
        };
        assert_eq!(left(200), [Kind::EdgesHour, Kind::EdgesMinute]);
        assert_eq!(left(100), [Kind::EdgesHour]);
    }

    #[test]
    fn windows_go_by_age_only_once_they_were_added_up() {
        let old = [Entry { to: 50 * HOUR * 1_000_000_000, ..entry(Kind::Edges, 50, 1, 1) }];
        let gone = |rolled| expired(&old, rolled, &Retention::default(), Timestamp::from_secs(200 * HOUR)).len();
        assert_eq!(gone(Rolled::default()), 0);
        assert_eq!(gone(Rolled::up_to(Timestamp::from_secs(51 * HOUR))), 1);
    }

    #[test]
    fn neighbours_in_time_are_merged() {
        let at = |hour_part: u64, rows| Entry { from: hour_part, ..entry(Kind::Spans, 5, 10 - hour_part, rows) };
        let files = [at(3, 300_000), at(1, 500_000), at(2, 100_000)];
        let merge = due(&files, 7).unwrap();
        assert_eq!(merge.paths, BTreeSet::from([files[0].path.clone(), files[2].path.clone()]));
    }
}
