//! One budget of bytes for all requests that are being worked on.
//!
//! A sender that compresses well, or sends slowly on many connections, costs memory long before it costs time. So bytes are
//! taken from the budget before they are read or decompressed, and given back when the request is answered. There is
//! no waiting for them: whoever finds the budget empty is refused and tries again, otherwise requests that hold a part of it
//! could wait for each other.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Reason, Refusal};

/// Bytes are counted in these units, because a semaphore counts to 2^29 only where pointers are short.
const UNIT: usize = 1024;

/// The budget.
#[derive(Debug, Clone)]
pub struct Budget {
    units: Arc<Semaphore>,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), bytes }
    }

    /// A share without any bytes yet.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), taken: None, bytes: 0 }
    }
}

/// What one request has taken of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    taken: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Share {
    /// Takes more, so that the request holds at least `bytes` in all.
    ///
    /// # Errors
    /// When the budget is empty.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let missing = bytes.div_ceil(UNIT).saturating_sub(self.bytes.div_ceil(UNIT));
        if missing > 0 {
            let permits = u32::try_from(missing).unwrap_or(u32::MAX);
            let more = Arc::clone(&self.budget.units).try_acquire_many_owned(permits).map_err(|_| {
                let message = format!("more than {} bytes are being received; try again", self.budget.bytes);
                Refusal::new(Reason::BusyBytes, message)
            })?;
            match &mut self.taken {
                Some(taken) => taken.merge(more),
                none => *none = Some(more),
            }
        }
        self.bytes = self.bytes.max(bytes);
        Ok(())
    }

    /// Takes `bytes` more.
    ///
    /// # Errors
    /// When the budget is empty.
    pub fn grow_by(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.grow_to(self.bytes.saturating_add(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back_whole() {
        let budget = Budget::new(10 * UNIT);
        let mut first = budget.share();
        first.grow_to(1).expect("room");
        first.grow_to(1).expect("already there");
        first.grow_by(7 * UNIT - 1).expect("room");
        let mut second = budget.share();
        second.grow_to(3 * UNIT).expect("room");
        let refused = second.grow_by(1).expect_err("empty");
        assert_eq!(refused.reason, Reason::BusyBytes);
        drop(first);
        second.grow_by(1).expect("room again");
        drop(second);
        assert_eq!(budget.units.available_permits(), 10);
    }
}
