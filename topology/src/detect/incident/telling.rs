//! What people are told of an incident: that it opened (again), that its level rose and held, that another candidate leads and held, that it is over.
//!
//! Each waits until it has held for [`Settings::settle`]. Two candidates that are as likely as each other may take turns in the first place, as an eager
//! breaker and the server behind it do while it flaps; who is told of every turn learns nothing. So a candidate that was named before must hold twice
//! as long for each time it was.

use std::collections::BTreeMap;

use tripline_model::Timestamp;

use super::{Incident, Level, Notice};
use crate::detect::{Settings, Suspect};

/// Doublings of the time for which a candidate that was named before must hold, at most: ten seconds become three hours.
const MOST_DOUBLINGS: u32 = 10;

/// What has been told so far, and what may be next.
#[derive(Debug, Default)]
pub(super) struct Telling {
    level: Option<Level>,
    /// A level above the told one, and since when.
    rising: Option<(Level, Timestamp)>,
    origin: Option<Suspect>,
    /// Another first candidate, and since when.
    overtaking: Option<(Suspect, Timestamp)>,
    /// How often each was named.
    named: BTreeMap<Suspect, u32>,
}

impl Telling {
    /// Whether the opening has been told.
    pub(super) const fn has_begun(&self) -> bool {
        self.level.is_some()
    }

    /// The first candidate as it was last told.
    pub(super) const fn origin(&self) -> Option<&Suspect> {
        self.origin.as_ref()
    }

    /// Its opening is told once more.
    pub(super) const fn begin_again(&mut self) {
        (self.level, self.rising) = (None, None);
    }

    /// What is to be told of `incident` now, while it goes on.
    pub(super) fn next(&mut self, incident: &Incident, settings: &Settings, now: Timestamp) -> Vec<Notice> {
        let mut notices = Vec::new();
        let level = incident.level;
        let origin = incident.origin();
        let Some(told) = self.level else {
            self.level = Some(level);
            self.name(origin);
            return vec![Notice::Opened];
        };
        if level > told {
            // The clock restarts with each further rise, so a cascade that grows for a while is told once, whole.
            let since = self.rising.filter(|(rising, _)| *rising == level).map_or(now, |(_, since)| since);
            self.rising = Some((level, since));
            if now.since(since) >= settings.settle {
                (self.level, self.rising) = (Some(level), None);
                notices.push(Notice::LevelRose);
                // What is told shows the candidates, too.
                self.name(origin);
            }
        }
        let Some(origin) = origin.filter(|origin| Some(*origin) != self.origin.as_ref()) else {
            self.overtaking = None;
            return notices;
        };
        let since = self.overtaking.as_ref().filter(|(who, _)| who == origin).map_or(now, |(_, since)| *since);
        let named = self.named.get(origin).map_or(0, |named| *named);
        if now.since(since) >= settings.settle * 2_u32.pow(named.min(MOST_DOUBLINGS)) {
            self.name(Some(origin));
            notices.push(Notice::OriginChanged);
        } else {
            self.overtaking = Some((origin.clone(), since));
        }
        notices
    }

    fn name(&mut self, origin: Option<&Suspect>) {
        self.overtaking = None;
        if self.origin.as_ref() == origin {
            return;
        }
        self.origin = origin.cloned();
        if let Some(origin) = origin {
            *self.named.entry(origin.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tripline_model::Ratio;

    use super::super::{Candidate, Part, Tracked};
    use super::*;
    use crate::detect::SuspectKind;

    /// An incident with one candidate.
    fn of(service: &str) -> Incident {
        let part = Part { edges: Default::default(), roots: BTreeSet::new() };
        let mut incident = Tracked::open(part, Timestamp::from_secs(1_000), 1).incident;
        incident.candidates = vec![Candidate {
            suspect: Suspect { service: service.into(), edge: None },
            kind: SuspectKind::Errors,
            score: Ratio::ONE,
            evidence: Vec::new(),
        }];
        incident
    }

    #[test]
    fn candidates_that_take_turns_are_told_ever_less_and_a_new_one_at_once() {
        let (settings, mut telling) = (Settings::default(), Telling::default());
        let mut told: Vec<(u64, Notice)> = Vec::new();
        for second in 0..3_600 {
            let first = if second >= 3_500 {
                "shop/db"
            } else if second / 30 % 2 == 0 {
                "shop/cart"
            } else {
                "shop/web"
            };
            let notices = telling.next(&of(first), &settings, Timestamp::from_secs(1_000 + second));
            told.extend(notices.into_iter().map(|notice| (second, notice)));
        }
        let changed = Notice::OriginChanged;
        let expected = [(0, Notice::Opened), (40, changed), (80, changed), (110, changed), (3_510, changed)];
        assert_eq!(told, expected);
    }
}
