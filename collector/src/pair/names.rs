//! Names of nodes as numbers, so that pairing compares and stores four bytes.
//!
//! A number is given out once and taken back only when the table is full and the name was not heard of for
//! [`FORGET_AFTER`], which is longer than any span waits: no waiting span ever holds a number that means something else. When nothing
//! can be taken back, new names are `__overflow__`; known ones stay.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tripline_model::{ServiceName, Timestamp};

use super::rings::ESTABLISHED;

/// Nodes known at most.
const MAX_NAMES: usize = 50_000;
/// Environments known at most; more are not told apart.
const MAX_ENVIRONMENTS: u16 = 1_000;
/// Silence after which a number may be given to another name.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

/// The number of a node.
pub(super) type Node = u32;

/// The node that names fold into when the table is full.
pub(super) const OVERFLOW: Node = 0;
/// The node of callers from outside.
pub(super) const USER: Node = 1;

#[derive(Debug)]
struct Known {
    name: ServiceName,
    /// When it was first heard of, and last.
    since: Timestamp,
    heard: Timestamp,
}

/// The table.
#[derive(Debug)]
pub(super) struct Names {
    // The standard hasher: names are chosen by strangers.
    numbers: HashMap<ServiceName, Node>,
    known: Vec<Known>,
    free: Vec<Node>,
    environments: HashMap<Arc<str>, u16>,
    tidied: Timestamp,
}

impl Default for Names {
    fn default() -> Self {
        let fixed = [ServiceName::overflow(), ServiceName::user()];
        let known = |name| Known { name, since: Timestamp::default(), heard: Timestamp::default() };
        Self {
            numbers: (0..).zip(&fixed).map(|(number, name)| (name.clone(), number)).collect(),
            known: fixed.map(known).into(),
            free: Vec::new(),
            environments: HashMap::new(),
            tidied: Timestamp::default(),
        }
    }
}

impl Names {
    /// The number of a name.
    pub(super) fn number(&mut self, name: &ServiceName, now: Timestamp) -> Node {
        if let Some(number) = self.numbers.get(name).copied() {
            if let Some(known) = self.known.get_mut(number as usize) {
                known.heard = now;
            }
            return number;
        }
        let known = Known { name: name.clone(), since: now, heard: now };
        let number = if let Some(number) = self.free.pop() {
            if let Some(place) = self.known.get_mut(number as usize) {
                *place = known;
            }
            number
        } else if self.known.len() < MAX_NAMES {
            self.known.push(known);
            (self.known.len() - 1) as Node
        } else {
            return OVERFLOW;
        };
        self.numbers.insert(name.clone(), number);
        number
    }

    /// Whether a name has been heard of for [`ESTABLISHED`].
    pub(super) fn is_established(&self, number: Node, now: Timestamp) -> bool {
        self.known.get(number as usize).is_some_and(|known| now.since(known.since) >= ESTABLISHED)
    }

    /// The number of an environment; 0 when there is none.
    pub(super) fn environment(&mut self, name: &Arc<str>) -> u16 {
        if name.is_empty() {
            return 0;
        }
        if let Some(number) = self.environments.get(name) {
            return *number;
        }
        let number = self.environments.len() as u16 + 1;
        if number > MAX_ENVIRONMENTS {
            return 0;
        }
        self.environments.insert(Arc::clone(name), number);
        number
    }

    /// The name of a number.
    pub(super) fn name(&self, number: Node) -> ServiceName {
        self.known.get(number as usize).map_or_else(ServiceName::overflow, |known| known.name.clone())
    }

    /// Takes numbers back when the table is full; answers whether it did, for then whoever keeps numbers for long must let go of them.
    pub(super) fn tidy(&mut self, now: Timestamp) -> bool {
        let is_full = self.known.len() >= MAX_NAMES && self.free.is_empty();
        if !is_full || now.since(self.tidied) < FORGET_AFTER / 15 {
            return false;
        }
        self.tidied = now;
        for (number, known) in (0..).zip(&self.known).skip(2) {
            if now.since(known.heard) > FORGET_AFTER && self.numbers.remove(&known.name).is_some() {
                self.free.push(number);
            }
        }
        !self.free.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_names_folds_and_leaves_known_ones_alone() {
        let (mut names, start) = (Names::default(), Timestamp::from_secs(1));
        let healthy = names.number(&"shop/web".into(), start);
        let name = |n: usize| ServiceName::new("flood", &n.to_string());
        for n in 0..MAX_NAMES + 10 {
            names.number(&name(n), start);
        }
        assert_eq!(names.number(&name(MAX_NAMES + 20), start), OVERFLOW);
        let late = start + FORGET_AFTER + Duration::from_secs(100);
        assert_eq!(names.number(&"shop/web".into(), late), healthy);
        assert!(names.tidy(late));
        let number = names.number(&name(MAX_NAMES + 20), late);
        assert!(number != OVERFLOW && number != healthy);
        assert_eq!(names.name(number), name(MAX_NAMES + 20));
        assert_eq!(names.name(healthy).to_string(), "shop/web");
    }
}
