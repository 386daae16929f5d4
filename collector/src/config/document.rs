//! Walking a YAML document while noting what is wrong with it and where.
//!
//! A [`Section`] is one mapping of the document. Whoever reads it asks for the keys it knows; what was never asked for
//! is unknown, and [`Section::end`] reports it with the known key that looks most like it.

use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::Problem;

pub(super) type Node = MarkedYaml<'static>;

/// What is wrong so far.
#[derive(Debug)]
pub(super) struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), list: Vec::new() }
    }

    /// Notes a problem at a line of the file; without a line it came from a flag or a variable.
    pub(super) fn note(&mut self, line: Option<usize>, field: &str, message: impl Into<String>) {
        let place = line.map(|line| (self.file.clone(), line));
        self.list.push(Problem { place, field: field.to_owned(), message: message.into() });
    }

    /// All of them, in the order of the file, those without a place last.
    pub(super) fn into_list(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.place.as_ref().map_or(usize::MAX, |(_, line)| *line));
        self.list
    }
}

/// The root mapping of `text`; none when it is empty or no YAML, which is noted.
pub(super) fn root(text: &str, problems: &mut Problems) -> Option<Node> {
    let documents = match MarkedYaml::load_from_iter(text.chars()) {
        Ok(documents) => documents,
        Err(error) => {
            problems.note(Some(error.marker().line()), "", format!("not valid YAML: {}", error.info()));
            return None;
        }
    };
    if let Some(second) = documents.get(1) {
        problems.note(Some(line(second)), "", "a second document; one file holds one configuration");
    }
    documents.into_iter().next()
}

/// The line a node starts at, from 1.
pub(super) fn line(node: &Node) -> usize {
    node.span.start.line()
}

/// How a value looks to whoever wrote it, for messages.
pub(super) fn found(node: &Node) -> String {
    match &node.data {
        YamlData::Value(Scalar::Null) => "nothing".to_owned(),
        YamlData::Value(Scalar::Boolean(value)) => value.to_string(),
        YamlData::Value(Scalar::Integer(value)) => value.to_string(),
        YamlData::Value(Scalar::FloatingPoint(value)) => value.to_string(),
        YamlData::Value(Scalar::String(value)) => format!("\"{value}\""),
        YamlData::Sequence(_) => "a list".to_owned(),
        YamlData::Mapping(_) => "a mapping".to_owned(),
        _ => "something that is no plain value".to_owned(),
    }
}

/// Whether nothing stands after the key.
pub(super) fn is_empty(node: &Node) -> bool {
    matches!(&node.data, YamlData::Value(Scalar::Null))
}

/// One mapping of the document.
#[derive(Debug)]
pub(super) struct Section<'d> {
    node: Option<&'d Node>,
    path: String,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// A mapping at `path`; notes it when the node is something else. A missing node reads as an empty mapping.
    pub(super) fn new(node: Option<&'d Node>, path: &str, problems: &mut Problems) -> Self {
        let node = node.filter(|node| !is_empty(node));
        if let Some(other) = node.filter(|node| !node.is_mapping()) {
            problems.note(Some(line(other)), path, format!("expected a mapping, found {}", found(other)));
        }
        Self { node, path: path.to_owned(), known: Vec::new() }
    }

    /// Whether the document has this mapping at all.
    pub(super) fn is_given(&self) -> bool {
        self.node.is_some()
    }

    /// The line the mapping starts at.
    pub(super) fn line(&self) -> Option<usize> {
        self.node.map(line)
    }

    /// `key` with the path before it.
    pub(super) fn field(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The node at `key`, which is known from now on.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'d Node> {
        self.known.push(key);
        self.entries().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The value at `key`, read by `parse`, which says what it expected when it cannot.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Node) -> Result<T, String>,
        problems: &mut Problems,
    ) -> Option<T> {
        let node = self.node(key)?;
        match parse(node) {
            Ok(value) => Some(value),
            Err(expected) => {
                let message = format!("expected {expected}, found {}", found(node));
                problems.note(Some(line(node)), &self.field(key), message);
                None
            }
        }
    }

    /// Like [`Section::value`], written into `place` when it is there.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        place: &mut T,
        parse: impl FnOnce(&Node) -> Result<T, String>,
        problems: &mut Problems,
    ) {
        if let Some(value) = self.value(key, parse, problems) {
            *place = value;
        }
    }

    /// The mapping at `key`.
    pub(super) fn section(&mut self, key: &'static str, problems: &mut Problems) -> Self {
        let node = self.node(key);
        Section::new(node, &self.field(key), problems)
    }

    /// The mappings in the list at `key`.
    pub(super) fn list(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Self> {
        let Some(node) = self.node(key).filter(|node| !is_empty(node)) else { return Vec::new() };
        let field = self.field(key);
        match &node.data {
            YamlData::Sequence(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| Section::new(Some(item), &format!("{field}[{index}]"), problems))
                .collect(),
            _ => {
                problems.note(Some(line(node)), &field, format!("expected a list, found {}", found(node)));
                Vec::new()
            }
        }
    }

    /// All keys with their nodes, for mappings whose keys are free.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'d str, &'d Node)> + use<'d> {
        let mapping = self.node.and_then(|node| node.data.as_mapping());
        mapping.into_iter().flatten().filter_map(|(key, value)| Some((key.data.as_str()?, value)))
    }

    /// Notes every key that nobody asked for.
    pub(super) fn end(self, problems: &mut Problems) {
        for (key, node) in self.entries() {
            if !self.known.contains(&key) {
                let message = match nearest(key, &self.known) {
                    Some(known) => format!("unknown key; did you mean `{known}`?"),
                    None => format!("unknown key; known here: {}", self.known.join(", ")),
                };
                problems.note(Some(line(node)), &self.field(key), message);
            }
        }
    }
}

/// The known key that differs least from `key`, when it differs by a third of its letters at most.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let (distance, best) = known.iter().map(|word| (edits(key, word), *word)).min()?;
    (distance <= (best.len() / 3).max(1)).then_some(best)
}

/// Levenshtein's distance.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (line, a) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(right.chars()) {
            let best = (diagonal + usize::from(a != b)).min(*cell + 1).min(before + 1);
            diagonal = std::mem::replace(cell, best);
            before = best;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested_only_when_it_is_near() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(nearest("otlp_gprc", &["http", "otlp_grpc", "otlp_http"]), Some("otlp_grpc"));
        assert_eq!(nearest("colour", &["http", "otlp_grpc"]), None);
    }
}
