//! `tripline demo-service`: one service of the demo shop as a process of its own.

use std::os::fd::AsFd;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tripline_demo::fault::FaultSwitch;
use tripline_demo::service::{Service, obey_lines};
use tripline_demo::shop::ServiceSpec;

use crate::args::DemoServiceArguments;
use crate::exit::Outcome;
use crate::signals::EndSignal;

/// Answers until a signal, or the end of standard input, says to end.
pub(crate) async fn run(arguments: DemoServiceArguments) -> Outcome {
    let mut end = EndSignal::listen()?;
    let name = &arguments.name;
    let spec = ServiceSpec::named(name).ok_or_else(|| anyhow!("the shop has no service \"{name}\""))?;
    let listener = TcpListener::bind(arguments.listen).await.with_context(|| {
        format!("cannot listen on {}: end what listens there or choose another port", arguments.listen)
    })?;
    let faults = FaultSwitch::default();
    let service = Service::new(spec, arguments.sidecar, faults.clone());
    tracing::info!(service = name, listen = %arguments.listen, "ready");
    tokio::select! {
        () = service.serve(listener) => {}
        () = end.received() => {}
        read = obey_input(&faults), if arguments.exit_with_stdin => read?,
    }
    Ok(())
}

/// Obeys standard input until its end.
///
/// Read as the pipe that it is: tokio's own `stdin` reads on a blocking thread, which no signal can end.
async fn obey_input(faults: &FaultSwitch) -> anyhow::Result<()> {
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    let input = pipe::Receiver::from_owned_fd(input).context("--exit-with-stdin needs a pipe as standard input")?;
    Ok(obey_lines(input, faults).await?)
}
