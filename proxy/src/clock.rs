//! The only place of the sidecar that reads a clock.
//!
//! Time is the wall clock at the start plus tokio's monotonic clock since: it never runs backwards, so that durations,
//! windows and breakers agree, and tests can pause it.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tripline_model::Timestamp;

/// Tells the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    wall: Timestamp,
}

impl Clock {
    /// Reads the wall clock once.
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the shell that gives everyone else their `now`")]
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let nanos = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        Self { started: Instant::now(), wall: Timestamp::from_nanos(nanos) }
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        self.wall + self.started.elapsed()
    }

    /// The point on tokio's clock that `at` is.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.started + at.since(self.wall)
    }
}
