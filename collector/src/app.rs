//! The composition root: binds, opens, connects the parts, and ends them in the order in which data flows.
//!
//! Start: all listeners are bound before anything else is touched, so that a taken port changes nothing on disk. The journal is read
//! back before the first request is answered. End: listeners stop and finish their answers, the journal's thread
//! takes what is still queued, exporters empty their queues as far as [`GRACE`] allows, history writes what it holds. A task that ends
//! before that is an error: a collector with half its parts must not look alive.

mod hold;
mod sources;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use hold::HoldError;

use crate::auth::Token;
use crate::config::{Config, Durability};
use crate::export::Exporters;
use crate::history;
use crate::http::{Assets, DemoControl, MeshStore};
use crate::journal::{self, Journal};
use crate::live;
use crate::memory;
use crate::receive::{self, Committer, Intake, Outlets, Store};
use crate::serve::{self, BindError, Listener, Speaks};
use crate::{alert, clock, http, metrics, tls};

/// How long exporters and other parts may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long a start may wait for what history knows of normal times.
const LOOK_BACK: Duration = Duration::from_secs(15);

/// What the caller adds to the configuration.
#[derive(Debug, Default)]
pub struct Extras {
    /// The web UI; none when it was not built in.
    pub assets: Option<Arc<dyn Assets>>,
    /// Starts faults; only while the demo runs.
    pub demo: Option<Arc<dyn DemoControl>>,
}

/// Where the collector listens, with the ports that the system chose if it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Web UI and HTTP API.
    pub http: SocketAddr,
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// X-Ray's daemon protocol; none when its usual port was taken.
    pub xray: Option<SocketAddr>,
}

