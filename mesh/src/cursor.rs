//! Walks over a checked document: a value and where it stands.
//!
//! The getters answer `None` for what is absent and for what has the wrong shape alike: the latter was reported by
//! `check`, and a configuration with a problem is never used.

use std::time::Duration;

use crate::check::At;
use crate::findings::Place;
use crate::yaml::{Node, Value};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'d> {
    node: &'d Node<'d>,
    at: At,
}

impl<'d> Cursor<'d> {
    pub(crate) fn new(node: &'d Node<'d>, at: At) -> Self {
        Self { node, at }
    }

    /// Where findings about it point to.
    pub(crate) fn place(&self) -> Place<'_> {
        self.at.line(self.node.line)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Cursor<'d>> {
        let node = self.node.get(name)?;
        Some(Cursor { node, at: self.at.field(name) })
    }

    /// The elements of the list in a field; none when it is absent.
    pub(crate) fn list(&self, name: &str) -> Vec<Cursor<'d>> {
        let Some(list) = self.get(name) else { return Vec::new() };
        let Value::List(nodes) = &list.node.value else { return Vec::new() };
        nodes.iter().enumerate().map(|(index, node)| Cursor { node, at: list.at.element(index) }).collect()
    }

    /// The first of these fields that is there.
    pub(crate) fn first_of(&self, names: &[&'static str]) -> Option<(&'static str, Cursor<'d>)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    pub(crate) fn as_text(&self) -> Option<&'d str> {
        self.node.text()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'d str> {
        self.node.get(name)?.text()
    }

    pub(crate) fn number<N: TryFrom<i64>>(&self, name: &str) -> Option<N> {
        N::try_from(self.text(name)?.parse::<i64>().ok()?).ok()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The fields of a mapping that are texts.
    pub(crate) fn texts(&self) -> Vec<(&'d str, &'d str)> {
        let Value::Map(entries) = &self.node.value else { return Vec::new() };
        entries.iter().filter_map(|entry| Some((entry.name.as_ref(), entry.node.text()?))).collect()
    }

    /// A `{unit, value}`.
    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        let written = self.get(name)?;
        let value = written.number::<u32>("value")?;
        Some(match written.text("unit")? {
            "ms" => Duration::from_millis(value.into()),
            _ => Duration::from_secs(value.into()),
        })
    }
}
