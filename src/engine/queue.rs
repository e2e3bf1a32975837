//! Checks that wait for room to run.

use std::{collections::BTreeSet, time::Duration};

use super::board::Id;

/// Why a check waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Its time has come.
    Due,
    /// Somebody asked for a run.
    Asked,
    /// It is new, and nobody sees it before it has run.
    New,
}

const LANES: usize = 3;

/// Since when a check stands in each of the lines.
pub(crate) type Places = [Option<Duration>; LANES];

/// A line for each [`Lane`], first come, first served. The lines take turns, so that none holds another up. Whatever is done
/// costs O(log n).
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: [BTreeSet<(Duration, Id)>; LANES],
    /// Whose turn it is.
    turn: usize,
}

impl Queue {
    /// Puts a check in a line, unless it stands there.
    pub(crate) fn push(&mut self, lane: Lane, id: Id, now: Duration, places: &mut Places) {
        let lane = lane as usize;
        if let (Some(line), Some(place @ None)) = (self.lines.get_mut(lane), places.get_mut(lane)) {
            *place = Some(now);
            line.insert((now, id));
        }
    }

    /// The next, which may stand in other lines still.
    pub(crate) fn pop(&mut self) -> Option<Id> {
        for turn in (self.turn..self.turn + LANES).map(|turn| turn % LANES) {
            let next = self.lines.get_mut(turn).and_then(BTreeSet::pop_first);
            if let Some((_, id)) = next {
                self.turn = turn + 1;
                return Some(id);
            }
        }
        None
    }

    /// Takes a check out of all lines.
    pub(crate) fn remove(&mut self, id: Id, places: &mut Places) {
        for (line, place) in self.lines.iter_mut().zip(places) {
            if let Some(since) = place.take() {
                line.remove(&(since, id));
            }
        }
    }

    /// The check that has waited longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(Duration, Id)> {
        self.lines.iter().filter_map(BTreeSet::first).min().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.iter().map(BTreeSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_take_turns_and_each_is_first_come_first_served() {
        let mut queue = Queue::default();
        let mut places = [Places::default(); 6];
        let seconds = Duration::from_secs;
        for (lane, id) in [
            (Lane::New, 0),
            (Lane::New, 2),
            (Lane::New, 1),
            (Lane::Due, 3),
            (Lane::Due, 4),
            (Lane::Asked, 5),
        ] {
            // Number 2 came before number 1.
            let now = seconds([0, 2, 1, 3, 4, 5][id]);
            queue.push(lane, Id(id as u64), now, &mut places[id]);
        }
        assert_eq!(queue.oldest(), Some((seconds(0), Id(0))));
        queue.push(Lane::New, Id(1), seconds(6), &mut places[1]);
        queue.push(Lane::Due, Id(1), seconds(7), &mut places[1]);
        assert_eq!(places[1], [Some(seconds(7)), None, Some(seconds(2))]);
        assert_eq!(queue.len(), 7);
        queue.remove(Id(2), &mut places[2]);
        assert_eq!(places[2], Places::default());
        let order: Vec<Id> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [3, 5, 0, 4, 1, 1].map(Id));
        queue.remove(Id(1), &mut places[1]);
        assert_eq!(queue.len(), 0);
    }
}
