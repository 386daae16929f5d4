//! The detector's last few windows of every edge, summed, side by side in memory.
//!
//! Judging a window looks at two numbers lines of each edge, a hundred thousand times. Kept with the edges these lie all over the
//! memory; here one window's lie one after the other, and reading them costs next to nothing. Edges have a *place*, a small number
//! that is given again when its edge is gone.

use tripline_model::{EdgeWindow, Reporter};

use super::brief::Brief;
use super::edge::slot;

/// Windows kept: the one that goes on and three before it.
const KEPT: usize = 4;

/// Windows by number modulo [`KEPT`], reporter, and place of the edge.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    windows: [[Vec<Brief>; 3]; KEPT],
    /// By place, a number that changes whenever a window comes when a later one has begun or a second after its end, by when it may have
    /// been judged, and one that does when it is older than what [`Self::settled_at`] says.
    late: Vec<u32>,
    old: Vec<u32>,
    /// Start of the newest window of each place.
    newest: Vec<u32>,
}

impl Recent {
    /// Makes room for an edge at `place`, which may have had another one.
    pub(super) fn clear(&mut self, place: usize) {
        if self.late.len() <= place {
            self.late.resize(place + 1, 0);
            self.old.resize(place + 1, 0);
            self.newest.resize(place + 1, 0);
        }
        self.newest[place] = 0;
        let briefs = self.windows.iter_mut().flatten().filter_map(|briefs| briefs.get_mut(place));
        briefs.for_each(|brief| *brief = Brief::default());
    }

    /// Adds a window of the edge at `place` to its window of `length` seconds; `now` is in seconds.
    pub(super) fn count(&mut self, place: usize, window: &EdgeWindow, (length, now): (u32, u32)) {
        let brief = Brief::of(window);
        let start = brief.start - brief.start % length;
        let briefs = &mut self.windows[(start / length) as usize % KEPT][slot(window.reporter)];
        if briefs.len() <= place {
            briefs.resize(place + 1, Brief::default());
        }
        let known = &mut briefs[place];
        if known.start < start {
            *known = Brief { start, ..Brief::default() };
        }
        if known.start == start {
            known.add(&brief);
        }
        let is_late = start < self.newest[place] || now > start.saturating_add(length);
        self.late[place] = self.late[place].wrapping_add(u32::from(is_late));
        self.newest[place] = self.newest[place].max(start);
        self.old[place] = self.old[place].wrapping_add(u32::from(start < Self::settled_at(now, length) + length));
    }

    /// Up to this second whoever has summed what there is has to look again only where [`Self::old`] says so. The windows after it are three, all
    /// of which are kept, and there is one more.
    pub(super) const fn settled_at(now: u32, length: u32) -> u32 {
        (now - now % length).saturating_sub(2 * length)
    }

    /// What one reporter counted in the window that starts at `start`; none when that is older than what is kept.
    pub(super) fn window(&self, place: usize, reporter: Reporter, (start, length): (u32, u32)) -> Option<Brief> {
        let briefs = &self.windows[(start / length) as usize % KEPT][slot(reporter)];
        let Some(brief) = briefs.get(place) else { return Some(Brief::default()) };
        match brief.start.cmp(&start) {
            std::cmp::Ordering::Equal => Some(*brief),
            std::cmp::Ordering::Less => Some(Brief::default()),
            std::cmp::Ordering::Greater => None,
        }
    }

    pub(super) fn late(&self, place: usize) -> u32 {
        self.late.get(place).copied().unwrap_or(0)
    }

    pub(super) fn old(&self, place: usize) -> u32 {
        self.old.get(place).copied().unwrap_or(0)
    }
}
