//! Log replay on files that were damaged at random: no panic, no endless loop, and nothing comes back that was not written.
//!
//! Repeated with the seed and the round that a failure names, as `otlp/src/fuzz.rs` says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tripline_model::Timestamp;
use tripline_otlp::wire::{Encoding, Signal};

use super::*;

const ROUNDS: u64 = 300;
const RECORDS: u64 = 40;

fn record(number: u64) -> Record {
    let body = Bytes::from(vec![number as u8; (number * 97 % 3_000) as usize]);
    Record { signal: Signal::Traces, encoding: Encoding::Protobuf, received_at: Timestamp::from_secs(number), body }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn damage(file: &mut Vec<u8>, chance: &mut StdRng) {
    let (at, to) = (chance.random_range(0..=file.len()), chance.random_range(0..=file.len()));
    let (from, to) = (at.min(to), at.max(to));
    match chance.random_range(0..6) {
        0 if at < file.len() => file[at] ^= 1 << chance.random_range(0..8),
        1 => file.truncate(at),
        2 => drop(file.drain(from..to)),
        3 => file[from..to].fill(0),
        4 => file.extend((0..chance.random_range(0..5_000)).map(|_| chance.random::<u8>()).collect::<Vec<_>>()),
        _ => {
            let part = file[from..to].to_vec();
            file.splice(at..at, part);
        }
    }
}

/// Opens what is there and holds it against what was written.
fn check(folder: &Path, options: Options) {
    let Ok((mut journal, _)) = Journal::open(folder, options) else { return };
    let mut last = 0;
    for step in journal.replay(0) {
        match step.expect("the disk is well") {
            Replayed::Record(position, found) => {
                assert!(position > last, "positions go up");
                assert!((1..=RECORDS).any(|number| record(number) == found), "a record that nobody wrote");
                last = position;
            }
            Replayed::Lost { from, to, .. } => {
                assert!(from <= to && from > last);
                last = to;
            }
        }
    }
    let position = journal.append(&record(1)).expect("room");
    assert!(position > last, "a position is never given out twice");
    journal.commit().expect("syncs");
    drop(journal);
    let (journal, _) = Journal::open(folder, options).expect("opens again");
    assert_eq!(journal.next_position(), position + 1, "what was committed after the damage is there");
}

#[test]
fn fuzz_log_replay() {
    let (seed, rounds) = (setting("TRIPLINE_FUZZ_SEED", 1), setting("TRIPLINE_FUZZ_ROUNDS", ROUNDS));
    let mut chance = StdRng::seed_from_u64(seed);
    let options = Options { segment_bytes: 20_000, max_bytes: 1 << 30 };
    let whole = TempDir::new().expect("folder");
    let mut journal = Journal::open(whole.path(), options).expect("opens").0;
    for number in 1..=RECORDS {
        journal.append(&record(number)).expect("room");
        if number % 3 == 0 || number == RECORDS {
            journal.commit().expect("syncs");
        }
    }
    drop(journal);
    let mut files = segment::list(whole.path()).expect("readable");
    files.iter_mut().for_each(|(_, path)| *path = path.file_name().expect("named").into());
    for round in 0..rounds {
        let folder = TempDir::new().expect("folder");
        let chosen = chance.random_range(0..files.len());
        for (index, (_, name)) in files.iter().enumerate() {
            let mut file = std::fs::read(whole.path().join(name)).expect("readable");
            if index == chosen {
                (0..chance.random_range(1..4)).for_each(|_| damage(&mut file, &mut chance));
            }
            std::fs::write(folder.path().join(name), file).expect("written");
        }
        let checked = catch_unwind(AssertUnwindSafe(|| check(folder.path(), options)));
        assert!(checked.is_ok(), "seed {seed}, round {round}");
    }
}
