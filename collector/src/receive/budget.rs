//! One budget of bytes for all requests that are being worked on.
//!
//! A sender that compresses well, or sends slowly on many connections, costs memory long before it costs time. So bytes are
//! taken from the budget before they are read or decompressed, and given back when the memory is: for spans, when history has written
//! them, for everything else when the request is answered. Whoever holds nothing yet waits a little for its first bytes, so that
//! a burst slows its senders down before any of them is refused. Beyond that there is no waiting, or requests that hold a part of
//! the budget could wait for each other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

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

    fn empty(&self) -> Refusal {
        Refusal::new(Reason::BusyBytes, format!("more than {} bytes are being received; try again", self.bytes))
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
            let more = Arc::clone(&self.budget.units).try_acquire_many_owned(permits);
            let more = more.map_err(|_| self.budget.empty())?;
            match &mut self.taken {
                Some(taken) => taken.merge(more),
                none => *none = Some(more),
            }
        }
        self.bytes = self.bytes.max(bytes);
        Ok(())
    }

    /// Takes the first `bytes`, which a share without any may wait for: nobody can be waiting for it.
    ///
    /// # Errors
    /// When the budget stays empty for so long.
    pub async fn begin_with(&mut self, bytes: usize, wait: Duration) -> Result<(), Refusal> {
        if self.bytes > 0 || self.grow_to(bytes).is_ok() {
            return self.grow_to(bytes);
        }
        let permits = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let acquired = timeout(wait, Arc::clone(&self.budget.units).acquire_many_owned(permits)).await;
        let Ok(Ok(permits)) = acquired else { return Err(self.budget.empty()) };
        (self.taken, self.bytes) = (Some(permits), bytes);
        Ok(())
    }

    /// Gives back what is beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let spare = self.bytes.div_ceil(UNIT).saturating_sub(bytes.div_ceil(UNIT));
        if spare > 0 {
            drop(self.taken.as_mut().and_then(|taken| taken.split(spare)));
            self.bytes = bytes;
        }
    }

    /// A share of the same budget without any bytes.
    #[must_use]
    pub fn none(&self) -> Self {
        self.budget.share()
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

    #[tokio::test(start_paused = true)]
    async fn the_first_bytes_are_waited_for_and_no_others() {
        let budget = Budget::new(10 * UNIT);
        let (mut first, mut second) = (budget.share(), budget.share());
        first.begin_with(8 * UNIT, Duration::ZERO).await.expect("room");
        let refused = second.begin_with(5 * UNIT, Duration::from_secs(5)).await.expect_err("nobody gives any back");
        assert_eq!(refused.reason, Reason::BusyBytes);
        let waits = tokio::spawn(async move {
            second.begin_with(5 * UNIT, Duration::from_secs(5)).await.expect("in time");
            second.grow_to(11 * UNIT).expect_err("there is no waiting for more");
        });
        tokio::task::yield_now().await;
        drop(first);
        waits.await.expect("no panic");
        assert_eq!(budget.units.available_permits(), 10);
    }

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
        first.shrink_to(20 * UNIT);
        assert_eq!(budget.units.available_permits(), 0, "that is no less than it holds");
        first.shrink_to(UNIT + 1);
        assert_eq!(budget.units.available_permits(), 5);
        first.grow_to(3 * UNIT).expect("it may grow again");
        drop(first);
        second.grow_by(1).expect("room again");
        drop(second);
        assert_eq!(budget.units.available_permits(), 10);
    }
}
