//! Ctrl-C and SIGTERM: both mean, please end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from the moment it is made, so that a signal during the start is not lost.
#[derive(Debug)]
pub(crate) struct EndSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl EndSignal {
    /// Starts listening.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
