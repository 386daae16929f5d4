//! All child processes of the demo: twelve services and the sidecar beside each.
//!
//! A process that ends without being asked is started again after a second, so that `kill -9` by hand is a fault like
//! any other; one that keeps ending has something wrong with it, and ends the demo with the last lines of its log.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tripline_demo::fault::Command;
use tripline_demo::ports::{PortPlan, Ports};

use super::process::{Process, Recipe};
use super::setting::Setting;
use crate::style;

/// A process that ends unexpectedly is started again after this time.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// So many unexpected ends of one process end the demo.
const MAX_RESTARTS: u32 = 5;
/// How long all processes together may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(50);
const READY_ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long a process may take to end when asked.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What a process is to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The service itself.
    Service,
    /// The sidecar beside it.
    Sidecar,
}

/// Everyone.
#[derive(Debug)]
pub(super) struct Crew {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    service: &'static str,
    role: Role,
    ports: Ports,
    recipe: Recipe,
    state: State,
    unexpected_ends: u32,
}

#[derive(Debug)]
enum State {
    Running(Box<Process>),
    /// A fault wants it so.
    Down,
    /// It ended unexpectedly and comes back then.
    Returning(Instant),
}

impl Crew {
    /// Starts all services and sidecars; they are not ready yet.
    pub(super) fn start(plan: &PortPlan, setting: &Setting) -> Result<Self> {
        let mut members = Vec::new();
        for role in [Role::Service, Role::Sidecar] {
            for (spec, ports) in plan.all() {
                let recipe = setting.recipe(role, spec, ports);
                let state = State::Running(start(&recipe)?);
                members.push(Member { service: spec.name, role, ports, recipe, state, unexpected_ends: 0 });
            }
        }
        Ok(Self { members })
    }

    /// Waits until every one of them can work.
    pub(super) async fn ready(&mut self) -> Result<()> {
        let asker = reqwest::Client::builder().timeout(READY_ANSWER_WITHIN).no_proxy().build()?;
        let deadline = Instant::now() + READY_WITHIN;
        for member in &mut self.members {
            while !is_ready(&asker, member.role, member.ports).await {
                if let State::Running(process) = &mut member.state
                    && let Some(status) = process.ended()?
                {
                    bail!("{} ended at its start ({status}):\n{}", member.recipe.label, member.recipe.tail());
                }
                if Instant::now() > deadline {
                    let (label, waited) = (&member.recipe.label, READY_WITHIN.as_secs());
                    bail!("{label} is not ready after {waited} s:\n{}", member.recipe.tail());
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    /// Looks after those that ended, answers the services that were started again.
    pub(super) fn tend(&mut self) -> Result<Vec<&'static str>> {
        let mut returned = Vec::new();
        for member in &mut self.members {
            match &mut member.state {
                State::Running(process) => {
                    if let Some(status) = process.ended()? {
                        member.unexpected_ends += 1;
                        let label = &member.recipe.label;
                        if member.unexpected_ends > MAX_RESTARTS {
                            bail!("{label} keeps ending ({status}):\n{}", member.recipe.tail());
                        }
                        style::tell(format_args!(
                            "{} {label} ended ({status}), starting it again",
                            style::yellow("warning:")
                        ));
                        member.state = State::Returning(Instant::now() + RESTART_AFTER);
                    }
                }
                State::Returning(at) if *at <= Instant::now() => {
                    member.state = State::Running(start(&member.recipe)?);
                    if member.role == Role::Service {
                        returned.push(member.service);
                    }
                }
                State::Returning(_) | State::Down => {}
            }
        }
        Ok(returned)
    }

    /// Tells a service; one that is not running hears it when it returns.
    pub(super) async fn tell(&mut self, service: &str, command: Command) -> Result<()> {
        match self.service(service) {
            Some(Member { state: State::Running(process), .. }) => {
                process.tell(&command.to_string()).await.with_context(|| format!("cannot reach {service}"))
            }
            _ => Ok(()),
        }
    }

    /// Ends a service like a crash would; it stays down.
    pub(super) async fn crash(&mut self, service: &str) -> Result<()> {
        let Some(member) = self.service(service) else { return Ok(()) };
        match std::mem::replace(&mut member.state, State::Down) {
            State::Running(process) => process.kill().await.with_context(|| format!("cannot end {service}")),
            State::Down | State::Returning(_) => Ok(()),
        }
    }

    /// Starts a service that [`Crew::crash`] ended.
    pub(super) fn revive(&mut self, service: &str) -> Result<()> {
        match self.service(service) {
            Some(member) if matches!(member.state, State::Down) => {
                member.state = State::Running(start(&member.recipe)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Process ids of a service and its sidecar.
    pub(super) fn ids(&self, service: &str) -> [Option<u32>; 2] {
        [Role::Service, Role::Sidecar].map(|role| {
            let member = self.members.iter().find(|member| member.service == service && member.role == role)?;
            match &member.state {
                State::Running(process) => process.id(),
                State::Down | State::Returning(_) => None,
            }
        })
    }

    /// Ends all of them and waits for that.
    pub(super) async fn end(self) {
        let mut ending = JoinSet::new();
        for member in self.members {
            if let State::Running(process) = member.state {
                let label = member.recipe.label;
                ending.spawn(async move { (label, process.end(END_WITHIN).await) });
            }
        }
        while let Some(ended) = ending.join_next().await {
            match ended {
                Ok((_, Ok(false))) => {}
                Ok((label, Ok(true))) => tracing::warn!(label, "did not end when asked and was killed"),
                Ok((label, Err(error))) => tracing::warn!(label, %error, "could not be waited for"),
                Err(error) => tracing::warn!(%error, "a process was lost"),
            }
        }
    }

    fn service(&mut self, service: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.service == service && member.role == Role::Service)
    }
}

fn start(recipe: &Recipe) -> Result<Box<Process>> {
    recipe
        .start()
        .map(Box::new)
        .with_context(|| format!("cannot start {} ({})", recipe.label, recipe.program.display()))
}

async fn is_ready(asker: &reqwest::Client, role: Role, ports: Ports) -> bool {
    match role {
        Role::Service => TcpStream::connect(ports.app).await.is_ok(),
        Role::Sidecar => {
            let answer = asker.get(format!("http://{}/readyz", ports.admin)).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        }
    }
}
