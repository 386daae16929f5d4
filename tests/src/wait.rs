//! Waiting for something to become true: look, pause, look again, until a deadline.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Pause between two looks: short against what people notice, long against what a look costs.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until it finds a value; `Err` means "not yet", and the last one explains the failure at the deadline.
///
/// # Errors
/// When `limit` has passed: `what` was awaited, and what the last look saw instead.
pub async fn until<T, E: Display>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let not_yet = match look().await {
            Ok(found) => return Ok(found),
            Err(not_yet) => not_yet,
        };
        if Instant::now() >= deadline {
            bail!("waited {} s for {what}; at last: {not_yet:#}", limit.as_secs_f64());
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_value_ends_the_wait() -> Result<()> {
        let mut looks = 0;
        let found = until("three looks", Duration::from_secs(5), async || {
            looks += 1;
            if looks < 3 { Err("too few") } else { Ok(looks) }
        });
        assert_eq!(found.await?, 3);
        Ok(())
    }

    #[tokio::test]
    async fn the_deadline_tells_what_was_seen_last() {
        let never = until("rain", Duration::from_millis(60), async || Err::<(), _>("sunshine"));
        let error = never.await.unwrap_err().to_string();
        assert_eq!(error, "waited 0.06 s for rain; at last: sunshine");
    }
}
