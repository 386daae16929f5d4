//! What is going to happen, soonest first; what was planned first of two things at one time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::slab::Id;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A user may arrive.
    Arrive { stream: u32 },
    /// A user asks again.
    Ask { edge: u32, key: u64, left: u32 },
    /// A request reaches the server.
    Deliver { call: Id, attempt: u32 },
    /// A server has done its own work.
    Worked { visit: Id },
    /// An answer reaches the client.
    Answer { call: Id, attempt: u32, answer: Answer },
    /// An attempt's time is over.
    Limit { call: Id, attempt: u32 },
    /// The back-off of a retry is over.
    Again { call: Id },
    /// A fault begins or ends.
    Switch { switch: u32 },
    /// A second is over.
    Second,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// Success.
    Good,
    /// A failing answer.
    Failing,
    /// A failing answer with the mark of a breaker.
    Induced,
    /// Nobody listens.
    Refused,
    /// The connection broke.
    Reset,
}

/// The agenda.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    planned: u64,
}

impl Agenda {
    /// Puts an event on the agenda.
    pub(super) fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.queue.push(Reverse((at, self.planned, event)));
    }

    /// The next event before `end`.
    pub(super) fn next(&mut self, end: u64) -> Option<(u64, Event)> {
        self.queue.pop().map(|Reverse((at, _, event))| (at, event)).filter(|(at, _)| *at < end)
    }
}
