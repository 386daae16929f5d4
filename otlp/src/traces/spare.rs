//! Lists with an entry for each span of a request, whose memory is used again.
//!
//! A request of a thousand spans needs 100 KiB of them for a few milliseconds or seconds. Memory that comes fresh from the system costs
//! more than the walk that fills it, above all in a virtual machine, where each page is fetched from the host on first touch. So a
//! list that is let go leaves its memory to the next one. At most so many lists as [`Entry::spare`] says, of at most [`LARGEST`]
//! entries, wait for that.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::SpanFacts;
use super::raw_span::Place;

/// Longer lists are given back to the system.
const LARGEST: usize = 2_048;

/// What such a list can hold.
pub trait Entry: Copy + 'static {
    /// The lists that wait, and how many may.
    #[doc(hidden)]
    fn spare() -> (&'static Mutex<Vec<Vec<Self>>>, usize);
}

// Locked for a push or a pop, once for each request; a task would be a lock with more steps.
static FACTS: Mutex<Vec<Vec<SpanFacts>>> = Mutex::new(Vec::new());
static PLACES: Mutex<Vec<Vec<Place>>> = Mutex::new(Vec::new());

impl Entry for SpanFacts {
    fn spare() -> (&'static Mutex<Vec<Vec<Self>>>, usize) {
        // Live for milliseconds: 9 MiB at most.
        (&FACTS, 64)
    }
}

impl Entry for Place {
    fn spare() -> (&'static Mutex<Vec<Vec<Self>>>, usize) {
        // Live until history has written them: 12 MiB at most.
        (&PLACES, 256)
    }
}

/// One entry for each span of a request.
#[derive(Debug, Clone)]
pub struct List<T: Entry>(Vec<T>);

impl<T: Entry> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Entry> List<T> {
    #[inline]
    pub(super) fn push(&mut self, entry: T) {
        if self.0.capacity() == 0 {
            self.0 = spare().0.pop().unwrap_or_default();
        }
        self.0.push(entry);
    }
}

fn spare<T: Entry>() -> (MutexGuard<'static, Vec<Vec<T>>>, usize) {
    let (lists, most) = T::spare();
    (lists.lock().unwrap_or_else(PoisonError::into_inner), most)
}

impl<T: Entry> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Entry> Drop for List<T> {
    fn drop(&mut self) {
        if (1..=LARGEST).contains(&self.0.capacity()) {
            let mut list = std::mem::take(&mut self.0);
            list.clear();
            let (mut spare, most) = spare();
            if spare.len() < most {
                spare.push(list);
            }
        }
    }
}
