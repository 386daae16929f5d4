//! The suspected origin of an incident in recorded windows: own excess, from public data sets or from our own history.
//!
//! An incident is given by its time; what is normal comes from a baseline recording, or from before the incident. The steps, each in a
//! file of its own:
//!
//! 1. [`facts`]: each operation, service and edge in the incident against its own baseline ([`series`]): an *excess* above the median, and how
//!    far it is to be *believed*. With x as the excess in units of what the live detector allows (3 MAD or 20 %, [`crate::detect`]) the belief
//!    is x^2 / (1 + x^2): half at the threshold, 0.99 at ten times it. Windows shorter than three of the detector's are first
//!    replaced by the median of themselves and their neighbours, which is its two-of-three rule for numbers. A service without
//!    one baseline in which most succeeded was never seen healthy: it explains nobody's excess.
//! 2. [`charge`]: added time between client and server (network, queue, a client that is slow to read) is charged to one of its ends:
//!    to the one on more of whose edges the same delay shows. If both are equally good, the edge is the suspect.
//! 3. [`latency`] and [`failures`]: what every service's excess is made of: its own part (self time, failures without a failed call), calls,
//!    and what is left. Without request-level data the own part is what the dependencies do not explain; a dependency is shared
//!    out among its clients by what each of them saw. Shed calls are followed, but are never failures of the server.
//! 4. [`missing`]: requests that ended early, without the calls they used to make; that is how a failure shows where nobody reported
//!    a status. It belongs to the client, or to a dependency that several such clients share, if they still called it often enough.
//! 5. [`crate::share_out`]: shared out from the entry points, callee first over the condensation of the graph: the share of
//!    their excess that disappears without the suspect's own. This is the score; what is left over is unexplained. If nothing at all is
//!    known of the entry points in the incident, every service counts as one.
//! 6. [`answer`]: both kinds in one order. Missing calls weigh by how far they are believed, less by up to half of that where the entry points'
//!    signal is itself out of the ordinary. Breakers break ties within 0.10: the first that opened points at its server.
//!
//! The thresholds are [`Settings`]'s, but two: there is no floor of 10 ms, because recordings are of any speed, and no least number of
//! requests for an excess (there is one for `degraded`), because the incident is given. Where it fails: `docs/cascades.md`.

mod answer;
mod charge;
mod facts;
mod failures;
mod latency;
mod missing;
mod series;

use tripline_model::Timestamp;

use crate::detect::Settings;
use crate::recording::{Name, Recording};

pub use answer::{Answer, Candidate, CandidateKind, Degraded, DegradedReason, Evidence};

/// Which trouble of the entry points is to be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// They answer slowly.
    Latency,
    /// They fail.
    Failures,
}

impl Signal {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Failures => "failures",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Start of the incident.
    pub from: Timestamp,
    /// End of it.
    pub to: Timestamp,
    /// The entry point that is hurt. If there is none, or the recording does not have it, all services that nobody in the graph calls are asked;
    /// [`Answer::entries`] tells which they are.
    pub entry: Option<Name>,
    /// What to explain; none for what is more out of the ordinary.
    pub signal: Option<Signal>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocaliseError {
    /// The end is not after the start.
    #[error("the incident ends before it begins; give --from before --to")]
    NoTime,
    /// The recording is of another time.
    #[error("no window between {} and {}; the recording covers {} to {} (Unix seconds)", from.as_secs(), to.as_secs(), first.as_secs(), last.as_secs())]
    NoWindows {
        /// Start of the incident.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
        /// Start of the first window there is.
        first: Timestamp,
        /// Start of the last.
        last: Timestamp,
    },
    /// Nothing says what is normal.
    #[error("nothing to compare with: give a --baseline, or a recording with at least 3 windows before the incident")]
    NoBaseline,
}

/// Answers `question` about `windows`. `baseline` says what is normal; without it the time before the incident does.
///
/// # Errors
/// When the recording does not reach the incident, or nothing says what is normal.
pub fn localise(
    settings: &Settings,
    windows: &Recording,
    baseline: Option<&Recording>,
    question: &Question,
) -> Result<Answer, LocaliseError> {
    let facts = facts::Facts::collect(settings, windows, baseline, question)?;
    Ok(answer::answer(&facts, question))
}

#[cfg(test)]
mod tests;
