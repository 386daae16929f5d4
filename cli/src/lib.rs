//! The command line of Tripline: the collector, the demo, and the look-ups over the collector's HTTP API.
//!
//! [`args`] is the whole grammar. `show` holds the look-ups, each a table or JSON; `graph` draws; `mesh` checks and
//! sends mesh documents; `localise` judges recorded windows; `collector` and `demo` run until they are told to end. Answers
//! go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage (clap's own), 64 invalid configuration.

pub mod args;
mod assets;
mod client;
mod collector;
mod demo;
mod demo_service;
mod detect;
mod exit;
mod graph;
mod localise;
mod logging;
mod mesh;
mod moment;
mod past;
mod recorded;
mod show;
mod signals;
mod simulate;
mod style;
mod table;

use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use args::{Arguments, Command};
use exit::{Failure, Outcome};

/// Runs one command and says how it ended.
#[must_use]
pub fn main(arguments: Arguments) -> ExitCode {
    let outcome = run(arguments);
    if let Err(failure) = &outcome {
        failure.print();
    }
    exit::code(&outcome)
}

fn run(arguments: Arguments) -> Outcome {
    let Arguments { command, api, log } = arguments;
    // The collector starts logging itself: what it logs to is part of its configuration.
    if let Some(default) = command.default_log() {
        logging::start(&log, default);
    }
    let runtime = runtime(&command)?;
    runtime.block_on(async move {
        match command {
            Command::Demo(demo) => demo::run(*demo, api).await,
            Command::Collector(collector) => collector::run(collector, &log).await,
            Command::DemoService(service) => demo_service::run(service).await,
            Command::Mesh(mesh) => mesh::run(mesh, &api).await,
            Command::Localise(arguments) => localise::run(&arguments),
            Command::Detect(arguments) => detect::run(&arguments, &api).await,
            Command::Simulate(arguments) => simulate::run(&arguments, &api).await,
            Command::Graph(graph) => graph::run(graph, &api).await,
            Command::Show(show) => show::run(show, &api).await,
        }
    })
}

/// The appliance and the demo use all cores; a service of the shop and a look-up get by with one thread.
fn runtime(command: &Command) -> Result<Runtime, Failure> {
    let mut builder = match command {
        Command::Demo(_) | Command::Collector(_) => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    builder.enable_all().build().map_err(|error| Failure::new(anyhow::Error::new(error).context("cannot start")))
}
