//! The command line of `tripline-proxy`: what it prints and how it exits.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 64 invalid configuration. Problems and warnings go to stderr, one a line,
//! before anything starts; from then on it logs.

use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

use crate::app::Proxy;
use crate::settings::{Args, Configuration};

/// Exit code of an invalid configuration.
const INVALID: u8 = 64;

/// Runs the sidecar as the process's arguments say.
#[must_use]
pub fn run() -> ExitCode {
    let args = Args::parse();
    let filter = match EnvFilter::try_new(&args.log) {
        Ok(filter) => filter,
        Err(error) => {
            say(&format!("error: --log \"{}\": {error}; try info or debug", args.log));
            return ExitCode::from(2);
        }
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    let configuration = match Configuration::load(&args.mesh, args.node_name()) {
        Ok(configuration) => configuration,
        Err(error) => {
            if let crate::settings::LoadError::Problems(problems) = &error {
                problems.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
            }
            return fail(&error, INVALID);
        }
    };
    configuration.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    let settings = args.settings();
    if args.check {
        return match Proxy::check(&configuration, &settings) {
            Ok(()) => {
                say(&format!("the configuration of {} is valid", configuration.node.service));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, INVALID),
        };
    }
    let proxy = match Proxy::bind(&configuration, &settings) {
        Ok(proxy) => proxy,
        Err(error) => return fail(&error, if error.is_configuration() { INVALID } else { 1 }),
    };
    let addresses = proxy.addresses();
    tracing::info!(
        service = %configuration.node.service,
        outbound = %addresses.outbound,
        inbound = addresses.inbound.map(|address| address.to_string()).as_deref().unwrap_or("none"),
        admin = %addresses.admin,
        collector = settings.collector,
        "sidecar runs"
    );
    if !settings.bypassed_ports.is_empty() {
        tracing::warn!(
            ports = ?settings.bypassed_ports,
            "calls to these ports pass by this sidecar, as the redirect rules have it: the graph does not show them"
        );
    }
    match proxy.run(stop_signal(args.exit_with_stdin.then(stdin_end))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

/// SIGTERM, Ctrl-C, or the end of standard input when that is watched.
async fn stop_signal(stdin_end: Option<mpsc::Receiver<()>>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals; use POST /drain to stop");
        return std::future::pending().await;
    };
    let stdin_ended = async {
        match stdin_end {
            Some(mut end) => end.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = stdin_ended => {}
    }
}

/// Told when nobody holds the other end of standard input any more: a supervisor that was killed cannot send a signal, but its
/// pipe closes. A thread of its own, because that read blocks; it ends with the process.
fn stdin_end() -> mpsc::Receiver<()> {
    let (tell, told) = mpsc::channel(1);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = tell.blocking_send(());
    });
    told
}

/// Prints an error with everything that led to it; configuration problems are many lines already.
fn fail(error: &dyn Error, code: u8) -> ExitCode {
    let mut text = String::new();
    for line in error.to_string().lines() {
        text.push_str("error: ");
        text.push_str(line);
        text.push('\n');
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str("  because: ");
        text.push_str(&error.to_string());
        text.push('\n');
        cause = error.source();
    }
    say(text.trim_end());
    ExitCode::from(code)
}

fn say(line: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}
