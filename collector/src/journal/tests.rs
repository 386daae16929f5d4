//! Crashes, full disks and damage: nothing that was committed may be lost, nothing that was refused may come back.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use tripline_model::Timestamp;
use tripline_otlp::wire::{Encoding, Signal};

use super::segment::MAGIC;
use super::*;

fn record(number: u64, size: usize) -> Record {
    let body = Bytes::from(vec![u8::try_from(number % 251).expect("small"); size]);
    Record { signal: Signal::Traces, encoding: Encoding::Protobuf, received_at: Timestamp::from_secs(number), body }
}

fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, max_bytes: 1 << 30 }
}

fn open(folder: &TempDir, segment_bytes: u64) -> (Journal, Recovered) {
    Journal::open(folder.path(), options(segment_bytes)).expect("opens")
}

fn read_back<D: Disk>(journal: &Journal<D>, after: u64) -> Vec<(u64, Record)> {
    let all = journal.replay(after).map(|step| match step.expect("readable") {
        Replayed::Record(position, record) => (position, record),
        lost @ Replayed::Lost { .. } => panic!("{lost:?}"),
    });
    all.collect()
}

/// A disk with so much space for each file, whose syncs and cuts fail on demand.
#[derive(Debug, Clone, Default)]
struct FailingDisk {
    space: Arc<AtomicU64>,
    syncs_fail: Arc<AtomicBool>,
    cuts_fail: Arc<AtomicBool>,
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path) -> io::Result<File> {
        RealDisk.open(path)
    }

    fn write(&self, file: &File, blocks: &[u8], at: u64) -> io::Result<()> {
        let space = self.space.load(Relaxed).saturating_sub(at);
        let fits = blocks.len().min(usize::try_from(space).expect("64 bit"));
        RealDisk.write(file, &blocks[..fits - fits % crate::blocks::BLOCK], at)?;
        if fits < blocks.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.syncs_fail.load(Relaxed) { Err(io::Error::other("broken disk")) } else { RealDisk.sync(file) }
    }

    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        if self.cuts_fail.load(Relaxed) { Err(io::Error::other("broken disk")) } else { RealDisk.truncate(file, bytes) }
    }
}

#[test]
fn positions_go_on_after_a_restart_even_when_all_is_released() {
    let folder = TempDir::new().expect("folder");
    let (mut journal, _) = open(&folder, 100);
    for number in 1..=10 {
        assert_eq!(journal.append(&record(number, 50)).expect("room"), number);
        journal.commit().expect("syncs");
    }
    assert!(journal.release(10) >= 4);
    drop(journal);
    let (mut journal, recovered) = open(&folder, 100);
    assert_eq!(recovered, Recovered { segments: 1, torn_bytes: 0 });
    assert_eq!(read_back(&journal, 10), []);
    assert_eq!(journal.append(&record(11, 1)).expect("room"), 11);
}

#[test]
fn a_cut_at_any_byte_loses_nothing_that_was_committed_before_it() {
    let folder = TempDir::new().expect("folder");
    let (mut journal, _) = open(&folder, 1 << 20);
    let mut lengths = vec![journal.bytes()];
    for number in 1..=5 {
        journal.append(&record(number, 7 * usize::try_from(number).expect("small"))).expect("room");
        journal.commit().expect("syncs");
        lengths.push(journal.bytes());
    }
    let path = journal.active.path().to_owned();
    drop(journal);
    let whole = std::fs::read(&path).expect("readable");
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).expect("written");
        let (mut journal, recovered) = open(&folder, 1 << 20);
        let kept = lengths.iter().skip(1).filter(|length| **length <= cut as u64).count() as u64;
        let numbers: Vec<_> = read_back(&journal, 0).into_iter().map(|(position, _)| position).collect();
        assert_eq!(numbers, (1..=kept).collect::<Vec<_>>(), "cut at {cut}");
        let end = lengths.iter().rev().find(|length| **length <= cut as u64).map_or(0, |length| *length as usize);
        let is_torn = whole[end..cut].iter().any(|byte| *byte != 0) || (1..MAGIC.len()).contains(&cut);
        assert_eq!(recovered.torn_bytes > 0, is_torn, "cut at {cut}");
        assert_eq!(journal.append(&record(9, 3)).expect("room"), kept + 1);
        journal.commit().expect("syncs");
        assert_eq!(read_back(&journal, 0).len() as u64, kept + 1, "what follows a cut must be readable");
    }
}

