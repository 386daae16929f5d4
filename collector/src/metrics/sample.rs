//! One number with its name, as the parts of the collector hand it in.

/// How a number behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only grows. Named without `_total`, which is added.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of its family, without `_total`. Samples of one family need not follow each other.
    pub name: &'static str,
    /// What it is, in a sentence without full stop.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Label names and values; the same names within a family.
    pub labels: Vec<(&'static str, String)>,
    /// The number, in base units.
    pub value: f64,
}

impl Sample {
    /// A counter without labels.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: Kind::Counter, labels: Vec::new(), value: value as f64 }
    }

    /// A gauge without labels.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: Kind::Gauge, labels: Vec::new(), value }
    }

    /// The same with one more label.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}
