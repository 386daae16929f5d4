//! The one signal to stop: accept nothing new, finish what is under way, report it, end.

use std::sync::Arc;

use tokio::sync::watch;

/// Begins the drain.
#[derive(Debug, Clone)]
pub(crate) struct DrainStart(Arc<watch::Sender<bool>>);

/// Waits for the drain.
#[derive(Debug, Clone)]
pub(crate) struct Drain(watch::Receiver<bool>);

/// A drain that has not begun.
pub(crate) fn channel() -> (DrainStart, Drain) {
    let (sender, receiver) = watch::channel(false);
    (DrainStart(Arc::new(sender)), Drain(receiver))
}

impl DrainStart {
    /// Begins it; again does nothing.
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Waits until it begins; also when whoever could begin it is gone.
    pub(crate) async fn begun(&mut self) {
        let _ = self.0.wait_for(|begun| *begun).await;
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow()
    }
}
