//! Every target there ever was, by its number.
//!
//! Counts are kept by number, and a request may end long after a new configuration has no place for its target any more. So
//! numbers are never given twice, and the list only grows: by what a reload adds and by external hosts, which are bounded by
//! themselves. Past [`MAX_TARGETS`] a new configuration is refused until the sidecar is restarted.

use std::sync::{Arc, Mutex, PoisonError};

use crate::target::Target;

/// Targets in the life of one process.
pub(crate) const MAX_TARGETS: usize = 10_000;

/// The list; locked to add one or copy all.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<Vec<Arc<Target>>>);

impl Roster {
    /// Adds the target made for the next number; none when the list is full.
    pub(crate) fn add(&self, make: impl FnOnce(usize) -> Target) -> Option<Arc<Target>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_TARGETS {
            return None;
        }
        let target = Arc::new(make(all.len()));
        all.push(Arc::clone(&target));
        Some(target)
    }

    /// All of them, each at the place of its number.
    pub(crate) fn all(&self) -> Vec<Arc<Target>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