/// Why the collector could not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A listener.
    #[error(transparent)]
    Bind(#[from] serve::BindError),
    /// The data folder.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// Reading the journal back.
    #[error(transparent)]
    Replay(#[from] receive::ReplayError),
    /// History.
    #[error(transparent)]
    History(#[from] history::OpenError),
    /// History's object store.
    #[error(transparent)]
    Bucket(#[from] history::BucketError),
    /// The mesh documents given last.
    #[error("cannot read the stored mesh; check the folder of `data_dir`")]
    Mesh(#[source] std::io::Error),
    /// A second endpoint.
    #[error(transparent)]
    Export(#[from] crate::export::ExportError),
    /// A receiver of alerts.
    #[error(transparent)]
    Alert(#[from] alert::StartError),
    /// A part ended although nobody asked it to.
    #[error("the {0} ended unexpectedly")]
    Ended(&'static str),
    /// A part broke off.
    #[error("a part of the collector broke off")]
    Broken(#[from] JoinError),
}

/// Parts that run until the end, each answering its name when it ends.
type Parts = JoinSet<&'static str>;

/// Runs the collector until `shutdown`; tells its addresses once it answers.
///
/// # Errors
/// When it cannot start, or a part of it ends early.
#[expect(
    clippy::too_many_lines,
    reason = "the composition root: one line for each part and each connection between them"
)]
pub async fn run(
    config: Config,
    extras: Extras,
    ready: oneshot::Sender<Addresses>,
    shutdown: CancellationToken,
) -> Result<(), AppError> {
    let config = Config { limits: memory::fitted(config.limits), ..config };
    let listeners = Listeners::bind(&config).await?;
    let addresses = listeners.addresses();
    let _hold = hold::take(&config.data_dir)?;
    let (live, live_task) = live::task(live::Limits::default(), live::Settings::default());
    let counters = Arc::new(receive::Counters::default());
    let (store, journal_end) = open_journal(&config, &counters)?;
    let remote = open_remote(&config).await?;
    let kept = history::Settings::new(config.data_dir.clone(), config.retention);
    let settings = history::Settings { journal_end, remote, ..kept }.within(config.limits.in_flight_bytes);
    let (history, owner) = history::open(settings)?;
    let store = store.map(|journal| Store { durable: history.durable(), ..journal });
    let (exporters, targets) = Exporters::open(&config.export)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let public_url = format!("{scheme}://{}", addresses.http);
    let (alerts, teller) = alert::prepare(alert::Settings::new(config.alert.clone(), public_url), &live)?;
    let sources = vec![
        sources::receivers(Arc::clone(&counters)),
        sources::exporters(exporters.clone()),
        metrics::history(history.clone()),
        metrics::alerts(alerts),
    ];
    let (metrics, totals) = metrics::prepare(&live, sources);
    let mesh = MeshStore::open(config.data_dir.join("mesh.json")).map_err(AppError::Mesh)?;

    let (stop_history, mut parts) = (CancellationToken::new(), Parts::new());
    // A thread is not ended with the set of parts.
    let stop_live = CancellationToken::new();
    let _stop_live = stop_live.clone().drop_guard();
    parts.spawn_blocking(move || {
        live::on_its_thread(stop_live.run_until_cancelled(live_task));
        "live graph"
    });
    named(&mut parts, "history", owner.run(stop_history.clone()));
    named(&mut parts, "way from the live graph to history", history::follow(history.clone(), live.clone()));
    named(&mut parts, "sum of metrics", totals);
    restore_baselines(&history, &live).await;
    let mut exports = JoinSet::new();
    targets.into_iter().for_each(|target| {
        exports.spawn(target.run());
    });
    let outlets = Outlets { live: live.batches.clone(), history: history.batches(), exporters };
    let (intake, committer) = receive::open(outlets.clone(), store, config.limits, counters);
    let committer = replay(committer, outlets).await?;
    let mut committing = tokio::task::spawn_blocking(move || committer.run());

    let (router, hub) = http::prepare(http::Parts {
        live,
        history: history.clone(),
        metrics,
        mesh,
        demo: extras.demo,
        assets: extras.assets,
        token: config.token.clone().map(Token::new),
        checks: vec![sources::journal_check(&history)],
        limits: http::Limits::default(),
        shutdown: shutdown.clone(),
    });
    let zipkin = receive::http::Http::new(intake.clone(), config.token.clone().map(Token::new)).zipkin();
    let router = router.merge(zipkin);
    let mut ends = Parts::new();
    named(&mut ends, "stream", hub);
    named(&mut ends, "alerts", teller.run(shutdown.clone()));
    listeners.serve(&config, router, intake, (&mut ends, &shutdown))?;
    // Whoever started us may not care where we listen.
    let _ = ready.send(addresses);
    tracing::info!(http = %addresses.http, otlp_grpc = %addresses.otlp_grpc, otlp_http = %addresses.otlp_http, "collecting");

    let early = tokio::select! {
        // First, for on shutdown all others end as well.
        biased;
        () = shutdown.cancelled() => None,
        ended = parts.join_next() => ended,
        ended = ends.join_next() => ended,
        ended = &mut committing => Some(ended.map(|()| "journal's thread")),
    };
    shutdown.cancel();
    while ends.join_next().await.is_some() {}
    // With the listeners the last hold on the intake is gone, and the journal's thread ends when its queue is empty.
    if !committing.is_finished() {
        let _ = timeout(GRACE, committing).await;
    }
    let _ = timeout(GRACE, async { while exports.join_next().await.is_some() {} }).await;
    stop_history.cancel();
    let written = async { while parts.join_next().await.is_some_and(|ended| !matches!(ended, Ok("history"))) {} };
    if timeout(GRACE * 2, written).await.is_err() {
        tracing::warn!("history did not finish writing in time; the journal has the rest");
    }
    match early {
        None => Ok(()),
        Some(ended) => Err(AppError::Ended(ended?)),
    }
}

/// What was normal before the restart, for the detector, before anything is received.
async fn restore_baselines(history: &history::History, live: &live::Live) {
    let learned = live::learned::from(history, live::Settings::default(), clock::now());
    match timeout(LOOK_BACK, learned).await {
        Ok(Ok(learned)) => live.restore(learned).await,
        Ok(Err(error)) => tracing::warn!(%error, "baselines are learned anew: history could not be read"),
        Err(_) => tracing::warn!("baselines are learned anew: reading history took too long"),
    }
}

fn named(parts: &mut Parts, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
    parts.spawn(async move {
        part.await;
        name
    });
}

/// History's object store, where one is configured.
async fn open_remote(config: &Config) -> Result<Option<history::Remote>, history::BucketError> {
    let Some(store) = &config.history_store else { return Ok(None) };
    let bucket = history::Bucket::connect(store)?;
    Ok(Some(history::Remote::open(bucket, &config.data_dir, store.cache_bytes).await?))
}

/// The journal, unless acknowledging from memory was chosen, and the highest position in it.
fn open_journal(config: &Config, counters: &receive::Counters) -> Result<(Option<Store>, Option<u64>), AppError> {
    let Durability::Synced { interval } = config.durability else { return Ok((None, None)) };
    let folder = config.data_dir.join(Path::new("journal"));
    let options = journal::Options { max_bytes: config.limits.journal_bytes, ..journal::Options::default() };
    let (journal, recovered) = Journal::open(&folder, options)?;
    counters.journal_torn_bytes.store(recovered.torn_bytes, std::sync::atomic::Ordering::Relaxed);
    if recovered.torn_bytes > 0 {
        tracing::warn!(bytes = recovered.torn_bytes, "cut a torn end off the journal; none of it was acknowledged");
    }
    let end = journal.next_position().saturating_sub(1);
    // The position is taken from history once that is open.
    let (_, durable) = tokio::sync::watch::channel(0);
    Ok((Some(Store { journal, interval, durable }), Some(end)))
}

/// Reads the journal back on a thread for blocking work: it waits where queues are full.
async fn replay(mut committer: Committer, outlets: Outlets) -> Result<Committer, AppError> {
    tokio::task::spawn_blocking(move || {
        committer.replay(&outlets)?;
        Ok(committer)
    })
    .await?
}

/// The three listeners, bound.
struct Listeners {
    http: Listener,
    otlp_grpc: Listener,
    otlp_http: Listener,
    /// TCP and UDP of one port.
    xray: Option<(Listener, UdpSocket)>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, AppError> {
        let listen = &config.listen;
        Ok(Self {
            http: serve::bind("listen.http", listen.http).await?,
            otlp_grpc: serve::bind("listen.otlp_grpc", listen.otlp_grpc).await?,
            otlp_http: serve::bind("listen.otlp_http", listen.otlp_http).await?,
            xray: bind_xray(listen.xray).await?,
        })
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            http: self.http.address(),
            otlp_grpc: self.otlp_grpc.address(),
            otlp_http: self.otlp_http.address(),
            xray: self.xray.as_ref().map(|(tcp, _)| tcp.address()),
        }
    }

    fn serve(
        self,
        config: &Config,
        router: axum::Router,
        intake: Intake,
        (ends, stop): (&mut Parts, &CancellationToken),
    ) -> Result<(), AppError> {
        let token = config.token.clone().map(Token::new);
        let settings = |speaks: Speaks| {
            let tls = config.tls.as_ref().map(|tls| tls::server(tls, speaks.alpn())).transpose()?;
            Ok::<_, AppError>(serve::Settings { speaks, tls, limits: config.limits, counters: Arc::default() })
        };
        if let Some((tcp, udp)) = self.xray {
            let datagrams = receive::xray::datagrams(udp, intake.clone(), stop.clone());
            named(ends, "X-Ray datagrams", datagrams);
            let intake = intake.clone();
            let answers = service_fn(move |request| {
                let intake = intake.clone();
                async move { Ok::<_, Infallible>(receive::xray::answer(&intake, request).await) }
            });
            // The SDKs speak to the daemon without TLS.
            let plain = serve::Settings { tls: None, ..settings(Speaks::Http)? };
            named(ends, "X-Ray listener", tcp.serve(plain, answers, stop.clone()));
        }
        let grpc = receive::grpc::Grpc::new(intake.clone(), token.clone());
        let grpc = service_fn(move |request| {
            let grpc = grpc.clone();
            async move { Ok::<_, Infallible>(grpc.answer(request).await) }
        });
        let otlp = receive::http::Http::new(intake, token);
        let otlp = service_fn(move |request| {
            let otlp = otlp.clone();
            async move { Ok::<_, Infallible>(otlp.answer(request).await) }
        });
        let (page, http_settings) = (TowerToHyperService::new(router), settings(Speaks::Http)?);
        named(ends, "HTTP listener", self.http.serve(http_settings, page, stop.clone()));
        named(ends, "OTLP gRPC listener", self.otlp_grpc.serve(settings(Speaks::Http2)?, grpc, stop.clone()));
        named(ends, "OTLP HTTP listener", self.otlp_http.serve(settings(Speaks::Http)?, otlp, stop.clone()));
        Ok(())
    }
}

/// Binds X-Ray's port: the one that was asked for, else the usual one, if nobody has it.
async fn bind_xray(wanted: Option<SocketAddr>) -> Result<Option<(Listener, UdpSocket)>, BindError> {
    const SETTING: &str = "listen.xray";
    let both = async |address| {
        let tcp = serve::bind(SETTING, address).await?;
        let address = tcp.address();
        let udp = UdpSocket::bind(address).await;
        Ok((tcp, udp.map_err(|source| BindError::Other { address, setting: SETTING, source })?))
    };
    match (wanted, both(wanted.unwrap_or(receive::xray::USUAL)).await) {
        (_, Ok(bound)) => Ok(Some(bound)),
        (Some(_), Err(error)) => Err(error),
        (None, Err(error)) => {
            tracing::warn!(%error, "not receiving from X-Ray's SDKs; another daemon may have its port");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
