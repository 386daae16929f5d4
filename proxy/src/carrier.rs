//! A thread that carries traffic: one worker on a single-threaded runtime of its own.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::drain::Drain;
use crate::listen;
use crate::worker::{Half, Worker};

/// Time between two looks for connections that have been idle too long.
const PRUNE: Duration = Duration::from_secs(5);

/// A worker and the sockets it accepts on, before its thread runs.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// The worker.
    pub(crate) worker: Arc<Worker>,
    /// Its sockets.
    pub(crate) listeners: Vec<(Half, TcpListener)>,
}

impl Carrier {
    /// Starts the thread; what is returned is ready when the thread has ended.
    pub(crate) fn start(self, drain: Drain) -> io::Result<oneshot::Receiver<()>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (ended, wait) = oneshot::channel();
        thread::Builder::new().name(format!("worker-{}", self.worker.index)).spawn(move || {
            self.carry(&runtime, drain);
            // Whatever did not finish in time ends here, and records itself as it does.
            drop(runtime);
            let _ = ended.send(());
        })?;
        Ok(wait)
    }

    fn carry(self, runtime: &Runtime, mut drain: Drain) {
        let Self { worker, listeners } = self;
        runtime.block_on(async {
            let tasks = TaskTracker::new();
            for (half, listener) in listeners {
                tasks.spawn(listen::accept(Arc::clone(&worker), half, listener, drain.clone(), tasks.clone()));
            }
            let pruning = tokio::spawn(prune(Arc::clone(&worker)));
            drain.begun().await;
            tasks.close();
            if tokio::time::timeout(worker.shared.limits.drain, tasks.wait()).await.is_err() {
                worker.shared.connections.cut.fetch_add(tasks.len() as u64, Ordering::Relaxed);
                tracing::warn!(connections = tasks.len(), "drain deadline passed; closing what is left");
            }
            pruning.abort();
        });
    }
}

async fn prune(worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(PRUNE).await;
        let (now, idle) = (worker.shared.clock.now(), worker.shared.limits.pool_idle);
        for endpoint in worker.shared.all_targets().iter().flat_map(|target| target.endpoints()) {
            endpoint.prune(worker.index, now, idle);
        }
        for app in &worker.shared.plan.get().apps {
            app.endpoint.prune(worker.index, now, idle);
        }
    }
}
