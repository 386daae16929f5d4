//! Faults: what can be broken, and the switch inside a service that breaks it.
//!
//! Four kinds exist. Errors, latency and hang are impairments that a running service imposes on itself; a crash is
//! the end of its process and is done by whoever runs it. A service is told over its standard input, one line each
//! (`errors 40`, `well`), so that nothing that can reach its port can break it.

mod plan;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub use plan::{BadPlan, FaultPlan, LONGEST, parse_duration};

/// What to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Answers [`ERROR_PERCENT`] percent of the requests with 500.
    Errors,
    /// Answers [`ADDED_LATENCY`] later.
    Latency,
    /// The process ends and is started again at the end of the fault.
    Crash,
    /// Accepts requests and does not answer before the fault is over.
    Hang,
}

/// Share of the requests that an errors fault answers with 500.
pub const ERROR_PERCENT: u32 = 95;
/// What a latency fault adds to every request; below every sidecar's bound, so that slow answers still arrive.
pub const ADDED_LATENCY: Duration = Duration::from_millis(400);

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Errors, Self::Latency, Self::Crash, Self::Hang];

    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Crash => "crash",
            Self::Hang => "hang",
        }
    }

    /// What a service does to itself for it; none for a crash.
    #[must_use]
    pub const fn impairment(self) -> Option<Impairment> {
        match self {
            Self::Errors => Some(Impairment::Errors),
            Self::Latency => Some(Impairment::Latency),
            Self::Hang => Some(Impairment::Hang),
            Self::Crash => None,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no kind of fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault kind \"{0}\": use errors, latency, crash or hang")]
pub struct UnknownKind(String);

impl FromStr for FaultKind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A fault that a service imposes on itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impairment {
    /// See [`FaultKind::Errors`].
    Errors,
    /// See [`FaultKind::Latency`].
    Latency,
    /// See [`FaultKind::Hang`].
    Hang,
}

impl From<Impairment> for FaultKind {
    fn from(impairment: Impairment) -> Self {
        match impairment {
            Impairment::Errors => Self::Errors,
            Impairment::Latency => Self::Latency,
            Impairment::Hang => Self::Hang,
        }
    }
}

/// One command to a service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command {
    /// Be impaired for so long, instead of whatever is on now.
    Impair(Impairment, Duration),
    /// Be well.
    Recover,
}

/// A line that is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a fault command: \"{0}\" (expected `errors|latency|hang SECONDS` or `well`)")]
pub struct BadCommand(String);

impl FromStr for Command {
    type Err = BadCommand;
    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let bad = || BadCommand(line.chars().take(80).collect());
        let mut words = line.split_whitespace();
        let command = match (words.next(), words.next()) {
            (Some("well"), None) => Self::Recover,
            (Some(kind), Some(length)) => {
                let kind = FaultKind::from_str(kind).ok().and_then(FaultKind::impairment).ok_or_else(bad)?;
                Self::Impair(kind, parse_duration(length).ok_or_else(bad)?)
            }
            _ => return Err(bad()),
        };
        if words.next().is_some() { Err(bad()) } else { Ok(command) }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recover => f.write_str("well"),
            Self::Impair(impairment, length) => write!(f, "{} {}ms", FaultKind::from(*impairment), length.as_millis()),
        }
    }
}

/// The switch inside a running service. Cheap to clone; all clones are one switch.
#[derive(Debug, Clone)]
pub struct FaultSwitch(watch::Sender<Option<Active>>);

#[derive(Debug, Clone, Copy)]
struct Active {
    impairment: Impairment,
    until: Instant,
}

impl Default for FaultSwitch {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl FaultSwitch {
    /// Does as told, from now on.
    pub fn obey(&self, command: Command) {
        self.0.send_replace(match command {
            Command::Impair(impairment, length) => Some(Active { impairment, until: Instant::now() + length }),
            Command::Recover => None,
        });
    }

    /// What is on now.
    #[must_use]
    pub fn current(&self) -> Option<Impairment> {
        self.0.borrow().filter(|active| active.until > Instant::now()).map(|active| active.impairment)
    }

    /// Waits until `impairment` is no longer on, also when it is ended before its time or prolonged.
    pub async fn over(&self, impairment: Impairment) {
        let mut changes = self.0.subscribe();
        loop {
            let until = match *changes.borrow_and_update() {
                Some(active) if active.impairment == impairment && active.until > Instant::now() => active.until,
                _ => return,
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_back_what_was_written() {
        for kind in [Impairment::Errors, Impairment::Latency, Impairment::Hang] {
            let command = Command::Impair(kind, Duration::from_millis(40_500));
            assert_eq!(command.to_string().parse(), Ok(command));
        }
        assert_eq!("well".parse(), Ok(Command::Recover));
        for bad in ["", "crash 4s", "errors", "errors 4s more", "well now", "errors -1s", "errors NaN"] {
            assert!(bad.parse::<Command>().is_err(), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_by_itself_and_by_command() {
        let switch = FaultSwitch::default();
        assert_eq!(switch.current(), None);
        switch.obey(Command::Impair(Impairment::Hang, Duration::from_secs(40)));
        assert_eq!(switch.current(), Some(Impairment::Hang));
        let started = Instant::now();
        switch.over(Impairment::Hang).await;
        assert_eq!(started.elapsed().as_secs(), 40);
        assert_eq!(switch.current(), None);

        switch.obey(Command::Impair(Impairment::Errors, Duration::from_secs(40)));
        let waiting = tokio::spawn({
            let switch = switch.clone();
            async move { switch.over(Impairment::Errors).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        switch.obey(Command::Recover);
        waiting.await.expect("ends at once");
        assert_eq!(started.elapsed().as_secs(), 41);
    }
}
