//! `tripline collector`, and the same collector inside `tripline demo`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tripline_collector::app::{self, Addresses, AppError, Extras};
use tripline_collector::config::{Alert, Config, Listen, Overrides, Url, Webhook};
use tripline_collector::http::{Assets, DemoControl};
use tripline_collector::self_telemetry;

use crate::args::{CollectorArguments, DemoArguments, LogArguments};
use crate::assets::Embedded;
use crate::exit::{Failure, Outcome};
use crate::logging;
use crate::signals::EndSignal;
use crate::style;

/// Runs the collector until a signal.
pub(crate) async fn run(arguments: CollectorArguments, log: &LogArguments) -> Outcome {
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
    let own_spans = config.self_telemetry.as_ref().map(self_telemetry::layer).transpose().map_err(Failure::invalid)?;
    let (layer, sender) = own_spans.unzip();
    logging::start_with(log, "info", layer);
    let mut end = EndSignal::listen()?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let mut running = Running::start(config, None);
    let outcome = tokio::select! {
        () = end.received() => Ok(()),
        outcome = running.serve(scheme) => outcome,
    };
    let ended = running.end().await;
    if let Some(sender) = sender {
        // It waits for its exporter, which may take seconds.
        tokio::task::spawn_blocking(move || sender.finish()).await.context("the last own spans were lost")?;
    }
    outcome?;
    ended
}

/// A collector that runs as a task of this process.
#[derive(Debug)]
pub(crate) struct Running {
    stop: CancellationToken,
    ready: Option<oneshot::Receiver<Addresses>>,
    task: JoinHandle<Result<(), AppError>>,
}

impl Running {
    /// Starts a collector; `demo` starts faults.
    fn start(config: Config, demo: Option<Arc<dyn DemoControl>>) -> Self {
        let stop = CancellationToken::new();
        let (tell_ready, ready) = oneshot::channel();
        let assets: Arc<dyn Assets> = Arc::new(Embedded);
        let extras = Extras { assets: Some(assets), demo };
        let task = tokio::spawn(app::run(config, extras, tell_ready, stop.clone()));
        Self { stop, ready: Some(ready), task }
    }

    /// Starts the demo's collector and waits until it receives.
    pub(crate) async fn start_for_demo(
        listen: Listen,
        data_dir: PathBuf,
        arguments: &DemoArguments,
        demo: impl DemoControl + 'static,
    ) -> Result<Self, Failure> {
        let alert = alert(arguments).map_err(Failure::invalid)?;
        let config = Config { data_dir, listen, alert, ..Config::default() };
        let mut running = Self::start(config, Some(Arc::new(demo)));
        match running.ready().await {
            Some(_) => Ok(running),
            None => {
                Err(running.end().await.err().unwrap_or_else(|| Failure::new(anyhow!("the collector did not start"))))
            }
        }
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends it and waits for that.
    pub(crate) async fn end(self) -> Outcome {
        self.stop.cancel();
        match self.task.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if is_configuration(&error) => Err(Failure::invalid(error)),
            Ok(Err(error)) => Err(Failure::new(error)),
            Err(lost) => Err(Failure::new(anyhow::Error::new(lost).context("the collector was lost"))),
        }
    }

    /// Where it listens, once it answers; none when it ended before that, or when that was told already.
    async fn ready(&mut self) -> Option<Addresses> {
        self.ready.take()?.await.ok()
    }

    /// Says where it listens and waits until it ends by itself; why is for [`Running::end`] to say.
    async fn serve(&mut self, scheme: &str) -> Outcome {
        if let Some(at) = self.ready().await {
            let line =
                format!("web UI {scheme}://{}   OTLP gRPC {}   OTLP HTTP {}\n", at.http, at.otlp_grpc, at.otlp_http);
            style::answer(&line)?;
        }
        while !self.has_ended() {
            tokio::time::sleep(ENDED_POLL).await;
        }
        Ok(())
    }
}

/// How often it is looked whether the collector ended by itself, which it should not.
const ENDED_POLL: std::time::Duration = std::time::Duration::from_millis(200);

/// Whether the fault is in what the collector was told, not in the machine.
const fn is_configuration(error: &AppError) -> bool {
    matches!(error, AppError::Tls(_) | AppError::Export(_) | AppError::Alert(_))
}

/// Whom the demo tells about incidents.
fn alert(arguments: &DemoArguments) -> Result<Alert> {
    let url = |text: &String| Url::parse(text).map_err(|message| anyhow!("\"{text}\": {message}"));
    let webhook = |text| url(text).map(|url| Webhook { url, headers: Vec::new() });
    Ok(Alert {
        webhooks: arguments.webhooks.iter().map(webhook).collect::<Result<_>>()?,
        alertmanagers: arguments.alertmanagers.iter().map(url).collect::<Result<_>>()?,
    })
}