#[test]
fn a_full_disk_refuses_with_the_fix_and_leaves_nothing_behind() {
    let folder = TempDir::new().expect("folder");
    let disk = FailingDisk::default();
    disk.space.store(4096, Relaxed);
    let (mut journal, _) = Journal::open_on(disk, folder.path(), options(1 << 30)).expect("opens");
    journal.append(&record(1, 100)).expect("fits");
    journal.commit().expect("fits");
    journal.append(&record(2, 5000)).expect("gathered");
    let refused = journal.commit().expect_err("full");
    assert!(matches!(refused, AppendError::DiskFull(_)), "{refused}");
    assert!(refused.to_string().contains("free space there or set `data_dir` to another disk"), "{refused}");
    assert_eq!(journal.append(&record(3, 100)).expect("there is space again"), 2);
    journal.commit().expect("fits");
    // So large that it is handed over before the commit.
    assert!(journal.append(&record(4, 2 << 20)).is_err());
    assert_eq!(journal.append(&record(5, 100)).expect("fits"), 3);
    journal.commit().expect("fits");
    drop(journal);
    let (journal, recovered) = open(&folder, 1 << 20);
    assert_eq!(recovered.torn_bytes, 0);
    assert_eq!(read_back(&journal, 0), [(1, record(1, 100)), (2, record(3, 100)), (3, record(5, 100))]);
}

#[test]
fn what_a_failed_sync_refused_does_not_come_back() {
    for cuts_fail in [false, true] {
        let folder = TempDir::new().expect("folder");
        let disk = FailingDisk::default();
        disk.space.store(10_000, Relaxed);
        let (mut journal, _) = Journal::open_on(disk.clone(), folder.path(), options(1 << 20)).expect("opens");
        journal.append(&record(1, 10)).expect("room");
        journal.commit().expect("syncs");
        journal.append(&record(2, 10)).expect("room");
        disk.syncs_fail.store(true, Relaxed);
        disk.cuts_fail.store(cuts_fail, Relaxed);
        assert!(journal.commit().is_err());
        assert!(journal.append(&record(3, 10)).is_err(), "no new segment can be synced either");
        disk.syncs_fail.store(false, Relaxed);
        disk.cuts_fail.store(false, Relaxed);
        assert_eq!(journal.append(&record(4, 10)).expect("the disk is well again"), 2);
        journal.commit().expect("syncs");
        drop(journal);
        let (journal, _) = open(&folder, 1 << 20);
        assert_eq!(read_back(&journal, 0), [(1, record(1, 10)), (2, record(4, 10))], "cuts fail: {cuts_fail}");
    }
}

#[test]
fn past_its_bound_the_journal_refuses_until_history_has_caught_up() {
    let folder = TempDir::new().expect("folder");
    let bounds = Options { segment_bytes: 100, max_bytes: 400 };
    let (mut journal, _) = Journal::open(folder.path(), bounds).expect("opens");
    let mut last = 0;
    let refused = loop {
        match journal.append(&record(1, 50)) {
            Ok(position) => last = position,
            Err(error) => break error,
        }
        journal.commit().expect("syncs");
    };
    assert!(matches!(refused, AppendError::Full(_)), "{refused}");
    assert!(last >= 4);
    assert_eq!(journal.release(1), 0, "a segment with something unwritten stays");
    assert!(journal.release(last) > 0);
    journal.append(&record(1, 50)).expect("there is room again");
}

