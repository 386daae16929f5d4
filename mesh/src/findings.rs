//! Gathers problems, warnings and field uses while documents are read, in bounded space.

use std::collections::BTreeMap;

use crate::yaml::shown;
use crate::{FieldUse, Problem, Problems, Support};

/// Most problems, and most warnings, kept; the rest is counted.
const MAX_KEPT: usize = 1_000;
/// Most different fields in the compatibility report; more can only come from made-up field names.
const MAX_FIELDS: usize = 5_000;

/// A place in the documents: what a finding is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'p> {
    /// Position of the source in the list given.
    pub(crate) source: usize,
    /// Line, 0 for none in particular.
    pub(crate) line: usize,
    /// Field path within the document, may be empty.
    pub(crate) path: &'p str,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Findings<'n> {
    names: Vec<&'n str>,
    problems: Kept,
    warnings: Kept,
    repeated: BTreeMap<String, (usize, Problem, usize)>,
    fields: BTreeMap<String, (Support, usize, &'static str)>,
}

#[derive(Debug, Default)]
struct Kept {
    found: Vec<(usize, Problem)>,
    beyond: usize,
}

impl<'n> Findings<'n> {
    /// For sources of these names.
    pub(crate) fn new(names: Vec<&'n str>) -> Self {
        Self {
            names,
            problems: Kept::default(),
            warnings: Kept::default(),
            repeated: BTreeMap::new(),
            fields: BTreeMap::new(),
        }
    }

    /// Refuses the configuration.
    pub(crate) fn problem(&mut self, at: Place<'_>, message: impl Into<String>) {
        let problem = self.finding(at, message.into());
        self.problems.add(at.source, problem);
    }

    /// Tells something that refuses nothing.
    pub(crate) fn warn(&mut self, at: Place<'_>, message: impl Into<String>) {
        let warning = self.finding(at, message.into());
        self.warnings.add(at.source, warning);
    }

    /// Tells it at the first place only, and how often it occurred; `key` says what is the same.
    pub(crate) fn warn_once(&mut self, key: String, at: Place<'_>, message: impl FnOnce() -> String) {
        if let Some((_, _, count)) = self.repeated.get_mut(&key) {
            *count += 1;
        } else if self.repeated.len() < MAX_KEPT {
            let warning = self.finding(at, message());
            self.repeated.insert(key, (at.source, warning, 1));
        }
    }

    /// Counts one occurrence of a field for the compatibility report.
    pub(crate) fn count(&mut self, field: &str, support: Support, note: &'static str) {
        if let Some((_, count, _)) = self.fields.get_mut(field) {
            *count += 1;
        } else if self.fields.len() < MAX_FIELDS {
            self.fields.insert(field.to_owned(), (support, 1, note));
        }
    }

    /// How many problems there are so far.
    pub(crate) fn problem_count(&self) -> usize {
        self.problems.found.len() + self.problems.beyond
    }

    /// The end: warnings and report, or all problems.
    pub(crate) fn finish(self) -> Result<(Vec<Problem>, Vec<FieldUse>), Problems> {
        let mut warnings = self.warnings;
        for (source, mut warning, count) in self.repeated.into_values() {
            if count > 1 {
                warning.message.push_str(&format!(" (and {} more)", count - 1));
            }
            warnings.add(source, warning);
        }
        let warnings = warnings.finish("warnings");
        let problems = self.problems.finish("problems");
        if !problems.is_empty() {
            return Err(Problems { problems, warnings });
        }
        let report = self
            .fields
            .into_iter()
            .map(|(field, (support, count, note))| FieldUse { field, support, count, note: note.to_owned() })
            .collect();
        Ok((warnings, report))
    }

    fn finding(&self, at: Place<'_>, message: String) -> Problem {
        let source = self.names.get(at.source).copied().unwrap_or("mesh");
        Problem { source: shown_name(source), line: at.line, field: at.path.to_owned(), message }
    }
}

/// File names may hold anything; a finding stays on one line.
fn shown_name(name: &str) -> String {
    if name.chars().any(char::is_control) { shown(name) } else { name.to_owned() }
}

impl Kept {
    fn add(&mut self, source: usize, problem: Problem) {
        if self.found.len() < MAX_KEPT {
            self.found.push((source, problem));
        } else {
            self.beyond += 1;
        }
    }

    /// In the order of sources and lines.
    fn finish(mut self, what: &str) -> Vec<Problem> {
        self.found.sort_by_key(|(source, problem)| (*source, problem.line));
        let mut found: Vec<Problem> = self.found.into_iter().map(|(_, problem)| problem).collect();
        if self.beyond > 0 {
            let message = format!("{} more {what} are not listed", self.beyond);
            found.push(Problem { source: "mesh".to_owned(), line: 0, field: String::new(), message });
        }
        found
    }
}
