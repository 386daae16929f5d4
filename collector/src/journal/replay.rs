//! Reading the journal back after a restart.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use super::frame::{self, Frame, Record};
use super::segment::MAGIC;

/// What replay meets.
#[derive(Debug)]
pub enum Replayed {
    /// A record and its position.
    Record(u64, Record),
    /// A damaged segment: the records at these positions are lost.
    Lost {
        /// The file.
        path: PathBuf,
        /// First position lost.
        from: u64,
        /// Last position lost.
        to: u64,
    },
}

/// All records after a position, in order; ends after the first error of the disk.
#[derive(Debug)]
pub struct Replay {
    waiting: VecDeque<(u64, PathBuf)>,
    open: Option<Open>,
    /// The position after the last one of the journal.
    end: u64,
    after: u64,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    input: BufReader<File>,
    rest: u64,
    position: u64,
    /// The first position of the next segment. Frames from there on are left from a failed commit.
    end: u64,
}

impl Replay {
    /// Over `segments`, oldest first, whose last one ends before position `end`.
    pub(super) fn new(segments: VecDeque<(u64, PathBuf)>, end: u64, after: u64) -> Self {
        Self { waiting: segments, open: None, end, after }
    }

    fn step(&mut self) -> io::Result<Option<Replayed>> {
        loop {
            let Some(open) = &mut self.open else { if self.open_next()? { continue } else { return Ok(None) } };
            if open.position >= open.end {
                self.open = None;
                continue;
            }
            let position = open.position;
            if let Frame::Whole(record) = frame::read(&mut open.input, open.rest)? {
                open.rest -= (frame::HEAD + record.body.len()) as u64;
                open.position += 1;
                if position > self.after {
                    return Ok(Some(Replayed::Record(position, record)));
                }
            } else {
                let lost = Replayed::Lost {
                    path: std::mem::take(&mut open.path),
                    from: position.max(self.after.saturating_add(1)),
                    to: open.end - 1,
                };
                self.open = None;
                return Ok(Some(lost));
            }
        }
    }

    /// Opens the next segment that has something after `after`; false when there is none.
    fn open_next(&mut self) -> io::Result<bool> {
        while let Some((first, path)) = self.waiting.pop_front() {
            let end = self.waiting.front().map_or(self.end, |(next, _)| *next);
            if end <= self.after.saturating_add(1) {
                continue;
            }
            let file = File::open(&path)?;
            let length = file.metadata()?.len();
            let mut input = BufReader::with_capacity(1 << 20, file);
            let mut magic = [0; MAGIC.len()];
            let whole = length >= MAGIC.len() as u64 && input.read_exact(&mut magic).is_ok() && magic == MAGIC;
            // Without its magic nothing in the file is believed: a rest of one byte reads as damage.
            let rest = if whole { length - MAGIC.len() as u64 } else { 1 };
            self.open = Some(Open { path, input, rest, position: first, end });
            return Ok(true);
        }
        Ok(false)
    }
}

impl Iterator for Replay {
    type Item = io::Result<Replayed>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.open = None;
            self.waiting.clear();
        }
        step.transpose()
    }
}
