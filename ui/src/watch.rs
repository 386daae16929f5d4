//! Whether the stream lives, and when to try again: the pure part of [`crate::stream`].
//!
//! The collector sends something every second. Silence of [`SILENT_AFTER_MS`] counts as a loss even when the browser believes
//! the connection alive (a suspended laptop, a proxy that swallows). Tries come after 1, 2, 4 and then every 8 seconds,
//! by ourselves and not by the browser, which gives up for good after an HTTP error.

use crate::time::SECOND;

/// The collector writes once a second, so this many missed seconds are no accident.
const SILENT_AFTER_MS: f64 = 6.0 * SECOND;
/// Longest pause between two tries.
const LONGEST_PAUSE_MS: f64 = 8.0 * SECOND;

/// How the stream does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Link {
    /// Never heard anything yet.
    Connecting,
    /// Up to date.
    Live,
    /// Gone; the picture is as it was then. By the browser's clock.
    Lost {
        /// Milliseconds since 1970.
        since: f64,
    },
    /// Talks, but not in a way this page understands: another version.
    Garbled {
        /// What the decoder says.
        reason: String,
    },
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Rest,
    /// Close what is there and open the stream again.
    Reopen,
}

/// Watches one stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Watch {
    last_sign: f64,
    lost_since: Option<f64>,
    heard: bool,
    tries: u32,
    next_try: Option<f64>,
}

impl Watch {
    /// A stream that was opened now.
    pub(crate) fn new(now: f64) -> Self {
        Self { last_sign: now, lost_since: None, heard: false, tries: 0, next_try: None }
    }

    /// An event came.
    pub(crate) fn on_event(&mut self, now: f64) -> Link {
        *self = Self { heard: true, ..Self::new(now) };
        Link::Live
    }

    /// The connection broke, or could not be made.
    pub(crate) fn on_error(&mut self, now: f64) -> Link {
        self.lose(now)
    }

    /// A second passed. Says how the stream does when that has changed.
    pub(crate) fn on_second(&mut self, now: f64) -> (Step, Option<Link>) {
        if self.next_try.is_none() && now - self.last_sign > SILENT_AFTER_MS {
            return (Step::Rest, Some(self.lose(now)));
        }
        match self.next_try {
            Some(at) if now >= at => {
                self.next_try = None;
                // The new try has its own time to speak.
                self.last_sign = now;
                (Step::Reopen, None)
            }
            _ => (Step::Rest, None),
        }
    }

    fn lose(&mut self, now: f64) -> Link {
        let since = *self.lost_since.get_or_insert(if self.heard { self.last_sign } else { now });
        let pause = (f64::from(1_u32 << self.tries.min(3)) * SECOND).min(LONGEST_PAUSE_MS);
        self.tries = self.tries.saturating_add(1);
        self.next_try = Some(now + pause);
        Link::Lost { since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_a_loss_and_is_dated_from_the_last_event() {
        let mut watch = Watch::new(0.0);
        assert_eq!(watch.on_event(1_000.0), Link::Live);
        assert_eq!(watch.on_second(6_000.0), (Step::Rest, None));
        assert_eq!(watch.on_second(7_500.0), (Step::Rest, Some(Link::Lost { since: 1_000.0 })));
        assert_eq!(watch.on_second(8_000.0), (Step::Rest, None));
        assert_eq!(watch.on_second(8_500.0), (Step::Reopen, None));
    }

    #[test]
    fn pauses_grow_to_eight_seconds_and_an_event_resets_them() {
        let mut watch = Watch::new(0.0);
        let mut now = 0.0;
        let mut pauses = Vec::new();
        for _ in 0..5 {
            watch.on_error(now);
            let failed_at = now;
            while watch.on_second(now).0 == Step::Rest {
                now += 500.0;
            }
            pauses.push(now - failed_at);
        }
        assert_eq!(pauses, [1_000.0, 2_000.0, 4_000.0, 8_000.0, 8_000.0]);
        watch.on_event(now);
        assert_eq!(watch.on_error(now + 10.0), Link::Lost { since: now });
        assert_eq!(watch.on_second(now + 1_010.0).0, Step::Reopen);
    }

    #[test]
    fn a_loss_keeps_its_beginning_over_failed_tries() {
        let mut watch = Watch::new(0.0);
        watch.on_event(500.0);
        assert_eq!(watch.on_error(2_000.0), Link::Lost { since: 500.0 });
        assert_eq!(watch.on_error(9_000.0), Link::Lost { since: 500.0 });
    }
}
