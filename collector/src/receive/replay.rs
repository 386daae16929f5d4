//! After a restart: what the journal still holds and history had not written yet goes the same way once more.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::commit::Known;
use super::intake::Outlets;
use super::{Counters, decode};
use crate::journal::{Journal, Record, Replayed};

/// Why the journal could not be read back.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the journal back; check the disk of `data_dir`, or move its folder `journal` away to start without it"
)]
pub struct ReplayError(#[from] std::io::Error);

/// Passes everything after position `durable` on, and returns what was seen, so that repeats are known across a
/// restart. Blocks while the queues are full; not for a thread of the runtime.
pub(super) fn run(
    journal: &Journal,
    durable: u64,
    outlets: &Outlets,
    counters: &Counters,
) -> Result<Known, ReplayError> {
    let mut known = Known::default();
    for step in journal.replay(durable) {
        match step? {
            Replayed::Record(position, record) => {
                counters.journal_replayed.fetch_add(1, Relaxed);
                if !pass_on(position, &record, &mut known, outlets, counters) {
                    break;
                }
            }
            Replayed::Lost { path, from, to } => {
                counters.journal_lost.fetch_add(to - from + 1, Relaxed);
                tracing::error!(path = %path.display(), from, to, "the journal is damaged; these records are lost");
            }
        }
    }
    Ok(known)
}

/// False when whom it is for has ended.
fn pass_on(position: u64, record: &Record, known: &mut Known, outlets: &Outlets, counters: &Counters) -> bool {
    // It was decoded once before it was written; a newer version that reads it differently must still start.
    let decoded = decode::decode(record.signal, record.encoding, &record.body).unwrap_or_else(|refusal| {
        tracing::error!(position, error = %refusal, "a record of the journal cannot be decoded any more");
        counters.journal_lost.fetch_add(1, Relaxed);
        decode::Decoded::default()
    });
    let (live, kept) = known.take_out(position, record, decoded, counters).split();
    let to_history = outlets.history.blocking_send(Arc::new(kept));
    outlets.live.blocking_send(Arc::new(live)).is_ok() && to_history.is_ok()
}
