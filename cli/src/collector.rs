//! `tripline collector`, and the same collector inside `tripline demo`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tripline_collector::config::{Config, Listen, Overrides};

use crate::args::{CollectorArguments, DemoArguments};
use crate::demo::Control;
use crate::exit::{Failure, Outcome};
use crate::signals::EndSignal;

/// Runs the collector until a signal.
pub(crate) async fn run(arguments: CollectorArguments) -> Outcome {
    let flags = Overrides {
        data_dir: arguments.data_dir,
        http: arguments.http,
        otlp_grpc: arguments.otlp_grpc,
        otlp_http: arguments.otlp_http,
        token: None,
        allow_unauthenticated: arguments.allow_unauthenticated,
    };
    let variable = |name: &str| std::env::var(name).ok();
    let config = Config::load(arguments.config.as_deref(), &flags, variable).map_err(Failure::invalid)?;
    let mut end = EndSignal::listen()?;
    drop((config, &mut end));
    Ok(())
}

/// A collector that runs as a task of this process.
#[derive(Debug)]
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl Running {
    /// Starts the demo's collector and waits until it receives.
    pub(crate) async fn start_for_demo(
        listen: &Listen,
        data_dir: PathBuf,
        arguments: &DemoArguments,
        control: Control,
    ) -> Result<Self> {
        Err(anyhow!("todo"))
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends it and waits for that.
    pub(crate) async fn end(self) -> Result<()> {
        let _ = self.stop.send(());
        self.task.await.context("the collector was lost")?
    }
}
