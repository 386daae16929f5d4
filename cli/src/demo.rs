//! `tripline demo`: a collector, a shop of twelve services each behind its own sidecar process, and its load.
//!
//! This task owns everything: the child processes ([`crew`]), the faults ([`faults`]) and the clock. It starts them in
//! the order in which they need each other (collector, services, sidecars, load) and ends them the other way round, so
//! that the sidecars' last reports still find the collector. The web UI's faults reach it through [`control`].

mod control;
mod crew;
mod faults;
mod overview;
mod process;
mod setting;
mod status;

use std::future::pending;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tripline_demo::fault::{Command, FaultKind, FaultPlan};
use tripline_demo::load::{self, Arrivals, LoadReport};

use crate::args::{ApiArguments, DemoArguments};
use crate::client::Client;
use crate::collector::Running;
use crate::exit::Outcome;
use crate::signals::EndSignal;
use crate::style;
use control::Control;
use crew::Crew;
use faults::Effect;
use setting::Setting;
use status::Status;

/// How often faults and processes are looked after.
const TEND_EVERY: Duration = Duration::from_millis(100);
/// How often the status is brought up to date.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Equal demos see equal users.
const SEED: u64 = 2026;
/// The sidecars report once a second; the last report of the load is waited for.
const LAST_REPORT: Duration = Duration::from_millis(1200);

/// Runs the demo until a signal, or until its time is over.
pub(crate) async fn run(arguments: DemoArguments, api: ApiArguments) -> Outcome {
    let end = EndSignal::listen()?;
    let setting = Setting::prepare(&arguments)?;
    let (control, by_hand) = Control::new();
    // With a collector of its own, the demo asks that one, wherever the arguments point.
    let (collector, api) = match arguments.report_to {
        Some(_) => (None, api),
        None => {
            let (listen, data) = (setting.listen, setting.collector_data());
            let running = Running::start_for_demo(listen, data, &arguments, control.clone()).await?;
            (Some(running), ApiArguments { collector: format!("http://{}", listen.http), token: None })
        }
    };
    let status = Status::new(Client::new(&api)?, arguments.headless);
    style::tell(format_args!("starting 12 services and 12 sidecars"));
    let stage = Stage { crew: Crew::start(&setting.ports, &setting)?, control, status };
    let cues = Cues { seconds: arguments.seconds, by_hand, end };
    let played = play(stage, cues, (&arguments, &setting), collector.as_ref()).await;
    if let Some(collector) = collector {
        collector.end().await?;
    }
    if setting.folder.stays() {
        style::tell(format_args!("kept: {}", setting.folder.path().display()));
    }
    Ok(played?)
}

/// What ends or changes the play from outside.
struct Cues {
    seconds: Option<u64>,
    by_hand: mpsc::Receiver<Vec<Effect>>,
    end: EndSignal,
}

/// Waits until everyone is ready, plays until the end, and takes load and processes away, whatever happened.
async fn play(
    mut stage: Stage,
    mut cues: Cues,
    (arguments, setting): (&DemoArguments, &Setting),
    collector: Option<&Running>,
) -> Result<()> {
    let ready = tokio::select! {
        ready = stage.crew.ready() => ready,
        () = cues.end.received() => Err(anyhow!("ended before it was ready")),
    };
    let opening = overview::opening(setting, &stage.crew, arguments, style::colours_on_stdout());
    if let Err(error) = ready.and_then(|()| Ok(style::answer(&opening)?)) {
        stage.crew.end().await;
        return Err(error);
    }
    stage.begin(&arguments.faults);
    let load = Load::start(arguments, setting);
    let played = stage.run(cues, &load.reports, collector).await;
    stage.status.end();
    let report = load.end().await;
    if played.is_ok() {
        sleep(LAST_REPORT).await;
    }
    stage.crew.end().await;
    if let Some(report) = report {
        style::answer(&overview::closing(&report))?;
    }
    played
}

/// What the demo's task owns while it runs.
struct Stage {
    crew: Crew,
    control: Control,
    status: Status,
}

impl Stage {
    /// From now on the time of scripts and status lines counts.
    fn begin(&mut self, scripted: &[FaultPlan]) {
        let (mut book, now) = self.control.book();
        book.script(scripted, now);
        drop(book);
        self.status.begin();
    }

    async fn run(&mut self, cues: Cues, load: &watch::Receiver<LoadReport>, collector: Option<&Running>) -> Result<()> {
        let Cues { seconds, mut by_hand, mut end } = cues;
        let mut tend = interval(TEND_EVERY);
        tend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refresh = interval(STATUS_EVERY);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let over = async {
            match seconds {
                Some(seconds) => sleep(Duration::from_secs(seconds)).await,
                None => pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = end.received() => return Ok(()),
                () = &mut over => return Ok(()),
                Some(effects) = by_hand.recv() => self.perform(effects).await?,
                _ = tend.tick() => self.tend().await?,
                _ = refresh.tick() => {
                    if collector.is_some_and(Running::has_ended) {
                        return Err(anyhow!("the collector ended"));
                    }
                    let faults = {
                        let (book, now) = self.control.book();
                        book.on(now)
                    };
                    let report = load.borrow().clone();
                    self.status.refresh(&report, &faults).await;
                }
            }
        }
    }

    async fn tend(&mut self) -> Result<()> {
        let effects = {
            let (mut book, now) = self.control.book();
            book.poll(now)
        };
        self.perform(effects).await?;
        for service in self.crew.tend()? {
            let command = {
                let (book, now) = self.control.book();
                book.still_on(service, now)
            };
            if let Some(command) = command {
                self.crew.tell(service, command).await?;
            }
        }
        Ok(())
    }

    async fn perform(&mut self, effects: Vec<Effect>) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Tell(service, command) => {
                    self.status.tell(&described(service, command));
                    self.crew.tell(service, command).await?;
                }
                Effect::Crash(service) => {
                    self.status.tell(&format!("{service}: crash"));
                    self.crew.crash(service).await?;
                }
                Effect::Revive(service) => {
                    self.status.tell(&format!("{service}: started again"));
                    self.crew.revive(service)?;
                }
            }
        }
        Ok(())
    }
}

/// `payments-db: errors for 40 s`, `payments-db: well`.
fn described(service: &str, command: Command) -> String {
    match command {
        Command::Impair(impairment, lasting) => {
            format!("{service}: {} for {} s", FaultKind::from(impairment), lasting.as_secs_f64())
        }
        Command::Recover => format!("{service}: well"),
    }
}

/// The load as a task of its own.
struct Load {
    reports: watch::Receiver<LoadReport>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Load {
    fn start(arguments: &DemoArguments, setting: &Setting) -> Self {
        let (publish, reports) = watch::channel(LoadReport::default());
        if arguments.no_load {
            return Self { reports, running: None };
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let (entrance, arrivals) = (setting.ports.entrance(), Arrivals::new(arguments.rate, SEED));
        let task = tokio::spawn(async move {
            let stop = async {
                // A sender that is gone means the same.
                let _ = stopped.await;
            };
            load::run(entrance, arrivals, stop, &publish).await;
        });
        Self { reports, running: Some((stop, task)) }
    }

    /// Sends nothing more, waits for the answers, and answers the final count; none without a load.
    async fn end(self) -> Option<LoadReport> {
        let (stop, task) = self.running?;
        let _ = stop.send(());
        if let Err(error) = task.await.context("the load was lost") {
            tracing::warn!(error = format!("{error:#}"), "counting what is known");
        }
        Some(self.reports.borrow().clone())
    }
}
