//! Ends a body that is silent too long or takes too long altogether.
//!
//! Costs nothing while data is there: the timer is made when a body first has to wait, and moved only when it fires.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The two limits of a body.
#[derive(Debug)]
pub(crate) struct SilenceTimer {
    silence: Option<Duration>,
    deadline: Option<Instant>,
    /// Bounds the current silence: set when it was first waited in.
    quiet_since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Silent for so long.
    Silence(Duration),
    /// The whole exchange has taken too long.
    Deadline,
}

impl Over {
    /// How long it was silent; zero when that is not why.
    pub(crate) const fn after(self) -> Duration {
        match self {
            Self::Silence(silence) => silence,
            Self::Deadline => Duration::ZERO,
        }
    }
}

impl SilenceTimer {
    /// Limits the silence between two pieces, and the whole.
    pub(crate) const fn new(silence: Option<Duration>, deadline: Option<Instant>) -> Self {
        Self { silence, deadline, quiet_since: None, sleep: None }
    }

    /// Something came.
    pub(crate) const fn heard(&mut self) {
        self.quiet_since = None;
    }

    /// Nothing is there: ready when a limit has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if self.silence.is_none() && self.deadline.is_none() {
            return Poll::Pending;
        }
        let quiet_since = *self.quiet_since.get_or_insert_with(Instant::now);
        loop {
            let silent_at = self.silence.map(|silence| quiet_since + silence);
            let Some(next) = [silent_at, self.deadline].into_iter().flatten().min() else { return Poll::Pending };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(next)));
            // An earlier wake-up than needed is harmless; a later one is not.
            if next < sleep.deadline() {
                sleep.as_mut().reset(next);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() < next {
                sleep.as_mut().reset(next);
                continue;
            }
            return Poll::Ready(match (self.silence, silent_at) {
                (Some(silence), Some(at)) if at == next => Over::Silence(silence),
                _ => Over::Deadline,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_last_piece_and_the_deadline_from_the_start() {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(25);
        let mut timer = SilenceTimer::new(Some(Duration::from_secs(10)), Some(deadline));
        for _ in 0..2 {
            let early = tokio::time::timeout(Duration::from_secs(9), poll_fn(|cx| timer.poll(cx))).await;
            assert!(early.is_err());
            timer.heard();
        }
        assert_eq!(poll_fn(|cx| timer.poll(cx)).await, Over::Deadline);
        assert_eq!(start.elapsed().as_secs(), 25);
        let mut silent = SilenceTimer::new(Some(Duration::from_secs(10)), None);
        assert_eq!(poll_fn(|cx| silent.poll(cx)).await, Over::Silence(Duration::from_secs(10)));
    }
}