#[test]
fn damage_in_an_old_segment_costs_its_rest_and_nothing_else() {
    let folder = TempDir::new().expect("folder");
    let (mut journal, _) = open(&folder, 150);
    for number in 1..=6 {
        journal.append(&record(number, 50)).expect("room");
        journal.commit().expect("syncs");
    }
    let first = journal.sealed.front().expect("sealed").clone();
    let second = journal.sealed.get(1).map_or(journal.active.first(), |segment| segment.first);
    let mut bytes = std::fs::read(&first.path).expect("readable");
    let place = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    bytes[place] ^= 1;
    std::fs::write(&first.path, bytes).expect("written");
    drop(journal);
    let (journal, _) = open(&folder, 150);
    let (mut lost, mut kept) = (Vec::new(), Vec::new());
    for step in journal.replay(0) {
        match step.expect("readable") {
            Replayed::Record(position, _) => kept.push(position),
            Replayed::Lost { from, to, .. } => lost.extend(from..=to),
        }
    }
    assert_eq!(lost, [second - 1]);
    assert_eq!(kept, (1..=6).filter(|position| *position != second - 1).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_no_segment_is_not_overwritten() {
    let folder = TempDir::new().expect("folder");
    let path = folder.path().join("00000000000000000001.journal");
    std::fs::write(&path, "my precious notes").expect("written");
    let error = Journal::open(folder.path(), options(100)).expect_err("not ours");
    let source = std::error::Error::source(&error).expect("a source").to_string();
    assert!(source.contains("is no journal segment; move it away"), "{source}");
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "my precious notes");
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Commit,
    Release(u64),
    /// Power is cut: of what was not committed, this share (in 256ths) reached the disk, then so many bytes of rubbish.
    Crash(u8, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..200).prop_map(Step::Append),
        2 => Just(Step::Commit),
        1 => (0u64..8).prop_map(Step::Release),
        1 => (any::<u8>(), 0usize..40).prop_map(|(share, rubbish)| Step::Crash(share, rubbish)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Against a plain list: after any crash the journal holds at least what was committed and never anything that was
    /// not appended, and positions never repeat among what survives.
    #[test]
    fn crashes_lose_nothing_committed(steps in prop::collection::vec(step(), 1..60)) {
        let folder = TempDir::new().expect("folder");
        let mut journal = open(&folder, 300).0;
        let mut appended: Vec<(u64, Record)> = Vec::new();
        let (mut committed, mut released, mut safe_bytes) = (0, 0, journal.active.len());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(size) => {
                    let record = record(number as u64, size);
                    appended.push((journal.append(&record).expect("room"), record));
                }
                Step::Commit => {
                    journal.commit().expect("syncs");
                    committed = appended.len();
                    safe_bytes = journal.active.len();
                }
                Step::Release(behind) => {
                    let last = committed.checked_sub(1).map_or(0, |index| appended[index].0);
                    released = released.max(last.saturating_sub(behind));
                    journal.release(released);
                }
                Step::Crash(share, rubbish) => {
                    let path = journal.active.path().to_owned();
                    drop(journal);
                    let mut bytes = std::fs::read(&path).expect("readable");
                    let loose = bytes.len() - usize::try_from(safe_bytes).expect("small");
                    bytes.truncate(bytes.len() - loose + loose * usize::from(share) / 256);
                    bytes.extend(std::iter::repeat_n(0xA5, rubbish));
                    std::fs::write(&path, &bytes).expect("written");
                    journal = open(&folder, 300).0;
                    let survived = usize::try_from(journal.next_position() - 1).expect("small");
                    prop_assert!(survived >= committed && survived <= appended.len());
                    appended.truncate(survived);
                    (committed, safe_bytes) = (survived, journal.active.len());
                }
            }
            let safe = appended.iter().take(committed);
            let expected: Vec<_> = safe.filter(|(position, _)| *position > released).cloned().collect();
            prop_assert_eq!(read_back(&journal, released), expected);
        }
    }
}
