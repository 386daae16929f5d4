//! How a command ends: the exit codes that scripts rely on, and how a failure is told.

use std::io;
use std::process::ExitCode;

use crate::style;

/// Done, or why not.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    code: u8,
}

/// Exit code of everything that fails without a code of its own.
const FAILED: u8 = 1;
/// Exit code of an invalid configuration.
const INVALID: u8 = 64;

impl Failure {
    /// It failed.
    pub(crate) fn new(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), code: FAILED }
    }

    /// The configuration is invalid.
    pub(crate) fn invalid(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), code: INVALID }
    }

    /// Tells it on stderr, with its whole chain of causes.
    pub(crate) fn print(&self) {
        if !self.is_closed_pipe() {
            style::tell(format_args!("{} {:#}", style::red("error:"), self.error));
        }
    }

    /// Whoever read the answer has seen enough, as in `tripline logs | head`: no failure at all.
    fn is_closed_pipe(&self) -> bool {
        self.error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// The exit code of an outcome.
pub(crate) fn code(outcome: &Outcome) -> ExitCode {
    match outcome {
        Err(failure) if !failure.is_closed_pipe() => ExitCode::from(failure.code),
        _ => ExitCode::SUCCESS,
    }
}
