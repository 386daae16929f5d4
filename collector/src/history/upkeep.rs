//! Which files to merge and which to let go: decisions only, the work is in [`super::job`].
//!
//! A flush every ten seconds makes 360 files an hour of each kind. [`MERGE_AT`] of them become one while the hour lasts, and
//! when it is over the whole hour becomes one file of at most [`MAX_MERGED_ROWS`] rows: a week of a kind is then some 200
//! files, and each row was written three times. Files go when all their rows are older than the retention, and the
//! oldest go first when the disk budget is exceeded: spans, logs and edges before breaker events and incidents, which
//! are small and which one wants to look back at longest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tripline_model::Timestamp;

use super::file::folder;
use super::kind::Kind;
use super::manifest::Entry;
use crate::config::Retention;

/// Flushed files that become one while their hour lasts.
const MERGE_AT: usize = 16;
/// Rows of a merged file; what has to fit into memory to merge.
const MAX_MERGED_ROWS: u64 = 1_000_000;

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
        candidates.sort_by_key(|e| e.rows);
        let mut rows = 0;
        let fits = |entry: &&&Entry| {
            rows += entry.rows;
            rows <= MAX_MERGED_ROWS
        };
        let paths: BTreeSet<String> = candidates.iter().take_while(fits).map(|e| e.path.clone()).collect();
        (paths.len() >= least).then_some(Merge { paths, level })
    })
}

/// Paths of the files to let go now.
pub(super) fn expired(files: &[Entry], retention: &Retention, now: Timestamp) -> BTreeSet<String> {
    let is_too_old = |e: &&Entry| e.written_at < (now - max_age(e.kind, retention)).as_nanos();
    let (gone, mut kept): (Vec<&Entry>, Vec<&Entry>) = files.iter().partition(is_too_old);
    let mut gone: BTreeSet<String> = gone.into_iter().map(|e| e.path.clone()).collect();
    kept.sort_by_key(|e| (e.kind.is_small(), e.written_at));
    let mut bytes: u64 = kept.iter().map(|e| e.bytes).sum();
    for entry in kept {
        if bytes <= retention.disk_bytes {
            break;
        }
        bytes -= entry.bytes;
        gone.insert(entry.path.clone());
    }
    gone
}

const fn max_age(kind: Kind, retention: &Retention) -> Duration {
    match kind {
        Kind::Spans => retention.spans,
        Kind::Logs => retention.logs,
        Kind::Edges => retention.edges,
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
        assert!(files.len() <= 14, "{} files", files.len());
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
            let paths = expired(
                &files,
                &Retention { incidents, disk_bytes, ..Retention::default() },
                Timestamp::from_secs(4 * HOUR),
            );
            files.iter().map(|e| paths.contains(&e.path)).collect::<Vec<_>>()
        };
        assert_eq!(gone(24, 1_000), [false, false, false, false]);
        assert_eq!(gone(2, 1_000), [true, false, false, false]);
        assert_eq!(gone(24, 300), [false, true, false, false]);
        assert_eq!(gone(24, 100), [true, true, true, false]);
    }
}
