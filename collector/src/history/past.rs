//! The graph as it was: folded again from stored windows by the same code that folds the live one.

use std::time::Duration;

use tripline_model::{EdgeWindow, Timestamp};

use super::History;
use super::query::QueryError;

/// Length of the stored windows; past times are rounded down to it.
pub const PANE: Duration = Duration::from_secs(10);

impl History {
    /// The stored windows that make up the graph over the last `window` before `at`, with the exact end of that window.
    ///
    /// # Errors
    /// As [`QueryError`] says.
    pub async fn windows_at(
        &self,
        at: Timestamp,
        window: Duration,
    ) -> Result<(Timestamp, Vec<EdgeWindow>), QueryError> {
        let end = at.window_start(PANE);
        Ok((end, self.edge_windows(end - window, end).await?))
    }
}
