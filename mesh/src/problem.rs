//! What is wrong, odd or not supported in a mesh document, each with its place.

use std::fmt;

/// One finding: a problem that refuses the configuration, or a warning that does not.
///
/// Written `mesh.yaml:12: spec.listeners[0].portMapping.port: expected a number in 1..=65535, got "http"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Name of the source, as it was given.
    pub source: String,
    /// Line in it, from 1; 0 when the finding is about no line in particular.
    pub line: usize,
    /// Path of the field within its document; empty when it is about the whole document.
    pub field: String,
    /// What was expected, or what will not happen, and how to put it right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything wrong with a configuration, in the order of the sources, one line each when displayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct Problems {
    /// The problems, at least one.
    pub problems: Vec<Problem>,
    /// What else was noticed.
    pub warnings: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What this program does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Support {
    /// It does what App Mesh did.
    Used,
    /// It does something like it; the note says what differs.
    Approximated,
    /// It has no effect here; the note says why or since when.
    Ignored,
    /// App Mesh has no such field; Kubernetes would have dropped it.
    Unknown,
}

impl Support {
    /// Its written form: `used`, `approximated`, `ignored`, `unknown`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Approximated => "approximated",
            Self::Ignored => "ignored",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of the compatibility report: what becomes of one field of the documents given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldUse {
    /// The field with its kind, list positions left out: `VirtualNode.spec.listeners[].healthCheck`.
    pub field: String,
    /// What becomes of it.
    pub support: Support,
    /// How many times it occurs.
    pub count: usize,
    /// What differs, why it is ignored; empty for a used field without peculiarity.
    pub note: String,
}
